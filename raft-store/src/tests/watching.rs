//! Watches: nothing lost, nothing twice, in order; the slow are cut off and delay nobody.

use mvcc::{Interest, Operation, Revision, Transaction};

use super::fixture::{Computer, applied, delete, key, object, put};
use crate::hub::WATCH_BACKLOG_MAX;
use crate::{Store, WatchEnd, Watcher};

fn all() -> Interest {
    Interest::Resource("configmaps".into())
}

fn on_node(node: &str) -> Interest {
    Interest::Attribute { resource: "configmaps".into(), name: "spec.nodeName".into(), value: node.into() }
}

fn placed(name: &str, node: &str) -> Transaction {
    let mut object = object(name, "v");
    object.attributes = vec![("spec.nodeName".into(), node.into())];
    Transaction { operations: vec![Operation::Put(object)], ..Transaction::default() }
}

fn revisions(watcher: &mut Watcher) -> Vec<u64> {
    let mut found = Vec::new();
    loop {
        let changes = watcher.try_next().expect("the watch goes on");
        if changes.is_empty() {
            return found;
        }
        found.extend(changes.iter().map(|change| change.revision.0));
    }
}

#[tokio::test]
async fn a_watcher_sees_history_and_then_what_follows() {
    let store = Computer::default().boot().await;
    for number in 0..5 {
        applied(&store, put(&format!("c{number}"), "v")).await;
    }
    let mut watcher = store.watch(all(), Revision(2)).expect("in history");
    applied(&store, put("c5", "v")).await;
    assert_eq!(revisions(&mut watcher), [3, 4, 5, 6]);
    applied(&store, delete("c0")).await;
    assert_eq!(revisions(&mut watcher), [7]);
}

