//! Decides what becomes of one object, from the live state of its owners.

use runtime::OwnerReference;

/// What the server said about one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnerState {
    /// It exists and stays.
    Solid,
    /// It does not exist.
    Dangling,
    /// It exists and waits for its dependents to go.
    Waiting,
}

/// Finalizers of the object that name a way to delete it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) orphan: bool,
    pub(crate) foreground: bool,
}

/// What of the object's own dependents matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dependents {
    None,
    Some,
    /// One of them itself waits for its dependents: there may be a cycle.
    SomeWaiting,
}

/// What to do with the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Keep,
    /// Remove the references to owners with these uids.
    Forget(Vec<String>),
    /// Delete it in the foreground; first make its references non-blocking if asked.
    DeleteForeground { unblock: bool },
    /// Delete it with this policy.
    Delete(&'static str),
}

/// The verdict on an object with at least one owner.
pub(crate) fn judge(
    owners: &[(&OwnerReference, OwnerState)],
    wishes: Wishes,
    dependents: Dependents,
) -> Verdict {
    let has = |state| owners.iter().any(|(_, have)| *have == state);
    if owners.is_empty() {
        return Verdict::Keep;
    }
    if has(OwnerState::Solid) {
        let lost = owners.iter().filter(|(_, state)| *state != OwnerState::Solid);
        let uids: Vec<String> = lost.map(|(reference, _)| reference.uid.clone()).collect();
        return if uids.is_empty() { Verdict::Keep } else { Verdict::Forget(uids) };
    }
    if has(OwnerState::Waiting) && dependents != Dependents::None {
        return Verdict::DeleteForeground { unblock: dependents == Dependents::SomeWaiting };
    }
    match wishes {
        Wishes { orphan: true, .. } => Verdict::Delete("Orphan"),
        Wishes { foreground: true, .. } => Verdict::Delete("Foreground"),
        Wishes { .. } => Verdict::Delete("Background"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Owners: `s`olid, `d`angling, `w`aiting, in order; uids are their places.
    fn check(owners: &str, dependents: Dependents, wishes: Wishes, expect: &Verdict) {
        let references: Vec<OwnerReference> = (0..owners.len())
            .map(|at| OwnerReference { uid: at.to_string(), ..OwnerReference::default() })
            .collect();
        let states: Vec<(&OwnerReference, OwnerState)> = references
            .iter()
            .zip(owners.chars())
            .map(|(reference, letter)| {
                let state = match letter {
                    's' => OwnerState::Solid,
                    'd' => OwnerState::Dangling,
                    _ => OwnerState::Waiting,
                };
                (reference, state)
            })
            .collect();
        assert_eq!(judge(&states, wishes, dependents), *expect, "{owners}");
    }

    #[test]
    fn verdicts() {
        let (none, orphan) = (Wishes::default(), Wishes { orphan: true, foreground: true });
        check("", Dependents::None, none, &Verdict::Keep);
        check("ss", Dependents::Some, none, &Verdict::Keep);
        check("sdw", Dependents::Some, none, &Verdict::Forget(vec!["1".into(), "2".into()]));
        check("dw", Dependents::Some, none, &Verdict::DeleteForeground { unblock: false });
        check("w", Dependents::SomeWaiting, none, &Verdict::DeleteForeground { unblock: true });
        check("w", Dependents::None, none, &Verdict::Delete("Background"));
        check("dd", Dependents::SomeWaiting, none, &Verdict::Delete("Background"));
        check("d", Dependents::None, orphan, &Verdict::Delete("Orphan"));
        check(
            "d",
            Dependents::None,
            Wishes { orphan: false, foreground: true },
            &Verdict::Delete("Foreground"),
        );
    }
}
