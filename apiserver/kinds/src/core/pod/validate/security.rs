//! Security contexts of pods and containers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::mounts::relative_path;
use super::options::Options;
use super::{Path, Scope, invalid_each, walk};
use crate::core::pod::internal;
use crate::field::{self, Error};
use crate::names::{dns_subdomain, numeric_id};
use crate::tree::{at, bool_at, int_at, list_at, str_at, strings_at};

/// Bytes of a sysctl's name.
const SYSCTL_NAME_MAX: usize = 253;

/// Bytes of the name of an AppArmor profile: a path without its end.
const APP_ARMOR_PROFILE_MAX: usize = 4095;

/// Sysctls that belong to the IPC namespace; all below `net.` belong to the network's.
const IPC_SYSCTLS: [&str; 10] = [
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.shm",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg",
];

/// Everything wrong with the security context of the pod. Namespaces shared with the host stand beside it in the spec.
pub(super) fn pod(spec: &Value, spec_path: &Path, options: &Options) -> Vec<Error> {
    let null = Value::Null;
    let context = at(spec, "securityContext").unwrap_or(&null);
    let path = spec_path.child("securityContext");
    let mut errors = Vec::new();
    for name in ["fsGroup", "runAsUser", "runAsGroup"] {
        errors.extend(id(context, name, &path));
    }
    for (index, group) in list_at(context, "supplementalGroups").iter().enumerate() {
        let group = group.as_i64().unwrap_or(0);
        let path = path.child("supplementalGroups").index(index);
        errors.extend(numeric_id(group).map(|text| field::invalid(&path, group, text)));
    }
    if bool_at(spec, "shareProcessNamespace") == Some(true) && bool_at(spec, "hostPID") == Some(true) {
        let text = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(field::invalid(&path.child("shareProcessNamespace"), true, text));
    }
    errors.extend(sysctls(spec, options, &path.child("sysctls")));
    errors.extend(one_of(context, "fsGroupChangePolicy", &["Always", "OnRootMismatch"], &path));
    errors.extend(seccomp(context, &path.child("seccompProfile")));
    errors.extend(windows(context, &path.child("windowsOptions")));
    errors.extend(app_armor(context, &path.child("appArmorProfile")));
    errors.extend(one_of(context, "supplementalGroupsPolicy", &["Merge", "Strict"], &path));
    let changes: &[&str] =
        if options.any_selinux_change { &["MountOption", "Recursive"] } else { &["Recursive"] };
    errors.extend(one_of(context, "seLinuxChangePolicy", changes, &path));
    errors
}

/// Everything wrong with the security context of a container.
pub(super) fn container(container: &Value, scope: &Scope<'_>, path: &Path) -> Vec<Error> {
    let Some(context) = at(container, "securityContext") else { return Vec::new() };
    let mut errors = Vec::new();
    for name in ["runAsUser", "runAsGroup"] {
        errors.extend(id(context, name, path));
    }
    errors.extend(one_of(context, "procMount", &["Default", "Unmasked"], path));
    if scope.shares_host_users() && str_at(context, "procMount") == "Unmasked" {
        let text = "`hostUsers` must be false to use `Unmasked`";
        errors.push(field::invalid(&path.child("procMount"), "Unmasked", text));
    }
    errors.extend(seccomp(context, &path.child("seccompProfile")));
    errors.extend(escalation(context, path));
    errors.extend(windows(context, &path.child("windowsOptions")));
    errors.extend(app_armor(context, &path.child("appArmorProfile")));
    errors
}

