//! Container logs as the runtime writes them: `<time> stdout|stderr F|P <text>`, one file per start, rotated.
//!
//! [`line`] takes a line apart, [`tail`] finds where to begin, [`stream`] reads on while a container writes,
//! [`rotate`] keeps files small.

pub mod line;
pub mod rotate;
pub mod stream;
pub mod tail;
