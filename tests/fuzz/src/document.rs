//! How an input of several parts is written, so that a person can read a corpus and a fuzzer can cut it anywhere.
//!
//! ```text
//! v1 ConfigMap
//! {"data": {"a": "1"}}
//! ----
//! {"data": {"a": "2"}}
//! ```

use kinds::Strategy;
use schema::Schema;

/// A kind that is served.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) strategy: &'static dyn Strategy,
    pub(crate) schema: &'static Schema,
}

impl Kind {
    pub(crate) fn api_version(self) -> String {
        self.strategy.resource().api_version()
    }

    /// The kind that the first line names. Another first line means one too, so that no input is wasted.
    pub(crate) fn of(data: &[u8]) -> (Kind, &[u8]) {
        let (line, rest) = cut(data, b"\n");
        let sum = line.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
        let all = kinds::all();
        (Self::named(line).unwrap_or_else(|| Self::served(all[sum % all.len()])), rest)
    }

    /// The kind of a line.
    pub(crate) fn named(line: &[u8]) -> Option<Kind> {
        let (version, name) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        let is_named = |strategy: &&&'static dyn Strategy| {
            let resource = strategy.resource();
            name == resource.kind && version == resource.api_version()
        };
        kinds::all().iter().find(is_named).map(|strategy| Self::served(*strategy))
    }

    fn served(strategy: &'static dyn Strategy) -> Kind {
        let resource = strategy.resource();
        let schema = schema::kind(&resource.group, &resource.version, &resource.kind);
        Kind { strategy, schema: schema.expect("every served kind has a schema") }
    }
}

/// The two parts around a line of four dashes; without one, both are the whole.
pub(crate) fn two(data: &[u8]) -> (&[u8], &[u8]) {
    const LINE: &[u8] = b"\n----\n";
    if data.windows(LINE.len()).any(|window| window == LINE) { cut(data, LINE) } else { (data, data) }
}

/// What stands before and after a separator; without one, everything and nothing.
pub(crate) fn cut<'a>(data: &'a [u8], separator: &[u8]) -> (&'a [u8], &'a [u8]) {
    match data.windows(separator.len()).position(|window| window == separator) {
        Some(at) => (&data[..at], &data[at + separator.len()..]),
        None => (data, &[]),
    }
}

/// Pieces with their lengths in two bytes each.
pub(crate) fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&[high, low], rest) = data.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        data = rest;
        Some(piece)
    })
}
