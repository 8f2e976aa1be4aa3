//! What a worker remembers of its pod between two looks, beyond what the runtime and the API tell.
//!
//! All of it may be lost: an agent that restarts starts back-offs anew and seeds the probe results from the
//! status it last reported.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::backoff::Backoff;

/// Why a container is not running yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// CamelCase, as in the status.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Which probe said that a container must be restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// It came alive and then died.
    Liveness,
    /// It never came alive.
    Startup,
}

/// How setting up volumes went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Volumes {
    /// Not tried yet.
    #[default]
    Unknown,
    /// All are there; contents are looked at again at the given time.
    Ready {
        /// When the contents are due for a look.
        refresh_at: Timestamp,
    },
    /// One could not be set up.
    Failed {
        /// When to try again.
        retry_at: Timestamp,
        /// How long the next pause is.
        pause: jiff::SignedDuration,
    },
}

/// Knowledge of one worker.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Restarts, by container name.
    pub restarts: BTreeMap<String, Backoff>,
    /// Pulls, by image, with what the last failure said.
    pub pulls: BTreeMap<String, Pull>,
    /// Why containers do not run, by name. An entry goes when the container starts.
    pub waiting: BTreeMap<String, Waiting>,
    /// When another start may be tried after one that failed before there was a container.
    pub retry_at: BTreeMap<String, Timestamp>,
    /// Startup results by container id; absent means not known yet.
    pub started: BTreeMap<String, bool>,
    /// Readiness results by container id; absent means not known yet.
    pub ready: BTreeMap<String, bool>,
    /// Containers that a probe wants restarted, by id.
    pub unhealthy: BTreeMap<String, Failed>,
    /// Containers that are being started right now, by name: their back-off was let through already.
    pub starting: std::collections::BTreeSet<String>,
    /// Containers whose preStop hook was begun, by id, with the time.
    pub stopping: BTreeMap<String, Timestamp>,
    /// Volumes.
    pub volumes: Volumes,
    /// No sandbox before this.
    pub sandbox_retry_at: Option<Timestamp>,
    /// Everything outside the runtime was taken down.
    pub torn_down: bool,
}

/// Pulls of one image.
#[derive(Debug, Clone)]
pub struct Pull {
    /// When the last one failed and how long to wait.
    pub backoff: Backoff,
    /// `reason: message` of the last failure.
    pub said: String,
}

impl Volumes {
    /// The state after a failure at `now`: pauses double from half a second to two minutes.
    pub fn after_failure(&self, now: Timestamp) -> Self {
        const FIRST: jiff::SignedDuration = jiff::SignedDuration::from_millis(500);
        const LONGEST: jiff::SignedDuration = jiff::SignedDuration::from_secs(122);
        let pause = match self {
            Volumes::Failed { pause, .. } => *pause,
            Volumes::Unknown | Volumes::Ready { .. } => FIRST,
        };
        Volumes::Failed { retry_at: now + pause, pause: (pause * 2).min(LONGEST) }
    }
}

impl Memory {
    /// Drops what is known of containers that the runtime no longer has.
    pub fn keep_only(&mut self, is_known: impl Fn(&str) -> bool) {
        self.started.retain(|id, _| is_known(id));
        self.ready.retain(|id, _| is_known(id));
        self.unhealthy.retain(|id, _| is_known(id));
        self.stopping.retain(|id, _| is_known(id));
    }
}
