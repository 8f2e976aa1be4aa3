//! What the restricted level forbids or asks for beyond the baseline.

use serde_json::Value;

use super::baseline::{self, added_capabilities, violation};
use super::subject::{Subject, counted, own_setting, plural, quoted, sorted};
use super::{Rule, Since, Violation};
use crate::tree::{at, bool_at, str_at, strings_at};

/// The rules, in the order in which violations are told.
pub(super) const RULES: &[Rule] = &[
    Rule::new(&[Since(8, privilege_escalation), Since(25, privilege_escalation_on_linux)]),
    Rule {
        forms: &[Since(22, capabilities), Since(25, capabilities_on_linux)],
        instead_of: Some(baseline::CAPABILITIES),
    },
    Rule { forms: &[Since(35, baseline::proc_mount)], instead_of: Some(baseline::PROC_MOUNT) },
    Rule { forms: &[Since(0, volumes)], instead_of: Some(baseline::HOST_PATHS) },
    Rule::new(&[Since(0, non_root), Since(35, non_root_of_host_users)]),
    Rule::new(&[Since(23, user), Since(35, user_of_host_users)]),
    Rule { forms: &[Since(19, seccomp), Since(25, seccomp_on_linux)], instead_of: Some(baseline::SECCOMP) },
];

fn privilege_escalation(subject: &Subject<'_>) -> Option<Violation> {
    let forbids =
        |container: &Value| bool_at(container, "securityContext.allowPrivilegeEscalation") == Some(false);
    let names = subject.bad_containers(|container| !forbids(container));
    if names.is_empty() {
        return None;
    }
    let who = counted("container", &names);
    violation(
        "allowPrivilegeEscalation != false",
        format!("{who} must set securityContext.allowPrivilegeEscalation=false"),
    )
}

fn privilege_escalation_on_linux(subject: &Subject<'_>) -> Option<Violation> {
    if subject.is_for_windows() { None } else { privilege_escalation(subject) }
}

fn capabilities(subject: &Subject<'_>) -> Option<Violation> {
    let drops_all =
        |container: &Value| strings_at(container, "securityContext.capabilities.drop").contains(&"ALL");
    let keeping = subject.bad_containers(|container| !drops_all(container));
    let keeping = (!keeping.is_empty()).then(|| {
        let who = counted("container", &keeping);
        format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]")
    });
    let adding = added_capabilities(subject, &["NET_BIND_SERVICE"]);
    let details: Vec<String> = keeping.into_iter().chain(adding).collect();
    if details.is_empty() { None } else { violation("unrestricted capabilities", details.join("; ")) }
}

fn capabilities_on_linux(subject: &Subject<'_>) -> Option<Violation> {
    if subject.is_for_windows() { None } else { capabilities(subject) }
}

const ALLOWED_SOURCES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

const FORBIDDEN_SOURCES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

fn volumes(subject: &Subject<'_>) -> Option<Violation> {
    let has = |volume: &Value, source: &str| at(volume, source).is_some();
    let bad: Vec<&Value> = subject
        .volumes()
        .iter()
        .filter(|volume| !ALLOWED_SOURCES.iter().any(|source| has(volume, source)))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let source = |volume: &&Value| {
        FORBIDDEN_SOURCES.into_iter().find(|source| has(volume, source)).unwrap_or("unknown")
    };
    let sources = sorted(bad.iter().map(source).collect::<Vec<_>>());
    let names: Vec<&str> = bad.iter().map(|volume| str_at(volume, "name")).collect();
    let (who, verb) = (counted("volume", &names), if names.len() == 1 { "uses" } else { "use" });
    let what = plural("restricted volume type", sources.len());
    violation("restricted volume types", format!("{who} {verb} {what} {}", quoted(&sources)))
}

fn non_root(subject: &Subject<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let setters = subject.bad_setters("runAsNonRoot", |value| value == &Value::Bool(false));
    if !setters.is_empty() {
        return violation(
            REASON,
            format!("{} must not set securityContext.runAsNonRoot=false", setters.join(" and ")),
        );
    }
    if subject.setting("runAsNonRoot").is_some() {
        return None;
    }
    let silent = subject.bad_containers(|container| own_setting(container, "runAsNonRoot").is_none());
    if silent.is_empty() {
        return None;
    }
    let who = counted("container", &silent);
    violation(REASON, format!("pod or {who} must set securityContext.runAsNonRoot=true"))
}

fn non_root_of_host_users(subject: &Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() { None } else { non_root(subject) }
}

fn user(subject: &Subject<'_>) -> Option<Violation> {
    let setters = subject.bad_setters("runAsUser", |value| value.as_i64() == Some(0));
    if setters.is_empty() {
        return None;
    }
    violation("runAsUser=0", format!("{} must not set runAsUser=0", setters.join(" and ")))
}

fn user_of_host_users(subject: &Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() { None } else { user(subject) }
}

/// A profile that confines must be named, by the pod or by each container.
fn seccomp(subject: &Subject<'_>) -> Option<Violation> {
    if let Some(violation) = baseline::seccomp(subject) {
        return Some(violation);
    }
    if subject.setting("seccompProfile").is_some() {
        return None;
    }
    let silent = subject.bad_containers(|container| own_setting(container, "seccompProfile").is_none());
    if silent.is_empty() {
        return None;
    }
    let who = counted("container", &silent);
    let text = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
    violation("seccompProfile", format!("pod or {who} {text}"))
}

fn seccomp_on_linux(subject: &Subject<'_>) -> Option<Violation> {
    if subject.is_for_windows() { None } else { seccomp(subject) }
}
