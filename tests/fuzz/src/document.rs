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
        let line = String::from_utf8_lossy(line);
        let all = kinds::all();
        let named = all.iter().find(|strategy| {
            let resource = strategy.resource();
            line.split_once(' ')
                .is_some_and(|(version, kind)| kind == resource.kind && version == resource.api_version())
        });
        let sum = line.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let strategy = *named.unwrap_or(&all[sum % all.len()]);
        let resource = strategy.resource();
        let schema = schema::kind(&resource.group, &resource.version, &resource.kind);
        (Kind { strategy, schema: schema.expect("every served kind has a schema") }, rest)
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
