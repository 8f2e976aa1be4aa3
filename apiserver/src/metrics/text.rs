//! The counts as Prometheus reads them.

use super::process::Usage;
use super::{BUCKETS_MS, Labels, Row, Scope, VERBS};
use crate::catalog;
use crate::server::Inner;
use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Every metric of a server.
pub(crate) fn write(server: &Inner) -> String {
    let mut out = Text::default();
    requests(server, &mut out);
    store(server, &mut out);
    super::flow::write(server, &mut out);
    audit(server, &mut out);
    process(server, &mut out);
    out.0
}

/// Text in the making.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub(super) fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        if labels.is_empty() {
            self.push(format_args!("{name} {value}\n"));
        } else {
            self.push(format_args!("{name}{{{labels}}} {value}\n"));
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("strings take every write");
    }
}

impl Labels {
    /// The labels as text; without the code and, for the duration, without what it does not have.
    fn text(&self) -> String {
        let kind = self.kind.and_then(|id| catalog::all().iter().find(|kind| kind.id == id));
        let (group, version, resource) = kind.map_or(("", "", ""), |kind| {
            (&*kind.resource.group, &*kind.resource.version, &*kind.resource.plural)
        });
        let sub = usize::from(self.subresource).checked_sub(1);
        let subresource =
            kind.and_then(|kind| kind.subresources.get(sub?)).map_or("", |subresource| subresource.name);
        let (_, verb) = VERBS[usize::from(self.verb)];
        let scope = match self.scope {
            Scope::None => "",
            Scope::Resource => "resource",
            Scope::Namespace => "namespace",
            Scope::Cluster => "cluster",
        };
        let dry_run = if self.dry_run { "All" } else { "" };
        format!(
            "component=\"apiserver\",dry_run=\"{dry_run}\",group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }
}

fn requests(server: &Inner, out: &mut Text) {
    let metrics = &server.metrics;
    let rows = metrics.rows.lock().expect("no panic while the lock is held");
    let mut rows: Vec<(String, &Row)> = rows.iter().map(|(labels, row)| (labels.text(), row)).collect();
    rows.sort_by(|(one, _), (other, _)| one.cmp(other));
    out.family("apiserver_request_total", "counter", "Requests answered.");
    for (labels, row) in &rows {
        for (code, count) in &row.codes {
            out.sample("apiserver_request_total", &format!("code=\"{code}\",{labels}"), count);
        }
    }
    out.family("apiserver_request_duration_seconds", "histogram", "How long requests took.");
    for (labels, row) in &rows {
        histogram(labels, row, out);
    }
    out.family("apiserver_longrunning_requests", "gauge", "Streams under way.");
    for (labels, row) in rows.iter().filter(|(_, row)| row.running > 0) {
        out.sample("apiserver_longrunning_requests", labels, row.running);
    }
    out.family(
        "apiserver_current_inflight_requests",
        "gauge",
        "Requests being answered that are no streams.",
    );
    for (kind, gauge) in [("mutating", &metrics.mutating), ("readOnly", &metrics.reading)] {
        let labels = format!("request_kind=\"{kind}\"");
        out.sample("apiserver_current_inflight_requests", &labels, gauge.load(Ordering::Relaxed));
    }
}

fn histogram(labels: &str, row: &Row, out: &mut Text) {
    let total: u64 = row.buckets.iter().sum();
    if total == 0 {
        return;
    }
    let mut below = 0;
    for (bound, count) in BUCKETS_MS.iter().zip(&row.buckets) {
        below += count;
        let bound = Duration::from_millis(*bound).as_secs_f64();
        out.sample("apiserver_request_duration_seconds_bucket", &format!("{labels},le=\"{bound}\""), below);
    }
    out.sample("apiserver_request_duration_seconds_bucket", &format!("{labels},le=\"+Inf\""), total);
    out.sample("apiserver_request_duration_seconds_sum", labels, row.sum.as_secs_f64());
    out.sample("apiserver_request_duration_seconds_count", labels, total);
}

fn store(server: &Inner, out: &mut Text) {
    let view = server.store.view();
    out.family("apiserver_storage_objects", "gauge", "Number of stored objects.");
    for kind in catalog::all().iter().filter(|kind| kind.is_stored() && !kind.converts) {
        let labels = format!("resource=\"{}\"", kind.stored_as);
        out.sample("apiserver_storage_objects", &labels, view.count(&kind.stored_as, None));
    }
    out.family("kontiki_raft_is_leader", "gauge", "Whether this server leads.");
    out.sample("kontiki_raft_is_leader", "", u8::from(server.store.term().is_some()));
    out.family("kontiki_store_revision", "gauge", "Newest revision visible here.");
    out.sample("kontiki_store_revision", "", view.revision());
}

fn audit(server: &Inner, out: &mut Text) {
    let Some(audit) = &server.config.audit else { return };
    out.family("apiserver_audit_event_total", "counter", "Audit events made.");
    out.sample("apiserver_audit_event_total", "", audit.made());
    out.family(
        "apiserver_audit_error_total",
        "counter",
        "Audit events lost because their file was too slow.",
    );
    out.sample("apiserver_audit_error_total", "plugin=\"log\"", audit.lost());
}

/// What the kernel knows of this process. Where it tells nothing, nothing is written.
fn process(server: &Inner, out: &mut Text) {
    out.family("kubernetes_build_info", "gauge", "What this server is.");
    let version = &server.config.version;
    out.sample("kubernetes_build_info", &format!("git_version=\"{version}\",major=\"1\",minor=\"36\""), 1);
    let Some(usage) = Usage::now() else { return };
    out.family("process_cpu_seconds_total", "counter", "User and system time spent.");
    out.sample("process_cpu_seconds_total", "", usage.cpu_seconds);
    out.family("process_resident_memory_bytes", "gauge", "Memory that is resident.");
    out.sample("process_resident_memory_bytes", "", usage.resident_bytes);
    out.family("process_open_fds", "gauge", "Open file descriptors.");
    out.sample("process_open_fds", "", usage.descriptors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::request_info::RequestInfo;

    #[test]
    fn a_bucket_counts_what_is_below_its_bound() {
        let metrics = Metrics::default();
        let info = RequestInfo { verb: "get".into(), path: "/version".into(), ..RequestInfo::default() };
        let labels = Labels::of(&info, None, false);
        for took in [1, 30, 90_000] {
            metrics.answered(labels, 200, Some(Duration::from_millis(took)));
        }
        metrics.answered(labels, 403, None);
        let mut out = Text::default();
        let rows = metrics.rows.lock().expect("no panic while the lock is held");
        let row = rows.values().next().expect("a row");
        histogram("a=\"b\"", row, &mut out);
        for line in [
            "apiserver_request_duration_seconds_bucket{a=\"b\",le=\"0.005\"} 1\n",
            "apiserver_request_duration_seconds_bucket{a=\"b\",le=\"0.05\"} 2\n",
            "apiserver_request_duration_seconds_bucket{a=\"b\",le=\"60\"} 2\n",
            "apiserver_request_duration_seconds_bucket{a=\"b\",le=\"+Inf\"} 3\n",
            "apiserver_request_duration_seconds_sum{a=\"b\"} 90.031\n",
        ] {
            assert!(out.0.contains(line), "{line} in {}", out.0);
        }
        assert_eq!(row.codes, [(200, 3), (403, 1)]);
    }
}
