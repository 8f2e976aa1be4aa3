//! A JSON reader that says what Go's says.
//!
//! Produces a tree in one pass. Syntax errors carry the text of Go's scanner, strings are repaired as Go repairs them
//! (lone surrogates and bytes that are not UTF-8 become U+FFFD), and duplicate keys are reported with their path; the last
//! one counts.

use std::fmt::Write;

use crate::{Object, Tree};

/// How deep values may nest. Go allows 10,000; every function over a tree recurses, so the bound is what a thread's stack
/// holds in a debug build.
const DEPTH_MAX: usize = 1_000;

/// Reads one JSON text; nothing may follow it but blanks.
pub(super) fn read(bytes: &[u8]) -> Result<(Tree, Vec<String>), String> {
    let mut scanner = Scanner::new(bytes);
    let tree = scanner.value(None)?;
    scanner.end()?;
    Ok((tree, scanner.duplicates))
}

/// Where a value stands, from the inside out; written only when a path has to be printed.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) parent: Option<&'a Place<'a>>,
    pub(super) step: Step<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl Place<'_> {
    /// `spec.containers[0].image`.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        self.write(&mut path);
        path
    }

    fn write(&self, path: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(path);
        }
        match self.step {
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Step::Index(index) => write!(path, "[{index}]").expect("a string takes any text"),
        }
    }
}

