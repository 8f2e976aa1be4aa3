//! Durable before visible: what was acknowledged, read or watched is there after any crash.

use std::io;
use std::ops::Range;
use std::time::Duration;

use mvcc::{Interest, Revision};

use super::fixture::{Computer, applied, content, create, delete, key, put, text};
use crate::log::{Fault, FaultyBackend, LogBackend, LogStats, Op, Record, Recovered};
use crate::{Medium, Options, ProposeError, Seams, Store};

const WRITES: usize = 100;

async fn write_some(store: &Store) {
    for number in 0..WRITES {
        applied(store, put(&format!("c{}", number % 10), &format!("v{number}"))).await;
    }
    applied(store, delete("c3")).await;
}

fn survivors(store: &Store) -> usize {
    let found = (0..10).filter(|number| {
        let wanted = (*number != 3).then(|| format!("v{}", WRITES - 10 + number));
        content(store, &format!("c{number}")) == wanted
    });
    found.count()
}

#[tokio::test]
async fn a_power_cut_loses_nothing_acknowledged() {
    let computer = Computer::default();
    let store = computer.boot().await;
    write_some(&store).await;
    let before = (store.view().revision(), store.hash());
    drop(store);
    computer.disk.cut_power();

    let store = computer.boot().await;

    assert_eq!(survivors(&store), 10);
    assert_eq!((store.view().revision(), store.hash()), before);
}

/// The test above proves something only if it can fail. Without the sync the same cut loses the writes.
#[tokio::test]
async fn without_the_sync_a_power_cut_loses_writes() {
    let computer = Computer::default();
    let store = computer.boot_without_sync().await;
    write_some(&store).await;
    drop(store);
    computer.disk.cut_power();

    let store = computer.boot().await;

    assert_eq!(
        store.view().revision(),
        Revision::ZERO,
        "the broken variant kept its data: the test is blind"
    );
}

