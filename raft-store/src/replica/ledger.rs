//! What members have told of their states, and whether one of them is wrong. Pure.
//!
//! While it applies, each member makes a mark at every 64th index and at the newest one. With its heartbeats the leader
//! gathers them, and tells everybody the newest mark that most voters have made alike. Whoever has another one for that
//! index has a state that is wrong, be it the leader itself.
//!
//! ```text
//! leader     64:a  128:b  130:c              tells  agreed 128:b
//! follower   64:a  128:b  130:c
//! follower   64:a  128:X  129:Y              128:X is not 128:b: it is the one
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use mvcc::{Revision, State, StateHash};
use proto::peer as wire;

/// Between two marks. The newest index is marked too, so an idle cluster compares its last write.
const INTERVAL: u64 = 64;

/// Marks that are remembered. Members that are further apart than this many intervals compare later.
const KEPT: usize = 64;

/// What a state had come to when the log up to an index was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) index: u64,
    revision: Revision,
    compacted: Revision,
    hash: StateHash,
}

impl Mark {
    pub(crate) fn of(state: &State, index: u64) -> Self {
        let (revision, compacted) = (state.revision(), state.history().oldest());
        Self { index, revision, compacted, hash: state.hash() }
    }

    /// Whether a state is marked at this index whatever comes next.
    pub(crate) fn is_due(index: u64) -> bool {
        index.is_multiple_of(INTERVAL)
    }

    pub(super) fn to_wire(self) -> wire::StateMark {
        wire::StateMark {
            index: self.index,
            revision: self.revision.0,
            compacted: self.compacted.0,
            state_hash: Bytes::copy_from_slice(&self.hash.to_bytes()),
            form: StateHash::FORM,
        }
    }

    /// A mark of another form says nothing.
    pub(super) fn read(mark: &wire::StateMark) -> Option<Self> {
        let hash = (mark.form == StateHash::FORM).then(|| StateHash::from_bytes(&mark.state_hash))??;
        let (revision, compacted) = (Revision(mark.revision), Revision(mark.compacted));
        Some(Self { index: mark.index, revision, compacted, hash })
    }
}

/// Own marks, and what a leader was told.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    own: VecDeque<Mark>,
    newest: Option<Mark>,
    voters: BTreeSet<u64>,
    told: BTreeMap<u64, Vec<Mark>>,
    /// Members that were reported to differ while no majority tells who is right.
    disputed: BTreeSet<u64>,
}

impl Ledger {
    /// Takes marks of this member, in order of index.
    pub(crate) fn note(&mut self, marks: &[Mark], newest: Mark) {
        for mark in marks {
            if self.own.len() == KEPT {
                self.own.pop_front();
            }
            self.own.push_back(*mark);
        }
        self.newest = Some(newest);
    }

    /// Takes who votes.
    pub(crate) fn elect(&mut self, voters: BTreeSet<u64>) {
        self.told.retain(|member, _| voters.contains(member));
        self.voters = voters;
    }

    /// Forgets the own marks: another state stands in the place of the one they were made of.
    pub(crate) fn begin_again(&mut self) {
        self.own.clear();
        self.newest = None;
    }

    /// What this member tells a leader.
    pub(super) fn own(&self) -> impl Iterator<Item = Mark> {
        self.own.back().into_iter().chain(&self.newest).copied()
    }

    /// Takes what another member told.
    pub(super) fn tell(&mut self, member: u64, marks: Vec<Mark>) {
        if self.voters.contains(&member) {
            self.told.insert(member, marks);
        }
    }

    /// The newest mark that most voters have made alike.
    pub(super) fn agreed(&self, me: u64) -> Option<Mark> {
        let candidates = self.told.values().flatten().chain(self.newest.iter()).copied();
        let is_agreed = |mark: &Mark| 2 * self.supporters(me, mark) > self.voters.len();
        candidates.filter(is_agreed).max_by_key(|mark| mark.index)
    }

    /// The index at which this member's own mark is another than the one that is agreed on.
    pub(super) fn differs(&self, agreed: &Mark) -> bool {
        self.own_at(agreed.index).is_some_and(|own| own != agreed)
    }

    /// Members that differ from this one while no majority tells who is right; each is reported once.
    pub(super) fn disputes(&mut self, me: u64) -> Vec<u64> {
        let contradicts = |marks: &Vec<Mark>| {
            marks.iter().any(|mark| self.differs(mark) && 2 * self.supporters(me, mark) <= self.voters.len())
        };
        let agreed = self.agreed(me).map_or(0, |agreed| agreed.index);
        let is_open = |marks: &Vec<Mark>| marks.iter().any(|mark| mark.index > agreed);
        let now = self.told.iter().filter(|(_, marks)| is_open(marks) && contradicts(marks));
        let now: BTreeSet<u64> = now.map(|(member, _)| *member).collect();
        let new = now.difference(&self.disputed).copied().collect();
        self.disputed = now;
        new
    }

