//! The order of a merged list: what the patch says, then where things stood.

use std::cmp::Ordering;

use crate::Tree;

/// Puts merged items in order. Items that `wanted` names come in its order; the others keep the order of `server`, and are
/// placed between the named ones where the server had them.
///
/// ```text
/// merged a b c d   wanted d b   server a b c d   ->   a d b c
/// ```
pub(super) fn arrange(
    merged: Vec<Tree>,
    wanted: &[Tree],
    server: &[Tree],
    merge_key: Option<&str>,
) -> Vec<Tree> {
    let named = |item: &Tree| position(wanted, item, merge_key).is_some();
    let (mut patch_items, mut server_items): (Vec<Tree>, Vec<Tree>) = merged.into_iter().partition(named);
    patch_items.sort_by(|a, b| by_position(wanted, a, b, merge_key));
    server_items.sort_by(|a, b| by_position(server, a, b, merge_key));
    interleave(server_items, patch_items, server, merge_key)
}

fn by_position(order: &[Tree], a: &Tree, b: &Tree, merge_key: Option<&str>) -> Ordering {
    match (position(order, a, merge_key), position(order, b, merge_key)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => Ordering::Equal,
    }
}

fn interleave(
    server_items: Vec<Tree>,
    patch_items: Vec<Tree>,
    server: &[Tree],
    merge_key: Option<&str>,
) -> Vec<Tree> {
    let mut out = Vec::with_capacity(server_items.len() + patch_items.len());
    let mut left = server_items.into_iter().peekable();
    let mut right = patch_items.into_iter().peekable();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let before = match (position(server, a, merge_key), position(server, b, merge_key)) {
            (Some(a), Some(b)) => a < b,
            _ => false,
        };
        out.extend(if before { left.next() } else { right.next() });
    }
    out.extend(left);
    out.extend(right);
    out
}

fn position(order: &[Tree], item: &Tree, merge_key: Option<&str>) -> Option<usize> {
    match merge_key {
        Some(key) => {
            let value = item.get(key)?;
            order.iter().position(|other| other.get(key) == Some(value))
        }
        None => order.iter().position(|other| other == item),
    }
}
