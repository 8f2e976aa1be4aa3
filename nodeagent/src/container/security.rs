//! Whom a container runs as and what it may do.

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext};
use proto::cri::{
    Capability, Image, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, SecurityProfile, security_profile::ProfileType,
};

use crate::pod::spec;

/// What an unprivileged container does not see of /proc and /sys.
const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// What it sees but does not write.
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn pod_context(pod: &Pod) -> PodSecurityContext {
    spec::spec(pod).security_context.clone().unwrap_or_default()
}

fn own_context(container: &Container) -> SecurityContext {
    container.security_context.clone().unwrap_or_default()
}

/// Which namespaces are shared with whom.
pub fn namespaces(pod: &Pod) -> NamespaceOption {
    let pod_spec = spec::spec(pod);
    let mode = |host: Option<bool>| if host == Some(true) { NamespaceMode::Node } else { NamespaceMode::Pod };
    let pid = match (pod_spec.host_pid, pod_spec.share_process_namespace) {
        (Some(true), _) => NamespaceMode::Node,
        (_, Some(true)) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    NamespaceOption {
        network: mode(pod_spec.host_network).into(),
        ipc: mode(pod_spec.host_ipc).into(),
        pid: pid.into(),
        target_id: String::new(),
    }
}

/// Makes a container see the processes of another one, unless it sees more than those already.
pub fn join(namespaces: &mut NamespaceOption, target: String) {
    if namespaces.pid() == NamespaceMode::Container {
        namespaces.set_pid(NamespaceMode::Target);
        namespaces.target_id = target;
    }
}

/// Groups every process of the pod belongs to.
fn supplemental_groups(context: &PodSecurityContext) -> Vec<i64> {
    context.fs_group.into_iter().chain(context.supplemental_groups.clone().unwrap_or_default()).collect()
}

/// What the pause process runs as.
pub fn of_sandbox(pod: &Pod) -> LinuxSandboxSecurityContext {
    let context = pod_context(pod);
    let privileged =
        spec::containers(pod).any(|(_, container)| own_context(container).privileged == Some(true));
    LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        run_as_user: context.run_as_user.map(|value| Int64Value { value }),
        // The runtime refuses a group without a user.
        run_as_group: context
            .run_as_group
            .filter(|_| context.run_as_user.is_some())
            .map(|value| Int64Value { value }),
        readonly_rootfs: false,
        supplemental_groups: supplemental_groups(&context),
        privileged,
        // The pause process needs nothing beyond the default profile, whatever its containers ask for.
        seccomp: Some(profile(ProfileType::RuntimeDefault)),
    }
}

fn profile(profile_type: ProfileType) -> SecurityProfile {
    SecurityProfile { profile_type: profile_type.into(), localhost_ref: String::new() }
}

/// Whom and how one container runs. `image` tells whom it would run as by itself.
pub fn of_container(
    pod: &Pod,
    container: &Container,
    image: Option<&Image>,
    seccomp_dir: &std::path::Path,
) -> Result<LinuxContainerSecurityContext, String> {
    let (shared, own) = (pod_context(pod), own_context(container));
    let user = own.run_as_user.or(shared.run_as_user);
    let group = own.run_as_group.or(shared.run_as_group);
    if own.run_as_non_root.or(shared.run_as_non_root) == Some(true) {
        check_non_root(user, image, container, pod)?;
    }
    let image_user = image.and_then(|image| image.uid.as_ref()).map(|uid| uid.value);
    let image_name = image.map(|image| image.username.clone()).unwrap_or_default();
    let privileged = own.privileged == Some(true);
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let list = |paths: &[&str]| {
        if unmasked { Vec::new() } else { paths.iter().map(|&path| path.to_owned()).collect() }
    };
    let may_escalate = own.allow_privilege_escalation.unwrap_or(true)
        || privileged
        || own
            .capabilities
            .iter()
            .flat_map(|caps| caps.add.iter().flatten())
            .any(|cap| cap.ends_with("SYS_ADMIN"));
    let run_as_user = user.or_else(|| image_user.filter(|_| image_name.is_empty()));
    Ok(LinuxContainerSecurityContext {
        capabilities: own.capabilities.as_ref().map(|capabilities| Capability {
            add_capabilities: capabilities.add.clone().unwrap_or_default(),
            drop_capabilities: capabilities.drop.clone().unwrap_or_default(),
        }),
        privileged,
        namespace_options: Some(namespaces(pod)),
        run_as_user: run_as_user.map(|value| Int64Value { value }),
        run_as_username: if user.is_none() { image_name.clone() } else { String::new() },
        run_as_group: group
            .filter(|_| run_as_user.is_some() || !image_name.is_empty())
            .map(|value| Int64Value { value }),
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: supplemental_groups(&shared),
        no_new_privs: !may_escalate,
        masked_paths: list(&MASKED_PATHS),
        readonly_paths: list(&READONLY_PATHS),
        seccomp: Some(seccomp(
            own.seccomp_profile.as_ref().or(shared.seccomp_profile.as_ref()),
            privileged,
            seccomp_dir,
        )?),
    })
}

fn check_non_root(
    user: Option<i64>,
    image: Option<&Image>,
    container: &Container,
    pod: &Pod,
) -> Result<(), String> {
    let who = || {
        format!(
            "(pod: \"{}_{}({})\", container: {})",
            spec::name(pod),
            spec::namespace(pod),
            spec::uid(pod),
            container.name
        )
    };
    match user {
        Some(0) => return Err(format!("container's runAsUser breaks non-root policy {}", who())),
        Some(_) => return Ok(()),
        None => {}
    }
    let name = image.map(|image| image.username.as_str()).unwrap_or_default();
    let uid = image.and_then(|image| image.uid.as_ref()).map(|uid| uid.value);
    match (uid, name) {
        (Some(0), _) | (None, "" | "root") => {
            Err(format!("container has runAsNonRoot and image will run as root {}", who()))
        }
        (Some(_), _) => Ok(()),
        (None, name) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {}",
            who()
        )),
    }
}

fn seccomp(
    wanted: Option<&SeccompProfile>,
    privileged: bool,
    seccomp_dir: &std::path::Path,
) -> Result<SecurityProfile, String> {
    if privileged {
        return Ok(profile(ProfileType::Unconfined));
    }
    match wanted.map(|wanted| (wanted.type_.as_str(), wanted.localhost_profile.as_deref())) {
        None | Some(("Unconfined", _)) => Ok(profile(ProfileType::Unconfined)),
        Some(("RuntimeDefault", _)) => Ok(profile(ProfileType::RuntimeDefault)),
        Some(("Localhost", Some(file))) => Ok(SecurityProfile {
            profile_type: ProfileType::Localhost.into(),
            localhost_ref: seccomp_dir.join(file).to_string_lossy().into_owned(),
        }),
        Some(("Localhost", None)) => {
            Err("localhostProfile must be set if seccompProfile type is Localhost.".to_owned())
        }
        Some((other, _)) => Err(format!("unknown seccomp profile type {other:?}")),
    }
}
