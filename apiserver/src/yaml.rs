//! JSON trees as YAML documents in the style of upstream's encoder: sorted
//! keys, two-space indents, lists level with their key, plain scalars where
//! they stay strings, folding at 80 columns. Writes only; reading is schema's.

use schema::Tree;

/// Columns after which a plain or quoted text is folded at a blank.
const WIDTH: usize = 80;

/// Writes one document.
pub fn encode(tree: &Tree) -> String {
    let mut out = String::new();
    match tree {
        Tree::Object(map) if !map.is_empty() => write_map(&mut out, map, 0),
        Tree::Array(list) if !list.is_empty() => write_list(&mut out, list, 0),
        scalar => {
            write_scalar(&mut out, scalar, 0);
            out.push('\n');
        }
    }
    out
}

fn write_map(out: &mut String, map: &serde_json::Map<String, Tree>, indent: usize) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|a, b| key_order(a.0, b.0));
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            push_indent(out, indent);
        }
        write_text(out, key, indent, true);
        out.push(':');
        write_value(out, value, indent);
    }
}

fn write_value(out: &mut String, value: &Tree, indent: usize) {
    match value {
        Tree::Object(map) if !map.is_empty() => {
            out.push('\n');
            push_indent(out, indent + 2);
            write_map(out, map, indent + 2);
        }
        Tree::Array(list) if !list.is_empty() => {
            out.push('\n');
            push_indent(out, indent);
            write_list(out, list, indent);
        }
        scalar => {
            out.push(' ');
            write_scalar(out, scalar, indent);
            out.push('\n');
        }
    }
}

fn write_list(out: &mut String, list: &[Tree], indent: usize) {
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            push_indent(out, indent);
        }
        out.push_str("- ");
        match item {
            Tree::Object(map) if !map.is_empty() => write_map(out, map, indent + 2),
            Tree::Array(inner) if !inner.is_empty() => write_list(out, inner, indent + 2),
            scalar => {
                write_scalar(out, scalar, indent);
                out.push('\n');
            }
        }
    }
}

fn push_indent(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn write_scalar(out: &mut String, scalar: &Tree, indent: usize) {
    match scalar {
        Tree::String(text) => write_text(out, text, indent, false),
        Tree::Null => out.push_str("null"),
        Tree::Object(_) => out.push_str("{}"),
        Tree::Array(_) => out.push_str("[]"),
        other => out.push_str(&other.to_string()),
    }
}

fn write_text(out: &mut String, text: &str, indent: usize, is_key: bool) {
    if !is_key
        && text.contains('\n')
        && text.chars().all(|c| c == '\n' || c == '\t' || is_printable(c))
        && !text.starts_with([' ', '\n'])
    {
        return write_literal(out, text, indent);
    }
    if text.chars().any(|c| !is_printable(c)) {
        return write_double_quoted(out, text);
    }
    if is_plain(text) {
        return fold(out, text, indent + 2, is_key);
    }
    if is_ambiguous(text) {
        return write_double_quoted(out, text);
    }
    out.push('\'');
    fold(out, &text.replace('\'', "''"), indent + 2, is_key);
    out.push('\'');
}

fn write_literal(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    if !text.ends_with('\n') {
        out.push('-');
    } else if text.ends_with("\n\n") {
        out.push('+');
    }
    let body = text.strip_suffix('\n').unwrap_or(text);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            push_indent(out, indent + 2);
            out.push_str(line);
        }
    }
}

/// Breaks at single blanks once the line is long enough.
fn fold(out: &mut String, text: &str, indent: usize, is_key: bool) {
    let start = out.rfind('\n').map_or(0, |at| at + 1);
    let mut column = out[start..].chars().count();
    let chars: Vec<char> = text.chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        let lonely =
            c == ' ' && at > 0 && at + 1 < chars.len() && chars[at + 1] != ' ' && chars[at - 1] != ' ';
        if !is_key && lonely && column > WIDTH {
            out.push('\n');
            push_indent(out, indent);
            column = indent;
        } else {
            out.push(c);
            column += 1;
        }
    }
}

