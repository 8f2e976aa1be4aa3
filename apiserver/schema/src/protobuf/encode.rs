//! From JSON to a message's bytes, as Go's encoder writes them: fields in order of number, numbers, texts and messages that
//! are no pointers also when they are empty.
//!
//! The text is read once, in its own order, and no tree is made of it. Each member is written behind the message as it
//! comes; when all are there, the pieces are put in the order of their numbers:
//!
//! ```text
//! {"kind":…, "metadata":M, "spec":S}   written   M' S'      slots   1: M'  2: S'  3: not set
//!                                      arranged  M' S' and what Go writes for a field 3 that nobody set
//! ```

use serde_json::Value as Tree;
use smallvec::SmallVec;

use super::message::{self, Cardinality, Field, Link, Message, Other, Type};
use super::text::{Cursor, NotJson};
use super::wire::{put_bytes, put_number, put_varint};
use super::{ProtobufError, scalar};

/// Encodes a tree as the message of a definition (`io.k8s.api.core.v1.Pod`). What the message has no field for is left
/// out, kind and apiVersion among it: the envelope holds them.
///
/// # Errors
/// The table has no such message.
pub fn encode(definition: &str, tree: &Tree) -> Result<Vec<u8>, ProtobufError> {
    let encoder = Encoder::of(definition)?;
    let mut out = Vec::new();
    if tree.is_object() {
        let json = serde_json::to_vec(tree).expect("trees encode into memory");
        encoder.encode(&json, &mut out)?;
    }
    Ok(out)
}

