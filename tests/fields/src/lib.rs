//! Every field of every served kind, changed in several ways, sent to two servers and answered the same.
//!
//! [`bases`] are valid objects that together hold nearly every field. [`mutation`] walks a base along its schema and says in
//! which ways each field can be made another, a bad, or no value. [`case`] makes requests of that: a create, an update, a
//! merge patch or an update of the status, all of them dry runs. [`round`] plays the cases of a server, and [`answer`] keeps
//! of each reply what must be equal: code, reason, message, causes, warnings, and the object where one was accepted.
//! [`record`] holds what upstream answered, and which differences stand with a reason.

pub mod answer;
pub mod bases;
pub mod case;
pub mod compare;
pub mod mutation;
pub mod peer;
pub mod place;
pub mod record;
pub mod round;
