//! Time, uids and name suffixes from the seams. The only reader of the clock
//! and of randomness in this crate.

use jiff::Timestamp;
use raft_store::Seams;
use uuid::Uuid;

/// What a generated name's suffix is made of: no vowels, nothing that looks alike.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Wall time.
pub fn now(seams: &Seams) -> Timestamp {
    let since = seams.clock.now();
    Timestamp::from_nanosecond(i128::try_from(since.as_nanos()).unwrap_or(i128::MAX))
        .unwrap_or(Timestamp::MAX)
}

/// As metadata writes times: whole seconds in UTC.
pub fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).expect("the second of a timestamp is one").to_string()
}

/// A version 4 uid.
pub fn uid(seams: &Seams) -> String {
    uuid(seams).to_string()
}

/// The same, not yet written out.
pub fn uuid(seams: &Seams) -> Uuid {
    let bits = u128::from(seams.random.next()) << 64 | u128::from(seams.random.next());
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

/// `length` characters for a generated name.
pub fn suffix(seams: &Seams, length: usize) -> String {
    let mut bits = seams.random.next();
    let mut out = String::with_capacity(length);
    for _ in 0..length {
        let size = SUFFIX.len() as u64;
        out.push(char::from(SUFFIX[usize::try_from(bits % size).expect("below the alphabet's size")]));
        bits /= size;
    }
    out
}
