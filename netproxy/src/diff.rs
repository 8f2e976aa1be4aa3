//! Which services changed, and from what to what. Pure and free of any kernel's words: each compiler turns a change
//! into its own transaction.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Frontend, ServiceId};

/// One service's change; an empty side means that it has no frontends there.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Which service.
    pub service: ServiceId,
    /// What the kernel has.
    pub old: Vec<Frontend>,
    /// What it shall have.
    pub new: Vec<Frontend>,
}

/// What the kernel was last told.
#[derive(Debug, Default)]
pub struct Applied {
    frontends: BTreeMap<ServiceId, Vec<Frontend>>,
}

impl Applied {
    /// The changes among `dirty` services; `frontends` gives what each shall have.
    pub fn changes(
        &self,
        dirty: &BTreeSet<ServiceId>,
        frontends: impl Fn(&ServiceId) -> Vec<Frontend>,
    ) -> Vec<Change> {
        dirty
            .iter()
            .map(|service| Change {
                service: service.clone(),
                old: self.frontends.get(service).cloned().unwrap_or_default(),
                new: frontends(service),
            })
            .filter(|change| change.old != change.new)
            .collect()
    }

    /// The kernel took these changes.
    pub fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            if change.new.is_empty() {
                self.frontends.remove(&change.service);
            } else {
                self.frontends.insert(change.service, change.new);
            }
        }
    }
}