/// Who may do everything cannot be kept from gaining privileges.
fn escalation(context: &Value, path: &Path) -> Vec<Error> {
    if bool_at(context, "allowPrivilegeEscalation") != Some(false) {
        return Vec::new();
    }
    let bad = |text: &str| field::invalid(path, internal::bad_value("*SecurityContext", Some(context)), text);
    let mut errors = Vec::new();
    if bool_at(context, "privileged") == Some(true) {
        errors.push(bad("cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
    }
    for _ in
        strings_at(context, "capabilities.add").iter().filter(|capability| **capability == "CAP_SYS_ADMIN")
    {
        errors
            .push(bad("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"));
    }
    errors
}

fn id(context: &Value, name: &str, path: &Path) -> Option<Error> {
    let id = int_at(context, name)?;
    numeric_id(id).map(|text| field::invalid(&path.child(name), id, text))
}

fn one_of(context: &Value, name: &str, supported: &[&str], path: &Path) -> Option<Error> {
    let value = at(context, name).and_then(Value::as_str)?;
    (!supported.contains(&value)).then(|| field::not_supported(&path.child(name), value, supported))
}

fn sysctls(spec: &Value, options: &Options, path: &Path) -> Vec<Error> {
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, sysctl) in list_at(spec, "securityContext.sysctls").iter().enumerate() {
        let (name, path) = (str_at(sysctl, "name"), path.index(index).child("name"));
        if name.is_empty() {
            errors.push(field::required(&path, ""));
        } else if !is_sysctl(name) {
            let text = format!(
                r"must have at most {SYSCTL_NAME_MAX} characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            );
            errors.push(field::invalid(&path, name, text));
        } else if seen.contains(name) {
            errors.push(field::duplicate(&path, name));
        }
        if let Some(shared) = shared_with_host(spec, name).filter(|_| !options.any_sysctls) {
            errors.push(field::invalid(&path, name, format!("may not be specified when '{shared}' is true")));
        }
        seen.insert(name);
    }
    errors
}

/// Segments of lower case letters and digits, separated by dots or slashes.
fn is_sysctl(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= SYSCTL_NAME_MAX
        && name.split(['.', '/']).all(|segment| {
            segment.starts_with(edge)
                && segment.ends_with(edge)
                && segment.chars().all(|c| edge(c) || matches!(c, '-' | '_'))
        })
}

/// The field that makes the pod share the sysctl's namespace with the host.
fn shared_with_host(spec: &Value, sysctl: &str) -> Option<&'static str> {
    let name = normalized(sysctl);
    let name = name.split('*').next().unwrap_or("");
    let is_network = name.starts_with("net.");
    let is_ipc = IPC_SYSCTLS.contains(&name) || name.starts_with("fs.mqueue.");
    let on_host = |field: &str| bool_at(spec, field) == Some(true);
    match (is_network, is_ipc) {
        (true, _) if on_host("hostNetwork") => Some("hostNetwork"),
        (_, true) if on_host("hostIPC") => Some("hostIPC"),
        _ => None,
    }
}

/// Slashes may stand for dots: whichever comes first is the separator.
fn normalized(sysctl: &str) -> String {
    match sysctl.find(['.', '/']) {
        Some(first) if sysctl[first..].starts_with('/') => sysctl
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => sysctl.to_owned(),
    }
}

/// Whether a stored spec already has a sysctl of a namespace that it shares with the host.
pub(super) fn has_shared_sysctl(spec: &Value) -> bool {
    list_at(spec, "securityContext.sysctls")
        .iter()
        .any(|sysctl| shared_with_host(spec, str_at(sysctl, "name")).is_some())
}

fn seccomp(context: &Value, path: &Path) -> Vec<Error> {
    let Some(profile) = at(context, "seccompProfile") else { return Vec::new() };
    let mut errors = Vec::new();
    let types = ["Localhost", "RuntimeDefault", "Unconfined"];
    let ty = str_at(profile, "type");
    if ty.is_empty() {
        errors.push(field::required(&path.child("type"), "type is required when seccompProfile is set"));
    } else if !types.contains(&ty) {
        errors.push(field::not_supported(&path.child("type"), ty, &types));
    }
    let file_path = path.child("localhostProfile");
    match (ty, at(profile, "localhostProfile").and_then(Value::as_str)) {
        ("Localhost", None) => {
            errors.push(field::required(&file_path, "must be set when seccomp type is Localhost"));
        }
        ("Localhost", Some(file)) => errors.extend(relative_path(file, &file_path)),
        (_, Some(_)) => {
            let text = "can only be set when seccomp type is Localhost";
            errors.push(field::invalid(
                &file_path,
                internal::bad_value("*SeccompProfile", Some(profile)),
                text,
            ));
        }
        (_, None) => {}
    }
    errors
}

fn app_armor(context: &Value, path: &Path) -> Vec<Error> {
    at(context, "appArmorProfile").map_or_else(Vec::new, |profile| app_armor_profile(profile, path))
}

/// Everything wrong with an AppArmor profile.
pub(crate) fn app_armor_profile(profile: &Value, path: &Path) -> Vec<Error> {
    let name_path = path.child("localhostProfile");
    let name = at(profile, "localhostProfile").and_then(Value::as_str);
    let mut errors = Vec::new();
    match (str_at(profile, "type"), name) {
        ("Localhost", None | Some("")) => {
            errors.push(field::required(&name_path, "must be set when AppArmor type is Localhost"));
        }
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.push(field::invalid(&name_path, name, "must not be padded with whitespace"));
            }
            if name.len() > APP_ARMOR_PROFILE_MAX {
                errors.push(field::too_long(&name_path, APP_ARMOR_PROFILE_MAX));
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.push(field::invalid(&name_path, name, "can only be set when AppArmor type is Localhost"));
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => {
            errors.push(field::required(&path.child("type"), "type is required when appArmorProfile is set"));
        }
        (other, _) => {
            let types = ["Localhost", "RuntimeDefault", "Unconfined"];
            errors.push(field::not_supported(&path.child("type"), other, &types));
        }
    }
    errors
}

/// Bytes of a group-managed service account's credential spec.
const CREDENTIAL_SPEC_MAX: usize = 64 * 1024;

fn windows(context: &Value, path: &Path) -> Vec<Error> {
    let Some(options) = at(context, "windowsOptions") else { return Vec::new() };
    let text_of = |name: &str| at(options, name).and_then(Value::as_str);
    let mut errors = Vec::new();
    if let Some(name) = text_of("gmsaCredentialSpecName") {
        errors.extend(invalid_each(&path.child("gmsaCredentialSpecName"), name, dns_subdomain(name)));
    }
    let spec_path = path.child("gmsaCredentialSpec");
    match text_of("gmsaCredentialSpec") {
        Some("") => {
            errors.push(field::invalid(&spec_path, "", "gmsaCredentialSpec cannot be an empty string"))
        }
        Some(spec) if spec.len() > CREDENTIAL_SPEC_MAX => {
            errors.push(field::invalid(&spec_path, spec, "gmsaCredentialSpec size must be under 64 KiB"));
        }
        _ => {}
    }
    if let Some(user) = text_of("runAsUserName") {
        let path = path.child("runAsUserName");
        errors.extend(windows_user(user).into_iter().map(|text| field::invalid(&path, user, text)));
    }
    errors
}

/// What is wrong with a Windows user name, `DOMAIN\user` or `user`.
fn windows_user(name: &str) -> Vec<&'static str> {
    let parts: Vec<&str> = name.split('\\').collect();
    let (domain, user) = match parts.as_slice() {
        _ if name.is_empty() => return vec!["runAsUserName cannot be an empty string"],
        _ if name.contains(|c: char| c.is_ascii_control()) => {
            return vec!["runAsUserName cannot contain control characters"];
        }
        [user] => (None, *user),
        [domain, user] => (Some(*domain), *user),
        _ => return vec!["runAsUserName cannot contain more than one backslash"],
    };
    let mut texts = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= 256) {
        texts.push("runAsUserName's Domain length must be under 256 characters");
    }
    if domain.is_some_and(|domain| !is_netbios(domain) && !is_dns(domain)) {
        texts.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
    }
    if user.is_empty() {
        texts.push("runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        texts.push("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        texts.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        texts.push("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    texts
}

fn is_netbios(domain: &str) -> bool {
    let characters = domain.chars().count();
    (1..=15).contains(&characters)
        && !domain.starts_with('.')
        && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|'])
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| {
        let edge = |c: char| c.is_ascii_alphanumeric();
        label.len() <= 63
            && label.starts_with(edge)
            && label.ends_with(edge)
            && label.chars().all(|c| edge(c) || c == '-')
    })
}

/// A user namespace of its own goes with no other namespace of the host.
pub(super) fn host_users(spec: &Value, path: &Path, options: &Options) -> Vec<Error> {
    if bool_at(spec, "hostUsers") != Some(false) {
        return Vec::new();
    }
    let text = "when `hostUsers` is false";
    let on_host = |field: &str| bool_at(spec, field) == Some(true);
    let mut errors = Vec::new();
    if on_host("hostNetwork") && !options.users_with_host_network {
        errors.push(field::forbidden(&path.child("hostNetwork"), text));
    }
    for (name, printed) in [("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if on_host(name) {
            errors.push(field::forbidden(&path.child(printed), text));
        }
    }
    if !options.users_with_devices {
        let with_devices =
            walk::all(spec, path).filter(|(_, container)| !list_at(container, "volumeDevices").is_empty());
        errors.extend(with_devices.map(|(path, _)| field::forbidden(&path.child("volumeDevices"), text)));
    }
    errors
}
