//! A watcher: reads its watch, sometimes slowly, and resumes where it was after whatever ended it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::api::Watch;
use crate::client::{Client, Company};
use crate::seed::Stream;
use crate::trace::Event;
use crate::words::{Action, Answer, Scope};

/// How often progress is asked for while nothing comes.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// How it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// At once and for ever.
    Diligent,
    /// With pauses, and it leaves its watch for no reason and comes back.
    Fickle,
}

/// A watcher.
#[derive(Debug)]
pub struct Watcher {
    company: Company,
    number: u64,
    scope: Scope,
    habit: Habit,
    draw: Stream,
    /// Lists when history is forgotten.
    lister: Client,
    reached: watch::Sender<u64>,
    told: u64,
}

impl Watcher {
    /// A watcher, and how far it has come.
    pub fn new(company: &Company, number: u64, scope: Scope, habit: Habit) -> (Self, watch::Receiver<u64>) {
        let (reached, follow) = watch::channel(0);
        let (company, draw) = (company.clone(), company.seed.named("watcher", number));
        let lister = Client::new(&company, 100 + number);
        (Self { company, number, scope, habit, draw, lister, reached, told: 0 }, follow)
    }

    /// Watches for ever.
    pub async fn run(mut self) {
        let mut after = 0;
        loop {
            let wish = self.company.any_computer(&mut self.draw);
            let (computer, api) = self.company.cluster.api(wish).await;
            match api.watch(&self.scope, after) {
                Ok(watch) => {
                    let number = self.company.next_watch();
                    let (watcher, scope) = (self.number, self.scope);
                    self.record(Event::WatchOpened { watch: number, watcher, computer, scope, after });
                    self.told = after;
                    after = self.follow(watch, number, after).await;
                }
                Err(oldest) => {
                    self.record(Event::WatchRefused { watcher: self.number, computer, after, oldest });
                    after = self.list_again(after).await;
                }
            }
            if api.power().is_cancelled() {
                continue;
            }
            sleep(Duration::from_millis(self.draw.within(1..=50))).await;
        }
    }

    /// Reads to the end of the watch and returns where to resume.
    async fn follow(&mut self, mut watch: Watch, number: u32, after: u64) -> u64 {
        let mut delivered = after;
        let why = loop {
            match tokio::time::timeout(PROGRESS_INTERVAL, watch.next()).await {
                Ok(Ok(changes)) => {
                    delivered = changes.last().map_or(delivered, |last| last.revision);
                    self.record(Event::Delivered { watch: number, changes });
                }
                Ok(Err(why)) => break why,
                Err(_) => {}
            }
            self.tell_progress(&watch, number);
            if self.habit == Habit::Fickle {
                sleep(Duration::from_millis(self.draw.within(0..=150))).await;
                if self.draw.percent(4) {
                    break "left";
                }
            }
        };
        self.record(Event::WatchEnded { watch: number, why });
        if self.draw.percent(50) { delivered } else { self.told.max(delivered) }
    }

    fn tell_progress(&mut self, watch: &Watch, number: u32) {
        let revision = watch.progress();
        self.reached.send_replace(revision);
        if revision != self.told {
            self.record(Event::Progress { watch: number, revision });
            self.told = revision;
        }
    }

    /// What a client does when its revision is forgotten.
    async fn list_again(&mut self, after: u64) -> u64 {
        let call = self.company.next_call();
        let action = Action::List(crate::words::RESOURCES[1]);
        match self.lister.call(call, &action, Duration::from_secs(8)).await {
            Answer::Listed { at, .. } => at,
            _ => after,
        }
    }

    fn record(&self, event: Event) {
        self.company.recorder.record(event);
    }
}
