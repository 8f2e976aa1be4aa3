//! Asks one container again and again.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Probe};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Kind;
use super::attempt::{Answer, Subject};
use super::threshold::{Series, Thresholds};
use crate::events::{Recorder, Severity};
use std::sync::Arc;

/// A verdict on a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The container's id.
    pub id: String,
    /// Which probe.
    pub kind: Kind,
    /// Good or bad.
    pub good: bool,
}

/// A series of questions; ends when dropped.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a task needs.
pub struct Assignment {
    /// The pod, for events.
    pub pod: Arc<Pod>,
    /// Whom to ask.
    pub subject: Subject,
    /// Which probe.
    pub kind: Kind,
    /// How.
    pub probe: Probe,
    /// When the container began.
    pub started: Timestamp,
    /// Where events go.
    pub recorder: Recorder,
    /// Where verdicts go.
    pub verdicts: mpsc::UnboundedSender<Verdict>,
}

/// Starts asking.
pub fn spawn(assignment: Assignment) -> Task {
    Task(tokio::spawn(run(assignment)))
}

async fn run(assignment: Assignment) {
    let Assignment { pod, subject, kind, probe, started, recorder, verdicts } = assignment;
    let count = |given: Option<i32>, default| u32::try_from(given.unwrap_or(default)).unwrap_or(1).max(1);
    let thresholds =
        Thresholds { success: count(probe.success_threshold, 1), failure: count(probe.failure_threshold, 3) };
    let period = Duration::from_secs(u64::from(count(probe.period_seconds, 10)));
    let delay = jiff::SignedDuration::from_secs(probe.initial_delay_seconds.unwrap_or(0).into());
    let wait = (started + delay).duration_since(Timestamp::now());
    tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()).await;
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut series = Series::default();
    loop {
        ticks.tick().await;
        let good = match subject.probe(&probe).await {
            Answer::Good => true,
            Answer::Bad(why) => {
                let message = format!("{} probe failed: {why}", kind.title());
                recorder.container(&pod, &subject.container.name, Severity::Warning, "Unhealthy", message);
                false
            }
            Answer::Unknown(why) => {
                let message = format!("{} probe errored and resulted in unknown state: {why}", kind.title());
                recorder.container(&pod, &subject.container.name, Severity::Warning, "Unhealthy", message);
                continue;
            }
        };
        let Some(good) = series.on_answer(good, thresholds) else { continue };
        let verdict = Verdict { id: subject.id.clone(), kind, good };
        if verdicts.send(verdict).is_err() {
            return;
        }
        // Nothing more to learn of this container: it has come up, or it will be replaced.
        if kind == Kind::Startup || (kind == Kind::Liveness && !good) {
            return;
        }
    }
}
