//! The computers of a run and who belongs to the cluster; its operator brings about who should.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use raft_store::{MemberId, MemberInfo};
use tokio::time::sleep;

use crate::api::Api;
use crate::bugs::Bug;
use crate::computer::{self, Computer};
use crate::network::Network;
use crate::plan::{Plan, Target};
use crate::seed::Stream;
use crate::tally::{MEMBERS, TIMES};
use crate::trace::{Event, Recorder};

/// Between two looks of the operator.
const LOOK_INTERVAL: Duration = Duration::from_millis(150);

/// Of a hundred newcomers, those that ask to be admitted themselves.
const ASK_PERCENT: u64 = 60;

/// Between two looks for a running store.
const RUNNING_INTERVAL: Duration = Duration::from_millis(10);

/// The computers. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Cluster {
    computers: Arc<Vec<Computer>>,
    network: Network,
    recorder: Recorder,
    seed: Stream,
    wanted: Arc<Mutex<Wanted>>,
}

/// Who should belong to the cluster.
#[derive(Debug)]
struct Wanted {
    /// The computer of each member, by member.
    members: BTreeMap<u64, usize>,
    /// The next member that there has never been.
    next: u64,
    is_removed_first: bool,
}

impl Cluster {
    /// Computers that are off.
    pub fn new(recorder: &Recorder, plan: &Arc<Plan>, seed: &Stream, bug: Option<Bug>) -> Self {
        let network = Network::new(seed, plan.network_ms, recorder, bug);
        let computers = (0..plan.members)
            .map(|number| Computer::new(number, &network, recorder.clone(), plan.clone(), seed, bug));
        let computers: Arc<Vec<Computer>> = Arc::new(computers.collect());
        let members = computers.iter().map(|computer| (computer.member(), computer.number())).collect();
        let next = plan.members as u64 + 1;
        let wanted = Arc::new(Mutex::new(Wanted { members, next, is_removed_first: false }));
        Self { computers, network, recorder: recorder.clone(), seed: seed.clone(), wanted }
    }

    /// Switches everything on.
    pub fn start(&self) {
        for computer in self.computers.iter() {
            tokio::spawn(computer.clone().run());
        }
        if self.computers.len() > 1 {
            tokio::spawn(self.clone().operate());
        }
    }

    /// All of them.
    pub fn computers(&self) -> &[Computer] {
        &self.computers
    }

    /// What is between them.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Those that are meant.
    pub fn targets(&self, of: Target) -> Vec<&Computer> {
        match of {
            Target::One(number) => self.computers.get(number).into_iter().collect(),
            Target::Leader => self.leader().map(|(number, _)| &self.computers[number]).into_iter().collect(),
            Target::All => self.computers.iter().collect(),
        }
    }

    /// The store that leads in the newest term, and where it runs.
    pub fn leader(&self) -> Option<(usize, Api)> {
        let running = self.computers.iter().filter_map(|computer| {
            let api = computer.running()?;
            Some((api.term()?, computer.number(), api))
        });
        running.max_by_key(|(term, ..)| *term).map(|(_, number, api)| (number, api))
    }

    /// The newest term that somebody leads in.
    pub fn term(&self) -> Option<u64> {
        self.leader()?.1.term()
    }

    /// A running store: there, or at the next computer that has one.
    pub async fn api(&self, from: usize) -> (usize, Api) {
        loop {
            for step in 0..self.computers.len() {
                let number = (from + step) % self.computers.len();
                if let Some(api) = self.computers[number].running() {
                    return (number, api);
                }
            }
            sleep(RUNNING_INTERVAL).await;
        }
    }

