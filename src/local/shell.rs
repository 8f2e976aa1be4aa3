//! Runs the operating system's own tools (`ip`, `mount`, `unshare`) and turns their failure into one of ours.

use std::process::{Command, Stdio};

use crate::failure::{Code, Failure};

/// Runs `words` (a command line without quoting) and gives its output.
///
/// # Errors
/// The command is missing, or ended with another status than 0: its own words are the cause.
pub fn run(words: &str) -> Result<String, Failure> {
    let parts: Vec<&str> = words.split_whitespace().collect();
    run_parts(&parts)
}

/// As [`run`], for arguments that hold blanks.
///
/// # Errors
/// As [`run`].
pub fn run_parts(parts: &[&str]) -> Result<String, Failure> {
    let (program, arguments) = parts.split_first().expect("a command has a name");
    let failed = |why: String| Failure::new(Code::Other, format!("`{}` failed", parts.join(" "))).why(why);
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", path())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The search path with the folders that hold an administrator's tools.
pub fn path() -> String {
    let given = std::env::var("PATH").unwrap_or_default();
    format!("{given}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
}

/// Where `program` is on the search path.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    path().split(':').map(|dir| std::path::Path::new(dir).join(program)).find(|file| file.is_file())
}
