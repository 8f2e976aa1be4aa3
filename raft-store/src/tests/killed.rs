//! kill -9 at any moment: what was acknowledged is there, what was deleted stays deleted.
//!
//! The writer is this test binary again, in a process of its own. Each number it prints was acknowledged
//! before.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::fixture::{applied, content, delete, put};
use crate::{Limits, Options, Seams, Store};

const CHILD: &str = "KONTIKI_TEST_WRITER_DIR";

/// Rounds of writing and killing on the same data.
const ROUNDS: usize = 4;

/// Acknowledged writes to wait for before a kill. The first lands around the start, the last behind
/// snapshots and purges.
const WRITES: [usize; ROUNDS] = [1, 150, 1500, 400];

#[test]
fn a_kill_loses_nothing_acknowledged_and_resurrects_nothing() {
    if let Some(dir) = env::var_os(CHILD) {
        return write_forever(Path::new(&dir));
    }
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let mut acknowledged = 0;
    for writes in WRITES {
        acknowledged = killed_after(writes, dir.path());
        check(dir.path(), acknowledged);
    }
    assert!(acknowledged >= WRITES.iter().sum());
}

/// Lets a child write and kills it; returns the last number it acknowledged.
fn killed_after(writes: usize, dir: &Path) -> usize {
    let mut child = writer(dir);
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut last = 0;
    // The test harness prints lines of its own.
    let numbers = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("ack ")?.parse().ok());
    for (count, number) in numbers.enumerate() {
        last = number;
        if count + 1 == writes {
            child.kill().expect("a child of our own");
        }
    }
    child.wait().expect("a child of our own");
    last
}

fn writer(dir: &Path) -> Child {
    Command::new(env::current_exe().expect("a test binary has a path"))
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg("tests::killed::a_kill_loses_nothing_acknowledged_and_resurrects_nothing")
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the test binary runs again")
}

#[tokio::main(flavor = "current_thread")]
async fn write_forever(dir: &Path) {
    let limits = Limits { log_bytes_max: 64 << 10, log_keep_entries: 10, ..Limits::default() };
    let options = Options { limits, ..Options::in_dir(dir) };
    let store = Store::open(options, Seams::system()).await.expect("the directory is free and whole");
    let mut number = newest(&store).map_or(0, |newest| newest + 1);
    // The kill before may have come between the newest number and the deletion that belongs to it.
    if number > 10 && content(&store, &name(number - 11)).is_some() {
        applied(&store, delete(&name(number - 11))).await;
    }
    loop {
        applied(&store, put(&name(number), &number.to_string())).await;
        if number >= 10 && content(&store, &name(number - 10)).is_some() {
            applied(&store, delete(&name(number - 10))).await;
        }
        writeln!(std::io::stdout(), "ack {number}").expect("the parent reads");
        number += 1;
    }
}

fn name(number: usize) -> String {
    format!("c{number:08}")
}

fn newest(store: &Store) -> Option<usize> {
    let entries = store.view();
    entries.list("configmaps", None, None).last().and_then(|entry| entry.object.key.name[1..].parse().ok())
}

/// The last ten numbers are there, and at most the two writes the child was about to acknowledge more.
#[tokio::main(flavor = "current_thread")]
async fn check(dir: &Path, acknowledged: usize) {
    let store = Store::open(Options::in_dir(dir), Seams::system()).await.expect("the directory is whole");
    let newest = newest(&store).expect("something was acknowledged");
    assert!((acknowledged..=acknowledged + 1).contains(&newest), "{newest} after {acknowledged}");
    for number in acknowledged.saturating_sub(8)..=acknowledged {
        assert_eq!(content(&store, &name(number)), Some(number.to_string()));
    }
    for number in 0..acknowledged.saturating_sub(9) {
        assert_eq!(content(&store, &name(number)), None, "{number} was deleted, {acknowledged} acknowledged");
    }
    store.shutdown().await;
}