#[tokio::test]
async fn a_torn_batch_leaves_a_prefix() {
    for operations in 0..12 {
        let computer = Computer::default();
        let store = computer.boot_without_sync().await;
        for number in 0..6 {
            applied(&store, create(&format!("c{number}"), "v")).await;
        }
        drop(store);
        computer.disk.tear(operations);

        let store = computer.boot().await;

        let there: Vec<bool> =
            (0..6).map(|number| content(&store, &format!("c{number}")).is_some()).collect();
        assert!(there.is_sorted_by(|before, after| before >= after), "{operations}: {there:?} has a hole");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_writes_and_recovers_by_itself() {
    let computer = Computer::default();
    let store = computer.boot().await;
    applied(&store, put("kept", "v")).await;
    let mut watcher =
        store.watch(Interest::Resource("configmaps".into()), Revision::ZERO).expect("from the start");
    assert_eq!(watcher.next().await.expect("one change").len(), 1);
    let term = store.term();

    computer.disk.fill();
    let refused = store.propose(put("lost", "v")).await;

    assert_eq!(refused, Err(ProposeError::Unknown));
    assert_eq!(store.propose(put("lost", "v")).await, Err(ProposeError::Stopped));
    assert_eq!(store.term(), None);
    let view = store.linearizable().await.expect("reads go on");
    assert!(view.get(&key("kept")).is_some());
    assert!(view.get(&key("lost")).is_none(), "visible without being durable");
    assert_eq!(watcher.try_next(), Ok(Vec::new()));

    computer.disk.free();
    store.leadership().wait_for(|leads| leads.is_some()).await.expect("the store lives");

    assert!(store.term() > term, "a new term: what was fenced by the old one is refused");
    applied(&store, put("after", "v")).await;
    let changes = watcher.next().await.expect("the watch goes on");
    assert_eq!(&*changes[0].entry.object.key.name, "after");
}

/// A backend whose commits take a moment.
struct Slow(FaultyBackend);

impl LogBackend for Slow {
    fn commit(&mut self, ops: Vec<Op>) -> io::Result<()> {
        self.0.commit(ops)
    }

    fn load(&mut self) -> io::Result<Recovered> {
        self.0.load()
    }

    fn read(&mut self, indexes: Range<u64>) -> io::Result<Vec<Record>> {
        self.0.read(indexes)
    }

    fn stats(&self) -> LogStats {
        self.0.stats()
    }

    fn is_inline(&self) -> bool {
        true
    }

    fn pause(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }
}

/// Found by the simulator. On its very first start a member asked the engine's metrics who votes, and
/// with a disk that takes a moment they did not know yet: it took itself for one of several, and with a
/// failed disk its reads waited for a leader until the next start.
#[tokio::test(start_paused = true)]
async fn a_member_knows_that_it_is_alone_from_its_first_start() {
    let computer = Computer::default();
    let (disk, shelf) = (computer.disk.clone(), computer.shelf.clone());
    let medium = move || Ok(Medium::new(Box::new(Slow(FaultyBackend::open(&disk))), &shelf));
    let store = Store::open_on(medium, Options::in_memory(), Seams::seeded(1)).await.expect("an empty disk");
    applied(&store, put("kept", "v")).await;
    computer.disk.fill();
    assert_eq!(store.propose(put("lost", "v")).await, Err(ProposeError::Unknown));

    let view = store.linearizable().await.expect("reads go on");

    assert!(view.get(&key("kept")).is_some());
}

/// After an error nobody knows whether the write is there: it may show up after the restart, but it was
/// never readable before.
#[tokio::test]
async fn a_write_whose_sync_failed_is_not_visible() {
    let computer = Computer::default();
    let store = computer.boot().await;
    computer.disk.inject(Fault::InputOutput);

    assert_eq!(store.propose(put("unknown", "v")).await, Err(ProposeError::Unknown));
    assert_eq!(content(&store, "unknown"), None);
}

/// A kernel that could not write a page takes it for written all the same: it shows it, and the next sync passes. A store
/// that opens its log again and goes on behind such a page loses with it what it acknowledges from then on.
#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_after_a_failed_sync_survives_a_power_cut() {
    let computer = Computer::default();
    let store = computer.boot().await;
    applied(&store, put("before", "v")).await;
    computer.disk.inject(Fault::InputOutput);
    assert_eq!(store.propose(put("unknown", "v")).await, Err(ProposeError::Unknown));
    store.leadership().wait_for(|leads| leads.is_some()).await.expect("the store lives");
    applied(&store, put("after", "v")).await;
    let before = (store.view().revision(), store.hash());
    drop(store);
    computer.disk.cut_power();

    let store = computer.boot().await;

    assert_eq!(content(&store, "after").as_deref(), Some("v"));
    assert_eq!((store.view().revision(), store.hash()), before);
}

async fn reopened(dir: &std::path::Path) -> Store {
    Store::open(Options::in_dir(dir), Seams::system()).await.expect("the directory is free and whole")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_on_sled_brings_back_state_and_history() {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let store = reopened(dir.path()).await;
    write_some(&store).await;
    let large = "x".repeat(300 << 10);
    let last = applied(&store, put("large", &large)).await;
    let before = store.hash();
    store.shutdown().await;
    drop(store);

    let store = reopened(dir.path()).await;

    assert_eq!(survivors(&store), 10);
    assert_eq!(content(&store, "large"), Some(large));
    assert_eq!((store.view().revision(), store.hash()), (last, before));
    let mut watcher = store.watch(Interest::Object(key("c3")), Revision(90)).expect("history survives");
    let changes = watcher.next().await.expect("the change and the deletion");
    assert_eq!(changes.iter().map(|change| change.revision.0).collect::<Vec<_>>(), [94, 101]);
    assert_eq!(
        store.view_at(Revision(94)).expect("in history").get(&key("c3")).as_deref().map(text),
        Some("v93".into())
    );
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_after_snapshot_and_purge_brings_back_state_and_history() {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let store = reopened(dir.path()).await;
    write_some(&store).await;
    store.compact(Revision(50)).await.expect("a sole member answers");
    store.snapshot().await.expect("the disk is writable");
    applied(&store, put("after", "the snapshot")).await;
    let before = (store.view().revision(), store.hash());
    store.shutdown().await;
    drop(store);

    let store = reopened(dir.path()).await;

    assert_eq!(survivors(&store), 10);
    assert_eq!(content(&store, "after").as_deref(), Some("the snapshot"));
    assert_eq!((store.view().revision(), store.hash()), before);
    assert_eq!(store.oldest(), Revision(50));
    assert!(store.watch(Interest::Object(key("c3")), Revision(49)).is_err());
    let mut watcher = store.watch(Interest::Object(key("c3")), Revision(50)).expect("history survives");
    assert_eq!(watcher.next().await.expect("changes").len(), 6);
    store.shutdown().await;
}

/// A snapshot that was asked for while another was being made was never made, and whoever had asked waited for ever:
/// housekeeping stood still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_asked_for_while_one_is_made_comes_after_it() {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let store = reopened(dir.path()).await;
    let large = "x".repeat(4 << 20);
    for name in ["a", "b", "c", "d"] {
        applied(&store, put(name, &large)).await;
    }
    let first = tokio::spawn({
        let store = store.clone();
        async move { store.snapshot().await }
    });
    let asking = async {
        for number in 0..10 {
            applied(&store, put("e", &number.to_string())).await;
            store.snapshot().await.expect("the disk is writable");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("each is made");
    first.await.expect("no panic").expect("the disk is writable");
    store.shutdown().await;
}

/// The simulator's and `dev`'s media have the same promises as a directory, as long as they last.
#[tokio::test]
async fn a_snapshot_shortens_a_log_in_memory() {
    let store = Store::open(Options::in_memory(), Seams::seeded(1)).await.expect("nothing can fail");
    write_some(&store).await;
    store.snapshot().await.expect("nothing can fail");
    store.snapshot().await.expect("a second one of the same state");
    write_some(&store).await;
    assert_eq!(survivors(&store), 10);
    assert_eq!(store.view().revision(), Revision(202));

    let computer = Computer::default();
    let store = computer.boot().await;
    write_some(&store).await;
    store.snapshot().await.expect("the shelf takes it");
    applied(&store, put("after", "v")).await;
    let before = (store.view().revision(), store.hash());
    drop(store);
    computer.disk.cut_power();
    let store = computer.boot().await;
    assert_eq!((store.view().revision(), store.hash()), before);
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused() {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let store = reopened(dir.path()).await;
    write_some(&store).await;
    store.snapshot().await.expect("the disk is writable");
    store.shutdown().await;
    drop(store);
    let snapshots = std::fs::read_dir(dir.path().join("snapshots")).expect("a directory");
    let path = snapshots.map(|file| file.expect("a file").path()).next().expect("one snapshot");
    let mut bytes = std::fs::read(&path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("writable");

    let opened = Store::open(Options::in_dir(dir.path()), Seams::system()).await;

    assert!(opened.is_err(), "a flipped bit went unnoticed");
}

/// A start must never wait for an election timeout when there is nobody to elect. Time stands still but
/// for waiting, so any wait would show.
#[tokio::test(start_paused = true)]
async fn a_sole_member_leads_at_once_and_in_a_new_term() {
    let computer = Computer::default();
    let begun = tokio::time::Instant::now();
    let store = computer.boot().await;
    let first = store.term();
    assert!(first.is_some());
    applied(&store, put("c", "v")).await;
    store.shutdown().await;

    let store = computer.boot().await;

    assert!(store.term() > first);
    applied(&store, put("c", "v")).await;
    // A heartbeat is 100 ms, an election at least 500.
    assert!(begun.elapsed() < Duration::from_millis(50));
}
