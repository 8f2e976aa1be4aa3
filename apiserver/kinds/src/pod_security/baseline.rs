//! What the baseline level forbids.

use serde_json::Value;

use super::subject::{Subject, counted, own_setting, plural, quoted, sorted};
use super::{Check, Rule, Since, Violation};
use crate::tree::{at, bool_at, int_at, list_at, str_at, strings_at};

/// Places of the rules that restricted ones replace.
pub(super) const CAPABILITIES: usize = 1;
pub(super) const HOST_PATHS: usize = 3;
pub(super) const PROC_MOUNT: usize = 7;
pub(super) const SECCOMP: usize = 9;

/// The rules, in the order in which violations are told.
pub(super) const RULES: &[Rule] = &[
    Rule::new(&[Since(0, app_armor)]),
    Rule::new(&[Since(0, capabilities)]),
    Rule::new(&[Since(0, host_namespaces)]),
    Rule::new(&[Since(0, host_paths)]),
    Rule::new(&[Since(0, host_ports)]),
    Rule::new(&[Since(34, hosts_of_probes)]),
    Rule::new(&[Since(0, privileged)]),
    Rule::new(&[Since(0, proc_mount), Since(35, proc_mount_of_host_users)]),
    Rule::new(&[Since(0, se_linux), Since(31, se_linux_with_engines)]),
    Rule::new(&[Since(0, seccomp_annotations), Since(19, seccomp)]),
    Rule::new(&[Since(0, SYSCTLS[0]), Since(27, SYSCTLS[1]), Since(29, SYSCTLS[2]), Since(32, SYSCTLS[3])]),
    Rule::new(&[Since(0, host_process)]),
];

/// A violation with its detail.
pub(super) fn violation(reason: impl Into<String>, detail: String) -> Option<Violation> {
    Some(Violation { reason: reason.into(), detail })
}

/// Whether the pod runs with a profile of the runtime or of the node, for AppArmor and seccomp alike.
pub(super) fn is_confined(profile: &Value) -> bool {
    matches!(str_at(profile, "type"), "RuntimeDefault" | "Localhost")
}

fn app_armor(subject: &Subject<'_>) -> Option<Violation> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let mut types = Vec::new();
    let mut setters = subject.bad_setters("appArmorProfile", |profile| {
        let is_bad = !is_confined(profile);
        types.extend(is_bad.then(|| str_at(profile, "type").to_owned()));
        is_bad
    });
    let is_fine =
        |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations =
        subject.annotations().into_iter().filter(|(key, value)| key.starts_with(PREFIX) && !is_fine(value));
    let annotations = sorted(annotations.map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>());
    let mut values = sorted(types);
    if !annotations.is_empty() {
        setters.push(plural("annotation", annotations.len()));
        values.extend(annotations);
    }
    if setters.is_empty() {
        return None;
    }
    let detail =
        format!("{} must not set AppArmor profile type to {}", setters.join(" and "), quoted(&values));
    violation(plural("forbidden AppArmor profile", values.len()), detail)
}

const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Containers that add capabilities beyond those allowed, as a text; `None` if there are none.
pub(super) fn added_capabilities(subject: &Subject<'_>, allowed: &[&str]) -> Option<String> {
    let mut forbidden = Vec::new();
    let names = subject.bad_containers(|container| {
        let added = strings_at(container, "securityContext.capabilities.add");
        let before = forbidden.len();
        forbidden.extend(added.into_iter().filter(|capability| !allowed.contains(capability)));
        forbidden.len() > before
    });
    let forbidden = quoted(&sorted(forbidden));
    let who = counted("container", &names);
    (!names.is_empty())
        .then(|| format!("{who} must not include {forbidden} in securityContext.capabilities.add"))
}

fn capabilities(subject: &Subject<'_>) -> Option<Violation> {
    violation("non-default capabilities", added_capabilities(subject, &DEFAULT_CAPABILITIES)?)
}

fn host_namespaces(subject: &Subject<'_>) -> Option<Violation> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|name| bool_at(subject.spec(), name) == Some(true));
    let shared: Vec<String> = shared.map(|name| format!("{name}=true")).collect();
    if shared.is_empty() { None } else { violation("host namespaces", shared.join(", ")) }
}

fn host_paths(subject: &Subject<'_>) -> Option<Violation> {
    let volumes = subject.volumes().iter().filter(|volume| at(volume, "hostPath").is_some());
    let names: Vec<&str> = volumes.map(|volume| str_at(volume, "name")).collect();
    if names.is_empty() { None } else { violation("hostPath volumes", counted("volume", &names)) }
}

fn host_ports(subject: &Subject<'_>) -> Option<Violation> {
    let mut ports: Vec<String> = Vec::new();
    let names = subject.bad_containers(|container| {
        let own = list_at(container, "ports")
            .iter()
            .filter_map(|port| int_at(port, "hostPort"))
            .filter(|port| *port != 0);
        let before = ports.len();
        ports.extend(own.map(|port| port.to_string()));
        ports.len() > before
    });
    if names.is_empty() {
        return None;
    }
    let ports = sorted(ports);
    let (who, verb) = (counted("container", &names), if names.len() == 1 { "uses" } else { "use" });
    violation("hostPort", format!("{who} {verb} {} {}", plural("hostPort", ports.len()), ports.join(", ")))
}

