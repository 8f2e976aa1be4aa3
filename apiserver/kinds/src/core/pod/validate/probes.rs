//! Probes and lifecycle hooks of containers that keep running.

use serde_json::Value;

use super::{Path, Scope, invalid_each, not_negative};
use crate::field::{self, Error};
use crate::names::{http_header, port_name, port_number};
use crate::tree::{at, int_at, list_at, str_at};

/// Signals a Linux container may stop with, in the order of their names.
const STOP_SIGNALS: [&str; 65] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

/// Everything wrong with the lifecycle and the probes of a container.
pub(super) fn of_running(container: &Value, scope: &Scope<'_>, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Some(lifecycle) = at(container, "lifecycle") {
        errors.extend(self::lifecycle(lifecycle, scope, &path.child("lifecycle")));
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = at(container, name) else { continue };
        let path = path.child(name);
        errors.extend(self::probe(probe, &path));
        let successes = int_at(probe, "successThreshold").unwrap_or(0);
        let grace = int_at(probe, "terminationGracePeriodSeconds");
        if name == "readinessProbe" {
            errors.extend(grace.map(|grace| {
                let path = path.child("terminationGracePeriodSeconds");
                field::invalid(&path, grace, "must not be set for readinessProbes")
            }));
        } else if successes != 1 {
            errors.push(field::invalid(&path.child("successThreshold"), successes, "must be 1"));
        }
    }
    errors
}

fn probe(probe: &Value, path: &Path) -> Vec<Error> {
    let mut errors = handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], None, path);
    let numbers =
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
    for name in numbers {
        errors.extend(not_negative(int_at(probe, name).unwrap_or(0), &path.child(name)));
    }
    if let Some(grace) = int_at(probe, "terminationGracePeriodSeconds").filter(|grace| *grace <= 0) {
        errors.push(field::invalid(
            &path.child("terminationGracePeriodSeconds"),
            grace,
            "must be greater than 0",
        ));
    }
    errors
}

fn lifecycle(lifecycle: &Value, scope: &Scope<'_>, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for name in ["postStart", "preStop"] {
        if let Some(hook) = at(lifecycle, name) {
            let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
            errors.extend(handler(hook, &kinds, scope.grace_seconds(), &path.child(name)));
        }
    }
    if let Some(signal) = at(lifecycle, "stopSignal").and_then(Value::as_str) {
        errors.extend(stop_signal(signal, scope, &path.child("stopSignal")));
    }
    errors
}

fn stop_signal(signal: &str, scope: &Scope<'_>, path: &Path) -> Option<Error> {
    match at(scope.spec, "os").map(|os| str_at(os, "name")) {
        None => Some(field::forbidden(path, "may not be set for containers with empty `spec.os.name`")),
        Some("windows") if !matches!(signal, "SIGKILL" | "SIGTERM") => {
            Some(field::not_supported(path, signal, &["SIGKILL", "SIGTERM"]))
        }
        Some("linux") if !STOP_SIGNALS.contains(&signal) => {
            Some(field::not_supported(path, signal, &STOP_SIGNALS))
        }
        Some(_) => None,
    }
}

/// Exactly one of the kinds of handlers, and nothing wrong with it.
fn handler(handler: &Value, kinds: &[&str], grace: Option<i64>, path: &Path) -> Vec<Error> {
    let mut given = kinds.iter().filter_map(|kind| at(handler, kind).map(|action| (*kind, action)));
    let Some((kind, action)) = given.next() else {
        return vec![field::required(path, "must specify a handler type")];
    };
    let mut errors = self::action(kind, action, grace, &path.child(kind));
    for (kind, _) in given {
        errors.push(field::forbidden(&path.child(kind), "may not specify more than 1 handler type"));
    }
    errors
}

fn action(kind: &str, action: &Value, grace: Option<i64>, path: &Path) -> Vec<Error> {
    match kind {
        "exec" if list_at(action, "command").is_empty() => vec![field::required(&path.child("command"), "")],
        "httpGet" => http_get(action, path),
        "tcpSocket" | "grpc" => port(at(action, "port"), &path.child("port")),
        "sleep" => sleep(action, grace, path).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn http_get(action: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if str_at(action, "path").is_empty() {
        errors.push(field::required(&path.child("path"), ""));
    }
    errors.extend(port(at(action, "port"), &path.child("port")));
    let scheme = str_at(action, "scheme");
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.push(field::not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]));
    }
    for header in list_at(action, "httpHeaders") {
        let name = str_at(header, "name");
        errors.extend(invalid_each(&path.child("httpHeaders"), name, http_header(name)));
    }
    errors
}

/// A port's number or name.
fn port(port: Option<&Value>, path: &Path) -> Vec<Error> {
    match port.and_then(Value::as_str) {
        Some(name) => invalid_each(path, name, port_name(name)),
        None => {
            let number = port.and_then(Value::as_i64).unwrap_or(0);
            port_number(number).map(|text| field::invalid(path, number, text)).into_iter().collect()
        }
    }
}

fn sleep(action: &Value, grace: Option<i64>, path: &Path) -> Option<Error> {
    let (seconds, grace) = (int_at(action, "seconds").unwrap_or(0), grace?);
    (seconds < 0 || seconds > grace).then(|| {
        let text = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        field::invalid(path, seconds, text)
    })
}
