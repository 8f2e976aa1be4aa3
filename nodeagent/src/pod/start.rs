//! Starting one container: image, configuration, creation, start, postStart hook.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, VolumeMount};
use proto::cri::{Image, Mount, MountPropagation};

use super::execute::{Round, START_RETRY, Update};
use super::memory::Waiting;
use super::plan::Kill;
use super::spec::{self, Role};
use super::{resources, stop};
use crate::container::env::{self, Environment, Sources};
use crate::container::expand::expand;
use crate::container::{config, files, sandbox};
use crate::events::Severity;
use crate::images::Outcome;
use crate::probe::attempt::Subject;
use crate::volumes::{self, subpath};

/// How long a postStart hook may take. Upstream sets no bound; a day ends what hangs for ever.
const POST_START_MAX: Duration = Duration::from_secs(24 * 3600);

/// Why a start failed: the reason in the status, the text.
struct Failure {
    reason: &'static str,
    message: String,
}

impl Failure {
    fn new(reason: &'static str) -> impl FnOnce(String) -> Self {
        move |message| Failure { reason, message }
    }
}

/// Starts a container, and tells the worker why it waits if it could not be.
pub async fn start(round: &Round, sandbox_id: String, name: &str, role: Role, attempt: Option<u32>) {
    let Some((_, container)) = spec::container(&round.pod, name) else { return };
    let container = container.as_ref();
    let Some(image) = ensure_image(round, container).await else { return };
    let attempt = attempt.unwrap_or_else(|| attempts_on_disk(round, name));
    let result = create(round, &sandbox_id, container, &image, attempt).await;
    let result = match result {
        Ok(id) => begin(round, container, role, &id).await,
        Err(failure) => Err(failure),
    };
    match result {
        Ok(()) => {
            round.tell(Update::Waiting(name.to_owned(), None));
            round.tell(Update::Retry(name.to_owned(), None));
        }
        Err(Failure { reason, message }) => {
            let waiting = Waiting { reason: reason.to_owned(), message };
            round.tell(Update::Waiting(name.to_owned(), Some(waiting)));
            round.tell(Update::Retry(name.to_owned(), Some(Timestamp::now() + START_RETRY)));
        }
    }
}

async fn ensure_image(round: &Round, container: &Container) -> Option<Image> {
    let name = container.image.clone().unwrap_or_default();
    let known = round.memory.pulls.get(&name).cloned();
    let ensure = round.shared.images.ensure(&round.pod, container, known, Timestamp::now());
    match round.unless_cancelled(ensure).await? {
        Outcome::Present(image) => {
            round.tell(Update::Pull(name, None));
            Some(*image)
        }
        Outcome::Absent { waiting, pull, retry_at } => {
            let event = format!("Error: {}", waiting.reason);
            round.shared.recorder.container(&round.pod, &container.name, Severity::Warning, "Failed", event);
            let retry_at = retry_at.unwrap_or_else(|| Timestamp::now() + START_RETRY);
            round.tell(Update::Pull(name, pull));
            round.tell(Update::Waiting(container.name.clone(), Some(waiting)));
            round.tell(Update::Retry(container.name.clone(), Some(retry_at)));
            None
        }
    }
}

/// The runtime has none of this name: the logs tell how many there were.
fn attempts_on_disk(round: &Round, name: &str) -> u32 {
    let pod = &round.pod;
    let dir =
        round.shared.options.pod_log_dir(spec::namespace(pod), spec::name(pod), spec::uid(pod)).join(name);
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| {
        entry.file_name().to_string_lossy().split('.').next().and_then(|number| number.parse::<u32>().ok())
    });
    numbers.max().map_or(0, |last| last + 1)
}

