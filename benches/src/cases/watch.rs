//! What does it cost to tell one change to one of 500 watchers, and how long does it take?
//!
//! One writer replaces objects in a closed loop; 500 watchers of its namespace on 50 connections count what arrives. The
//! figure includes the writes, as upstream's does. A delay runs from the sending of a write to the event's arrival.

use std::time::{Duration, Instant};

use anyhow::ensure;
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::Subject;
use crate::client::{Call, Connection};
use crate::load::Outcome;
use crate::objects::{self, WATCHED_NAMESPACE, collection};
use crate::table::Table;
use ::tests::meter::Meter;

const CONNECTIONS: usize = 50;
const WATCHERS: usize = 500;
const WRITES: usize = 300;
/// Objects written in turn.
const OBJECTS: usize = 10;
/// How long the last events may take once the last write is answered.
const DRAIN_MAX: Duration = Duration::from_secs(60);
const JSON: &str = "application/json";

/// Opens the watches, writes, and waits until every watcher has seen every write.
pub(super) async fn fan_out(subject: &Subject, table: &mut Table) -> anyhow::Result<()> {
    let maps = collection(WATCHED_NAMESPACE, "configmaps");
    let mut writer = subject.target.connect().await?;
    for index in 0..OBJECTS {
        let body = objects::config_map(&format!("w-{index}"), 0);
        writer.send(&Call::with_body(Method::POST, &maps, JSON, body)).await?;
    }
    let revision = revision(&mut writer, &maps).await?;
    let writes = subject.scaled(WRITES);
    let streams = open(subject, &format!("{maps}?watch=true&resourceVersion={revision}")).await?;
    let watchers = streams.len();
    let meter = Meter::start(&subject.pids)?;
    let tasks: Vec<_> = streams.into_iter().map(|stream| tokio::spawn(arrivals(stream, writes))).collect();
    let sent = write(&mut writer, &maps, writes).await?;
    let mut delays = Vec::with_capacity(watchers * writes);
    for task in tasks {
        let arrived = tokio::time::timeout(DRAIN_MAX, task).await???;
        ensure!(arrived.len() == writes, "a watcher saw {} of {writes} writes", arrived.len());
        delays.extend(arrived.iter().zip(&sent).map(|(arrived, sent)| arrived.duration_since(*sent)));
    }
    let reading = meter.read()?;
    delays.sort_unstable();
    let events = delays.len();
    table.load("watch_event_500", 1, &Outcome { reading, delays, bytes: 0 }, events);
    Ok(())
}

async fn open(subject: &Subject, path: &str) -> anyhow::Result<Vec<Incoming>> {
    let (connections, watchers) = (subject.scaled(CONNECTIONS), subject.scaled(WATCHERS));
    let mut streams = Vec::with_capacity(watchers);
    for _ in 0..connections {
        let mut connection = subject.target.connect().await?;
        for _ in 0..watchers / connections {
            streams.push(stream(&mut connection, path).await?);
        }
    }
    Ok(streams)
}

async fn stream(connection: &mut Connection, path: &str) -> anyhow::Result<Incoming> {
    let response = connection.open(&Call::get(path)).await?;
    ensure!(response.status() == http::StatusCode::OK, "a watch answers {}", response.status());
    Ok(response.into_body())
}

async fn write(writer: &mut Connection, maps: &str, writes: usize) -> anyhow::Result<Vec<Instant>> {
    let calls: Vec<Call> = (0..writes)
        .map(|index| {
            let name = format!("w-{}", index % OBJECTS);
            let body = objects::config_map(&name, index + 1);
            Call::with_body(Method::PUT, format!("{maps}/{name}"), JSON, body)
        })
        .collect();
    let mut sent = Vec::with_capacity(writes);
    for call in &calls {
        sent.push(Instant::now());
        writer.send(call).await?;
    }
    Ok(sent)
}

/// When each of `count` events was complete. A line is an event.
async fn arrivals(mut stream: Incoming, count: usize) -> anyhow::Result<Vec<Instant>> {
    let mut arrived = Vec::with_capacity(count);
    while arrived.len() < count
        && let Some(frame) = stream.frame().await
    {
        let Ok(data) = frame?.into_data() else { continue };
        let now = Instant::now();
        arrived.extend(data.iter().filter(|byte| **byte == b'\n').map(|_| now));
    }
    Ok(arrived)
}

/// The collection's revision now.
async fn revision(connection: &mut Connection, path: &str) -> anyhow::Result<String> {
    let answer = connection.send(&Call::get(format!("{path}?limit=1"))).await?;
    let head = String::from_utf8_lossy(&answer.head).into_owned();
    let found = head.split_once("\"resourceVersion\":\"").and_then(|(_, rest)| rest.split('"').next());
    Ok(found.ok_or_else(|| anyhow::anyhow!("a list without resourceVersion: {head}"))?.to_owned())
}