    /// Puts another member with an empty disk in a computer's place, if a lost disk does no harm now.
    pub fn replace(&self, number: usize, is_removed_first: bool) -> bool {
        // Every log has the members: whoever leads next knows them, and one disk less is no quorum less.
        if !self.is_settled() {
            return false;
        }
        let mut wanted = self.wanted();
        let member = wanted.next;
        wanted.next += 1;
        wanted.is_removed_first = is_removed_first;
        let old = self.computers[number].member();
        wanted.members.remove(&old);
        wanted.members.insert(member, number);
        self.computers[number].replace(member);
        self.recorder.record(Event::Wanted { members: wanted.members.keys().copied().collect() });
        true
    }

    /// Takes a member out of the cluster. It keeps its disk and goes on running.
    pub fn retire(&self, number: usize) -> Option<u64> {
        if !self.is_settled() {
            return None;
        }
        let member = self.computers[number].member();
        self.want(member, None);
        Some(member)
    }

    /// Takes it back.
    pub fn enlist(&self, member: u64, number: usize) {
        // Unless its disk is gone since.
        if self.computers[number].member() == member {
            self.want(member, Some(number));
        }
    }

    fn want(&self, member: u64, number: Option<usize>) {
        let mut wanted = self.wanted();
        match number {
            Some(number) => wanted.members.insert(member, number),
            None => wanted.members.remove(&member),
        };
        self.recorder.record(Event::Wanted { members: wanted.members.keys().copied().collect() });
    }

    /// Whether a disk may be lost: the members are those that should be, and no log holds half a change of them, which
    /// would have a quorum of its own.
    pub fn is_settled(&self) -> bool {
        let is_settled = |computer: &Computer| computer.running().is_some_and(|api| api.is_settled());
        self.is_complete() && self.computers.iter().all(is_settled)
    }

    /// Whether every computer runs and its member knows all of them, and nobody else, as voters.
    fn is_complete(&self) -> bool {
        let wanted: Vec<u64> = self.wanted().members.keys().copied().collect();
        wanted.len() == self.computers.len()
            && self.computers.iter().all(|computer| {
                let members = computer.running().map(|api| api.members()).unwrap_or_default();
                members.iter().all(|member| member.is_voter)
                    && members.iter().map(|member| member.id.0).eq(wanted.iter().copied())
            })
    }

    /// Changes the members until they are those that should be, for ever.
    async fn operate(self) {
        let mut draw = self.seed.named("operator", 0);
        loop {
            sleep(LOOK_INTERVAL).await;
            let Some((leader, api)) = self.leader() else { continue };
            let Some(change) = self.wanted().next_change(&api.members()) else { continue };
            self.recorder.record(Event::Operator(format!("{change:?}")));
            let answer = match change {
                // As a server joins: it asks, over the network.
                Change::Admit(member) if draw.percent(ASK_PERCENT) => {
                    let whom = self.computers[leader].member();
                    self.network.ask_to_admit(member, computer::address(member), whom).await
                }
                Change::Admit(member) => api.admit(member, computer::address(member)).await,
                Change::Remove(member) => api.remove(member).await,
            };
            let what = match (change, answer) {
                (Change::Admit(_), "done") => "admitted",
                (Change::Remove(_), "done") => "removed",
                (Change::Admit(_), _) => "not admitted",
                (Change::Remove(_), _) => "not removed",
            };
            self.recorder.count(MEMBERS, what, TIMES);
            self.recorder.record(Event::Operator(format!("{change:?}: {answer}")));
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().expect("no panic while the lock is held")
    }
}

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Admit(u64),
    Remove(u64),
}

impl Wanted {
    fn next_change(&self, members: &[MemberInfo]) -> Option<Change> {
        let is_voter = |id| members.iter().any(|member| member.id == MemberId(id) && member.is_voter);
        let missing = self.members.keys().copied().find(|id| !is_voter(*id)).map(Change::Admit);
        let others = members.iter().map(|member| member.id.0).find(|id| !self.members.contains_key(id));
        let others = others.map(Change::Remove);
        if self.is_removed_first { others.or(missing) } else { missing.or(others) }
    }
}
