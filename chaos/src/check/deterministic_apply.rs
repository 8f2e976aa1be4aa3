//! *deterministic apply*: members that are at the same revision hold the same, whatever way each came there.

use std::collections::BTreeMap;

use super::{Evidence, Finding};
use crate::trace::Event;

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut hashes: BTreeMap<u64, (usize, &str)> = BTreeMap::new();
    let mut findings = Vec::new();
    for (index, timed) in evidence.trace.iter().enumerate() {
        let Event::State { computer, revision, hash, .. } = &timed.event else { continue };
        let (other, expected) = *hashes.entry(*revision).or_insert((*computer, hash));
        if other != *computer {
            evidence.looks();
        }
        if expected != hash {
            let text =
                format!("at {revision} computer {other} has {expected}, computer {computer} has {hash}");
            findings.push((index, text));
        }
    }
    findings
}
