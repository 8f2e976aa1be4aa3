//! How Go prints a value: `%q` for strings, `encoding/json` for everything else. Every room's error texts are written with
//! these; reading is `decode`'s.

use std::fmt::Write;

use serde_json::Value;

/// Go's `%q`: a double-quoted string with Go escapes.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            printable if is_printable(printable) => quoted.push(printable),
            other => escape(&mut quoted, other),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether Go prints the character as it is.
pub fn is_printable(character: char) -> bool {
    // Standing after a letter, a combining mark is not escaped for being one; what is escaped then is not printable.
    let mut pair = String::from("a");
    pair.push(character);
    character == '\'' || pair.escape_debug().count() == 2
}

fn escape(quoted: &mut String, character: char) {
    let code = u32::from(character);
    let written = match code {
        0..0x80 => write!(quoted, "\\x{code:02x}"),
        0x80..0x10000 => write!(quoted, "\\u{code:04x}"),
        _ => write!(quoted, "\\U{code:08x}"),
    };
    written.expect("writing to a String cannot fail");
}

/// Go's `json.Marshal`: no blanks, and `<`, `>`, `&` escaped.
pub fn json(value: &Value) -> String {
    let plain = value.to_string();
    if !plain.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return plain;
    }
    // These characters occur only inside strings, so replacing them textually is safe.
    plain
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_follows_go() {
        for (text, quoted) in [
            ("plain", r#""plain""#),
            ("it's", r#""it's""#),
            ("a\u{0}\u{7f}", r#""a\x00\x7f""#),
            ("käse e\u{301} 🚀", "\"käse e\u{301} 🚀\""),
            ("\u{a0}\u{200b}", r#""\u00a0\u200b""#),
        ] {
            assert_eq!(quote(text), quoted);
        }
    }
}
