//! tests.tsv: every conformance test of 1.36, what it needs, and whether it passes here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::report::Outcome;

/// A test.
pub struct Row {
    /// What it needs of a cluster: `api` alone, `nodes` that exist, or `pods` that run.
    pub needs: String,
    /// Whether it passes.
    pub verdict: Verdict,
    /// Its full name, as the suite prints it.
    pub name: String,
}

/// What is known of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Passes,
    /// It does not, and why.
    Fails(String),
}

/// What stands for [`Verdict::Passes`] in the table.
const PASSES: &str = "passes";
/// The reason of a test that stopped passing and was written by `--update`.
const NO_REASON: &str = "?";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance/tests.tsv")
}

/// Every row, in the order of the file.
pub fn read() -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(path()).context("tests.tsv")?;
    text.lines().filter(|line| !line.starts_with('#')).map(parse).collect()
}

fn parse(line: &str) -> Result<Row> {
    let mut columns = line.splitn(3, '\t');
    let mut column = || columns.next().with_context(|| format!("three columns in {line:?}"));
    let (needs, verdict, name) = (column()?, column()?, column()?);
    let verdict = if verdict == PASSES { Verdict::Passes } else { Verdict::Fails(verdict.to_owned()) };
    Ok(Row { needs: needs.to_owned(), verdict, name: name.to_owned() })
}

/// Writes what a run found into the table; the reasons of tests that still fail stay.
pub fn update(rows: &mut [Row], outcomes: &BTreeMap<String, Outcome>) -> Result<()> {
    for row in rows.iter_mut() {
        match outcomes.get(&row.name) {
            Some(Outcome::Passed) => row.verdict = Verdict::Passes,
            Some(Outcome::Failed(_)) if row.verdict == Verdict::Passes => {
                row.verdict = Verdict::Fails(NO_REASON.to_owned());
            }
            _ => {}
        }
    }
    let mut text = "# needs\tpasses, or why not\tname\n".to_owned();
    for row in rows {
        let verdict = match &row.verdict {
            Verdict::Passes => PASSES,
            Verdict::Fails(why) => why,
        };
        writeln!(text, "{}\t{verdict}\t{}", row.needs, row.name)?;
    }
    std::fs::write(path(), text).context("writing tests.tsv")
}
