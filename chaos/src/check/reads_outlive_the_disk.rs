//! *reads outlive the disk*: with a full or failing disk reads and watches go on. Only power, a store that is
//! being stopped keeps one from its answer. Several members need a quorum besides; that they answer again is
//! what *recovers by itself* looks at.

use super::{Evidence, Finding};
use crate::words::{Action, Answer};

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    if !evidence.is_sole() {
        return Vec::new();
    }
    let reads = evidence
        .timeline
        .calls
        .values()
        .filter(|call| matches!(call.action, Action::Read(_) | Action::List(_) | Action::ListAt(..)));
    let failed = reads.inspect(|_| evidence.looks()).filter_map(|call| match call.answer.as_ref()? {
        (index, Answer::Failed(why)) if !["power", "stopped"].contains(why) => {
            Some((*index, format!("#{} is not answered: {why}", call.number)))
        }
        _ => None,
    });
    failed.collect()
}
