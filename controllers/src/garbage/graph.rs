//! Who owns whom, as far as the watches told; decides what is worth a look.
//!
//! Edges hang on the owner's uid alone, so an owner that was never observed
//! needs no stand-in: its dependents are looked at when they appear, and again
//! until the owner shows up or is known to be absent. The graph never decides a
//! deletion: what it names is looked up at the server first.
//!
//! ```text
//! observe  rs (uid 1), pod (uid 2, owner 1)     -> nothing to look at
//! gone     rs (uid 1)                           -> look at 2, remember 1 as absent
//! observe  pod (uid 3, owner 9)                 -> look at 3: nobody has seen 9
//! ```

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use runtime::OwnerReference;

use crate::views::Ownership;

/// Absent owners remembered, as upstream's cache.
const ABSENT_MAX: usize = 500;

/// Finalizer that keeps an owner until its blocking dependents are gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer that keeps an owner until its dependents have forgotten it.
pub(crate) const ORPHAN: &str = "orphan";

/// Where an object is, and which it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// Something to look up and decide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Work {
    /// Whether this object is garbage.
    Collect(String),
    /// Make the dependents of this object forget it.
    Orphan(String),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Collect(uid) => write!(f, "collect {uid}"),
            Work::Orphan(uid) => write!(f, "orphan {uid}"),
        }
    }
}

/// The kind of objects, said once for all of them.
#[derive(Debug)]
pub(crate) struct Of {
    pub(crate) api_version: String,
    pub(crate) kind: String,
}

/// One observed object: the very copy that its watch keeps. There is one for every object of the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    of: Arc<Of>,
    object: Arc<Ownership>,
}

impl Item {
    pub(crate) fn new(of: &Arc<Of>, object: &Arc<Ownership>) -> Item {
        Item { of: Arc::clone(of), object: Arc::clone(object) }
    }

    pub(crate) fn identity(&self) -> Identity {
        let metadata = &self.object.metadata;
        Identity {
            api_version: self.of.api_version.clone(),
            kind: self.of.kind.clone(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
        }
    }

    pub(crate) fn uid(&self) -> &str {
        &self.object.metadata.uid
    }

    fn namespace(&self) -> &str {
        &self.object.metadata.namespace
    }

    fn owners(&self) -> &[OwnerReference] {
        &self.object.metadata.owner_references
    }

    /// Deletion was asked for.
    pub(crate) fn deleting(&self) -> bool {
        self.object.metadata.deleting()
    }

    /// It waits for its blocking dependents.
    pub(crate) fn foreground(&self) -> bool {
        self.deleting() && self.has(FOREGROUND)
    }

    /// It waits for its dependents to forget it.
    fn orphaning(&self) -> bool {
        self.deleting() && self.has(ORPHAN)
    }

    fn has(&self, finalizer: &str) -> bool {
        self.object.metadata.finalizers.iter().any(|name| name == finalizer)
    }

    fn blocks(&self, owner: &str) -> bool {
        let is_blocking = |reference: &OwnerReference| {
            reference.uid == owner && reference.block_owner_deletion == Some(true)
        };
        self.owners().iter().any(is_blocking)
    }

    /// Whether it lives in a namespace, and in another one than `other`.
    fn is_elsewhere(&self, other: &Item) -> bool {
        !self.namespace().is_empty() && self.namespace() != other.namespace()
    }

    /// Whether a reference describes it rightly, apart from the namespace.
    fn is_named_by(&self, reference: &OwnerReference) -> bool {
        reference.uid == self.uid()
            && reference.name == self.object.metadata.name
            && reference.kind == self.of.kind
            && reference.api_version == self.of.api_version
    }
}

/// Items are told apart, found and ordered by their uid.
impl Borrow<str> for Item {
    fn borrow(&self) -> &str {
        self.uid()
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        self.uid().cmp(other.uid())
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.uid() == other.uid()
    }
}

impl Eq for Item {}

/// An owner reference whose owner lives in another namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrongNamespace {
    pub(crate) dependent: Identity,
    pub(crate) reference: OwnerReference,
}

/// What an observation asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) work: Vec<Work>,
    pub(crate) wrong: Vec<WrongNamespace>,
}

/// The graph.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    items: BTreeSet<Item>,
    dependents: BTreeMap<String, BTreeSet<String>>,
    absent: BTreeSet<Identity>,
    absent_order: VecDeque<Identity>,
}

impl Graph {
    pub(crate) fn get(&self, uid: &str) -> Option<&Item> {
        self.items.get(uid)
    }

