//! Upstream's own conformance suite against this cluster, without nodes: `cargo run -p tests --bin conformance`.
//!
//! The suite's binaries (e2e.test, ginkgo, kubectl) come from the folder that `UPSTREAM` names; users find them in a
//! Kubernetes release. What must pass stands in tests.tsv, with the reason of every test that does not yet; the run
//! fails when a test is better or worse than its row says.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

mod list;
mod report;
mod suite;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};
use clap::Parser;
use regex::Regex;
use tests::cluster::Dev;
use tests::meter::Meter;
use tests::upstream::{self, Upstream};

use list::{Row, Verdict};
use report::Outcome;
use suite::Suite;

/// Runs upstream's conformance tests and compares with what is known to pass.
#[derive(Parser)]
struct Options {
    /// What the tests need: api, nodes or pods.
    #[arg(long, default_value = "api")]
    needs: String,
    /// Only tests whose name matches this regular expression.
    #[arg(long)]
    only: Option<Regex>,
    /// No tests whose name matches this regular expression.
    #[arg(long)]
    skip: Option<Regex>,
    /// Also tests that are known to fail.
    #[arg(long)]
    all: bool,
    /// Tests at once; serial ones run alone afterwards.
    #[arg(long, default_value_t = 8)]
    procs: usize,
    /// A running cluster instead of a fresh `kontiki dev`.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Runs the same list on upstream's control plane too, and prints both times.
    #[arg(long)]
    beside: bool,
    /// Writes the verdicts of this run into tests.tsv.
    #[arg(long)]
    update: bool,
    /// Keeps the suite's output in this folder.
    #[arg(long)]
    output: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let Some(binaries) = upstream::folder() else {
        println!("skipped: UPSTREAM names no folder with upstream's e2e.test, ginkgo and kubectl");
        return Ok(ExitCode::SUCCESS);
    };
    let mut rows = list::read()?;
    let chosen: Vec<&Row> = rows.iter().filter(|row| is_chosen(&options, row)).collect();
    let temporary = tempfile::tempdir()?;
    let output = options.output.clone().unwrap_or_else(|| temporary.path().to_owned());
    let suite = Suite { binaries: &binaries, procs: options.procs, output: &output };

    let outcomes = on_kontiki(&options, &suite, &chosen)?;
    if options.beside {
        let peer = Upstream::start(&binaries)?;
        let pids = peer.processes();
        let theirs = measured("upstream", &pids, || suite.run(&peer.kubeconfig, &chosen, "upstream"))?;
        println!("upstream: {} of {} pass", passed(&theirs), chosen.len());
    }
    let wrong = compare(&chosen, &outcomes);
    if options.update {
        list::update(&mut rows, &outcomes)?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} passed, {wrong} not as tests.tsv says", passed(&outcomes));
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_chosen(options: &Options, row: &Row) -> bool {
    row.needs == options.needs
        && (options.all || row.verdict == Verdict::Passes)
        && options.only.as_ref().is_none_or(|name| name.is_match(&row.name))
        && !options.skip.as_ref().is_some_and(|name| name.is_match(&row.name))
}

fn on_kontiki(options: &Options, suite: &Suite<'_>, chosen: &[&Row]) -> Result<BTreeMap<String, Outcome>> {
    if let Some(kubeconfig) = &options.kubeconfig {
        return suite.run(kubeconfig, chosen, "kontiki");
    }
    std::fs::create_dir_all(suite.output)?;
    let log = std::fs::File::create(suite.output.join("kontiki.log")).context("kontiki's log")?;
    let dev = Dev::logging(&[], Stdio::from(log))?;
    measured("kontiki", &[dev.pid()], || suite.run(&dev.kubeconfig, chosen, "kontiki"))
}

/// Runs it and prints its wall time and the servers' CPU time.
fn measured<T>(who: &str, pids: &[u32], run: impl FnOnce() -> Result<T>) -> Result<T> {
    let meter = Meter::start(pids)?;
    let result = run()?;
    let reading = meter.read()?;
    let wall = reading.wall.as_secs_f64();
    println!("{who}: {wall:.0} s, {:.1} s of CPU in the servers", reading.cpu_ms / 1000.0);
    Ok(result)
}

fn passed(outcomes: &BTreeMap<String, Outcome>) -> usize {
    outcomes.values().filter(|outcome| **outcome == Outcome::Passed).count()
}

/// Prints every test that is not as its row says, and counts them.
fn compare(chosen: &[&Row], outcomes: &BTreeMap<String, Outcome>) -> usize {
    let mut wrong = 0;
    for row in chosen {
        let (line, is_wrong) = match (outcomes.get(&row.name), &row.verdict) {
            (Some(Outcome::Passed), Verdict::Passes) => continue,
            (Some(Outcome::Passed), Verdict::Fails(_)) => ("passes now".to_owned(), true),
            (Some(Outcome::Failed(why)), Verdict::Passes) => (format!("FAILED {why}"), true),
            (Some(Outcome::Failed(why)), Verdict::Fails(_)) => (format!("failed {why}"), false),
            (None, Verdict::Passes) => ("did not run".to_owned(), true),
            (None, Verdict::Fails(_)) => ("did not run".to_owned(), false),
        };
        wrong += usize::from(is_wrong);
        println!("{}\n    {line}", row.name);
    }
    wrong
}