fn write_double_quoted(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            c if is_printable(c) => out.push(c),
            c if (c as u32) <= 0xff => write!(out, "\\x{:02X}", c as u32).expect("strings take every write"),
            c if (c as u32) <= 0xffff => {
                write!(out, "\\u{:04X}", c as u32).expect("strings take every write")
            }
            c => write!(out, "\\U{:08X}", c as u32).expect("strings take every write"),
        }
    }
    out.push('"');
}

fn is_printable(c: char) -> bool {
    !(c.is_control() || c == '\u{feff}' || ('\u{2028}'..='\u{2029}').contains(&c))
}

/// Texts that another YAML reader would take for something else than a string.
fn is_ambiguous(text: &str) -> bool {
    const WORDS: [&str; 12] = ["", "~", "null", "true", "false", "y", "n", "yes", "no", "on", "off", "<<"];
    let lower = text.to_ascii_lowercase();
    WORDS.contains(&lower.as_str()) || looks_numeric(text) || looks_like_time(text)
}

fn looks_numeric(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text).replace('_', "");
    let radix = |prefix: &str, ok: fn(char) -> bool| {
        body.strip_prefix(prefix).is_some_and(|digits| !digits.is_empty() && digits.chars().all(ok))
    };
    if radix("0x", |c| c.is_ascii_hexdigit())
        || radix("0b", |c| matches!(c, '0' | '1'))
        || radix("0o", |c| c.is_digit(8))
    {
        return true;
    }
    if matches!(body.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return true;
    }
    let starts = body.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    starts && body.chars().any(|c| c.is_ascii_digit()) && body.parse::<f64>().is_ok()
}

fn looks_like_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 8
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[5].is_ascii_digit()
}

/// Whether a text may stand without quotes in block context.
fn is_plain(text: &str) -> bool {
    if is_ambiguous(text) || text.starts_with(' ') || text.ends_with(' ') {
        return false;
    }
    let mut chars = text.chars();
    let first = chars.next().expect("empty is ambiguous");
    if matches!(
        first,
        '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
    ) {
        return false;
    }
    let second = chars.next();
    if matches!(first, '-' | '?' | ':') && second.is_none_or(|c| c == ' ') {
        return false;
    }
    let unsafe_pair = text.contains(": ") || text.contains(" #") || text.ends_with(':');
    !unsafe_pair && !text.starts_with("---") && !text.starts_with("...")
}

/// Natural order of keys: digits by value, letters after other signs.
fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    let (a_chars, b_chars): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut digits = false;
    for at in 0..a_chars.len().min(b_chars.len()) {
        let (x, y) = (a_chars[at], b_chars[at]);
        if x == y {
            digits = x.is_ascii_digit();
            continue;
        }
        let (x_letter, y_letter) = (x.is_alphabetic(), y.is_alphabetic());
        if x_letter && y_letter {
            return x.cmp(&y);
        }
        if x_letter || y_letter {
            return if digits == x_letter { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater };
        }
        let number =
            |chars: &[char]| chars[at..].iter().take_while(|c| c.is_ascii_digit()).collect::<String>();
        let (p, q) = (number(&a_chars), number(&b_chars));
        let by_value = p.parse::<u64>().unwrap_or(0).cmp(&q.parse::<u64>().unwrap_or(0));
        return by_value.then(p.len().cmp(&q.len())).then(x.cmp(&y));
    }
    a_chars.len().cmp(&b_chars.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_reads_as_upstreams() {
        let tree = json!({"kind": "Status", "metadata": {}, "code": 404, "message": "configmaps \"nope\" not found", "details": {"name": "nope"}});
        assert_eq!(
            encode(&tree),
            "code: 404\ndetails:\n  name: nope\nkind: Status\nmessage: configmaps \"nope\" not found\nmetadata: {}\n"
        );
    }

    #[test]
    fn scalars_that_could_be_something_else_are_quoted() {
        let tree = json!({"a": "true", "b": "1", "c": "x: y", "d": ["p", {"q": null}], "e": "l1\nl2\n"});
        assert_eq!(encode(&tree), "a: \"true\"\nb: \"1\"\nc: 'x: y'\nd:\n- p\n- q: null\ne: |\n  l1\n  l2\n");
    }
}
