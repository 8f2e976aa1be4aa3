//! Complaints in document order.
//!
//! Runs only when there is something to complain about. Reads the text a second time along the schema, where the order of
//! keys and the spelling of numbers are still there.

use super::conform::{Conformer, PROBLEMS_MAX, Position};
use super::scan::{Scanner, Step};
use super::{DecodeError, TypeError, duplicate_field, unknown_field};
use crate::node::{Schema, Shape};

/// Unknown and duplicate fields as Go lists them, or the type error that Go reports first.
pub(super) fn strict(schema: &Schema, bytes: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut walk = Walk { scanner: Scanner::new(bytes), complaints: Vec::new(), first: None };
    match walk.value(schema, None) {
        Err(stop) => Err(stop),
        Ok(()) => match walk.first {
            Some(error) => Err(error.into()),
            None => Ok(walk.complaints),
        },
    }
}

struct Walk<'a> {
    scanner: Scanner<'a>,
    complaints: Vec<String>,
    first: Option<TypeError>,
}

impl Walk<'_> {
    fn value(&mut self, schema: &Schema, at: Option<&Position<'_>>) -> Result<(), DecodeError> {
        match (&schema.shape, self.scanner.peek()) {
            (Shape::Any | Shape::Embedded, _) => self.skip(),
            (Shape::Struct(_) | Shape::Map(_), b'{') => self.object(schema, at),
            (Shape::List(list), b'[') => self.items(&list.item, at),
            (Shape::Either { object, .. }, b'{') => self.value(object, at),
            (Shape::Either { other, .. }, _) => self.value(other, at),
            _ => self.leaf(schema, at),
        }
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        self.scanner.value(None).map(drop).map_err(DecodeError::Syntax)
    }

    fn object(&mut self, schema: &Schema, at: Option<&Position<'_>>) -> Result<(), DecodeError> {
        self.scanner.advance();
        let mut seen = std::collections::BTreeSet::new();
        while self.scanner.peek() != b'}' {
            let key = self.scanner.key().map_err(DecodeError::Syntax)?;
            let owner = matches!(schema.shape, Shape::Struct(_)).then_some(schema);
            let here = Position { parent: at, step: Step::Key(&key), owner };
            let child = match &schema.shape {
                Shape::Struct(inner) => inner.field(&key).map(|field| &*field.child),
                Shape::Map(map) => Some(&*map.value),
                _ => None,
            };
            let preserved = schema.as_struct().is_some_and(|inner| inner.preserve_unknown);
            if child.is_none() && !preserved {
                self.complain(unknown_field(&here.path()));
            } else if seen.contains(&key) {
                self.complain(duplicate_field(&here.path()));
            }
            match child {
                Some(child) => self.value(child, Some(&here))?,
                None => self.skip()?,
            }
            seen.insert(key);
            if self.scanner.peek() == b',' {
                self.scanner.advance();
            }
        }
        self.scanner.advance();
        Ok(())
    }

    fn items(&mut self, item: &Schema, at: Option<&Position<'_>>) -> Result<(), DecodeError> {
        self.scanner.advance();
        let mut index = 0;
        while self.scanner.peek() != b']' {
            self.value(item, Some(&Position { parent: at, step: Step::Index(index), owner: None }))?;
            index += 1;
            if self.scanner.peek() == b',' {
                self.scanner.advance();
            }
        }
        self.scanner.advance();
        Ok(())
    }

    fn leaf(&mut self, schema: &Schema, at: Option<&Position<'_>>) -> Result<(), DecodeError> {
        let numeric = matches!(self.scanner.peek(), b'-' | b'0'..=b'9');
        let (mut tree, text) = if numeric {
            let text = self.scanner.scalar_text();
            (super::scan::number(text, !text.contains(['.', 'e', 'E'])), Some(text))
        } else {
            (self.scanner.value(None).map_err(DecodeError::Syntax)?, None)
        };
        let mut conformer = Conformer::default();
        conformer.value(schema, &mut tree, at);
        match conformer.error {
            None => Ok(()),
            // A hand encoded value stops the decoder on the spot.
            Some(stop @ TypeError::Value(_)) => Err(stop.into()),
            Some(error) => {
                self.first.get_or_insert_with(|| spelled(error, text));
                Ok(())
            }
        }
    }

    fn complain(&mut self, complaint: String) {
        if self.complaints.len() < PROBLEMS_MAX && !self.complaints.contains(&complaint) {
            self.complaints.push(complaint);
        }
    }
}

/// Puts a number back as it was written.
fn spelled(error: TypeError, text: Option<&str>) -> TypeError {
    match (error, text) {
        (TypeError::Mismatch { value, place, go, kinds }, Some(text)) if value.starts_with("number ") => {
            TypeError::Mismatch { value: format!("number {text}"), place, go, kinds }
        }
        (error, _) => error,
    }
}
