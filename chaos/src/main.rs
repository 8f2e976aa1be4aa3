//! `chaos sim`: runs seeds and says which failed.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use chaos::bugs::Bug;
use chaos::sim::{self, Run};
use chaos::tally::Tally;
use chaos::trace;
use clap::{Parser, Subcommand};

/// A run is many small allocations, and most of them die young.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events printed of a run that failed.
const TAIL: usize = 60;

/// Faults and independent checkers.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs the store on a faulty computer, in virtual time, once for each seed.
    Sim {
        /// First and last seed, `A..B`, both included.
        #[arg(long, default_value = "1..300", value_parser = seeds)]
        seeds: RangeInclusive<u64>,
        /// Prints what happened, one event a line.
        #[arg(long)]
        trace: bool,
        /// Puts a bug in on purpose, to see a check fire.
        #[arg(long, value_enum)]
        bug: Option<Bug>,
        /// Seeds at a time; as many as there are processors if it is left out. Changes no run.
        #[arg(long)]
        jobs: Option<NonZeroUsize>,
    },
}

fn seeds(text: &str) -> anyhow::Result<RangeInclusive<u64>> {
    let (first, last) = text.split_once("..").context("seeds are given as FIRST..LAST")?;
    let (first, last) = (first.parse()?, last.trim_start_matches('=').parse()?);
    anyhow::ensure!(first <= last, "the first seed is above the last");
    Ok(first..=last)
}

fn main() -> ExitCode {
    let Verb::Sim { seeds, trace, bug, jobs } = Arguments::parse().verb;
    simulate(seeds, trace, bug, jobs)
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn simulate(
    seeds: RangeInclusive<u64>,
    trace: bool,
    bug: Option<Bug>,
    jobs: Option<NonZeroUsize>,
) -> ExitCode {
    let began = Instant::now();
    let (mut passed, mut failed) = (0_u64, 0_u64);
    let mut tally = Tally::default();
    sim::run_all(seeds, bug, jobs, |run| {
        tally.merge(&run.tally);
        if run.passed() {
            passed += 1;
        } else {
            failed += 1;
        }
        print!("{}", report(&run, trace));
    });
    print!("{tally}");
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!("{:.0} seeds a minute", (passed + failed) as f64 / minutes);
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is said of a run: nothing, if nobody asked for its trace and it passed.
fn report(run: &Run, trace: bool) -> String {
    let shown = match (trace, run.passed()) {
        (true, _) => &run.trace[..],
        (false, true) => &[],
        (false, false) => &run.trace[run.trace.len().saturating_sub(TAIL)..],
    };
    let mut text = trace::render(shown);
    if !run.passed() {
        let seed = run.seed;
        text += &format!(
            "seed {seed} failed; again with: cargo run -p chaos -- sim --seeds {seed}..{seed} --trace\n"
        );
        run.violations.iter().for_each(|violation| text += &format!("  {violation}\n"));
    }
    text
}
