//! Whether this member's state is what the others' are, as far as anybody has told.

use std::sync::{Mutex, MutexGuard};

use proto::peer as wire;
use tokio::sync::watch;

use super::ledger::{Ledger, Mark};

/// The ledger, and the verdict on this member.
pub(crate) struct Soundness {
    me: u64,
    ledger: Mutex<Ledger>,
    /// The index at which this member was found to differ.
    wrong: watch::Sender<Option<u64>>,
}

impl Soundness {
    pub(crate) fn new(me: u64) -> Self {
        Self { me, ledger: Mutex::default(), wrong: watch::Sender::new(None) }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no panic while the lock is held")
    }

    /// What this member tells a leader.
    pub(super) fn own_marks(&self) -> Vec<wire::StateMark> {
        self.ledger().own().map(Mark::to_wire).collect()
    }

    /// What this member, as the leader, tells the others.
    pub(super) fn agreed(&self) -> Option<wire::StateMark> {
        self.ledger().agreed(self.me).map(Mark::to_wire)
    }

    /// Takes what a member told this one, the leader.
    pub(super) fn hear_of(&self, member: u64, marks: &[wire::StateMark]) {
        if marks.is_empty() {
            return;
        }
        let mut ledger = self.ledger();
        ledger.tell(member, marks.iter().filter_map(Mark::read).collect());
        let agreed = ledger.agreed(self.me);
        let disputed = ledger.disputes(self.me);
        let differs = agreed.filter(|agreed| ledger.differs(agreed));
        drop(ledger);
        for member in disputed {
            tracing::error!(
                member,
                "a member's state differs from this one's, and no majority tells whose is wrong"
            );
        }
        self.judge(differs);
    }

    /// Takes what the leader says most voters agree on.
    pub(super) fn hear(&self, agreed: Option<&wire::StateMark>) {
        let Some(agreed) = agreed.and_then(Mark::read) else { return };
        let differs = self.ledger().differs(&agreed);
        self.judge(differs.then_some(agreed));
    }

    fn judge(&self, differs: Option<Mark>) {
        let Some(agreed) = differs else { return };
        let is_new =
            self.wrong.send_if_modified(|wrong| wrong.is_none() && wrong.replace(agreed.index).is_none());
        if is_new {
            let index = agreed.index;
            tracing::error!(
                index,
                "this member's state is wrong: most members have come to another, it answers nothing"
            );
        }
    }

    /// Whether nobody has found this member to be wrong.
    pub(crate) fn is_sound(&self) -> bool {
        self.wrong.borrow().is_none()
    }

    /// Returns once this member was found to be wrong.
    pub(super) async fn found_wrong(&self) {
        // It cannot fail: the sender is held here.
        let _ = self.wrong.subscribe().wait_for(Option::is_some).await;
    }

    /// Another state stands in the place of the wrong one.
    pub(super) fn restored(&self) {
        self.wrong.send_replace(None);
    }
}
