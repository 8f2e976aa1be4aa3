//! The shell: who waits is called, who goes away is forgotten, and changes of the table keep what runs.

use super::*;
use crate::query::Query;
use serde_json::json;

struct Still;

impl Clock for Still {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

fn objects(shares: u32, queues: Tree) -> Vec<Tree> {
    vec![
        json!({"kind": "PriorityLevelConfiguration", "metadata": {"name": "few", "uid": "level"}, "spec": {
            "type": "Limited", "limited": {"nominalConcurrencyShares": shares, "limitResponse": queues},
        }}),
        json!({"kind": "PriorityLevelConfiguration", "metadata": {"name": "many", "uid": "other"}, "spec": {
            "type": "Limited", "limited": {"nominalConcurrencyShares": 600 - shares},
        }}),
        json!({"kind": "FlowSchema", "metadata": {"name": "all", "uid": "schema"}, "spec": {
            "priorityLevelConfiguration": {"name": "few"}, "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [{"kind": "Group", "group": {"name": "*"}}, {"kind": "User", "user": {"name": "*"}}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }],
        }}),
    ]
}

/// A server of which one level has `seats` seats, and one request holds one.
fn flow(seats: u32, queues: Tree) -> Flow {
    let objects = objects(seats, queues);
    let table = Table::new(objects.iter(), None, Duration::ZERO);
    Flow {
        table: ArcSwap::from_pointee(table),
        clock: Arc::new(Still),
        given_out: Mutex::new(Duration::ZERO),
    }
}

async fn ask(flow: &Flow, user: &str) -> Result<Granted, TooMany> {
    let info = crate::request_info::parse("GET", "/version", &Query::default());
    flow.admit(&UserInfo::new(user, &[]), &info, || 1).await
}

fn queued() -> Tree {
    json!({"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 2}})
}

fn told(flow: &Flow) -> (u32, usize) {
    let (_, _, _, held, waiting) = flow.seats().remove(0);
    (held, waiting)
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_called_when_a_seat_is_free() {
    let flow = flow(1, queued());
    let first = ask(&flow, "a").await.ok().expect("a seat is free");
    let mut headers = HeaderMap::new();
    first.tell(&mut headers);
    assert_eq!(
        (&headers[&SCHEMA_UID], &headers[&LEVEL_UID]),
        (&"schema".parse().expect("text"), &"level".parse().expect("text"))
    );
    let mut second = Box::pin(ask(&flow, "b"));
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(told(&flow), (1, 1));
    drop(first);
    assert!(second.await.is_ok());
    assert_eq!(told(&flow), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_or_waits_too_long_leaves_no_trace() {
    let flow = flow(1, queued());
    let first = ask(&flow, "a").await.ok().expect("a seat is free");
    let mut gone = Box::pin(ask(&flow, "b"));
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    assert_eq!(told(&flow), (1, 0));
    assert!(ask(&flow, "c").await.is_err(), "paused time runs on to the end of its patience");
    assert_eq!(told(&flow), (1, 0));
    let (_, _, counts) = flow.counts().remove(0);
    assert_eq!(rejections(&counts).last(), Some(("time-out", 1)));
    // Called, and gone before it could come: the seat goes back.
    let mut called = Box::pin(ask(&flow, "d"));
    assert!(futures::poll!(&mut called).is_pending());
    drop(first);
    assert_eq!(told(&flow), (1, 0));
    drop(called);
    assert_eq!(told(&flow), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_level_that_rejects_does_so_at_once() {
    let flow = flow(1, json!({"type": "Reject"}));
    let _first = ask(&flow, "a").await.ok().expect("a seat is free");
    assert!(ask(&flow, "b").await.is_err());
    let (_, _, counts) = flow.counts().remove(0);
    assert_eq!(rejections(&counts).next(), Some(("concurrency-limit", 1)));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_table_keeps_levels_that_did_not_change() {
    let flow = flow(1, queued());
    let first = ask(&flow, "a").await.ok().expect("a seat is free");
    let same = objects(1, queued());
    flow.table.store(Arc::new(Table::new(same.iter(), Some(&flow.table.load()), Duration::ZERO)));
    assert_eq!(told(&flow), (1, 0));
    let wider = objects(2, queued());
    flow.table.store(Arc::new(Table::new(wider.iter(), Some(&flow.table.load()), Duration::ZERO)));
    assert_eq!(
        told(&flow),
        (0, 0),
        "a level of another size begins anew; who ran in the old one leaves it there"
    );
    drop(first);
    assert_eq!(told(&flow), (0, 0));
}
