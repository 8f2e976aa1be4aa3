//! The table: a line for every row as soon as it is measured, upstream's figure and the aim beside it.

use std::collections::BTreeMap;
use std::io::Write as _;

use crate::load::{Outcome, percentile};
use crate::reference;

/// A row that misses its aim by more than this is marked: docs/performance.md says where its time goes.
const MISS_FACTOR: f64 = 3.0;

/// Prints rows, or keeps them to stand beside another table's.
pub struct Table {
    missed: Vec<String>,
    failed: usize,
    /// What was measured, by case and clients.
    measured: BTreeMap<(String, usize), Shown>,
    /// What was measured of upstream in this run; `None` in the table that measures it.
    peer: Option<BTreeMap<(String, usize), Shown>>,
}

/// A row's figures as they are printed.
#[derive(Debug, Clone, Default)]
struct Shown {
    value: String,
    rate: String,
    delay: String,
}

impl Table {
    /// Keeps its rows for [`Table::beside`].
    pub fn silent() -> Self {
        Self { missed: Vec::new(), failed: 0, measured: BTreeMap::new(), peer: None }
    }

    /// Prints the heading; rows of the peer stand beside those with the same name, recorded ones beside the others.
    pub fn beside(peer: Self) -> Self {
        line(format_args!(
            "{:<26} {:>7}  {:>11} {:>9} {:>10} {:>6}  {:>8} {:>8}  {:>12} {:>10}",
            "", "", "measured", "upstream", "better by", "aim", "ops/s", "upstream", "p50/p99 ms", "upstream"
        ));
        Self { peer: Some(peer.measured), ..Self::silent() }
    }

    /// A single value.
    pub fn value(&mut self, case: &str, value: f64, unit: &str) {
        self.row(case, 0, value, unit, Shown::default());
    }

    /// A load: CPU-ms for one of `operations`.
    pub fn load(&mut self, case: &str, clients: usize, outcome: &Outcome, operations: usize) {
        let count = f64::from(u32::try_from(operations).unwrap_or(u32::MAX));
        let rate = count / outcome.reading.wall.as_secs_f64();
        let [p50, p99] = [50, 99].map(|percent| percentile(&outcome.delays, percent).as_secs_f64() * 1e3);
        let rate = if rate < 100.0 { format!("{rate:.1}") } else { format!("{rate:.0}") };
        let delay = format!("{}/{}", rounded(p50), rounded(p99));
        self.row(
            case,
            clients,
            outcome.reading.cpu_ms / count,
            "ms",
            Shown { rate, delay, ..Shown::default() },
        );
    }

    /// CPU-ms for one create, and one read, of an object of a kind.
    pub fn kind(&mut self, name: &str, create: f64, read: Option<f64>) {
        let [create, read] = [Some(create), read].map(|value| value.map(rounded).unwrap_or_default());
        let key = (name.to_owned(), 0);
        let shown = Shown { value: create.clone(), delay: read.clone(), ..Shown::default() };
        let Some(peer) = &self.peer else {
            self.measured.insert(key, shown);
            return;
        };
        let Shown { value, delay, .. } = peer.get(&key).cloned().unwrap_or_default();
        line(format_args!("{name:<60} create {create:>8} ms {value:>8}   get {read:>8} ms {delay:>8}"));
    }

    /// A case that cannot run here.
    pub fn skipped(&mut self, case: &str, why: &str) {
        line(format_args!("{case:<26} skipped: {why}"));
    }

    /// A case that went wrong.
    pub fn failed(&mut self, case: &str, error: &anyhow::Error) {
        self.failed += 1;
        let whose = if self.peer.is_none() { "upstream: " } else { "" };
        line(format_args!("{whose}{case:<26} FAILED: {error:#}"));
    }

    /// A remark that belongs to the row above.
    pub fn note(&mut self, text: &str) {
        if self.peer.is_some() {
            line(format_args!("{:<26} {text}", ""));
        }
    }

    /// Says what missed its aim by far; an error only if a case did not run.
    pub fn finish(self) -> anyhow::Result<()> {
        if !self.missed.is_empty() {
            line(format_args!("more than {MISS_FACTOR} x the aim: {}", self.missed.join(", ")));
        }
        anyhow::ensure!(self.failed == 0, "{} cases failed", self.failed);
        Ok(())
    }

    fn row(&mut self, case: &str, clients: usize, value: f64, unit: &str, shown: Shown) {
        let key = (case.to_owned(), clients);
        let Some(peer) = &self.peer else {
            self.measured.insert(key, Shown { value: rounded(value), ..shown });
            return;
        };
        let (recorded, aim) = reference::of(case, clients);
        let recorded = || recorded.map(|[value, rate, delay]| [value, rate, delay].map(str::to_owned));
        let measured = peer.get(&key).map(|row| [row.value.clone(), row.rate.clone(), row.delay.clone()]);
        let [other, rate, delay] = measured.or_else(recorded).unwrap_or_default();
        let who = if clients == 0 { String::new() } else { format!("{clients} cl.") };
        let aimed = aim.map(|aim| aim.to_string()).unwrap_or_default();
        line(format_args!(
            "{case:<26} {who:>7}  {:>8} {unit:<2} {other:>9} {:>10} {aimed:>6}  {:>8} {rate:>8}  {:>12} {delay:>10}",
            rounded(value),
            better(&other, value),
            shown.rate,
            shown.delay,
        ));
        if aim.is_some_and(|aim| value > MISS_FACTOR * aim) {
            self.missed.push(format!("{case} {who}").trim().to_owned());
        }
    }
}

/// Upstream's value over ours; of a range the lower end counts.
fn better(upstream: &str, value: f64) -> String {
    let lower = upstream.split('-').next().and_then(|text| text.parse::<f64>().ok());
    lower.filter(|_| value > 0.0).map(|lower| format!("{:.1} x", lower / value)).unwrap_or_default()
}

/// Three digits that count.
fn rounded(value: f64) -> String {
    match value {
        value if value < 1.0 => format!("{value:.3}"),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn line(text: std::fmt::Arguments<'_>) {
    // A reader that went away does not stop a measurement.
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_as_printed() {
        assert_eq!(rounded(0.08349), "0.083");
        assert_eq!(rounded(17.26), "17.3");
        assert_eq!(better("2.1-2.4", 0.21), "10.0 x");
        assert_eq!(better("", 0.21), "");
    }
}
