//! Which fields a kind of write can own at all.

use super::Comparison;
use super::set::Set;

/// Fields that count in a kind of write; the rest is reset by the resource and belongs to nobody through it.
#[derive(Debug, Clone)]
pub enum Filter {
    /// Everything but these fields and what is below them: `status` on a main resource.
    Without(Set),
    /// Only what these patterns lead to; `*` stands for any element.
    Only(&'static [&'static [&'static str]]),
}

impl Filter {
    /// A filter that lets everything through.
    pub fn nothing() -> Self {
        Self::Without(Set::default())
    }

    /// The paths that count.
    #[must_use]
    pub fn set(&self, set: &Set) -> Set {
        match self {
            Self::Without(fields) => set.recursive_difference(fields),
            Self::Only(patterns) => set.only(patterns),
        }
    }

    /// The changes that count.
    #[must_use]
    pub fn comparison(&self, comparison: &Comparison) -> Comparison {
        Comparison {
            removed: self.set(&comparison.removed),
            modified: self.set(&comparison.modified),
            added: self.set(&comparison.added),
        }
    }
}
