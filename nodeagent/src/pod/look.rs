//! Reads what the runtime has of one pod.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use proto::cri;

use super::observed::{Container, Observed, Sandbox, State, User};
use super::{spec, start};
use crate::container::{NODE_LABEL, labels};
use crate::logs;
use crate::runtime::{Runtime, RuntimeError};
use crate::shared::Shared;

/// Bytes of a last word that are kept.
const MESSAGE_MAX: usize = 4096;
/// Lines of the log that stand in for one.
const FALLBACK_LINES: usize = 80;
/// Bytes of the log that stand in for one.
const FALLBACK_MAX: usize = 2048;

/// Details that were read before and cannot have changed.
#[derive(Debug, Default)]
pub struct Look {
    containers: BTreeMap<String, Container>,
    sandboxes: BTreeMap<String, Sandbox>,
}

/// Looks at one pod. What has not changed its state since the last look is not asked for again.
pub async fn look(shared: &Shared, pod: &Pod, known: &mut Look) -> Result<Observed, RuntimeError> {
    let runtime = shared.runtime.as_ref();
    let label = (labels::POD_UID.to_owned(), spec::uid(pod).to_owned());
    let inventory = runtime.inventory(label).await?;
    let is_ours = |labels: &std::collections::HashMap<String, String>| {
        labels.get(NODE_LABEL) == Some(&shared.options.node_name)
    };
    let mut observed = Observed::default();
    for item in inventory.sandboxes.into_iter().filter(|item| is_ours(&item.labels)) {
        observed.sandboxes.extend(sandbox(runtime, item, known).await?);
    }
    for item in inventory.containers.into_iter().filter(|item| is_ours(&item.labels)) {
        observed.containers.extend(container(shared, pod, item, known).await?);
    }
    observed.sandboxes.sort_by_key(|sandbox| std::cmp::Reverse((sandbox.created, sandbox.attempt)));
    observed.containers.sort_by_key(|container| std::cmp::Reverse((container.created, container.attempt)));
    known.sandboxes = observed.sandboxes.iter().map(|item| (item.id.clone(), item.clone())).collect();
    known.containers = observed.containers.iter().map(|item| (item.id.clone(), item.clone())).collect();
    Ok(observed)
}

async fn sandbox(
    runtime: &dyn Runtime,
    item: cri::PodSandbox,
    known: &Look,
) -> Result<Option<Sandbox>, RuntimeError> {
    let ready = item.state() == cri::PodSandboxState::SandboxReady;
    if let Some(known) = known.sandboxes.get(&item.id)
        && known.ready == ready
        && !(ready && known.ips.is_empty())
    {
        return Ok(Some(known.clone()));
    }
    let status = match runtime.sandbox_status(item.id.clone()).await {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    let network = status.network.unwrap_or_default();
    let further = network.additional_ips.into_iter().map(|ip| ip.ip);
    let ips = std::iter::once(network.ip).chain(further).filter(|ip| !ip.is_empty()).collect();
    Ok(Some(Sandbox {
        id: item.id,
        attempt: item.metadata.map_or(0, |metadata| metadata.attempt),
        ready,
        created: nanoseconds(item.created_at).unwrap_or_default(),
        ips,
    }))
}

async fn container(
    shared: &Shared,
    pod: &Pod,
    item: cri::Container,
    known: &Look,
) -> Result<Option<Container>, RuntimeError> {
    let state = state(item.state());
    if let Some(known) = known.containers.get(&item.id).filter(|known| known.state == state) {
        return Ok(Some(known.clone()));
    }
    let status = match shared.runtime.container_status(item.id.clone()).await {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    let metadata = status.metadata.clone().unwrap_or_default();
    let mut found = Container {
        id: status.id.clone(),
        name: metadata.name,
        sandbox: item.pod_sandbox_id,
        attempt: metadata.attempt,
        state: self::state(status.state()),
        created: nanoseconds(status.created_at).unwrap_or_default(),
        started: nanoseconds(status.started_at),
        finished: nanoseconds(status.finished_at),
        exit_code: status.exit_code,
        reason: status.reason.clone(),
        message: status.message.clone(),
        image: image_name(&status),
        image_ref: status.image_ref.clone(),
        user: status.user.as_ref().and_then(|user| user.linux.as_ref()).map(|user| User {
            uid: user.uid,
            gid: user.gid,
            groups: user.supplemental_groups.clone(),
        }),
        log_path: status.log_path.clone(),
    };
    if found.state == State::Exited {
        let last_words = last_words(shared, pod, &found, &status);
        let parts = [found.message.clone(), last_words];
        found.message = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    }
    Ok(Some(found))
}

fn state(state: cri::ContainerState) -> State {
    match state {
        cri::ContainerState::ContainerCreated => State::Created,
        cri::ContainerState::ContainerRunning => State::Running,
        cri::ContainerState::ContainerExited => State::Exited,
        cri::ContainerState::ContainerUnknown => State::Unknown,
    }
}

/// The name that the pod gives, where the runtime kept it.
fn image_name(status: &cri::ContainerStatus) -> String {
    status.image.as_ref().map(|image| image.image.clone()).unwrap_or_default()
}

/// CRI counts nanoseconds since 1970 and uses zero for never.
fn nanoseconds(value: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(value.into()).ok().filter(|_| value != 0)
}

/// What the container left behind about its end.
fn last_words(shared: &Shared, pod: &Pod, found: &Container, status: &cri::ContainerStatus) -> String {
    let pod_dir = shared.options.pod_dir(spec::uid(pod));
    let file = start::termination_log(&pod_dir, &found.name, found.attempt);
    let text = read_up_to(&file, MESSAGE_MAX).unwrap_or_default();
    if !text.is_empty() {
        return text;
    }
    let falls_back = status.annotations.get(labels::TERMINATION_MESSAGE_POLICY).map(String::as_str)
        == Some("FallbackToLogsOnError");
    if !falls_back || found.exit_code == 0 {
        return String::new();
    }
    logs::tail::last_lines(std::path::Path::new(&status.log_path), FALLBACK_LINES, FALLBACK_MAX)
}

fn read_up_to(path: &std::path::Path, max: usize) -> std::io::Result<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(max as u64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
