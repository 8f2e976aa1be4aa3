//! Where the last lines of a file begin.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::line;

/// How much is read at once, backwards.
const BLOCK: u64 = 4096;

/// The offset from which `file` holds `lines` lines. A last line without line feed counts.
pub fn offset(file: &mut File, lines: usize) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let mut found = 0;
    let mut at = end;
    let mut block = vec![0; BLOCK as usize];
    while at > 0 {
        let start = at.saturating_sub(BLOCK);
        let read = usize::try_from(at - start).expect("at most one block");
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block[..read])?;
        for index in (0..read).rev() {
            let position = start + index as u64;
            // The line feed that ends the file begins no line.
            if block[index] == b'\n' && position + 1 != end {
                found += 1;
                if found == lines {
                    return Ok(position + 1);
                }
            }
        }
        at = start;
    }
    Ok(0)
}

/// The text of the last lines of a log, at most `max` bytes of it; empty when it cannot be read.
pub fn last_lines(path: &Path, lines: usize, max: usize) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let start = offset(&mut file, lines)?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let mut text = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n').filter_map(line::parse) {
        text.extend_from_slice(line.text);
        if !line.partial {
            text.push(b'\n');
        }
    }
    let start = text.len().saturating_sub(max);
    String::from_utf8_lossy(&text[start..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    #[test]
    fn offsets() {
        let cases = [
            ("a\nb\nc\n", 1, 4),
            ("a\nb\nc\n", 2, 2),
            ("a\nb\nc\n", 9, 0),
            ("a\nb\nc", 1, 4),
            ("a\nb\n", 0, 4),
            ("", 3, 0),
            ("\n\n", 1, 1),
        ];
        for (text, lines, expected) in cases {
            assert_eq!(offset(&mut file(text), lines).expect("readable"), expected, "{text:?} {lines}");
        }
    }

    #[test]
    fn lines_longer_than_a_block() {
        let text = format!("first\n{}\n{}\n", "x".repeat(9000), "y".repeat(5000));
        assert_eq!(offset(&mut file(&text), 2).expect("readable"), 6);
        assert_eq!(offset(&mut file(&text), 1).expect("readable"), 9007);
    }
}