    /// Dependents that were observed.
    pub(crate) fn dependents(&self, owner: &str) -> Vec<&Item> {
        let uids = self.dependents.get(owner).into_iter().flatten();
        uids.filter_map(|uid| self.get(uid)).collect()
    }

    /// Dependents for which a foreground deletion of the owner waits.
    pub(crate) fn blocking(&self, owner: &str) -> Vec<&Item> {
        self.dependents(owner).into_iter().filter(|item| item.blocks(owner)).collect()
    }

    /// Takes in an object that was created or changed.
    pub(crate) fn observe(&mut self, item: Item) -> Found {
        let mut found = Found::default();
        let uid = item.uid().to_owned();
        let old = self.items.take(uid.as_str());
        let old_owners: &[OwnerReference] = old.as_ref().map_or(&[], Item::owners);
        self.unblock(old_owners, &item, &mut found);
        for reference in old_owners {
            self.unlink(&reference.uid, &uid);
        }
        for reference in item.owners() {
            self.dependents.entry(reference.uid.clone()).or_default().insert(uid.clone());
        }
        let appeared = item.owners().iter().filter(|reference| !old_owners.contains(reference));
        let mut doubtful = false;
        for reference in appeared {
            doubtful |= self.doubts(&item, reference, &mut found);
        }
        if doubtful {
            found.work.push(Work::Collect(uid.clone()));
        }
        if old.is_none() {
            self.check_dependents(&item, &mut found);
        }
        self.transitions(old.as_ref(), &item, &mut found);
        self.items.insert(item);
        found
    }

    /// Takes out an object that is gone: seen to go, or looked up in vain.
    pub(crate) fn gone(&mut self, uid: &str) -> Found {
        let mut found = Found::default();
        let Some(item) = self.items.take(uid) else { return found };
        for reference in item.owners() {
            self.unlink(&reference.uid, uid);
            if self.get(&reference.uid).is_some_and(Item::foreground) {
                found.work.push(Work::Collect(reference.uid.clone()));
            }
        }
        if let Some(dependents) = self.dependents.get(uid) {
            found.work.extend(dependents.iter().cloned().map(Work::Collect));
            self.remember_absent(item.identity());
        }
        found
    }

    /// Whether the owner named by a reference is known not to be in this namespace, nor cluster-wide.
    pub(crate) fn known_absent(&self, reference: &OwnerReference, namespace: &str) -> bool {
        self.absent.contains(&referenced(reference, ""))
            || self.absent.contains(&referenced(reference, namespace))
    }

    /// Remembers that what a reference names is not there.
    pub(crate) fn owner_absent(&mut self, reference: &OwnerReference, namespace: &str) {
        self.remember_absent(referenced(reference, namespace));
    }

    fn remember_absent(&mut self, identity: Identity) {
        if self.absent.insert(identity.clone()) {
            self.absent_order.push_back(identity);
        }
        while self.absent_order.len() > ABSENT_MAX {
            if let Some(oldest) = self.absent_order.pop_front() {
                self.absent.remove(&oldest);
            }
        }
    }

    /// Whether an owner reference may be invalid and must be looked up.
    fn doubts(&self, dependent: &Item, reference: &OwnerReference, found: &mut Found) -> bool {
        let Some(owner) = self.get(&reference.uid) else { return true };
        if owner.is_elsewhere(dependent) {
            let (dependent, reference) = (dependent.identity(), reference.clone());
            found.wrong.push(WrongNamespace { dependent, reference });
            return true;
        }
        !owner.is_named_by(reference)
    }

    /// An owner observed after its dependents: those that describe it wrongly are looked at.
    fn check_dependents(&self, owner: &Item, found: &mut Found) {
        for dependent in self.dependents(owner.uid()) {
            let references = dependent.owners().iter().filter(|reference| reference.uid == owner.uid());
            for reference in references {
                let elsewhere = owner.is_elsewhere(dependent);
                if elsewhere {
                    let (dependent, reference) = (dependent.identity(), reference.clone());
                    found.wrong.push(WrongNamespace { dependent, reference });
                }
                if elsewhere || !owner.is_named_by(reference) {
                    found.work.push(Work::Collect(dependent.uid().to_owned()));
                }
            }
        }
    }

    /// Owners that no longer wait for this dependent are looked at.
    fn unblock(&self, old_owners: &[OwnerReference], item: &Item, found: &mut Found) {
        for reference in old_owners.iter().filter(|reference| reference.block_owner_deletion == Some(true)) {
            let known = self.items.contains(reference.uid.as_str());
            if known && !item.blocks(&reference.uid) {
                found.work.push(Work::Collect(reference.uid.clone()));
            }
        }
    }

