//! What priority and fairness counts, as Prometheus reads it.

use super::text::Text;
use crate::flow::{Counts, Histogram};
use crate::server::Inner;
use std::fmt::Display;
use std::sync::atomic::Ordering;

/// The counts of a schema with its labels.
type Row = (String, std::sync::Arc<Counts>);

pub(super) fn write(server: &Inner, out: &mut Text) {
    let rows: Vec<Row> = server
        .flow
        .counts()
        .into_iter()
        .map(|(schema, level, counts)| {
            (format!("flow_schema=\"{schema}\",priority_level=\"{level}\""), counts)
        })
        .collect();
    requests(&rows, out);
    durations(&rows, out);
    sizes(&rows, out);
    seats(server, out);
}

fn requests(rows: &[Row], out: &mut Text) {
    let name = "apiserver_flowcontrol_dispatched_requests_total";
    out.family(name, "counter", "Requests that got their seats.");
    each(name, rows, out, |counts| counts.dispatched.load(Ordering::Relaxed));
    let name = "apiserver_flowcontrol_rejected_requests_total";
    out.family(name, "counter", "Requests that got none.");
    for (labels, counts) in rows {
        for (reason, count) in counts.rejections().filter(|(_, count)| *count > 0) {
            out.sample(name, &format!("{labels},reason=\"{reason}\""), count);
        }
    }
    let mut gauge = |name: &str, help: &str, value: fn(&Counts) -> i64| {
        out.family(name, "gauge", help);
        each(name, rows, out, value);
    };
    gauge("apiserver_flowcontrol_current_executing_requests", "Requests that hold seats.", |counts| {
        counts.executing.load(Ordering::Relaxed)
    });
    gauge(
        "apiserver_flowcontrol_current_executing_seats",
        "Seats held by requests being answered.",
        |counts| counts.executing_seats.load(Ordering::Relaxed),
    );
    gauge("apiserver_flowcontrol_current_inqueue_requests", "Requests that wait for seats.", |counts| {
        counts.waiting.load(Ordering::Relaxed)
    });
    gauge("apiserver_flowcontrol_current_inqueue_seats", "Seats that are waited for.", |counts| {
        counts.waiting_seats.load(Ordering::Relaxed)
    });
}

fn each<T: Display>(name: &str, rows: &[Row], out: &mut Text, value: impl Fn(&Counts) -> T) {
    for (labels, counts) in rows {
        out.sample(name, labels, value(counts));
    }
}

fn durations(rows: &[Row], out: &mut Text) {
    let name = "apiserver_flowcontrol_request_wait_duration_seconds";
    out.family(name, "histogram", "How long requests waited for their seats.");
    for (labels, counts) in rows {
        histogram(name, &format!("{labels},execute=\"true\""), &counts.waited, seconds, out);
        histogram(name, &format!("{labels},execute=\"false\""), &counts.waited_in_vain, seconds, out);
    }
    let name = "apiserver_flowcontrol_request_execution_seconds";
    out.family(
        name,
        "histogram",
        "How long requests held their seats; a watch, until its first state was sent.",
    );
    for (labels, counts) in rows {
        histogram(name, &format!("{labels},type=\"regular\""), &counts.executed, seconds, out);
        histogram(name, &format!("{labels},type=\"watch\""), &counts.began_watching, seconds, out);
    }
}

/// One of the histograms of a schema.
type Of = fn(&Counts) -> &Histogram;

fn sizes(rows: &[Row], out: &mut Text) {
    let families: [(&str, &str, Of); 3] = [
        ("work_estimated_seats", "Seats that requests were thought to need.", |counts| &counts.seats),
        ("watch_count_samples", "Watches that writes concerned.", |counts| &counts.watches),
        ("request_queue_length_after_enqueue", "How many waited when a request came to wait.", |counts| {
            &counts.lengths
        }),
    ];
    for (name, help, of) in families {
        let name = format!("apiserver_flowcontrol_{name}");
        out.family(&name, "histogram", help);
        for (labels, counts) in rows {
            histogram(&name, labels, of(counts), whole, out);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "what a histogram sums up is far below 2^53")]
fn whole(value: u64) -> f64 {
    value as f64
}

fn seconds(nanoseconds: u64) -> f64 {
    whole(nanoseconds) / 1e9
}

/// A histogram, if anything was observed.
fn histogram(name: &str, labels: &str, of: &Histogram, unit: fn(u64) -> f64, out: &mut Text) {
    let count = of.count();
    if count == 0 {
        return;
    }
    for (bound, below) in of.below() {
        out.sample(&format!("{name}_bucket"), &format!("{labels},le=\"{}\"", unit(bound)), below);
    }
    out.sample(&format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), count);
    out.sample(&format!("{name}_sum"), labels, unit(of.sum()));
    out.sample(&format!("{name}_count"), labels, count);
}

fn seats(server: &Inner, out: &mut Text) {
    let levels = server.flow.seats();
    let mut gauge = |name: &str, help: &str, value: fn(&crate::flow::Seats) -> f64| {
        let name = format!("apiserver_flowcontrol_{name}");
        out.family(&name, "gauge", help);
        for seats in &levels {
            out.sample(&name, &format!("priority_level=\"{}\"", seats.level), value(seats));
        }
    };
    gauge("nominal_limit_seats", "Seats by shares.", |seats| seats.nominal.into());
    gauge("lower_limit_seats", "Seats that are never lent.", |seats| seats.min.into());
    gauge("upper_limit_seats", "Seats with all that may be borrowed.", |seats| seats.max.into());
    gauge("current_limit_seats", "Seats after lending and borrowing.", |seats| seats.now.into());
    gauge("current_r", "The level's clock, in seconds for each seat of a queue.", |seats| seats.clock);
}
