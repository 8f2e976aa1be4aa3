//! Runs a client's program: shows what it prints, grants its wishes, and judges by its exit code.
//!
//! Lines on its stdout: `ok NAME` for a check, `FAILED NAME: why`, and `! restart`, the wish that the server be killed
//! with -9 and started again, granted with a line on its stdin.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::target::Target;

/// No program takes as long: one that does has hung.
const PROGRAM_MAX: Duration = Duration::from_secs(300);

/// Runs a program to its end.
///
/// # Errors
/// It fails, hangs, or compares nothing.
pub(crate) fn run(name: &str, command: &mut Command, target: &mut Target) -> Result<()> {
    let log = tempfile::NamedTempFile::new()?;
    let mut child = command
        .env("KUBECONFIG", target.kubeconfig())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log.reopen()?)
        .spawn()
        .with_context(|| format!("{name} starts"))?;
    let (mut stdin, stdout) = child.stdin.take().zip(child.stdout.take()).context("piped above")?;
    let (ended, guard) = (mpsc::channel::<()>(), child.id());
    let watchdog = std::thread::spawn(move || {
        if ended.1.recv_timeout(PROGRAM_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-9", &guard.to_string()]).status();
        }
    });
    let (mut passed, mut said) = (0, String::new());
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        eprintln!("{name}: {line}");
        if line == "! restart" {
            target.restart()?;
            writeln!(stdin, "done")?;
        } else if line.starts_with("ok ") {
            passed += 1;
        } else {
            said.push_str(&line);
            said.push('\n');
        }
    }
    let status = child.wait()?;
    drop(ended.0);
    watchdog.join().map_err(|_| anyhow::anyhow!("the watchdog panicked"))?;
    if !status.success() {
        bail!("{name} ended with {status}:\n{said}\n{}", std::fs::read_to_string(log.path())?);
    }
    if passed == 0 {
        bail!("{name} compared nothing");
    }
    Ok(())
}
