//! Pod Security: what the labels of a namespace ask of its pods, and whether a pod keeps to it.
//!
//! Decides from labels, pods and nothing else. A refusal, a warning or silence is the caller's choice: `enforce` refuses
//! pods, `warn` comments on them and on whatever has a pod template.

mod baseline;
mod policy;
mod restricted;
mod subject;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use policy::{Level, Policy, Standard, Version};
pub use subject::Subject;

use crate::tree::{list_at, str_at};

/// The minor version that `latest` means: the newest in which a check has changed.
const NEWEST: u32 = 35;

/// What a pod does that a standard forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The forbidden thing in a few words.
    pub reason: String,
    /// Who does it and what would do instead.
    pub detail: String,
}

type Check = fn(&Subject<'_>) -> Option<Violation>;

/// A check as it is from one minor version on.
struct Since(u32, Check);

/// One thing that a level looks at.
struct Rule {
    /// Forms of the check, by ascending version.
    forms: &'static [Since],
    /// The baseline rule that this one takes the place of, from its first version on.
    instead_of: Option<usize>,
}

impl Rule {
    const fn new(forms: &'static [Since]) -> Self {
        Self { forms, instead_of: None }
    }

    fn at(&self, minor: u32) -> Option<Check> {
        self.forms.iter().rev().find(|form| form.0 <= minor).map(|form| form.1)
    }
}

/// Everything in a pod that a standard forbids, in the order of its rules.
pub fn violations(standard: Standard, subject: &Subject<'_>) -> Vec<Violation> {
    let minor = standard.version.minor().min(NEWEST);
    let is_restricted = match standard.level {
        Level::Privileged => return Vec::new(),
        Level::Baseline => false,
        Level::Restricted => true,
    };
    let stricter: &[Rule] = if is_restricted { restricted::RULES } else { &[] };
    let replaced =
        |index: usize| stricter.iter().any(|rule| rule.instead_of == Some(index) && rule.at(minor).is_some());
    let kept =
        baseline::RULES.iter().enumerate().filter(|(index, _)| !replaced(*index)).map(|(_, rule)| rule);
    kept.chain(stricter).filter_map(|rule| rule.at(minor)).filter_map(|check| check(subject)).collect()
}

/// Violations with their details, as refusals and warnings print them.
pub fn details(violations: &[Violation]) -> String {
    let texts = violations.iter().map(|violation| match violation.detail.as_str() {
        "" => violation.reason.clone(),
        detail => format!("{} ({detail})", violation.reason),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Violations without their details.
pub fn reasons(violations: &[Violation]) -> String {
    violations.iter().map(|violation| violation.reason.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether an update of a pod changes anything that a standard looks at: of what may change at all, only images and
/// containers.
pub fn is_significant(new: &Value, old: &Value) -> bool {
    let differs = |path: &str| {
        let (new, old) = (list_at(new, path), list_at(old, path));
        new.len() != old.len()
            || new.iter().zip(old).any(|(new, old)| str_at(new, "image") != str_at(old, "image"))
    };
    let ephemeral = "spec.ephemeralContainers";
    let before = list_at(old, ephemeral);
    let changed = |container: &Value| {
        let same_name = |other: &&Value| str_at(other, "name") == str_at(container, "name");
        before.iter().find(same_name).is_none_or(|old| str_at(old, "image") != str_at(container, "image"))
    };
    differs("spec.containers")
        || differs("spec.initContainers")
        || list_at(new, ephemeral).iter().any(changed)
}
