//! Strategies of this kind are registered here.

use crate::Strategy;

/// The strategies of this module.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    Vec::new()
}