fn hosts_of_probes(subject: &Subject<'_>) -> Option<Violation> {
    const PLACES: [&str; 5] =
        ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop"];
    let mut hosts = Vec::new();
    let names = subject.bad_containers(|container| {
        let handlers = PLACES.into_iter().filter_map(|place| at(container, place));
        let own =
            handlers.flat_map(|handler| [str_at(handler, "httpGet.host"), str_at(handler, "tcpSocket.host")]);
        let before = hosts.len();
        hosts.extend(own.filter(|host| !host.is_empty()));
        hosts.len() > before
    });
    if names.is_empty() {
        return None;
    }
    let (names, hosts) = (sorted(names), sorted(hosts));
    let (who, verb) = (counted("container", &names), if names.len() == 1 { "uses" } else { "use" });
    violation(
        "probe or lifecycle host",
        format!("{who} {verb} {}", counted("probe or lifecycle host", &hosts)),
    )
}

fn privileged(subject: &Subject<'_>) -> Option<Violation> {
    let names =
        subject.bad_containers(|container| bool_at(container, "securityContext.privileged") == Some(true));
    if names.is_empty() {
        return None;
    }
    violation(
        "privileged",
        format!("{} must not set securityContext.privileged=true", counted("container", &names)),
    )
}

/// Masks over `/proc` must stay.
pub(super) fn proc_mount(subject: &Subject<'_>) -> Option<Violation> {
    let mut types = Vec::new();
    let names = subject.bad_containers(|container| {
        let own = own_setting(container, "procMount").and_then(Value::as_str).filter(|own| *own != "Default");
        types.extend(own);
        own.is_some()
    });
    if names.is_empty() {
        return None;
    }
    let (who, types) = (counted("container", &names), quoted(&sorted(types)));
    violation("procMount", format!("{who} must not set securityContext.procMount to {types}"))
}

fn proc_mount_of_host_users(subject: &Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() { None } else { proc_mount(subject) }
}

fn se_linux(subject: &Subject<'_>) -> Option<Violation> {
    se_linux_types(subject, &["", "container_t", "container_init_t", "container_kvm_t"])
}

fn se_linux_with_engines(subject: &Subject<'_>) -> Option<Violation> {
    se_linux_types(subject, &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
}

fn se_linux_types(subject: &Subject<'_>, allowed: &[&str]) -> Option<Violation> {
    let (mut types, mut sets_user, mut sets_role) = (Vec::new(), false, false);
    let setters = subject.bad_setters("seLinuxOptions", |options| {
        let kind = str_at(options, "type");
        let (user, role) = (!str_at(options, "user").is_empty(), !str_at(options, "role").is_empty());
        let is_foreign = !allowed.contains(&kind);
        types.extend(is_foreign.then_some(kind));
        sets_user |= user;
        sets_role |= role;
        is_foreign || user || role
    });
    if setters.is_empty() {
        return None;
    }
    let types = sorted(types);
    let mut what = Vec::new();
    if !types.is_empty() {
        what.push(counted("type", &types));
    }
    what.extend(sets_user.then(|| "user may not be set".to_owned()));
    what.extend(sets_role.then(|| "role may not be set".to_owned()));
    let detail = format!(
        "{} set forbidden securityContext.seLinuxOptions: {}",
        setters.join(" and "),
        what.join("; ")
    );
    violation("seLinuxOptions", detail)
}

/// Before 1.19 seccomp profiles were annotations.
fn seccomp_annotations(subject: &Subject<'_>) -> Option<Violation> {
    const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
    let names = subject.containers().map(|container| format!("{CONTAINER}{}", str_at(container, "name")));
    let keys: Vec<String> = std::iter::once(POD.to_owned()).chain(names).collect();
    let is_fine = |value: &str| {
        matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/")
    };
    let own = subject
        .annotations()
        .into_iter()
        .filter(|(key, value)| keys.iter().any(|known| known == key) && !is_fine(value));
    let forbidden = sorted(own.map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>());
    if forbidden.is_empty() {
        return None;
    }
    let detail = format!("forbidden {} {}", plural("annotation", forbidden.len()), forbidden.join(", "));
    violation("seccompProfile", detail)
}

/// A profile, where one is named, must confine.
pub(super) fn seccomp(subject: &Subject<'_>) -> Option<Violation> {
    let mut types = Vec::new();
    let setters = subject.bad_setters("seccompProfile", |profile| {
        let is_bad = !is_confined(profile);
        types.extend(is_bad.then(|| str_at(profile, "type")));
        is_bad
    });
    if setters.is_empty() {
        return None;
    }
    let (who, types) = (setters.join(" and "), quoted(&sorted(types)));
    violation("seccompProfile", format!("{who} must not set securityContext.seccompProfile.type to {types}"))
}

/// Sysctls of a pod that reach no other, in the order in which versions came to allow them.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// The checks that allow the first 5, 6, 10 and all of them.
const SYSCTLS: [Check; 4] = [
    |subject| sysctls(subject, 5),
    |subject| sysctls(subject, 6),
    |subject| sysctls(subject, 10),
    |subject| sysctls(subject, 12),
];

fn sysctls(subject: &Subject<'_>, allowed: usize) -> Option<Violation> {
    let list = subject.setting("sysctls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names = list.iter().map(|sysctl| str_at(sysctl, "name"));
    let forbidden: Vec<&str> = names.filter(|name| !SAFE_SYSCTLS[..allowed].contains(name)).collect();
    if forbidden.is_empty() { None } else { violation("forbidden sysctls", forbidden.join(", ")) }
}

fn host_process(subject: &Subject<'_>) -> Option<Violation> {
    let setters =
        subject.bad_setters("windowsOptions", |options| bool_at(options, "hostProcess") == Some(true));
    if setters.is_empty() {
        return None;
    }
    violation(
        "hostProcess",
        format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.join(" and ")),
    )
}
