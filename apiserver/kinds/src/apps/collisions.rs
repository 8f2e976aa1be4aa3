//! The count of name collisions in a workload's status, which only grows.

use serde_json::Value;

use crate::field::{self, Error, Path};
use crate::tree::int_at;

/// What is wrong with a count that is less than it was.
pub(super) fn not_decremented(new: &Value, old: &Value) -> Option<Error> {
    let (count, before) = (int_at(new, "status.collisionCount"), int_at(old, "status.collisionCount"));
    before.filter(|before| count.is_none_or(|count| count < *before)).map(|_| {
        let path = Path::new("status.collisionCount");
        field::invalid(&path, count.unwrap_or(0), "cannot be decremented")
    })
}