    fn transitions(&self, old: Option<&Item>, item: &Item, found: &mut Found) {
        let uid = item.uid();
        if item.orphaning() && !old.is_some_and(Item::orphaning) {
            found.work.push(Work::Orphan(uid.to_owned()));
            return;
        }
        if item.foreground() && !old.is_some_and(Item::foreground) {
            let dependents = self.dependents.get(uid).into_iter().flatten();
            found.work.extend(dependents.cloned().map(Work::Collect));
            found.work.push(Work::Collect(uid.to_owned()));
        }
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

fn referenced(reference: &OwnerReference, namespace: &str) -> Identity {
    Identity {
        api_version: reference.api_version.clone(),
        kind: reference.kind.clone(),
        namespace: namespace.to_owned(),
        name: reference.name.clone(),
        uid: reference.uid.clone(),
    }
}

#[cfg(test)]
mod tests {
    use runtime::Metadata;

    use super::*;

    /// Notation, one object a word: `uid`, then `<owner` (`<!owner` blocks it), then
    /// `?` being deleted in the foreground, `~` being deleted as orphaner, `@ns` namespace.
    /// A leading `-` says that the object went.
    fn check(steps: &[(&str, &str)]) {
        let mut graph = Graph::default();
        for (step, expect) in steps {
            let found = match step.strip_prefix('-') {
                Some(uid) => graph.gone(uid),
                None => graph.observe(item(step)),
            };
            let mut words: Vec<String> = found
                .work
                .iter()
                .map(|work| match work {
                    Work::Collect(uid) => uid.clone(),
                    Work::Orphan(uid) => format!("orphan:{uid}"),
                })
                .collect();
            words.extend(found.wrong.iter().map(|wrong| format!("wrong:{}", wrong.dependent.uid)));
            assert_eq!(words.join(" "), *expect, "after {step}");
        }
    }

    fn item(step: &str) -> Item {
        let (step, namespace) = step.split_once('@').unwrap_or((step, "a"));
        let deleting_with =
            [('?', FOREGROUND), ('~', ORPHAN)].into_iter().find(|(mark, _)| step.ends_with(*mark));
        let step = step.trim_end_matches(['?', '~']);
        let mut parts = step.split('<');
        let uid = parts.next().unwrap_or_default();
        let metadata = Metadata {
            name: uid.to_owned(),
            namespace: namespace.to_owned(),
            uid: uid.to_owned(),
            finalizers: deleting_with.iter().map(|(_, name)| (*name).to_owned()).collect(),
            deletion_timestamp: deleting_with.map(|_| jiff::Timestamp::UNIX_EPOCH),
            owner_references: parts.map(reference).collect(),
            ..Metadata::default()
        };
        let of = Of { api_version: "v1".to_owned(), kind: "Thing".to_owned() };
        Item::new(&Arc::new(of), &Arc::new(Ownership { metadata }))
    }

    fn reference(part: &str) -> OwnerReference {
        let name = part.trim_start_matches('!');
        OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Thing".to_owned(),
            name: name.to_owned(),
            uid: name.to_owned(),
            controller: None,
            block_owner_deletion: Some(part.starts_with('!')),
        }
    }

    #[test]
    fn dependents_are_looked_at_when_the_owner_goes() {
        check(&[("o", ""), ("d<o", ""), ("e<o", ""), ("-o", "d e"), ("-d", ""), ("-e", "")]);
    }

    #[test]
    fn an_owner_nobody_saw_is_doubted_once() {
        check(&[("d<o", "d"), ("d<o", ""), ("o", ""), ("-o", "d")]);
    }

    #[test]
    fn foreground_looks_at_dependents_and_then_at_the_owner() {
        check(&[("o", ""), ("d<!o", ""), ("o?", "d o"), ("o?", ""), ("-d", "o")]);
        check(&[("o", ""), ("d<!o", ""), ("o?", "d o"), ("d<o", "o")]);
        check(&[("o", ""), ("d<!o", ""), ("o?", "d o"), ("d", "o"), ("-o", "")]);
    }

    #[test]
    fn orphaning_is_asked_for_once() {
        check(&[("o", ""), ("d<o", ""), ("o~", "orphan:o"), ("o~", "")]);
    }

    #[test]
    fn an_owner_in_another_namespace_is_reported() {
        check(&[("o@x", ""), ("d<o@y", "d wrong:d")]);
        check(&[("d<o@y", "d"), ("o@x", "d wrong:d")]);
    }
}
