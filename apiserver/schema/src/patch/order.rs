//! The order of a merged list: what the patch says, then where things stood.

use std::collections::BTreeMap;

use crate::Tree;

/// Where items stand in a list, the first of equal ones counting: by the value of their merge key, or whole.
pub(super) struct Places<'a> {
    merge_key: Option<&'a str>,
    places: BTreeMap<String, usize>,
}

impl<'a> Places<'a> {
    pub(super) fn of(list: &[Tree], merge_key: Option<&'a str>) -> Self {
        let mut places = Self { merge_key, places: BTreeMap::new() };
        for (at, item) in list.iter().enumerate() {
            places.put(item, at);
        }
        places
    }

    pub(super) fn at(&self, item: &Tree) -> Option<usize> {
        self.places.get(&self.name(item)?).copied()
    }

    /// Remembers an item, unless an equal one stands before it: then `false`.
    pub(super) fn put(&mut self, item: &Tree, at: usize) -> bool {
        let Some(name) = self.name(item) else { return true };
        let known = self.places.len();
        self.places.entry(name).or_insert(at);
        self.places.len() > known
    }

    /// Equal values have equal texts, because a tree keeps its keys in order.
    fn name(&self, item: &Tree) -> Option<String> {
        match self.merge_key {
            Some(key) => item.get(key).map(Tree::to_string),
            None => Some(item.to_string()),
        }
    }
}

struct Placed {
    item: Tree,
    wanted: Option<usize>,
    server: Option<usize>,
}

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
    let (wanted, server) = (Places::of(wanted, merge_key), Places::of(server, merge_key));
    let placed =
        merged.into_iter().map(|item| Placed { wanted: wanted.at(&item), server: server.at(&item), item });
    let (mut patch_items, mut server_items): (Vec<Placed>, Vec<Placed>) =
        placed.partition(|placed| placed.wanted.is_some());
    sort(&mut patch_items, |placed| placed.wanted);
    sort(&mut server_items, |placed| placed.server);
    interleave(server_items, patch_items)
}

/// Sorts by place. An item without one stays where it is and nothing passes it, as in upstream's insertion sort: a comparison
/// that calls it equal to everything would be no order, which Rust's sort may answer with a panic.
fn sort(items: &mut [Placed], place: impl Fn(&Placed) -> Option<usize>) {
    items.split_mut(|item| place(item).is_none()).for_each(|run| run.sort_by_key(&place));
}

fn interleave(server_items: Vec<Placed>, patch_items: Vec<Placed>) -> Vec<Tree> {
    let mut out = Vec::with_capacity(server_items.len() + patch_items.len());
    let mut left = server_items.into_iter().peekable();
    let mut right = patch_items.into_iter().peekable();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let before = matches!((a.server, b.server), (Some(a), Some(b)) if a < b);
        out.extend(if before { left.next() } else { right.next() });
    }
    out.extend(left);
    out.extend(right);
    out.into_iter().map(|placed: Placed| placed.item).collect()
}
