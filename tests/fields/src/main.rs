//! Sends every changed field to both servers and prints where they differ: `UPSTREAM=DIR cargo run -p fields`.
//!
//! Upstream's etcd and kube-apiserver come from the folder that `UPSTREAM` names. Without it ours is compared with what
//! upstream answered when it was last asked, which is what the test does too.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use fields::bases::{self, Base};
use fields::compare::{self, Outcome};
use fields::peer::Peer;
use fields::record::{self, Accepted};
use fields::round::{self, Answered};
use regex::Regex;
use tests::upstream;

/// Compares answers to changed fields with upstream's.
#[derive(Parser)]
struct Options {
    /// Only bases whose name (`RESOURCE/NAME`) matches this regular expression.
    #[arg(long)]
    bases: Option<Regex>,
    /// Keeps upstream's answers for the test.
    #[arg(long)]
    record: bool,
    /// Keeps upstream's answers with the accepted objects in this file.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Compares with the answers in such a file instead of asking upstream.
    #[arg(long)]
    against: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let mut bases = bases::all()?;
    let is_chosen = |id: &str| options.bases.as_ref().is_none_or(|wanted| wanted.is_match(id));
    bases.retain(|base| is_chosen(&base.id));
    let theirs = theirs(&options, &bases).await?;
    let began = Instant::now();
    let peer = Peer::ours().await?;
    let ours = round::play(&peer, &bases).await?;
    peer.stop().await;
    println!("ours: {} requests in {:.1} s", ours.len(), began.elapsed().as_secs_f64());
    let accepted = record::accepted()?;
    Ok(report(&compare::compare(&ours, &theirs, &accepted), &accepted))
}

async fn theirs(options: &Options, bases: &[Base]) -> Result<Vec<Answered>> {
    let of_chosen = |id: &str| {
        bases.iter().any(|base| id.strip_prefix(&*base.id).is_some_and(|rest| rest.starts_with(' ')))
    };
    if let Some(file) = &options.against {
        let mut answers = record::read(file)?;
        answers.retain(|(id, _)| of_chosen(id));
        return Ok(answers);
    }
    let Some(binaries) = upstream::folder() else { return record::kept(&of_chosen) };
    let peer = Peer::upstream(&binaries)?;
    let began = Instant::now();
    let answers = round::play(&peer, bases).await?;
    println!("upstream: {} requests in {:.1} s", answers.len(), began.elapsed().as_secs_f64());
    peer.stop().await;
    if let Some(file) = &options.save {
        record::write(file, &answers)?;
    }
    if options.record {
        record::keep(&answers)?;
    }
    Ok(answers)
}

fn report(outcome: &Outcome, accepted: &[Accepted]) -> ExitCode {
    for case in &outcome.different {
        println!("{case}");
    }
    for (row, count) in accepted.iter().zip(&outcome.accepted) {
        println!("{count:6} accepted: {} ({})", row.pattern, row.reason);
    }
    let (total, equal, different) = (outcome.total, outcome.equal, outcome.different.len());
    println!("{total} cases, {equal} equal, {} accepted, {different} different", total - equal - different);
    if different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
