//! YAML as upstream reads it: version 1.1 scalars, string keys, one document, errors in the words of Go's parser.
//!
//! A bare `y` is a boolean, `0777` is octal, timestamps stay text, and a key that is a number or a boolean becomes its text.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::{Object, Tree};

/// Values that aliases may add to a document; a handful of lines can otherwise stand for gigabytes.
const ALIASED_VALUES_MAX: usize = 200_000;
/// How deep values may nest, as for JSON.
const DEPTH_MAX: usize = 1_000;

/// Reads the first document. Beside the tree comes at most one complaint about duplicate keys.
pub(super) fn read(bytes: &[u8]) -> Result<(Tree, Vec<String>), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "yaml: invalid leading UTF-8 octet".to_owned())?;
    let mut options = Options::default();
    // Another crate of the build may have the parser report comments, up to a number of them.
    options.set_emit_comments(false);
    let mut reader = Reader {
        parser: Parser::new_from_str_with_options(text.strip_prefix('\u{feff}').unwrap_or(text), options),
        anchors: HashMap::new(),
        aliased: 0,
        depth: 0,
        duplicates: Vec::new(),
    };
    let tree = reader.document()?;
    let complaint = format!("yaml: unmarshal errors:\n{}", reader.duplicates.join("\n"));
    Ok((tree, if reader.duplicates.is_empty() { Vec::new() } else { vec![complaint] }))
}

struct Reader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Tree>,
    aliased: usize,
    depth: usize,
    duplicates: Vec<String>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), String> {
        loop {
            match self.parser.next_event() {
                None => return Ok((Event::StreamEnd, Span::empty(Marker::new(0, 1, 0)))),
                Some(Err(error)) => return Err(said_by_go(&error)),
                Some(Ok((Event::StreamStart | Event::DocumentStart(..) | Event::Anchor(..), _))) => {}
                Some(Ok(event)) => return Ok(event),
            }
        }
    }

    fn document(&mut self) -> Result<Tree, String> {
        match self.next()? {
            (Event::StreamEnd | Event::DocumentEnd, _) => Ok(Tree::Null),
            (event, _) => self.value(event),
        }
    }

    fn value(&mut self, event: Event<'a>) -> Result<Tree, String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                Ok(self.anchored(anchor, scalar(&text, style, tag.as_deref())))
            }
            Event::Alias(anchor) => self.alias(anchor),
            Event::SequenceStart(_, anchor, _) => {
                self.deeper()?;
                let items = self.sequence()?;
                self.depth -= 1;
                Ok(self.anchored(anchor, items))
            }
            Event::MappingStart(_, anchor, _) => {
                self.deeper()?;
                let object = self.mapping()?;
                self.depth -= 1;
                Ok(self.anchored(anchor, object))
            }
            _ => Err("yaml: did not find expected node content".to_owned()),
        }
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(format!("yaml: exceeded max depth of {DEPTH_MAX}")) } else { Ok(()) }
    }

    fn anchored(&mut self, anchor: usize, tree: Tree) -> Tree {
        if anchor != 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        tree
    }

    fn alias(&mut self, anchor: usize) -> Result<Tree, String> {
        let tree =
            self.anchors.get(&anchor).ok_or_else(|| "yaml: anchor value contains itself".to_owned())?;
        self.aliased += count(tree);
        if self.aliased > ALIASED_VALUES_MAX {
            return Err("yaml: document contains excessive aliasing".to_owned());
        }
        Ok(tree.clone())
    }

    fn sequence(&mut self) -> Result<Tree, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Tree::Array(items)),
                (event, _) => items.push(self.value(event)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<Tree, String> {
        let mut object = Object::new();
        let mut merged = Object::new();
        loop {
            let (event, _) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.value(event)?;
            let (event, span) = self.next()?;
            let value = self.value(event)?;
            if merge {
                merge_into(&mut merged, value)?;
                continue;
            }
            let key = key_text(key)?;
            if object.contains_key(&key) {
                let line = span.start.line();
                self.duplicates
                    .push(format!("  line {line}: key {} already set in map", crate::go::quote(&key)));
            }
            object.insert(key, value);
        }
        for (key, value) in merged {
            object.entry(key).or_insert(value);
        }
        Ok(Tree::Object(object))
    }
}

fn merge_into(merged: &mut Object, value: Tree) -> Result<(), String> {
    match value {
        Tree::Object(object) => {
            for (key, value) in object {
                merged.entry(key).or_insert(value);
            }
            Ok(())
        }
        Tree::Array(items) => items.into_iter().try_for_each(|item| match item {
            item @ Tree::Object(_) => merge_into(merged, item),
            _ => Err("yaml: map merge requires map or sequence of maps as the value".to_owned()),
        }),
        _ => Err("yaml: map merge requires map or sequence of maps as the value".to_owned()),
    }
}

