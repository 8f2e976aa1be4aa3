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
    let items: Vec<T> = Vec::deserialize(deserializer)?;
    if items.capacity() == items.len() {
        return Ok(items);
    }
    // Shrinking would not do: the allocator leaves what is half full where it is.
    let mut exact = Vec::with_capacity(items.len());
    exact.extend(items);
    Ok(exact)
}
