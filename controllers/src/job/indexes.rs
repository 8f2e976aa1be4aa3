//! Sets of indexes, and their text: `0-3,7`.

use std::collections::BTreeSet;

/// The indexes of a text; what cannot be read names none.
pub(super) fn parse(text: &str) -> BTreeSet<i32> {
    text.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<i32>().ok()?..=last.parse::<i32>().ok()?)
        })
        .flatten()
        .collect()
}

/// The text of a set; intervals of two are written as two numbers.
pub(super) fn print(indexes: &BTreeSet<i32>) -> String {
    let mut intervals: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match intervals.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => intervals.push((*index, *index)),
        }
    }
    let texts: Vec<String> = intervals
        .into_iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        })
        .collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive() {
        for text in ["", "0", "0,1", "0-2,5,7-9"] {
            assert_eq!(print(&parse(text)), text);
        }
        assert_eq!(parse("x,3"), BTreeSet::from([3]));
    }
}