    fn supporters(&self, me: u64, mark: &Mark) -> usize {
        let supports = |voter: &&u64| {
            if **voter == me {
                self.own_at(mark.index) == Some(mark)
            } else {
                self.told.get(voter).is_some_and(|marks| marks.contains(mark))
            }
        };
        self.voters.iter().filter(supports).count()
    }

    fn own_at(&self, index: u64) -> Option<&Mark> {
        self.newest.iter().chain(self.own.iter().rev()).find(|mark| mark.index == index)
    }
}

#[cfg(test)]
mod tests {
    use mvcc::{Command, CommandBody, ProposalId, Term, Transaction};

    use super::*;
    use crate::tests::fixture;

    fn mark(index: u64, content: char) -> Mark {
        let mut state = State::default();
        let Transaction { operations, .. } = fixture::put("c", &content.to_string());
        let body = CommandBody::Transact(Transaction { operations, ..Transaction::default() });
        state.apply(&Command { proposal: ProposalId(0), feature_level: 0, body }, Term(1));
        Mark::of(&state, index)
    }

    /// `64a 70b`, a mark a word.
    fn marks(text: &str) -> Vec<Mark> {
        let read = |word: &str| {
            let (index, content) = word.split_at(word.len() - 1);
            mark(index.parse().expect("a number"), content.chars().next().expect("a letter"))
        };
        text.split_whitespace().map(read).collect()
    }

    fn ledger(voters: u64, own: &str, told: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.elect((1..=voters).collect());
        let own = marks(own);
        if let Some((newest, older)) = own.split_last() {
            ledger.note(older, *newest);
        }
        for (member, text) in (2..).zip(told) {
            ledger.tell(member, marks(text));
        }
        ledger
    }

    /// What member 1 takes for agreed, whether itself differs, and whom it disputes with.
    fn check(voters: u64, own: &str, told: &[&str], agreed: &str, differs: bool, disputes: &[u64]) {
        let mut ledger = ledger(voters, own, told);
        let found = ledger.agreed(1);
        assert_eq!(found, marks(agreed).pop(), "{own} and {told:?}");
        assert_eq!(found.is_some_and(|agreed| ledger.differs(&agreed)), differs, "{own} and {told:?}");
        assert_eq!(ledger.disputes(1), disputes, "{own} and {told:?}");
        assert_eq!(ledger.disputes(1), [0; 0], "told twice");
    }

    #[test]
    fn most_voters_are_right() {
        check(3, "64a 70b", &["64a 70b", "64a 70b"], "70b", false, &[]);
        check(3, "64a 70b", &["64a 69z", "64a 68y"], "64a", false, &[]);
        check(3, "64a 70b", &["64x 70y", "64a 70b"], "70b", false, &[]);
        check(3, "64x 70y", &["64a 70b", "64a 70b"], "70b", true, &[]);
        check(3, "64a 128b", &["64a 128b", ""], "128b", false, &[]);
        check(1, "64a", &[], "64a", false, &[]);
    }

    #[test]
    fn without_a_majority_a_difference_is_told_and_nothing_else() {
        check(3, "64a", &["64x", ""], "", false, &[2]);
        check(2, "64a 70b", &["64a 70x"], "64a", false, &[2]);
        check(3, "64a", &["64x", "64y"], "", false, &[2, 3]);
        check(3, "64a", &["", ""], "", false, &[]);
        check(3, "128a", &["64x", "64y"], "", false, &[]);
    }

    #[test]
    fn marks_of_another_form_say_nothing() {
        let mut told = mark(64, 'a').to_wire();
        assert_eq!(Mark::read(&told), Some(mark(64, 'a')));
        told.form += 1;
        assert_eq!(Mark::read(&told), None);
        let short = wire::StateMark { state_hash: Bytes::new(), ..mark(64, 'a').to_wire() };
        assert_eq!(Mark::read(&short), None);
    }

    #[test]
    fn what_was_forgotten_is_not_compared() {
        let mut ledger = ledger(3, "64a 70b", &[]);
        ledger.begin_again();
        assert!(!ledger.differs(&mark(64, 'x')));
        assert_eq!(ledger.own().count(), 0);
    }
}