async fn create(
    round: &Round,
    sandbox_id: &str,
    container: &Container,
    image: &Image,
    attempt: u32,
) -> Result<String, Failure> {
    let say = |failure: Failure| {
        let message = format!("Error: {}", failure.message);
        round.shared.recorder.container(&round.pod, &container.name, Severity::Warning, "Failed", message);
        failure
    };
    let environment = environment(round, container).await.map_err(Failure::new("CreateContainerConfigError"));
    let environment = environment.map_err(say)?;
    let described = describe(round, container, image, attempt, &environment);
    let config = described.map_err(Failure::new("CreateContainerConfigError")).map_err(say)?;
    let attempt_of_sandbox = round.observed.sandboxes.first().map_or(0, |sandbox| sandbox.attempt);
    let sandbox_config = sandbox::config(&round.pod, attempt_of_sandbox, round.dns(), &round.shared.options);
    let created = round.shared.runtime.create_container(sandbox_id.to_owned(), config, sandbox_config).await;
    created.map_err(|error| say(Failure { reason: "CreateContainerError", message: error.message }))
}

async fn environment(round: &Round, container: &Container) -> Result<Environment, String> {
    let namespace = spec::namespace(&round.pod);
    let references = env::references(container);
    let objects = &round.shared.objects;
    let mut sources = Sources::default();
    for name in references.config_maps {
        let found = objects.config_map(namespace, &name).await.map_err(|error| error.to_string())?;
        sources.config_maps.insert(name, found);
    }
    for name in references.secrets {
        let found = objects.secret(namespace, &name).await.map_err(|error| error.to_string())?;
        sources.secrets.insert(name, found);
    }
    let ips = round.observed.sandboxes.first().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
    let place = round.shared.place(&round.pod, &ips);
    let services = objects.services().await;
    env::environment(&round.pod, container, &place, &sources, &services)
}

fn describe(
    round: &Round,
    container: &Container,
    image: &Image,
    attempt: u32,
    environment: &Environment,
) -> Result<proto::cri::ContainerConfig, String> {
    let shared = &round.shared;
    let log_dir = shared.options.pod_log_dir(
        spec::namespace(&round.pod),
        spec::name(&round.pod),
        spec::uid(&round.pod),
    );
    std::fs::create_dir_all(log_dir.join(&container.name)).map_err(|error| error.to_string())?;
    let seccomp_dir = shared.options.pods_dir.join("seccomp");
    let parts = config::Parts {
        image,
        attempt,
        environment,
        mounts: mounts(round, container, attempt, environment)?,
        resources: resources::container_resources(
            &round.pod,
            container,
            shared.facts.memory_bytes,
            shared.options.restrict_oom_score_adj,
        ),
        node_name: &shared.options.node_name,
        seccomp_dir: &seccomp_dir,
        target: target(round, container)?,
    };
    config::config(&round.pod, container, parts)
}

/// The running container whose processes this one is to see.
fn target(round: &Round, container: &Container) -> Result<Option<String>, String> {
    let Some(name) = spec::target(&round.pod, &container.name) else { return Ok(None) };
    let running = round.observed.latest(name).filter(|latest| latest.is_running());
    let found = running.map(|latest| Some(latest.id.clone()));
    found.ok_or_else(|| format!("unable to find target container {name:?}"))
}

fn mounts(
    round: &Round,
    container: &Container,
    attempt: u32,
    environment: &Environment,
) -> Result<Vec<Mount>, String> {
    let pod_dir = round.shared.options.pod_dir(spec::uid(&round.pod));
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        mounts.push(volume_mount(round, container, &pod_dir, index, mount, environment)?);
    }
    let is_taken =
        |path: &str| container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == path);
    if !is_taken("/etc/hosts") {
        mounts.push(plain_mount("/etc/hosts", &write_hosts(round, &pod_dir)?));
    }
    let message_path = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    if !message_path.is_empty() {
        let file = termination_log(&pod_dir, &container.name, attempt);
        touch_writable(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        mounts.push(plain_mount(message_path, &file));
    }
    Ok(mounts)
}

fn plain_mount(container_path: &str, host_path: &Path) -> Mount {
    Mount {
        container_path: container_path.to_owned(),
        host_path: host_path.to_string_lossy().into_owned(),
        ..Mount::default()
    }
}

/// Where a container's last words are kept.
pub fn termination_log(pod_dir: &Path, container: &str, attempt: u32) -> std::path::PathBuf {
    pod_dir.join("containers").join(container).join(attempt.to_string())
}

/// An empty file that any user of the container may write.
fn touch_writable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::File::create(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
}

