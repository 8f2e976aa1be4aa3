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

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use runtime::{Metadata, OwnerReference};

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

/// One observed object.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) identity: Identity,
    pub(crate) owners: Vec<OwnerReference>,
    /// Deletion was asked for.
    pub(crate) deleting: bool,
    /// It waits for its blocking dependents.
    pub(crate) foreground: bool,
    /// It waits for its dependents to forget it.
    pub(crate) orphaning: bool,
}

impl Item {
    pub(crate) fn new(api_version: &str, kind: &str, metadata: &Metadata) -> Item {
        let deleting = metadata.deleting();
        let has = |finalizer: &str| metadata.finalizers.iter().any(|name| name == finalizer);
        Item {
            identity: Identity {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                namespace: metadata.namespace.clone(),
                name: metadata.name.clone(),
                uid: metadata.uid.clone(),
            },
            owners: metadata.owner_references.clone(),
            deleting,
            foreground: deleting && has(FOREGROUND),
            orphaning: deleting && has(ORPHAN),
        }
    }

    fn blocks(&self, owner: &str) -> bool {
        self.owners
            .iter()
            .any(|reference| reference.uid == owner && reference.block_owner_deletion == Some(true))
    }
}

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
    items: BTreeMap<String, Item>,
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
        uids.filter_map(|uid| self.items.get(uid)).collect()
    }

    /// Dependents for which a foreground deletion of the owner waits.
    pub(crate) fn blocking(&self, owner: &str) -> Vec<&Item> {
        self.dependents(owner).into_iter().filter(|item| item.blocks(owner)).collect()
    }

    /// Takes in an object that was created or changed.
    pub(crate) fn observe(&mut self, item: Item) -> Found {
        let mut found = Found::default();
        let uid = item.identity.uid.clone();
        let old = self.items.remove(&uid);
        let old_owners: &[OwnerReference] = old.as_ref().map_or(&[], |old| &old.owners);
        self.unblock(old_owners, &item, &mut found);
        for reference in old_owners {
            self.unlink(&reference.uid, &uid);
        }
        for reference in &item.owners {
            self.dependents.entry(reference.uid.clone()).or_default().insert(uid.clone());
        }
        let appeared = item.owners.iter().filter(|reference| !old_owners.contains(reference));
        let mut doubtful = false;
        for reference in appeared {
            doubtful |= self.doubts(&item.identity, reference, &mut found);
        }
        if doubtful {
            found.work.push(Work::Collect(uid.clone()));
        }
        if old.is_none() {
            self.check_dependents(&item.identity, &mut found);
        }
        self.transitions(old.as_ref(), &item, &mut found);
        self.items.insert(uid, item);
        found
    }

    /// Takes out an object that is gone: seen to go, or looked up in vain.
    pub(crate) fn gone(&mut self, uid: &str) -> Found {
        let mut found = Found::default();
        let Some(item) = self.items.remove(uid) else { return found };
        for reference in &item.owners {
            self.unlink(&reference.uid, uid);
            if self.items.get(&reference.uid).is_some_and(|owner| owner.foreground) {
                found.work.push(Work::Collect(reference.uid.clone()));
            }
        }
        if let Some(dependents) = self.dependents.get(uid) {
            found.work.extend(dependents.iter().cloned().map(Work::Collect));
            self.remember_absent(item.identity);
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
    fn doubts(&self, dependent: &Identity, reference: &OwnerReference, found: &mut Found) -> bool {
        let Some(owner) = self.items.get(&reference.uid) else { return true };
        let owner = &owner.identity;
        if !owner.namespace.is_empty() && owner.namespace != dependent.namespace {
            let (dependent, reference) = (dependent.clone(), reference.clone());
            found.wrong.push(WrongNamespace { dependent, reference });
            return true;
        }
        !names(reference, owner)
    }

    /// An owner observed after its dependents: those that describe it wrongly are looked at.
    fn check_dependents(&self, owner: &Identity, found: &mut Found) {
        for dependent in self.dependents(&owner.uid) {
            let references = dependent.owners.iter().filter(|reference| reference.uid == owner.uid);
            for reference in references {
                let elsewhere =
                    !owner.namespace.is_empty() && owner.namespace != dependent.identity.namespace;
                if elsewhere {
                    let (dependent, reference) = (dependent.identity.clone(), reference.clone());
                    found.wrong.push(WrongNamespace { dependent, reference });
                }
                if elsewhere || !names(reference, owner) {
                    found.work.push(Work::Collect(dependent.identity.uid.clone()));
                }
            }
        }
    }

    /// Owners that no longer wait for this dependent are looked at.
    fn unblock(&self, old_owners: &[OwnerReference], item: &Item, found: &mut Found) {
        for reference in old_owners.iter().filter(|reference| reference.block_owner_deletion == Some(true)) {
            let known = self.items.contains_key(&reference.uid);
            if known && !item.blocks(&reference.uid) {
                found.work.push(Work::Collect(reference.uid.clone()));
            }
        }
    }

    fn transitions(&self, old: Option<&Item>, item: &Item, found: &mut Found) {
        let uid = &item.identity.uid;
        if item.orphaning && !old.is_some_and(|old| old.orphaning) {
            found.work.push(Work::Orphan(uid.clone()));
            return;
        }
        if item.foreground && !old.is_some_and(|old| old.foreground) {
            let dependents = self.dependents.get(uid).into_iter().flatten();
            found.work.extend(dependents.cloned().map(Work::Collect));
            found.work.push(Work::Collect(uid.clone()));
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

/// Whether a reference describes its owner rightly, apart from the namespace.
fn names(reference: &OwnerReference, owner: &Identity) -> bool {
    reference.uid == owner.uid
        && reference.name == owner.name
        && reference.kind == owner.kind
        && reference.api_version == owner.api_version
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
        Item::new("v1", "Thing", &metadata)
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
