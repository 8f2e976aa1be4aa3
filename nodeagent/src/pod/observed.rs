//! What the runtime has of one pod. Read from CRI by [`crate::pod::worker`]; pure data from there on.

use jiff::Timestamp;

/// State of a container in the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Prepared and never started.
    Created,
    /// Its first process lives.
    Running,
    /// Its first process ended.
    Exited,
    /// The runtime does not know.
    Unknown,
}

/// The identity a container's first process has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Further groups.
    pub groups: Vec<i64>,
}

/// One container of the pod, running or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The runtime's id.
    pub id: String,
    /// The name in the specification.
    pub name: String,
    /// The sandbox it belongs to.
    pub sandbox: String,
    /// How many containers of this name came before.
    pub attempt: u32,
    /// Its state.
    pub state: State,
    /// When it was prepared.
    pub created: Timestamp,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// How it ended.
    pub exit_code: i32,
    /// Why it ended, in the runtime's words.
    pub reason: String,
    /// More on that, or its own termination message.
    pub message: String,
    /// The image's name.
    pub image: String,
    /// The image's digest.
    pub image_ref: String,
    /// Whom it runs as, where the runtime tells.
    pub user: Option<User>,
    /// The log file.
    pub log_path: String,
}

impl Container {
    /// Its first process lives.
    pub fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// When it ended; the start stands in where the runtime lost the end.
    pub fn ended(&self) -> Timestamp {
        self.finished.or(self.started).unwrap_or(self.created)
    }
}

/// One sandbox of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's id.
    pub id: String,
    /// How many sandboxes came before.
    pub attempt: u32,
    /// Its pause process lives.
    pub ready: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Its addresses; none in the node's network.
    pub ips: Vec<String>,
}

/// All of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Sandboxes, newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Containers, newest first.
    pub containers: Vec<Container>,
}

impl Observed {
    /// The newest container of a name.
    pub fn latest(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The newest container of a name in one sandbox.
    pub fn latest_in(&self, sandbox: &str, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name && container.sandbox == sandbox)
    }

    /// The one before the newest.
    pub fn previous(&self, name: &str) -> Option<&Container> {
        self.containers.iter().filter(|container| container.name == name).nth(1)
    }

    /// All that live.
    pub fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|container| container.is_running())
    }

    /// The sandbox that can hold containers now: the newest, if it is ready, alone, and has what its network needs.
    pub fn usable_sandbox(&self, host_network: bool) -> Option<&Sandbox> {
        let newest = self.sandboxes.first()?;
        let ready = self.sandboxes.iter().filter(|sandbox| sandbox.ready).count();
        let connected = host_network || !newest.ips.is_empty();
        (newest.ready && ready == 1 && connected).then_some(newest)
    }
}
