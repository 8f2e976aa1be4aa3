//! The pages under `/debug/api_priority_and_fairness/`: levels, queues and requests as tables of text, in upstream's columns.

use super::Table;
use super::level::{Level, View};
use super::queues::Work;
use super::roll::About;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const LEVEL_COLUMNS: [&str; 10] = [
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
];
const QUEUE_COLUMNS: [&str; 9] = [
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
];
const REQUEST_COLUMNS: [&str; 10] = [
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
];
const DETAIL_COLUMNS: [&str; 8] =
    ["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"];
/// Narrowest column.
const WIDTH_MIN: usize = 8;
/// How Go writes the time of what has not begun.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The page of a name; `details` adds who asks for what.
pub(super) fn page(table: &Table, name: &str, details: bool) -> Option<String> {
    let mut levels: Vec<&Arc<Level>> = table.levels.iter().collect();
    levels.sort_by(|one, other| one.name.cmp(&other.name));
    let rows = match name {
        "dump_priority_levels" => {
            let rows = levels.iter().map(|level| level_row(table, level)).collect();
            with_header(&LEVEL_COLUMNS, rows)
        }
        "dump_queues" => {
            with_header(&QUEUE_COLUMNS, levels.iter().flat_map(|level| queue_rows(level)).collect())
        }
        "dump_requests" => {
            let mut columns = REQUEST_COLUMNS.to_vec();
            columns.extend(DETAIL_COLUMNS.iter().filter(|_| details));
            with_header(&columns, levels.iter().flat_map(|level| request_rows(level, details)).collect())
        }
        _ => return None,
    };
    Some(aligned(&rows))
}

type Row = Vec<String>;

fn with_header(columns: &[&str], rows: Vec<Row>) -> Vec<Row> {
    std::iter::once(columns.iter().map(|name| (*name).to_owned()).collect()).chain(rows).collect()
}

/// Cells end in a comma and are padded to their column; the last of a row is as long as it is.
fn aligned(rows: &[Row]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count() + 1).max().unwrap_or_default();
        (longest + 1).max(WIDTH_MIN)
    };
    let widths: Vec<usize> = (0..columns.saturating_sub(1)).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths) {
            write!(out, "{:width$}", format!("{cell},")).expect("strings take every write");
        }
        out.extend(row.last().map(String::as_str));
        out.push('\n');
    }
    out
}

fn level_row(table: &Table, level: &Level) -> Row {
    let of_level = table.flows.iter().filter(|flows| flows.level.name == level.name);
    let (mut dispatched, mut executing) = (0, 0);
    for flows in of_level {
        dispatched += flows.counts.dispatched.load(Ordering::Relaxed);
        executing += flows.counts.executing.load(Ordering::Relaxed);
    }
    let view = level.limited.as_ref().map(|bounded| bounded.state().view());
    let View { queues, executing, waiting, refused, gave_up } = view.unwrap_or_else(|| View {
        queues: Vec::new(),
        executing: u32::try_from(executing).unwrap_or_default(),
        waiting: 0,
        refused: 0,
        gave_up: 0,
    });
    let active = queues.iter().filter(|queue| !queue.waiting.is_empty()).count();
    let is_idle = executing == 0 && waiting == 0;
    vec![
        level.name.clone(),
        active.to_string(),
        is_idle.to_string(),
        // A level that is gone is not in the table any more.
        false.to_string(),
        waiting.to_string(),
        executing.to_string(),
        dispatched.to_string(),
        refused.to_string(),
        // Upstream counts every wait that came to nothing as cancelled.
        0.to_string(),
        gave_up.to_string(),
    ]
}

fn queue_rows(level: &Level) -> Vec<Row> {
    let queues = level.limited.as_ref().map_or(Vec::new(), |bounded| bounded.state().view().queues);
    let row = |(index, queue): (usize, super::queues::Shown)| {
        vec![
            level.name.clone(),
            index.to_string(),
            queue.waiting.len().to_string(),
            queue.executing.to_string(),
            queue.held.to_string(),
            seat_seconds(queue.start),
            queue.sums.initial.to_string(),
            queue.sums.seats.to_string(),
            seat_seconds(queue.sums.work),
        ]
    };
    queues.into_iter().enumerate().map(row).collect()
}

fn request_rows(level: &Level, details: bool) -> Vec<Row> {
    let Some(bounded) = &level.limited else { return Vec::new() };
    let state = bounded.state();
    let mut rows = Vec::new();
    for (index, queue) in state.view().queues.into_iter().enumerate() {
        for (at, (ticket, work)) in queue.waiting.into_iter().enumerate() {
            if let Some(waiting) = state.waiting(ticket) {
                let place = [index.to_string(), at.to_string()];
                let times = (waiting.came, None);
                rows.push(request_row(&waiting.flows, &waiting.about, place, work, times, details));
            }
        }
    }
    for entry in state.running() {
        let place = [entry.seat.queue().map_or("-1".to_owned(), |index| index.to_string()), "-1".to_owned()];
        let times = (entry.came, Some(entry.seat.began()));
        rows.push(request_row(&entry.flows, &entry.about, place, entry.seat.work(), times, details));
    }
    rows
}

fn request_row(
    flows: &super::Flows,
    About { user, info }: &About,
    [queue, at]: [String; 2],
    work: Work,
    (came, began): (Duration, Option<Duration>),
    details: bool,
) -> Row {
    let mut row = vec![
        flows.level.name.clone(),
        flows.schema.name.clone(),
        queue,
        at,
        flows.schema.distinguisher(user, info).to_owned(),
        time(came),
        work.initial.to_string(),
        work.last.to_string(),
        go_duration(work.lingers),
        began.map_or(NEVER.to_owned(), time),
    ];
    if details {
        let version = if info.group.is_empty() {
            info.version.clone()
        } else {
            format!("{}/{}", info.group, info.version)
        };
        let texts = [&user.name, &info.verb, &info.path, &info.namespace, &info.name];
        row.extend(texts.map(Clone::clone));
        row.extend([version, info.resource.clone(), info.subresource.clone()]);
    }
    row
}

fn time(since_epoch: Duration) -> String {
    let nanoseconds = i128::try_from(since_epoch.as_nanos()).unwrap_or(i128::MAX);
    Timestamp::from_nanosecond(nanoseconds).unwrap_or(Timestamp::MAX).to_string()
}

fn seat_seconds(work: f64) -> String {
    format!("{work:.8}ss")
}

/// A short time as Go writes it.
fn go_duration(time: Duration) -> String {
    let nanoseconds = time.as_nanos();
    match nanoseconds {
        0 => "0s".to_owned(),
        1_000_000_000.. => format!("{}s", time.as_secs_f64()),
        1_000_000.. => format!("{}ms", time.as_secs_f64() * 1e3),
        1000.. => format!("{}µs", time.as_secs_f64() * 1e6),
        _ => format!("{nanoseconds}ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["Name", "Index", "Last"], ["a-long-name", "1", "x"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), "Name,        Index,  Last\na-long-name, 1,      x\n");
    }

    #[test]
    fn durations_are_written_as_gos() {
        let texts = [0, 5, 62, 1500].map(|millis| go_duration(Duration::from_millis(millis)));
        assert_eq!(texts, ["0s", "5ms", "62ms", "1.5s"]);
        assert_eq!(go_duration(Duration::from_micros(62_500)), "62.5ms");
    }
}