fn key_text(key: Tree) -> Result<String, String> {
    match key {
        Tree::String(text) => Ok(text),
        Tree::Number(number) => Ok(number.to_string()),
        Tree::Bool(flag) => Ok(flag.to_string()),
        Tree::Null => Ok("null".to_owned()),
        Tree::Array(_) | Tree::Object(_) => Err("yaml: invalid map key".to_owned()),
    }
}

fn count(tree: &Tree) -> usize {
    match tree {
        Tree::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Tree::Object(object) => 1 + object.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Tree {
    let tagged = tag.and_then(Tag::core_suffix);
    match tagged {
        Some("str") => Tree::String(text.to_owned()),
        Some(_) => plain(text),
        None if style == ScalarStyle::Plain => plain(text),
        None => Tree::String(text.to_owned()),
    }
}

/// Resolves a bare scalar by the rules of YAML 1.1.
fn plain(text: &str) -> Tree {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Tree::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Tree::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Tree::Bool(false);
        }
        _ => {}
    }
    let first = text.as_bytes()[0];
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return Tree::String(text.to_owned());
    }
    number(text).unwrap_or_else(|| Tree::String(text.to_owned()))
}

fn number(text: &str) -> Option<Tree> {
    let bare = text.replace('_', "");
    if let Some(tree) = integer(&bare) {
        return Some(tree);
    }
    is_float(&bare).then(|| bare.parse::<f64>().ok()).flatten().map(Tree::from)
}

fn integer(text: &str) -> Option<Tree> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    let value = u64::from_str_radix(digits, radix).ok()?;
    if !negative {
        return Some(i64::try_from(value).map_or_else(|_| value.into(), Tree::from));
    }
    let value = -i128::from(value);
    i64::try_from(value).ok().map(Tree::from)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (rest, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_fits = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    mantissa_fits && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

/// Go's words for a syntax error. Its line numbers count from one, but the first line is never named.
fn said_by_go(error: &ScanError) -> String {
    let text = match error.kind() {
        ErrorKind::InvalidIndentation | ErrorKind::MappingValueNotAllowed => {
            "mapping values are not allowed in this context".to_owned()
        }
        _ => {
            let info = error.info();
            if info.contains("tab") { "found character that cannot start any token".to_owned() } else { info }
        }
    };
    match error.marker().line() {
        0 | 1 => format!("yaml: {text}"),
        line => format!("yaml: line {line}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn comments_are_nothing() {
        let text = format!("{}a: 1 # one\n# two\nb: 2\n", "# licence\n".repeat(200));
        assert_eq!(read(text.as_bytes()), Ok((json!({"a": 1, "b": 2}), Vec::new())));
    }

    #[test]
    fn scalars_follow_version_1_1() {
        let check = |text: &str, expected: Tree| {
            assert_eq!(read(text.as_bytes()).map(|(tree, _)| tree), Ok(json!({ "a": expected })), "{text}");
        };
        check("a: y", json!(true));
        check("a: off", json!(false));
        check("a: 'y'", json!("y"));
        check("a: !!str y", json!("y"));
        check("a: 0777", json!(511));
        check("a: 0x1f", json!(31));
        check("a: 1_000", json!(1000));
        check("a: 1.5", json!(1.5));
        check("a: 1e3", json!(1000.0));
        check("a: 1.2.3", json!("1.2.3"));
        check("a: 2025-01-31", json!("2025-01-31"));
        check("a: ~", json!(null));
        check("a:", json!(null));
        check("a: +", json!("+"));
        check("a: [1, {b: no}]", json!([1, {"b": false}]));
        check("a: |\n  x\n  y\n", json!("x\ny\n"));
    }

    #[test]
    fn anchors_merge_keys_and_other_keys() {
        let check = |text: &str, expected: Tree| {
            assert_eq!(read(text.as_bytes()).map(|(tree, _)| tree), Ok(expected), "{text}")
        };
        check("a: &x {b: 1}\nc: *x\n", json!({"a": {"b": 1}, "c": {"b": 1}}));
        check(
            "a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n",
            json!({"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        );
        check("1: a\ntrue: b\n", json!({"1": "a", "true": "b"}));
        check("", json!(null));
        check("a: 1\n---\nb: 2\n", json!({"a": 1}));
    }

    #[test]
    fn errors_and_duplicates_name_their_line() {
        let check = |text: &str, expected: &str| {
            let got =
                read(text.as_bytes()).map_or_else(|error| error, |(_, complaints)| complaints.join(";"));
            assert_eq!(got, expected, "{text:?}");
        };
        check("a: b\n  c: [\n", "yaml: line 2: mapping values are not allowed in this context");
        check("metadata:\n\tname: y\n", "yaml: line 2: found character that cannot start any token");
        check("a:\n  k: 1\n  k: 2\n", "yaml: unmarshal errors:\n  line 3: key \"k\" already set in map");
    }
}
