//! Binary search in a sorted table of tab-separated lines.

/// The block of lines that begin with the columns `key` (joined by tabs), without the final newline; empty when there is none.
///
/// `table` has one header line; all lines end in a newline and stand in ascending byte order of as many leading columns
/// as `key` has.
pub(super) fn block<'a>(table: &'a str, key: &str) -> &'a str {
    let body = &table[table.find('\n').map_or(0, |at| at + 1)..];
    let columns = key.matches('\t').count() + 1;
    let start = lower_bound(body, |line| leading(line, columns) < key);
    let end = start + lower_bound(&body[start..], |line| leading(line, columns) <= key);
    body[start..end].trim_end_matches('\n')
}

/// The first `columns` columns of a line.
fn leading(line: &str, columns: usize) -> &str {
    let line = line.trim_end_matches('\n');
    let end = line.match_indices('\t').nth(columns - 1).map_or(line.len(), |(at, _)| at);
    &line[..end]
}

/// Offset of the first line that does not satisfy `before`.
fn lower_bound(body: &str, before: impl Fn(&str) -> bool) -> usize {
    let (mut low, mut high) = (0, body.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = body[low..middle].rfind('\n').map_or(low, |at| low + at + 1);
        let end = body[start..].find('\n').map_or(body.len(), |at| start + at + 1);
        if before(&body[start..end]) {
            low = end;
        } else {
            high = start;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::block;

    const TABLE: &str = "name\tvalue\na\t1\nb\t2\nb\t3\nd\t4\n";

    #[test]
    fn finds_the_lines_of_one_key() {
        assert_eq!(block(TABLE, "a"), "a\t1");
        assert_eq!(block(TABLE, "b"), "b\t2\nb\t3");
        assert_eq!(block(TABLE, "d"), "d\t4");
        assert_eq!(block(TABLE, "b\t3"), "b\t3");
        for absent in ["", "c", "e", "bb"] {
            assert_eq!(block(TABLE, absent), "", "{absent}");
        }
    }
}
