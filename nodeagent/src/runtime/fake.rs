//! A runtime in memory: it does what it is told, remembers it, and can be made to misbehave.
//!
//! It applies, so that a test reads what became of the pods; `dump` prints it.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use proto::cri as api;
use tokio::sync::Notify;

use super::{Answer, ExecOutput, Inventory, Runtime, RuntimeError};

/// The runtime.
#[derive(Default)]
pub struct Fake {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    next: u32,
    /// The last time that was given out; no two are the same.
    clock: i64,
    sandboxes: BTreeMap<String, (api::PodSandboxConfig, bool, i64)>,
    containers: BTreeMap<String, Held>,
    images: BTreeSet<String>,
    calls: Vec<String>,
}

struct Held {
    sandbox: String,
    config: api::ContainerConfig,
    state: api::ContainerState,
    created: i64,
    started: i64,
    finished: i64,
    exit_code: i32,
}

impl Fake {
    /// A runtime that has these images.
    pub fn with_images(images: &[&str]) -> Self {
        let images = images.iter().map(|&image| image.to_owned()).collect();
        Fake { state: Mutex::new(State { images, ..State::default() }), changed: Notify::new() }
    }

    /// Lets the newest container of a name end.
    pub fn exit(&self, name: &str, code: i32) {
        let mut state = self.lock();
        let now = state.tick();
        let running = api::ContainerState::ContainerRunning;
        let held = state.containers.values_mut().filter(|held| held.state == running && held.name() == name);
        if let Some(held) = held.last() {
            held.end(code, now);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Calls that changed something, in order, and forgets them.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().calls)
    }

    /// What there is: `sandbox ready|stopped` and `name#attempt created|running|exited(code)`.
    pub fn dump(&self) -> String {
        let state = self.lock();
        let sandboxes = state.sandboxes.values().map(|(_, ready, _)| match ready {
            true => "sandbox ready".to_owned(),
            false => "sandbox stopped".to_owned(),
        });
        let containers = state.containers.values().map(Held::dump);
        sandboxes.chain(containers).collect::<Vec<_>>().join(", ")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    fn apply<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, RuntimeError>,
    ) -> Answer<'_, T> {
        let result = change(&mut self.lock());
        self.changed.notify_one();
        Box::pin(std::future::ready(result))
    }
}

impl State {
    fn tick(&mut self) -> i64 {
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        self.clock = now.max(self.clock + 1);
        self.clock
    }

    fn id(&mut self, kind: &str) -> String {
        self.next += 1;
        format!("{kind}{:03}", self.next)
    }

    fn container(&mut self, id: &str) -> Result<&mut Held, RuntimeError> {
        self.containers.get_mut(id).ok_or_else(|| not_found(id))
    }

    fn image(&self, name: &str) -> Option<api::Image> {
        self.images.contains(name).then(|| api::Image { id: name.to_owned(), size: 1, ..Default::default() })
    }
}

impl Held {
    fn name(&self) -> &str {
        self.config.metadata.as_ref().map(|metadata| metadata.name.as_str()).unwrap_or_default()
    }

    fn end(&mut self, code: i32, now: i64) {
        self.state = api::ContainerState::ContainerExited;
        self.exit_code = code;
        self.finished = now;
    }

    fn dump(&self) -> String {
        let attempt = self.config.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
        let state = match self.state {
            api::ContainerState::ContainerCreated => "created".to_owned(),
            api::ContainerState::ContainerRunning => "running".to_owned(),
            api::ContainerState::ContainerExited => format!("exited({})", self.exit_code),
            api::ContainerState::ContainerUnknown => "unknown".to_owned(),
        };
        format!("{}#{attempt} {state}", self.name())
    }

    fn listed(&self, id: &str) -> api::Container {
        api::Container {
            id: id.to_owned(),
            pod_sandbox_id: self.sandbox.clone(),
            metadata: self.config.metadata.clone(),
            state: self.state.into(),
            created_at: self.created,
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            ..Default::default()
        }
    }
}

fn not_found(id: &str) -> RuntimeError {
    RuntimeError { code: tonic::Code::NotFound, message: format!("{id} is not there") }
}

fn unimplemented(what: &str) -> RuntimeError {
    RuntimeError { code: tonic::Code::Unimplemented, message: format!("{what} needs a real runtime") }
}

