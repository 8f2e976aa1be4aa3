//! `/healthz`, `/livez`, `/readyz` with their checks. Decides which check stands for which part of this server.

use crate::context::Context;
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult};
use std::fmt::Write as _;

/// One check: its name as upstream's operators know it, and where it counts.
struct Check {
    name: &'static str,
    ready_only: bool,
}

const fn check(name: &'static str) -> Check {
    Check { name, ready_only: false }
}

const CHECKS: &[Check] = &[
    check("ping"),
    check("log"),
    check("etcd"),
    Check { name: "etcd-readiness", ready_only: true },
    Check { name: "informer-sync", ready_only: true },
    check("poststarthook/start-apiserver-admission-initializer"),
    check("poststarthook/priority-and-fairness-config-consumer"),
    check("poststarthook/priority-and-fairness-filter"),
    check("poststarthook/storage-object-count-tracker-hook"),
    check("poststarthook/start-system-namespaces-controller"),
    check("poststarthook/start-cluster-authentication-info-controller"),
    check("poststarthook/start-kube-apiserver-identity-lease-controller"),
    check("poststarthook/start-kube-apiserver-identity-lease-garbage-collector"),
    check("poststarthook/bootstrap-controller"),
    check("poststarthook/rbac/bootstrap-roles"),
    check("poststarthook/scheduling/bootstrap-system-priority-classes"),
    check("poststarthook/priority-and-fairness-config-producer"),
    Check { name: "shutdown", ready_only: true },
];

impl Check {
    /// Whether the part it stands for works.
    fn passes(&self, context: &Context) -> bool {
        let server = &context.server;
        match self.name {
            "etcd" => server.store.term().is_some() || server.store.view().revision().0 > 0,
            "etcd-readiness" => server.in_contact(),
            "shutdown" => !server.stopping.is_cancelled(),
            "poststarthook/priority-and-fairness-config-consumer" => server.flow.is_fed(),
            // What they stand for begins once the objects every cluster has are there.
            name if name.starts_with("poststarthook/") => server.is_bootstrapped(),
            _ => true,
        }
    }
}

/// Serves a health path, if it is one.
pub(super) fn serve(context: &Context, path: &str) -> Option<ApiResult<Reply>> {
    let rest = path.strip_prefix('/')?;
    let (word, check) = rest.split_once('/').map_or((rest, None), |(word, check)| (word, Some(check)));
    if !matches!(word, "healthz" | "livez" | "readyz") {
        return None;
    }
    let mut checks = CHECKS.iter().filter(|check| word == "readyz" || !check.ready_only);
    Some(match check {
        None => Ok(all(context, word, &checks.collect::<Vec<_>>())),
        Some(name) => match checks.find(|check| check.name == name) {
            Some(check) if check.passes(context) => Ok(reply::text(200, "ok")),
            Some(check) => Ok(reply::text(
                500,
                format!("internal server error: {} failed: reason withheld\n", check.name),
            )),
            None => Err(ApiError::NoSuchPage),
        },
    })
}

fn all(context: &Context, word: &str, checks: &[&Check]) -> Reply {
    let excluded: Vec<&str> = context.query.all("exclude").collect();
    let mut lines = String::new();
    let mut failed = false;
    for check in checks {
        let name = check.name;
        let line = if excluded.contains(&name) {
            format!("[+]{name} excluded: ok")
        } else if check.passes(context) {
            format!("[+]{name} ok")
        } else {
            failed = true;
            format!("[-]{name} failed: reason withheld")
        };
        writeln!(lines, "{line}").expect("strings take every write");
    }
    let unknown: Vec<String> = excluded
        .iter()
        .filter(|name| !checks.iter().any(|check| check.name == **name))
        .map(|name| format!("\"{name}\""))
        .collect();
    if !unknown.is_empty() {
        writeln!(lines, "warn: some health checks cannot be excluded: no matches for {}", unknown.join(","))
            .expect("strings take every write");
    }
    if failed {
        return reply::text(500, format!("{lines}{word} check failed\n"));
    }
    if context.query.first("verbose").is_some() {
        reply::text(200, format!("{lines}{word} check passed\n"))
    } else {
        reply::text(200, "ok")
    }
}

/// The paths of all checks.
pub(super) fn paths() -> Vec<String> {
    ["healthz", "livez", "readyz"]
        .iter()
        .flat_map(|word| {
            let checks = CHECKS.iter().filter(move |check| *word == "readyz" || !check.ready_only);
            std::iter::once(format!("/{word}"))
                .chain(checks.map(move |check| format!("/{word}/{}", check.name)))
        })
        .collect()
}
