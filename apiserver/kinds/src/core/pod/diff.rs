//! Unified diffs of pretty-printed objects, as error texts of refused updates carry them.
//!
//! The matching is Python difflib's, junk heuristic included, because upstream's text depends on which of several equally
//! good alignments is picked.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

/// Lines shown around a change.
const CONTEXT: usize = 3;

/// From this many lines on, lines that make up more than one percent of the text no longer start a match.
const POPULARITY_MIN_LINES: usize = 200;

/// The unified diff from `old` to `new`, without file headers. Empty when the texts are equal.
pub(crate) fn unified(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    let mut text = String::new();
    for hunk in hunks(edits(&old, &new)) {
        write_hunk(&mut text, &hunk, &old, &new);
    }
    text
}

/// A stretch of `old` that becomes a stretch of `new`.
#[derive(Debug, Clone)]
struct Edit {
    equal: bool,
    old: Range<usize>,
    new: Range<usize>,
}

fn write_hunk(text: &mut String, hunk: &[Edit], old: &[&str], new: &[&str]) {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return };
    let (old_range, new_range) = (first.old.start..last.old.end, first.new.start..last.new.end);
    let mut line = |prefix: &str, line: &str| {
        writeln!(text, "{prefix}{line}").expect("writing to a String cannot fail");
    };
    line("", &format!("@@ -{} +{} @@", range(&old_range), range(&new_range)));
    for edit in hunk {
        if edit.equal {
            old[edit.old.clone()].iter().for_each(|same| line(" ", same));
            continue;
        }
        old[edit.old.clone()].iter().for_each(|gone| line("-", gone));
        new[edit.new.clone()].iter().for_each(|come| line("+", come));
    }
}

fn range(lines: &Range<usize>) -> String {
    match lines.len() {
        1 => format!("{}", lines.start + 1),
        0 => format!("{},0", lines.start),
        length => format!("{},{length}", lines.start + 1),
    }
}

/// Groups edits into hunks with at most [`CONTEXT`] equal lines on either side.
fn hunks(mut edits: Vec<Edit>) -> Vec<Vec<Edit>> {
    if let Some(first) = edits.first_mut().filter(|edit| edit.equal) {
        keep_tail(first);
    }
    if let Some(last) = edits.last_mut().filter(|edit| edit.equal) {
        keep_head(last);
    }
    let (mut hunks, mut hunk) = (Vec::new(), Vec::new());
    for mut edit in edits {
        if edit.equal && edit.old.len() > 2 * CONTEXT {
            let mut head = edit.clone();
            keep_head(&mut head);
            hunk.push(head);
            hunks.push(std::mem::take(&mut hunk));
            keep_tail(&mut edit);
        }
        hunk.push(edit);
    }
    hunks.push(hunk);
    hunks.retain(|hunk: &Vec<Edit>| hunk.iter().any(|edit| !edit.equal));
    hunks
}

fn keep_head(edit: &mut Edit) {
    edit.old.end = edit.old.end.min(edit.old.start + CONTEXT);
    edit.new.end = edit.new.end.min(edit.new.start + CONTEXT);
}

fn keep_tail(edit: &mut Edit) {
    edit.old.start = edit.old.start.max(edit.old.end.saturating_sub(CONTEXT));
    edit.new.start = edit.new.start.max(edit.new.end.saturating_sub(CONTEXT));
}

fn edits(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let mut edits = Vec::new();
    let (mut i, mut j) = (0, 0);
    for block in Matcher::new(old, new).blocks() {
        if i < block.old || j < block.new {
            edits.push(Edit { equal: false, old: i..block.old, new: j..block.new });
        }
        (i, j) = (block.old + block.size, block.new + block.size);
        if block.size > 0 {
            edits.push(Edit { equal: true, old: block.old..i, new: block.new..j });
        }
    }
    edits
}

/// Equal lines: `size` of them, from these positions on.
#[derive(Debug, Clone, Copy)]
struct Block {
    old: usize,
    new: usize,
    size: usize,
}

