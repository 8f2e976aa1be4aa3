//! A cursor over JSON that is known to be well formed: stored bytes, or what was just encoded from a tree. It lends out
//! pieces of the text and copies nothing but strings with escapes. It never panics on other input: that is refused.

use std::borrow::Cow;

/// The text is not the JSON it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotJson;

/// A position in the text.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The first byte of the next token, not consumed; 0 at the end.
    pub(super) fn peek(&mut self) -> u8 {
        while let Some(byte) = self.bytes.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return *byte;
            }
            self.at += 1;
        }
        0
    }

    /// Consumes a token of one byte.
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.peek() != byte {
            return Err(NotJson);
        }
        self.at += 1;
        Ok(())
    }

    /// Whether another item or member follows; if not, the closing byte is consumed.
    pub(super) fn more(&mut self, close: u8) -> Result<bool, NotJson> {
        match self.peek() {
            0 => return Err(NotJson),
            b',' => self.at += 1,
            byte if byte == close => {
                self.at += 1;
                return Ok(false);
            }
            _ => {}
        }
        Ok(true)
    }

    /// A member's key and its colon.
    pub(super) fn key(&mut self) -> Result<Cow<'a, [u8]>, NotJson> {
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// A string without its quotes and escapes.
    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>, NotJson> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => return self.escaped(start),
                Some(_) => self.at += 1,
                None => return Err(NotJson),
            }
        }
        self.at += 1;
        Ok(Cow::Borrowed(&self.bytes[start..self.at - 1]))
    }

    /// The rest of a string that has at least one escape.
    fn escaped(&mut self, start: usize) -> Result<Cow<'a, [u8]>, NotJson> {
        let mut text = self.bytes[start..self.at].to_vec();
        loop {
            let byte = *self.bytes.get(self.at).ok_or(NotJson)?;
            self.at += 1;
            match byte {
                b'"' => return Ok(Cow::Owned(text)),
                b'\\' => self.escape(&mut text)?,
                byte => text.push(byte),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), NotJson> {
        let byte = *self.bytes.get(self.at).ok_or(NotJson)?;
        self.at += 1;
        text.push(match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let character = self.unicode()?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(NotJson),
        });
        Ok(())
    }

    fn unicode(&mut self) -> Result<char, NotJson> {
        let first = self.hexadecimal()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if !self.bytes[self.at..].starts_with(b"\\u") {
            return Ok(char::REPLACEMENT_CHARACTER);
        }
        self.at += 2;
        let second = self.hexadecimal()?;
        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
        let code = low.map(|low| 0x10000 + ((first - 0xd800) << 10) + low);
        Ok(code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hexadecimal(&mut self) -> Result<u32, NotJson> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or(NotJson)?;
        self.at += 4;
        digits
            .iter()
            .try_fold(0, |code, digit| Some(code * 16 + char::from(*digit).to_digit(16)?))
            .ok_or(NotJson)
    }

    /// Consumes a value of any form and gives its text as it stands.
    pub(super) fn raw(&mut self) -> Result<&'a [u8], NotJson> {
        self.peek();
        let start = self.at;
        match self.peek() {
            b'"' => self.pass_string()?,
            b'{' | b'[' => self.pass_nested()?,
            _ => {
                let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
                let length = self.bytes[start..].iter().position(is_end);
                self.at = length.map_or(self.bytes.len(), |length| start + length);
                if self.at == start {
                    return Err(NotJson);
                }
            }
        }
        Ok(&self.bytes[start..self.at])
    }

    /// The text of a scalar that is no string.
    pub(super) fn scalar(&mut self) -> Result<&'a str, NotJson> {
        std::str::from_utf8(self.raw()?).map_err(|_| NotJson)
    }

    fn pass_string(&mut self) -> Result<(), NotJson> {
        self.at += 1;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err(NotJson),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn pass_nested(&mut self) -> Result<(), NotJson> {
        let mut depth = 0_usize;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.pass_string()?;
                    continue;
                }
                Some(b'{' | b'[') => depth += 1,
                Some(b'}' | b']') => depth -= 1,
                Some(_) => {}
                None => return Err(NotJson),
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn any_tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Reads a text into a tree, through every way a cursor has.
    fn read(cursor: &mut Cursor<'_>) -> Result<Value, NotJson> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match cursor.peek() {
            b'{' => {
                cursor.expect(b'{')?;
                let mut members = serde_json::Map::new();
                while cursor.more(b'}')? {
                    let key = text(&cursor.key()?);
                    members.insert(key, read(cursor)?);
                }
                Value::Object(members)
            }
            b'[' => {
                cursor.expect(b'[')?;
                let mut items = Vec::new();
                while cursor.more(b']')? {
                    items.push(read(cursor)?);
                }
                Value::Array(items)
            }
            b'"' => Value::String(text(&cursor.string()?)),
            _ => serde_json::from_str(cursor.scalar()?).map_err(|_| NotJson)?,
        })
    }

    proptest! {
        #[test]
        fn a_cursor_reads_what_was_written(tree in any_tree()) {
            for text in [serde_json::to_vec(&tree), serde_json::to_vec_pretty(&tree)] {
                let text = text.expect("trees encode into memory");
                prop_assert_eq!(read(&mut Cursor::new(&text)), Ok(tree.clone()));
                let raw = Cursor::new(&text).raw().map(<[u8]>::to_vec);
                prop_assert_eq!(raw, Ok(text));
            }
        }

        #[test]
        fn anything_else_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&mut Cursor::new(&bytes));
            let _ = Cursor::new(&bytes).raw();
        }

        #[test]
        fn a_text_cut_short_is_refused(tree in any_tree(), cut in 0.0..1.0_f64) {
            let text = serde_json::to_vec(&serde_json::json!([tree])).expect("trees encode into memory");
            let kept = (text.len() as f64 * cut) as usize;
            prop_assert_eq!(Cursor::new(&text[..kept]).raw(), Err(NotJson));
        }
    }

    #[test]
    fn escapes_become_characters() {
        let check = |text: &str, wanted: &str| {
            let read =
                Cursor::new(text.as_bytes()).string().map(|text| String::from_utf8_lossy(&text).into_owned());
            assert_eq!(read, Ok(wanted.to_owned()), "{text}");
        };
        check(r#""a\"\\\/\b\f\n\r\tz""#, "a\"\\/\u{8}\u{c}\n\r\tz");
        check(r#""\u00e9\ud83d\ude00""#, "é😀");
        check(r#""\ud83dx\udc00""#, "\u{fffd}x\u{fffd}");
    }
}
