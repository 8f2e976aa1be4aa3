//! The shell: who waits is called, who goes away is forgotten, and changes of the table keep what runs.

use super::*;
use serde_json::json;

/// Runs with the runtime's time, which tests pause.
struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn now(&self) -> Duration {
        self.0.elapsed()
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
                "resourceRules": [{
                    "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"],
                }],
            }],
        }}),
    ]
}

/// A server of which one level has `seats` seats.
fn flow(seats: u32, queues: Tree) -> Flow {
    let objects = objects(seats, queues);
    let table = Table::new(objects.iter(), None, Duration::ZERO);
    Flow {
        table: ArcSwap::from_pointee(table),
        clock: Arc::new(Paused(tokio::time::Instant::now())),
        watches: Watches::default(),
        given_out: AtomicU64::new(0),
    }
}

async fn send(flow: &Flow, user: &str, method: &str, target: &str) -> Result<Granted, TooMany> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = Query::parse(query);
    let info = Arc::new(crate::request_info::parse(method, path, &query));
    let stored = || Some(Stored { objects: 1000, mean_bytes: 1000 });
    flow.admit(&Arc::new(UserInfo::new(user, &[])), &info, &query, Duration::from_secs(15), stored).await
}

async fn ask(flow: &Flow, user: &str) -> Result<Granted, TooMany> {
    send(flow, user, "GET", "/version").await
}

fn queued() -> Tree {
    json!({"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 2}})
}

/// Seats held and requests that wait.
fn told(flow: &Flow) -> (u32, usize) {
    flow.table.load().levels[0].told()
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_called_when_a_seat_is_free() {
    let flow = flow(1, queued());
    let first = ask(&flow, "a").await.ok().expect("a seat is free");
    let mut headers = HeaderMap::new();
    first.flows().tell(&mut headers);
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
    let refused = ask(&flow, "c").await.err().expect("paused time runs on to the end of its patience");
    assert!(refused.flows.is_some_and(|flows| flows.schema.name == "all"));
    assert_eq!((refused.retry_after, told(&flow)), (1, (1, 0)));
    let (_, _, counts) = flow.counts().remove(0);
    assert_eq!(counts.rejections().last(), Some(("time-out", 1)));
    assert_eq!(counts.waited_in_vain.count(), 1);
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
    assert_eq!(counts.rejections().next(), Some(("concurrency-limit", 1)));
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

const WATCH: &str = "/api/v1/namespaces/a/configmaps?watch=1&resourceVersion=5";

#[tokio::test(start_paused = true)]
async fn a_write_keeps_seats_while_its_watchers_are_served() {
    let flow = flow(1, queued());
    let mut watched = Vec::new();
    for _ in 0..25 {
        let mut granted = send(&flow, "w", "GET", WATCH).await.ok().expect("a watch gives its seat back");
        watched.extend(granted.take_watched());
    }
    let write = send(&flow, "a", "POST", "/api/v1/namespaces/a/configmaps").await.ok().expect("free");
    drop(write);
    assert_eq!(told(&flow), (1, 0), "three seats for five milliseconds are one for fifteen");
    let before = flow.clock.now();
    assert!(ask(&flow, "b").await.is_ok(), "somebody looks when the seat gets free");
    let waited = flow.clock.now() - before;
    assert!((15..=17).contains(&waited.as_millis()), "{waited:?}");
    drop(watched);
    drop(send(&flow, "a", "POST", "/api/v1/namespaces/a/configmaps").await);
    assert_eq!(told(&flow), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_watch_holds_seats_until_its_state_is_sent() {
    let flow = flow(600, queued());
    let watch = send(&flow, "w", "GET", "/api/v1/configmaps?watch=1").await.ok().expect("free");
    assert_eq!(told(&flow), (10, 0));
    let beginning = Beginning::new(watch);
    let other = beginning.clone();
    other.is_over();
    assert_eq!(told(&flow), (0, 0));
    drop(beginning);
    let (_, _, counts) = flow.counts().remove(0);
    assert_eq!((counts.began_watching.count(), counts.executed.count()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn pages_show_levels_queues_and_requests() {
    let flow = flow(1, queued());
    let runs = send(&flow, "a", "GET", "/api/v1/namespaces/x/pods/p").await.ok().expect("free");
    tokio::time::advance(Duration::from_millis(1500)).await;
    let mut waits = Box::pin(send(&flow, "b", "PUT", "/apis/apps/v1/namespaces/y/deployments/d/scale"));
    assert!(futures::poll!(&mut waits).is_pending());
    let cells = |page: &str, details: bool| -> Vec<Vec<String>> {
        let text = flow.dump(page, details).expect("a page");
        let line = |line: &str| line.split(',').map(|cell| cell.trim().to_owned()).collect();
        text.lines().map(line).collect()
    };
    let levels = cells("dump_priority_levels", false);
    assert_eq!(levels[1], ["few", "1", "false", "false", "1", "1", "1", "0", "0", "0"]);
    assert_eq!(levels[2], ["many", "0", "true", "false", "0", "0", "0", "0", "0", "0"]);
    let queues = cells("dump_queues", false);
    assert_eq!(queues[1], ["few", "0", "1", "1", "1", "1.50000000ss", "1", "1", "0.00300000ss"]);
    let requests = cells("dump_requests", true);
    let begun = ["1970-01-01T00:00:00Z", "1970-01-01T00:00:01.5Z"];
    let waiting = ["few", "all", "0", "0", "b", begun[1], "1", "0", "0s", "0001-01-01T00:00:00Z"];
    assert_eq!(requests[1][..10], waiting);
    assert_eq!(
        requests[1][10..],
        [
            "b",
            "update",
            "/apis/apps/v1/namespaces/y/deployments/d/scale",
            "y",
            "d",
            "apps/v1",
            "deployments",
            "scale"
        ]
    );
    assert_eq!(requests[2][..10], ["few", "all", "0", "-1", "a", begun[0], "1", "0", "0s", begun[0]]);
    assert_eq!(cells("dump_requests", false)[1].len(), 10);
    assert_eq!(flow.dump("dump_everything", false), None);
    drop(runs);
}