/// A reader's position in the text.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    duplicates: Vec<String>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0, duplicates: Vec::new() }
    }

    /// The next byte that is not a blank, not consumed; 0 at the end.
    pub(super) fn peek(&mut self) -> u8 {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return *byte;
            }
            self.at += 1;
        }
        0
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    /// The text of the scalar that starts here, consumed.
    pub(super) fn scalar_text(&mut self) -> &'a str {
        self.peek();
        let start = self.at;
        let end = self.bytes[start..]
            .iter()
            .position(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n'));
        self.at = end.map_or(self.bytes.len(), |length| start + length);
        std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or("")
    }

    fn end(&mut self) -> Result<(), String> {
        self.peek();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.unexpected("after top-level value")) }
    }

    pub(super) fn value(&mut self, place: Option<&Place<'_>>) -> Result<Tree, String> {
        match self.peek() {
            b'{' => self.object(place),
            b'[' => self.array(place),
            b'"' => self.string().map(Tree::String),
            b't' => self.literal("true", Tree::Bool(true)),
            b'f' => self.literal("false", Tree::Bool(false)),
            b'n' => self.literal("null", Tree::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn deeper(&mut self) -> Result<(), String> {
        if self.depth == DEPTH_MAX {
            return Err(self.unexpected("exceeded max depth"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn object(&mut self, place: Option<&Place<'_>>) -> Result<Tree, String> {
        self.deeper()?;
        let mut object = Object::new();
        if self.peek() != b'}' {
            loop {
                let key = self.key()?;
                let value = self.value(Some(&Place { parent: place, step: Step::Key(&key) }))?;
                match object.entry(key) {
                    serde_json::map::Entry::Vacant(entry) => {
                        entry.insert(value);
                    }
                    serde_json::map::Entry::Occupied(mut entry) => {
                        self.duplicates.push(Place { parent: place, step: Step::Key(entry.key()) }.path());
                        entry.insert(value);
                    }
                }
                match self.peek() {
                    b',' => self.at += 1,
                    b'}' => break,
                    _ => return Err(self.unexpected("after object key:value pair")),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(Tree::Object(object))
    }

    /// A key and its colon, consumed.
    pub(super) fn key(&mut self) -> Result<String, String> {
        if self.peek() != b'"' {
            return Err(self.unexpected("looking for beginning of object key string"));
        }
        let key = self.string()?;
        if self.peek() != b':' {
            return Err(self.unexpected("after object key"));
        }
        self.at += 1;
        Ok(key)
    }

    fn array(&mut self, place: Option<&Place<'_>>) -> Result<Tree, String> {
        self.deeper()?;
        let mut items = Vec::new();
        if self.peek() != b']' {
            loop {
                items.push(self.value(Some(&Place { parent: place, step: Step::Index(items.len()) }))?);
                match self.peek() {
                    b',' => self.at += 1,
                    b']' => break,
                    _ => return Err(self.unexpected("after array element")),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(Tree::Array(items))
    }

    fn literal(&mut self, text: &str, tree: Tree) -> Result<Tree, String> {
        for expected in text.bytes() {
            if self.bytes.get(self.at) != Some(&expected) {
                return Err(self.unexpected(&format!("in literal {text} (expecting {})", quoted(expected))));
            }
            self.at += 1;
        }
        Ok(tree)
    }

    fn number(&mut self) -> Result<Tree, String> {
        let start = self.at;
        if self.byte() == b'-' {
            self.at += 1;
        }
        match self.byte() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        let mut whole = true;
        if self.byte() == b'.' {
            whole = false;
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.byte(), b'e' | b'E') {
            whole = false;
            self.at += 1;
            if matches!(self.byte(), b'+' | b'-') {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]).expect("digits and signs are ASCII");
        Ok(number(text, whole))
    }

    fn byte(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn digits(&mut self) {
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
    }

    fn some_digits(&mut self, context: &str) -> Result<(), String> {
        if !self.byte().is_ascii_digit() {
            return Err(self.unexpected(context));
        }
        self.digits();
        Ok(())
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let start = self.at;
        let plain = self.bytes[start..].iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20);
        self.at = plain.map_or(self.bytes.len(), |length| start + length);
        if self.byte() == b'"' {
            let text = &self.bytes[start..self.at];
            self.at += 1;
            return Ok(match std::str::from_utf8(text) {
                Ok(text) => text.to_owned(),
                Err(_) => repaired(text),
            });
        }
        let mut text = self.bytes[start..self.at].to_vec();
        self.rest_of_string(&mut text)?;
        Ok(String::from_utf8(text).unwrap_or_else(|error| repaired(error.as_bytes())))
    }

    fn rest_of_string(&mut self, text: &mut Vec<u8>) -> Result<(), String> {
        loop {
            match self.byte() {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape(text)?,
                byte if byte >= 0x20 => {
                    text.push(byte);
                    self.at += 1;
                }
                _ => return Err(self.unexpected("in string literal")),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), String> {
        self.at += 1;
        let plain = match self.byte() {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.at += 1;
                let character = self.unicode_escape()?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        text.push(plain);
        self.at += 1;
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<char, String> {
        let first = self.hexadecimal()?;
        if let Some(character) = char::from_u32(first) {
            return Ok(character);
        }
        if first < 0xdc00 && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hexadecimal()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            // Not the other half: it is read again as a character of its own.
            self.at = back;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hexadecimal(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = char::from(self.byte()).to_digit(16) else {
                return Err(self.unexpected("in \\u hexadecimal character escape"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn unexpected(&self, context: &str) -> String {
        match self.bytes.get(self.at) {
            None => "unexpected end of JSON input".to_owned(),
            Some(&byte) => format!("invalid character {} {context}", quoted(byte)),
        }
    }
}

/// Whole numbers stay exact as far as 64 bits go; everything else is a double.
pub(super) fn number(text: &str, whole: bool) -> Tree {
    if whole {
        if let Ok(number) = text.parse::<i64>() {
            return number.into();
        }
        if let Ok(number) = text.parse::<u64>() {
            return number.into();
        }
    }
    let double: f64 = text.parse().expect("the scanner accepts only numbers");
    serde_json::Number::from_f64(double)
        .or_else(|| serde_json::Number::from_f64(f64::MAX))
        .map_or(Tree::Null, Tree::Number)
}

fn repaired(text: &[u8]) -> String {
    // Go replaces every offending byte by itself, where the standard library replaces a whole truncated sequence at once.
    let mut out = String::with_capacity(text.len() + 8);
    for chunk in text.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    out
}

/// A byte as Go's scanner quotes it: as the character with that number.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => format!("'{}'", crate::go::quote(&char::from(byte).to_string()).trim_matches('"')),
    }
}
