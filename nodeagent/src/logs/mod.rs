//! Container logs as the runtime writes them: `<time> stdout|stderr F|P <text>`, one file per start, rotated.
//!
//! [`line`] takes a line apart, [`tail`] finds where to begin, [`stream`] reads on while a container writes.

pub mod line;
pub mod stream;
pub mod tail;
