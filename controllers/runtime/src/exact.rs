//! Lists of views, which are kept for long and never grow.

use serde::{Deserialize, Deserializer};

/// Reads a list without room for more: a list that grows item by item has room for four, and most hold one.
///
/// # Errors
/// The input is no list of such items.
pub fn exact<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let mut items = Vec::deserialize(deserializer)?;
    items.shrink_to_fit();
    Ok(items)
}
