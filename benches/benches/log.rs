//! What does it cost to make a batch of the log durable?
//!
//! CPU time and switches of threads are those of the whole process, sled's threads included.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::resource::{UsageWho, getrusage};
use raft_store::log::{DiskLog, LogBackend, Op, Record};

/// Of a ConfigMap of 1 KiB, as it is stored.
const RECORD_BYTES: usize = 1500;
const BATCHES: u64 = 4000;

fn main() {
    println!("{:<10} {:>7} {:>12} {:>12} {:>10}", "log", "records", "CPU µs", "wall µs", "switches");
    for records in [1, 16, 64] {
        let dir = tempfile::tempdir().expect("a writable temporary directory");
        let log = DiskLog::open(dir.path()).expect("an empty directory");
        measure("segments", records, Box::new(log));
    }
}

/// Prints what a batch costs. As in the store, what is long past is purged now and then.
fn measure(name: &str, records: u64, mut log: Box<dyn LogBackend>) {
    log.load().expect("an empty log");
    let batches = (BATCHES / records).max(100);
    let (began, before) = (Instant::now(), usage());
    for batch in 0..batches {
        let first = batch * records;
        let record = |index| Record { index, bytes: Bytes::from(vec![b'r'; RECORD_BYTES]) };
        let append = Op::Append((first..first + records).map(record).collect());
        log.commit(vec![append, Op::Committed(Bytes::from_static(b"position"))])
            .expect("a writable directory");
        if batch % 1000 == 999 {
            let purge = Op::Purge { through: first / 2, marker: Bytes::from_static(b"position") };
            log.commit(vec![purge]).expect("a writable directory");
        }
    }
    let (wall, after) = (began.elapsed(), usage());
    let each = |total: f64| total / batches as f64;
    println!(
        "{name:<10} {records:>7} {:>12.1} {:>12.1} {:>10.1}",
        each((after.0 - before.0).as_secs_f64() * 1e6),
        each(wall.as_secs_f64() * 1e6),
        each((after.1 - before.1) as f64),
    );
}

/// CPU time and switches so far.
fn usage() -> (Duration, i64) {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("every process has usage");
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(
            u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).expect("time that passed"),
        )
    };
    let cpu = micros(usage.user_time()) + micros(usage.system_time());
    (cpu, usage.voluntary_context_switches() + usage.involuntary_context_switches())
}