/// Encodes JSON as the message of one definition.
#[derive(Debug, Clone, Copy)]
pub struct Encoder(&'static Message);

impl Encoder {
    /// The encoder of a definition.
    ///
    /// # Errors
    /// The table has no such message.
    pub fn of(definition: &str) -> Result<Self, ProtobufError> {
        let message = message::of_definition(definition)
            .ok_or_else(|| ProtobufError::UnknownMessage(definition.to_owned()))?;
        Ok(Self(message))
    }

    /// Appends the message of an object in JSON.
    ///
    /// # Errors
    /// The text is no JSON object. What was appended until then has no meaning.
    pub fn encode(self, json: &[u8], out: &mut Vec<u8>) -> Result<(), ProtobufError> {
        let mut writer = Writer { text: Cursor::new(json), out, arranged: Vec::new() };
        writer.object(self.0).map_err(|NotJson| ProtobufError::Malformed { message: self.0.name })
    }
}

/// Where a member's piece lies in what was written; `None` when the member is absent or null.
type Piece = Option<(usize, usize)>;

struct Writer<'a, 'o> {
    text: Cursor<'a>,
    out: &'o mut Vec<u8>,
    /// Where pieces are put in order. Of one message at a time: those below are done by then.
    arranged: Vec<u8>,
}

impl Writer<'_, '_> {
    fn object(&mut self, message: &'static Message) -> Result<(), NotJson> {
        let begin = self.out.len();
        let members = message.members();
        let mut pieces: SmallVec<[Piece; 24]> = SmallVec::from_elem(None, members.len());
        self.text.expect(b'{')?;
        while self.text.more(b'}')? {
            let key = self.text.key()?;
            let Some(member) = message::find(members, &key).filter(|_| self.text.peek() != b'n') else {
                self.text.raw()?;
                continue;
            };
            let start = self.out.len();
            self.field(member.field)?;
            pieces[member.slot] = Some((start, self.out.len()));
        }
        self.arranged.clear();
        arrange(message, &mut pieces.iter(), self.out, &mut self.arranged);
        self.out.truncate(begin);
        self.out.extend_from_slice(&self.arranged);
        Ok(())
    }

    /// A member that is neither absent nor null. A value of another form than the schema's was refused on its way in; it
    /// is passed over.
    fn field(&mut self, field: &'static Field) -> Result<(), NotJson> {
        match (field.cardinality, self.text.peek()) {
            (Cardinality::One, _) => self.single(field, field.number),
            (Cardinality::List, b'[') => self.items(field, field.number),
            (Cardinality::WrappedList, b'[') => self.wrapped(field, field.number),
            (Cardinality::Map | Cardinality::MapOfWrappedLists, b'{') => self.entries(field),
            _ => self.text.raw().map(drop),
        }
    }

    fn items(&mut self, field: &'static Field, number: u32) -> Result<(), NotJson> {
        self.text.expect(b'[')?;
        while self.text.more(b']')? {
            self.single(field, number)?;
        }
        Ok(())
    }

    fn wrapped(&mut self, field: &'static Field, number: u32) -> Result<(), NotJson> {
        let start = begin(self.out, number);
        self.items(field, 1)?;
        end(self.out, start);
        Ok(())
    }

    fn entries(&mut self, field: &'static Field) -> Result<(), NotJson> {
        self.text.expect(b'{')?;
        while self.text.more(b'}')? {
            let start = begin(self.out, field.number);
            put_bytes(self.out, 1, &self.text.key()?);
            match (field.ty, self.text.peek()) {
                (_, b'[') if field.cardinality == Cardinality::MapOfWrappedLists => self.wrapped(field, 2)?,
                // An entry has a value, a time that was never set among them.
                (Type::Time | Type::MicroTime, b'n') => {
                    self.text.raw()?;
                    put_bytes(self.out, 2, b"");
                }
                _ => self.single(field, 2)?,
            }
            end(self.out, start);
        }
        Ok(())
    }

    fn single(&mut self, field: &'static Field, number: u32) -> Result<(), NotJson> {
        let link = match field.ty {
            Type::Message(link) => link,
            Type::Either(other, link) => return self.either(other, link, number),
            ty => return scalar::encode(self.out, number, ty, &mut self.text),
        };
        self.message(link, number)
    }

    /// A schema, or what stands instead of it.
    fn either(&mut self, other: Other, link: &'static Link, number: u32) -> Result<(), NotJson> {
        let start = begin(self.out, number);
        match (other, self.text.peek()) {
            (Other::Bool, b'{') => {
                put_number(self.out, 1, 1);
                self.message(link, other.schema_number())?;
            }
            (_, b'{') => self.message(link, other.schema_number())?,
            (Other::Bool, b't' | b'f') => {
                let allows = self.text.scalar()? == "true";
                put_number(self.out, 1, u64::from(allows));
            }
            (Other::Schemas | Other::Texts, b'[') => {
                self.text.expect(b'[')?;
                while self.text.more(b']')? {
                    match (other, self.text.peek()) {
                        (Other::Texts, b'"') => put_bytes(self.out, 2, &self.text.string()?),
                        _ => self.message(link, 2)?,
                    }
                }
            }
            _ => drop(self.text.raw()?),
        }
        end(self.out, start);
        Ok(())
    }

    fn message(&mut self, link: &'static Link, number: u32) -> Result<(), NotJson> {
        if self.text.peek() != b'{' {
            return self.text.raw().map(drop);
        }
        let start = begin(self.out, number);
        match link.get() {
            Some(inner) => self.object(inner)?,
            // A message without fields has no rows in the table.
            None => drop(self.text.raw()?),
        }
        end(self.out, start);
        Ok(())
    }
}

/// Puts the pieces of a message in order, and what Go writes for fields without one.
fn arrange(
    message: &'static Message,
    pieces: &mut std::slice::Iter<'_, Piece>,
    written: &[u8],
    into: &mut Vec<u8>,
) {
    for field in &message.fields {
        if let (Cardinality::Inline, Type::Message(link)) = (field.cardinality, field.ty) {
            let start = begin(into, field.number);
            if let Some(inner) = link.get() {
                arrange(inner, pieces, written, into);
            }
            end(into, start);
            continue;
        }
        match pieces.next() {
            Some(Some((start, end))) => into.extend_from_slice(&written[*start..*end]),
            _ => into.extend_from_slice(field.unset.get_or_init(|| unset(field))),
        }
    }
}

/// Begins a field that has its length before it; gives the place where its content starts.
pub(super) fn begin(out: &mut Vec<u8>, number: u32) -> usize {
    put_varint(out, u64::from(number) << 3 | 2);
    // One byte holds the length of most; the rest is moved up at the end.
    out.push(0);
    out.len()
}

/// Ends a field that was begun.
pub(super) fn end(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        out[start - 1] = short;
        return;
    }
    let mut prefix: SmallVec<[u8; 10]> = SmallVec::new();
    let mut rest = length;
    while rest >= 0x80 {
        prefix.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    prefix.push(rest as u8);
    let more = prefix.len() - 1;
    out.resize(out.len() + more, 0);
    out.copy_within(start..start + length, start + more);
    out[start - 1..start + more].copy_from_slice(&prefix);
}

/// What Go writes for a field that is not set: nothing for pointers, lists, maps and bytes.
fn unset(field: &Field) -> Box<[u8]> {
    let mut out = Vec::new();
    if field.omission.pointer || field.cardinality != Cardinality::One {
        return out.into();
    }
    match field.ty {
        Type::String | Type::Time | Type::MicroTime => put_bytes(&mut out, field.number, b""),
        Type::Bool | Type::Int32 | Type::Int64 => put_number(&mut out, field.number, 0),
        Type::Message(link) => {
            let start = begin(&mut out, field.number);
            if let Some(inner) = link.get() {
                arrange(inner, &mut [].iter(), &[], &mut out);
            }
            end(&mut out, start);
        }
        Type::IntOrString => scalar::put_int_or_string(&mut out, field.number, scalar::Amount::Number(0)),
        Type::Quantity => scalar::put_quantity(&mut out, field.number, b"0"),
        Type::Bytes | Type::Double | Type::RawJson | Type::Either(..) => {}
    }
    out.into()
}
