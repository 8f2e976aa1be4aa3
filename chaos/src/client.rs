//! A client: thinks, calls, remembers what it heard, and sometimes gives up early.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::cluster::Cluster;
use crate::plan::Plan;
use crate::seed::Stream;
use crate::trace::{Event, Recorder};
use crate::words::{Action, Answer, Place, Version, Write};
use crate::workload;

/// How long a client waits for an answer, usually.
const DEADLINE: Duration = Duration::from_secs(8);

/// Writes each client does once faults are over; all must be answered.
const CALM_WRITES: u32 = 3;

/// How often one of them may be tried anew before it counts as never answered.
const CALM_TRIES_MAX: u32 = 8;

/// Who everybody is in the same run with.
#[derive(Debug, Clone)]
pub struct Company {
    /// The computers called.
    pub cluster: Cluster,
    /// Where to write what happens.
    pub recorder: Recorder,
    /// The plan of the run.
    pub plan: Arc<Plan>,
    /// The run's seed.
    pub seed: Stream,
    /// Cancelled when faults are over.
    pub calm: CancellationToken,
    /// Numbers calls.
    pub calls: Arc<AtomicU32>,
    /// Numbers watches.
    pub watches: Arc<AtomicU32>,
}

/// What a client knows, possibly outdated.
#[derive(Debug, Default)]
pub struct Knowledge {
    /// Objects it has read or written.
    pub versions: BTreeMap<Place, Version>,
    /// The newest revision it has heard of.
    pub newest: u64,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    company: Company,
    number: u64,
    draw: Stream,
    knowledge: Knowledge,
    /// The computer it calls.
    at: usize,
}

impl Client {
    /// A client that knows nothing.
    pub fn new(company: &Company, number: u64) -> Self {
        let mut draw = company.seed.named("client", number);
        let at = company.any_computer(&mut draw);
        Self { company: company.clone(), number, draw, knowledge: Knowledge::default(), at }
    }

    /// Calls whatever comes to its mind until faults are over; then writes a little more, which must
    /// succeed.
    pub async fn run(mut self) {
        while !self.company.calm.is_cancelled() {
            sleep(Duration::from_millis(self.draw.within(0..=self.company.plan.think_ms))).await;
            let deadline = self.deadline();
            let calm = self.company.calm.clone();
            let working = async {
                let (at, api) = self.company.cluster.api(self.at).await;
                let (call, term) = (self.company.next_call(), self.company.cluster.term());
                let (call, action) = workload::action(&mut self.draw, &self.knowledge, call, term);
                (at, api, call, action)
            };
            // The stores may be down until faults are over.
            let Some((at, api, call, action)) = calm.run_until_cancelled(working).await else { break };
            self.at = at;
            let answer = self.call_on(&api, call, &action, deadline).await;
            self.move_on(&answer);
        }
        for _ in 0..CALM_WRITES {
            self.write_in_calm().await;
        }
    }

    async fn write_in_calm(&mut self) {
        for _ in 0..CALM_TRIES_MAX {
            let call = self.company.next_call();
            let write = workload::plain_write(&mut self.draw, call);
            let answer = self.call(call, &Action::Write(write), DEADLINE).await;
            if matches!(answer, Answer::Applied { .. }) {
                return;
            }
            self.move_on(&answer);
            sleep(Duration::from_secs(1)).await;
        }
        let what = format!("client {} writes in calm and is not answered", self.number);
        self.company.recorder.record(Event::Overdue(what));
    }

    /// Calls whoever is there and remembers.
    pub async fn call(&mut self, call: u32, action: &Action, deadline: Duration) -> Answer {
        let (at, api) = self.company.cluster.api(self.at).await;
        self.at = at;
        self.call_on(&api, call, action, deadline).await
    }

    /// Calls a store on the computer it is at.
    pub async fn call_on(&mut self, api: &Api, call: u32, action: &Action, deadline: Duration) -> Answer {
        let recorder = &self.company.recorder;
        let (client, computer) = (self.number, self.at);
        recorder.record(Event::Called { call, client, computer, action: action.clone() });
        let answer = api.call(call, action, deadline).await;
        recorder.record(Event::Answered { call, answer: answer.clone() });
        self.knowledge.learn(action, &answer);
        answer
    }

    /// Goes to a computer.
    pub fn go(&mut self, at: usize) {
        self.at = at;
    }

    /// Looks for a better member after a bad answer, and now and then for no reason.
    fn move_on(&mut self, answer: &Answer) {
        let bad = matches!(answer, Answer::Unknown | Answer::NotAppended(_) | Answer::Failed(_));
        if self.draw.percent(if bad { 70 } else { 5 }) {
            self.at = self.company.any_computer(&mut self.draw);
        }
    }

    /// Mostly long; sometimes so short that the client is gone before the answer.
    fn deadline(&mut self) -> Duration {
        if self.draw.percent(3) { Duration::from_millis(self.draw.within(0..=5)) } else { DEADLINE }
    }
}

impl Company {
    /// The number of some computer.
    pub fn any_computer(&self, draw: &mut Stream) -> usize {
        let last = self.cluster.computers().len() as u64 - 1;
        usize::try_from(draw.within(0..=last)).expect("an index into memory")
    }

    /// The number of the next call.
    pub fn next_call(&self) -> u32 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of the next watch.
    pub fn next_watch(&self) -> u32 {
        self.watches.fetch_add(1, Ordering::Relaxed)
    }
}

impl Knowledge {
    fn learn(&mut self, action: &Action, answer: &Answer) {
        match (action, answer) {
            (Action::Write(write), Answer::Applied { last, versions, .. }) => {
                self.newest = self.newest.max(*last);
                self.learn_write(write, versions);
            }
            (Action::Read(place), Answer::Found { at, version }) => {
                self.newest = self.newest.max(*at);
                match version {
                    Some(version) => self.versions.insert(*place, *version),
                    None => self.versions.remove(place),
                };
            }
            (Action::List(_), Answer::Listed { at, items }) => {
                self.newest = self.newest.max(*at);
                self.versions.extend(items.iter().copied());
            }
            _ => {}
        }
    }

    fn learn_write(&mut self, write: &Write, versions: &[Version]) {
        for (step, version) in write.steps.iter().zip(versions) {
            match step {
                crate::words::Step::Put(place, _) => self.versions.insert(*place, *version),
                crate::words::Step::Delete(place) => self.versions.remove(place),
            };
        }
    }
}
