//! PEM blocks as Go's decoder finds them: what is broken or stands between blocks is skipped.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// One block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// What stands in its first line.
    pub(super) label: String,
    /// Whether it has `Name: value` lines before its content.
    pub(super) has_headers: bool,
    /// The content.
    pub(super) bytes: Vec<u8>,
}

/// The blocks of a text, in order.
pub(super) fn blocks(text: &[u8]) -> Vec<Block> {
    let text = String::from_utf8_lossy(text);
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(label) = between(line, "-----BEGIN ") else { continue };
        let rest = lines.clone();
        let end = format!("-----END {label}-----");
        let body: Vec<&str> = rest.take_while(|line| line.trim_end() != end).collect();
        if lines.clone().nth(body.len()).is_none() {
            continue;
        }
        if let Some(block) = block(label, &body) {
            blocks.push(block);
            lines.nth(body.len());
        }
    }
    blocks
}

fn between<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    line.trim_end().strip_prefix(begin)?.strip_suffix("-----")
}

fn block(label: &str, body: &[&str]) -> Option<Block> {
    let headers = body.iter().take_while(|line| line.contains(':')).count();
    let content: String = body[headers..].iter().flat_map(|line| line.split_whitespace()).collect();
    let bytes = LENIENT.decode(content).ok()?;
    Some(Block { label: label.to_owned(), has_headers: headers > 0, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_is_skipped() {
        let text = "noise\n-----BEGIN A-----\n?\n-----END A-----\n-----BEGIN B-----\nX: y\n\nAAEC\n-----END B-----\n-----BEGIN C-----\nAAEC\n";
        let found = blocks(text.as_bytes());
        assert_eq!(found, [Block { label: "B".to_owned(), has_headers: true, bytes: vec![0, 1, 2] }]);
        assert!(blocks(b"nope").is_empty());
    }
}