impl Runtime for Fake {
    fn version(&self) -> Answer<'_, api::VersionResponse> {
        self.apply(|_| {
            Ok(api::VersionResponse {
                runtime_name: "fake".into(),
                runtime_version: "1".into(),
                ..Default::default()
            })
        })
    }

    fn status(&self) -> Answer<'_, api::RuntimeStatus> {
        self.apply(|_| Ok(api::RuntimeStatus::default()))
    }

    fn inventory(&self, (key, value): (String, String)) -> Answer<'_, Inventory> {
        let state = self.lock();
        let has = |labels: &std::collections::HashMap<String, String>| labels.get(&key) == Some(&value);
        let sandboxes = state.sandboxes.iter().filter(|(_, (config, ..))| has(&config.labels));
        let sandboxes = sandboxes.map(|(id, (config, ready, created))| api::PodSandbox {
            id: id.clone(),
            metadata: config.metadata.clone(),
            state: i32::from(!ready),
            created_at: *created,
            labels: config.labels.clone(),
            annotations: Default::default(),
        });
        let containers = state.containers.iter().filter(|(_, held)| has(&held.config.labels));
        let inventory = Inventory {
            sandboxes: sandboxes.collect(),
            containers: containers.map(|(id, held)| held.listed(id)).collect(),
        };
        Box::pin(std::future::ready(Ok(inventory)))
    }

    fn sandbox_status(&self, id: String) -> Answer<'_, api::PodSandboxStatus> {
        let state = self.lock();
        let status = state.sandboxes.get(&id).map(|(config, ready, created)| api::PodSandboxStatus {
            id: id.clone(),
            metadata: config.metadata.clone(),
            state: i32::from(!ready),
            created_at: *created,
            network: Some(api::PodSandboxNetworkStatus { ip: "10.0.0.1".into(), additional_ips: Vec::new() }),
            ..Default::default()
        });
        Box::pin(std::future::ready(status.ok_or_else(|| not_found(&id))))
    }

    fn run_sandbox(&self, config: api::PodSandboxConfig) -> Answer<'_, String> {
        self.apply(|state| {
            let (id, now) = (state.id("sandbox"), state.tick());
            state.calls.push("run sandbox".into());
            state.sandboxes.insert(id.clone(), (config, true, now));
            Ok(id)
        })
    }

    fn stop_sandbox(&self, id: String) -> Answer<'_, ()> {
        self.apply(|state| {
            let now = state.tick();
            state.calls.push("stop sandbox".into());
            state.sandboxes.get_mut(&id).ok_or_else(|| not_found(&id))?.1 = false;
            let running = api::ContainerState::ContainerRunning;
            let inside =
                state.containers.values_mut().filter(|held| held.sandbox == id && held.state == running);
            inside.for_each(|held| held.end(137, now));
            Ok(())
        })
    }

    fn remove_sandbox(&self, id: String) -> Answer<'_, ()> {
        self.apply(|state| {
            state.calls.push("remove sandbox".into());
            state.sandboxes.remove(&id);
            state.containers.retain(|_, held| held.sandbox != id);
            Ok(())
        })
    }

    fn create_container(
        &self,
        sandbox: String,
        config: api::ContainerConfig,
        _: api::PodSandboxConfig,
    ) -> Answer<'_, String> {
        self.apply(|state| {
            let (id, now) = (state.id("container"), state.tick());
            let held = Held {
                sandbox,
                config,
                state: api::ContainerState::ContainerCreated,
                created: now,
                started: 0,
                finished: 0,
                exit_code: 0,
            };
            state.calls.push(format!("create {}", held.name()));
            state.containers.insert(id.clone(), held);
            Ok(id)
        })
    }

    fn start_container(&self, id: String) -> Answer<'_, ()> {
        self.apply(|state| {
            let now = state.tick();
            let held = state.container(&id)?;
            held.state = api::ContainerState::ContainerRunning;
            held.started = now;
            let call = format!("start {}", held.name());
            state.calls.push(call);
            Ok(())
        })
    }

    fn stop_container(&self, id: String, grace: Duration) -> Answer<'_, ()> {
        self.apply(|state| {
            let now = state.tick();
            let held = state.container(&id)?;
            held.end(143, now);
            let call = format!("stop {} within {}s", held.name(), grace.as_secs());
            state.calls.push(call);
            Ok(())
        })
    }

    fn remove_container(&self, id: String) -> Answer<'_, ()> {
        self.apply(|state| {
            let call = format!("remove {}", state.container(&id)?.name());
            state.calls.push(call);
            state.containers.remove(&id);
            Ok(())
        })
    }

    fn container_status(&self, id: String) -> Answer<'_, api::ContainerStatus> {
        self.apply(|state| {
            let held = state.container(&id)?;
            Ok(api::ContainerStatus {
                id: id.clone(),
                metadata: held.config.metadata.clone(),
                state: held.state.into(),
                created_at: held.created,
                started_at: held.started,
                finished_at: held.finished,
                exit_code: held.exit_code,
                reason: match (held.state, held.exit_code) {
                    (api::ContainerState::ContainerExited, 0) => "Completed".into(),
                    (api::ContainerState::ContainerExited, _) => "Error".into(),
                    _ => String::new(),
                },
                annotations: held.config.annotations.clone(),
                ..Default::default()
            })
        })
    }

    fn reopen_log(&self, id: String) -> Answer<'_, ()> {
        self.apply(|state| state.container(&id).map(drop))
    }

    fn exec(&self, id: String, command: Vec<String>, _: Duration) -> Answer<'_, ExecOutput> {
        self.apply(|state| {
            let call = format!("exec in {}: {}", state.container(&id)?.name(), command.join(" "));
            state.calls.push(call);
            Ok(ExecOutput { exit_code: 0, stdout: Vec::new(), stderr: Vec::new() })
        })
    }

    fn exec_url(&self, _: api::ExecRequest) -> Answer<'_, String> {
        self.apply(|_| Err(unimplemented("exec")))
    }

    fn attach_url(&self, _: api::AttachRequest) -> Answer<'_, String> {
        self.apply(|_| Err(unimplemented("attach")))
    }

    fn port_forward_url(&self, _: String) -> Answer<'_, String> {
        self.apply(|_| Err(unimplemented("port-forward")))
    }

    fn images(&self) -> Answer<'_, Vec<api::Image>> {
        self.apply(|state| Ok(state.images.iter().filter_map(|name| state.image(name)).collect()))
    }

    fn image(&self, name: String) -> Answer<'_, Option<api::Image>> {
        self.apply(|state| Ok(state.image(&name)))
    }

    fn pull(&self, name: String, _: Option<api::AuthConfig>) -> Answer<'_, String> {
        self.apply(|_| Err(not_found(&name)))
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async { self.changed.notified().await })
    }
}
