//! How a command of ours fails: what happened, why, and what mends it, with an exit code that scripts rely on.
//!
//! Decides the wording and the code. Never prints and never exits: `main` does both.

use std::fmt;

/// Exit codes are an interface: see docs/cli.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Anything without a code of its own.
    Other = 1,
    /// The command line or a file it names is wrong.
    Usage = 2,
    /// This machine lacks something a cluster needs.
    Unfit = 4,
    /// It did not happen within the time allowed.
    TimedOut = 5,
    /// The named thing does not exist.
    NotFound = 6,
    /// It exists already, or doing it would destroy something.
    Conflict = 7,
    /// Root or an RBAC permission is missing.
    Permission = 8,
}

/// A failure a person can act on.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    what: String,
    why: Option<String>,
    fix: Option<String>,
}

impl Failure {
    /// A failure that says `what` went wrong, in lower case and without a full stop.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), why: None, fix: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn why(mut self, why: impl fmt::Display) -> Self {
        self.why = Some(why.to_string());
        self
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// The process's exit code.
    pub fn code(&self) -> u8 {
        self.code as u8
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        for (name, text) in [("why", &self.why), ("fix", &self.fix)] {
            if let Some(text) = text {
                write!(f, "\n  {name}   {}", text.replace('\n', "\n        "))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Turns the cause of a failed step into a [`Failure`] that names the step.
pub trait Step<T> {
    /// Names what was being done, in the form "cannot …".
    ///
    /// # Errors
    /// The original error as the cause of a [`Failure`] with [`Code::Other`].
    fn step(self, what: &str) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Step<T> for Result<T, E> {
    fn step(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(Code::Other, what).why(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_what_why_fix() {
        let failure = Failure::new(Code::Permission, "needs root")
            .why("it makes namespaces")
            .fix("sudo, or: kontiki dev");
        assert_eq!(
            failure.to_string(),
            "error: needs root\n  why   it makes namespaces\n  fix   sudo, or: kontiki dev"
        );
        assert_eq!(failure.code(), 8);
    }
}
