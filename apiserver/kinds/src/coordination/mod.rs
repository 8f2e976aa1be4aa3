//! Kinds of the coordination group, one file each.

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    Vec::new()
}
