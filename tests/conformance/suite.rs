//! Starts the suite: ginkgo over e2e.test, parallel tests first and serial ones alone.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::list::Row;
use crate::report::{self, Outcome};

/// Longest a run may take, as ginkgo writes durations; the suite then names the tests it interrupted.
const TIMEOUT: &str = "30m";
/// Tests with this in their name may not run beside others.
const SERIAL: &str = "[Serial]";
/// Nobody looks for nodes, their pods or their logs.
const WITHOUT_NODES: &[&str] = &[
    "--provider=skeleton",
    "--num-nodes=2",
    "--allowed-not-ready-nodes=-1",
    "--minStartupPods=-1",
    "--disable-log-dump",
];

/// Where the suite is and how it runs.
pub struct Suite<'a> {
    /// The folder of e2e.test, ginkgo and kubectl.
    pub binaries: &'a Path,
    /// Tests at once.
    pub procs: usize,
    /// Where its output goes.
    pub output: &'a Path,
}

impl Suite<'_> {
    /// The outcome of each of these tests on a cluster. `who` names the run's files.
    pub fn run(&self, kubeconfig: &Path, rows: &[&Row], who: &str) -> Result<BTreeMap<String, Outcome>> {
        let (serial, parallel): (Vec<&Row>, Vec<&Row>) =
            rows.iter().copied().partition(|row| row.name.contains(SERIAL));
        let mut outcomes = self.part(kubeconfig, &parallel, self.procs, &format!("{who}-parallel"))?;
        outcomes.extend(self.part(kubeconfig, &serial, 1, &format!("{who}-serial"))?);
        Ok(outcomes)
    }

    fn part(
        &self,
        kubeconfig: &Path,
        rows: &[&Row],
        procs: usize,
        name: &str,
    ) -> Result<BTreeMap<String, Outcome>> {
        if rows.is_empty() {
            return Ok(BTreeMap::new());
        }
        let folder = self.output.join(name);
        std::fs::create_dir_all(&folder)?;
        let log = File::create(folder.join("output.log"))?;
        let names: Vec<String> = rows.iter().map(|row| regex::escape(&row.name)).collect();
        let mut ginkgo = Command::new(self.binaries.join("ginkgo"));
        ginkgo
            .args([format!("--procs={procs}"), format!("--timeout={TIMEOUT}")])
            .args(["--keep-going", "-v", "--silence-skips", "--json-report=report.json"])
            .arg(format!("--output-dir={}", folder.display()))
            .arg(format!("--focus={}", names.join("|")))
            .arg(self.binaries.join("e2e.test"))
            .arg("--")
            .args(WITHOUT_NODES)
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--kubectl-path={}", self.binaries.join("kubectl").display()));
        // Its exit status says only that some test failed; the report says which.
        ginkgo.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).status().context("ginkgo starts")?;
        report::read(&folder.join("report.json"))
            .with_context(|| format!("the suite's output is in {}", folder.display()))
    }
}