/// Finds longest common stretches, recursively to the left and right of the longest.
struct Matcher<'a> {
    old: &'a [&'a str],
    new: &'a [&'a str],
    positions: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Matcher<'a> {
    fn new(old: &'a [&'a str], new: &'a [&'a str]) -> Matcher<'a> {
        let mut positions: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, line) in new.iter().enumerate() {
            positions.entry(line).or_default().push(index);
        }
        if new.len() >= POPULARITY_MIN_LINES {
            let popular = new.len() / 100 + 1;
            positions.retain(|_, indexes| indexes.len() <= popular);
        }
        Matcher { old, new, positions }
    }

    /// All matching blocks in order, neighbours merged, ending with an empty one at the end of both texts.
    fn blocks(&self) -> Vec<Block> {
        let mut found = Vec::new();
        self.collect(0..self.old.len(), 0..self.new.len(), &mut found);
        let mut merged: Vec<Block> = Vec::new();
        for block in found {
            match merged.last_mut() {
                Some(last) if last.old + last.size == block.old && last.new + last.size == block.new => {
                    last.size += block.size;
                }
                _ => merged.push(block),
            }
        }
        merged.push(Block { old: self.old.len(), new: self.new.len(), size: 0 });
        merged
    }

    fn collect(&self, old: Range<usize>, new: Range<usize>, found: &mut Vec<Block>) {
        let longest = self.longest(old.clone(), new.clone());
        if longest.size == 0 {
            return;
        }
        if old.start < longest.old && new.start < longest.new {
            self.collect(old.start..longest.old, new.start..longest.new, found);
        }
        found.push(longest);
        let (old_end, new_end) = (longest.old + longest.size, longest.new + longest.size);
        if old_end < old.end && new_end < new.end {
            self.collect(old_end..old.end, new_end..new.end, found);
        }
    }

    fn longest(&self, old: Range<usize>, new: Range<usize>) -> Block {
        let mut best = Block { old: old.start, new: new.start, size: 0 };
        let mut lengths: HashMap<usize, usize> = HashMap::new();
        for i in old.clone() {
            let mut next = HashMap::new();
            for &j in self.positions.get(self.old[i]).into_iter().flatten() {
                if j < new.start {
                    continue;
                }
                if j >= new.end {
                    break;
                }
                let size = j.checked_sub(1).and_then(|before| lengths.get(&before)).copied().unwrap_or(0) + 1;
                next.insert(j, size);
                if size > best.size {
                    best = Block { old: i + 1 - size, new: j + 1 - size, size };
                }
            }
            lengths = next;
        }
        self.widen(best, &old, &new)
    }

    /// Lets a match grow over popular lines next to it.
    fn widen(&self, mut block: Block, old: &Range<usize>, new: &Range<usize>) -> Block {
        while block.old > old.start
            && block.new > new.start
            && self.old[block.old - 1] == self.new[block.new - 1]
        {
            block = Block { old: block.old - 1, new: block.new - 1, size: block.size + 1 };
        }
        while block.old + block.size < old.end
            && block.new + block.size < new.end
            && self.old[block.old + block.size] == self.new[block.new + block.size]
        {
            block.size += 1;
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_carry_three_lines_of_context() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh";
        let new = "a\nb\nc\nd\nE\nf\ng\nh";
        assert_eq!(unified(old, new), "@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+E\n f\n g\n h\n");
        assert_eq!(unified(old, old), "");
    }

    #[test]
    fn distant_changes_make_two_hunks() {
        let old: Vec<String> = (0..20).map(|line| line.to_string()).collect();
        let mut new = old.clone();
        new[1] = "x".to_owned();
        new.insert(15, "y".to_owned());
        let text = unified(&old.join("\n"), &new.join("\n"));
        assert_eq!(
            text,
            "@@ -1,5 +1,5 @@\n 0\n-1\n+x\n 2\n 3\n 4\n@@ -13,6 +13,7 @@\n 12\n 13\n 14\n+y\n 15\n 16\n 17\n"
        );
    }
}