fn write_hosts(round: &Round, pod_dir: &Path) -> Result<std::path::PathBuf, String> {
    let path = pod_dir.join("etc-hosts");
    let ips = round.observed.sandboxes.first().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
    let node_hosts =
        spec::host_network(&round.pod).then(|| std::fs::read_to_string("/etc/hosts").unwrap_or_default());
    let text = files::hosts(&round.pod, &ips, &round.shared.options.cluster_domain, node_hosts.as_deref());
    // In place, because running containers have this very file mounted.
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn volume_mount(
    round: &Round,
    container: &Container,
    pod_dir: &Path,
    index: usize,
    mount: &VolumeMount,
    environment: &Environment,
) -> Result<Mount, String> {
    let volumes = spec::spec(&round.pod).volumes.as_deref().unwrap_or_default();
    let volume = volumes.iter().find(|volume| volume.name == mount.name);
    let path = volume.and_then(|volume| volumes::path(pod_dir, volume));
    let mut host_path = path.ok_or_else(|| {
        format!("cannot find volume {:?} to mount into container {:?}", mount.name, container.name)
    })?;
    let lookup = |name: &str| environment.get(name).map(str::to_owned);
    let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(path), _) if !path.is_empty() => Some(path.clone()),
        (_, Some(expression)) if !expression.is_empty() => Some(expand(expression, lookup)),
        _ => None,
    };
    if let Some(sub_path) = sub_path {
        let target =
            pod_dir.join("volume-subpaths").join(&mount.name).join(&container.name).join(index.to_string());
        subpath::bind(&host_path, &sub_path, &target).map_err(|error| {
            format!(
                "failed to prepare subPath for volumeMount {:?} of container {:?}: {error}",
                mount.name, container.name
            )
        })?;
        host_path = target;
    }
    let propagation = match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
        Some("Bidirectional") => MountPropagation::PropagationBidirectional,
        _ => MountPropagation::PropagationPrivate,
    };
    Ok(Mount {
        container_path: absolute(&mount.mount_path),
        host_path: host_path.to_string_lossy().into_owned(),
        readonly: mount.read_only == Some(true),
        propagation: propagation.into(),
        ..Mount::default()
    })
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

async fn begin(round: &Round, container: &Container, role: Role, id: &str) -> Result<(), Failure> {
    let say = |severity, reason: &str, message: String| {
        round.shared.recorder.container(&round.pod, &container.name, severity, reason, message);
    };
    say(Severity::Normal, "Created", "Container created".into());
    if let Err(error) = round.shared.runtime.start_container(id.to_owned()).await {
        say(Severity::Warning, "Failed", format!("Error: {}", error.message));
        return Err(Failure { reason: "RunContainerError", message: error.message });
    }
    say(Severity::Normal, "Started", "Container started".into());
    link_log(round, container, id).await;
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
    let Some(hook) = hook.filter(|_| role != Role::Init) else { return Ok(()) };
    let ips = round.observed.sandboxes.first().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
    let place = round.shared.place(&round.pod, &ips);
    let subject = Subject {
        runtime: std::sync::Arc::clone(&round.shared.runtime),
        id: id.to_owned(),
        container: container.clone(),
        pod_ip: place.pod_ips.first().cloned().unwrap_or_default(),
    };
    match round.unless_cancelled(subject.hook(hook, POST_START_MAX)).await {
        None | Some(Ok(())) => Ok(()),
        Some(Err(message)) => {
            say(Severity::Warning, "FailedPostStartHook", "PostStartHook failed".into());
            let kill = Kill {
                id: id.to_owned(),
                name: container.name.clone(),
                message: "FailedPostStartHook".into(),
                probe: None,
            };
            // If the kill fails the container runs on without its hook, and the next look sees it.
            let _ = stop::kill(round, &kill).await;
            Err(Failure { reason: "PostStartHookError", message })
        }
    }
}

async fn link_log(round: &Round, container: &Container, id: &str) {
    let Some(link) = round.log_link(&container.name, id) else { return };
    let Ok(status) = round.shared.runtime.container_status(id.to_owned()).await else { return };
    if let Some(parent) = link.parent() {
        let _ = std::fs::create_dir_all(parent);
    }
    if let Err(error) = std::os::unix::fs::symlink(status.log_path, &link) {
        tracing::debug!(%error, link = %link.display(), "no link to a log");
    }
}