#[tokio::test]
async fn a_watch_resumes_inside_a_transaction() {
    let store = Computer::default().boot().await;
    let operations = ["a", "b", "c"].map(|name| Operation::Put(object(name, "v"))).to_vec();
    applied(&store, Transaction { operations, ..Transaction::default() }).await;
    for after in 0..=3 {
        let mut watcher = store.watch(all(), Revision(after)).expect("in history");
        assert_eq!(revisions(&mut watcher), (after + 1..=3).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn an_object_that_leaves_an_index_is_told_with_its_previous_content() {
    let store = Computer::default().boot().await;
    let mut here = store.watch(on_node("n1"), Revision::ZERO).expect("in history");
    let mut there = store.watch(on_node("n2"), Revision::ZERO).expect("in history");
    applied(&store, placed("p", "n1")).await;
    applied(&store, placed("p", "n2")).await;
    applied(&store, placed("q", "n3")).await;

    assert_eq!(revisions(&mut there), [2]);
    let changes = here.next().await.expect("both");
    assert_eq!(changes.len(), 2);
    let previous = changes[1].previous.as_ref().expect("it was there before");
    assert_eq!(previous.object.attribute("spec.nodeName").map(|node| &**node), Some("n1"));
}

#[tokio::test]
async fn progress_moves_on_while_nothing_of_interest_happens() {
    let store = Computer::default().boot().await;
    let mut watcher = store.watch(Interest::Object(key("quiet")), Revision::ZERO).expect("in history");
    applied(&store, put("loud", "v")).await;
    assert_eq!(watcher.progress(), Revision::ZERO, "history up to now has not been read");
    assert_eq!(revisions(&mut watcher), [0; 0]);
    assert_eq!(watcher.progress(), Revision(1));
    applied(&store, put("quiet", "v")).await;
    applied(&store, put("loud", "v")).await;
    assert_eq!(watcher.progress(), Revision(1), "a change waits to be delivered");
    assert_eq!(revisions(&mut watcher), [2]);
    assert_eq!(watcher.progress(), Revision(3));
}

#[tokio::test]
async fn a_slow_watcher_is_cut_off_and_can_resume() {
    let store = Computer::default().boot().await;
    let mut slow = store.watch(all(), Revision::ZERO).expect("in history");
    assert_eq!(revisions(&mut slow), [0; 0]);
    let mut other = store.watch(Interest::Object(key("other")), Revision::ZERO).expect("in history");
    flood(&store, WATCH_BACKLOG_MAX + 1).await;
    applied(&store, put("other", "v")).await;

    assert_eq!(slow.next().await, Err(WatchEnd::Lagged { resume: Revision::ZERO }));
    assert_eq!(revisions(&mut other).len(), 1);
    let mut resumed = store.watch(all(), Revision::ZERO).expect("history reaches further than the backlog");
    assert_eq!(revisions(&mut resumed).len(), WATCH_BACKLOG_MAX + 2);
}

async fn flood(store: &Store, changes: usize) {
    let operations = (0..changes).map(|_| Operation::Put(object("c", "v"))).collect();
    applied(store, Transaction { operations, ..Transaction::default() }).await;
}

/// Old views come from the newest one, from a checkpoint and from one that was asked for before.
#[tokio::test]
async fn old_views_are_read_from_wherever_they_are_near() {
    let store = Computer::default().boot().await;
    for number in 0..10 {
        applied(&store, put("here", &number.to_string())).await;
        flood(&store, 1999).await;
    }
    for at in [20_000, 19_000, 4_000, 4_000, 2_001, 12_001, 0] {
        let view = store.view_at(Revision(at)).expect("nothing is compacted");
        let content = view.get(&key("here")).map(|entry| super::fixture::text(&entry));
        assert_eq!(content, (at > 0).then(|| (at.div_ceil(2000) - 1).to_string()), "at {at}");
    }
    store.compact(Revision(12_000)).await.expect("a sole member answers");
    assert!(store.view_at(Revision(11_999)).is_err());
    assert!(store.view_at(Revision(12_000)).is_ok());
}

#[tokio::test]
async fn compaction_under_a_watcher_cuts_it_off() {
    let store = Computer::default().boot().await;
    let mut watcher = store.watch(all(), Revision::ZERO).expect("in history");
    assert_eq!(revisions(&mut watcher), [0; 0]);
    for _ in 0..4 {
        applied(&store, put("c", "v")).await;
    }
    store.compact(Revision(2)).await.expect("a sole member answers");
    assert_eq!(watcher.next().await, Err(WatchEnd::Lagged { resume: Revision::ZERO }));
    assert_eq!(store.watch(all(), Revision(1)).expect_err("compacted").oldest, Revision(2));
}

#[tokio::test]
async fn shutdown_ends_a_watch_that_waits() {
    let store = Computer::default().boot().await;
    let mut watcher = store.watch(all(), Revision::ZERO).expect("in history");
    let waiting = tokio::spawn(async move { watcher.next().await });
    tokio::task::yield_now().await;
    store.shutdown().await;
    assert_eq!(waiting.await.expect("no panic"), Err(WatchEnd::Stopped));
}

/// Many watchers beside a writer: each sees every change of its interest once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_join_under_load_lose_nothing() {
    const WRITES: u64 = 300;
    let store = Computer::default().boot().await;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0..WRITES {
                applied(&store, placed(&format!("p{}", number % 7), &format!("n{}", number % 3))).await;
            }
        }
    });
    let mut watchers = Vec::new();
    for _ in 0..20 {
        let after = store.view().revision();
        let watcher = store.watch(all(), after).expect("in history");
        watchers.push(tokio::spawn(follow(watcher, after.0, WRITES)));
        tokio::task::yield_now().await;
    }
    writer.await.expect("no panic");
    for watcher in watchers {
        watcher.await.expect("no change lost or repeated");
    }
}

async fn follow(mut watcher: Watcher, after: u64, until: u64) {
    let mut next = after + 1;
    while next <= until {
        for change in watcher.next().await.expect("the watch goes on") {
            assert_eq!(change.revision.0, next);
            next += 1;
        }
    }
}
