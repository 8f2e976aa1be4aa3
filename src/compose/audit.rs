//! Opens the audit log of a server. Decides where it is; what is recorded is the policy's.

use std::path::{Path, PathBuf};

use apiserver::AuditLimits;

use crate::failure::{Code, Failure, Step};

/// How requests are recorded.
#[derive(Debug, Default)]
pub struct Audit {
    /// Not at all.
    pub disabled: bool,
    /// The policy; `None` takes the server's own.
    pub policy_file: Option<PathBuf>,
    /// The file; `None` puts it into the data directory, and records nothing without one.
    pub log_path: Option<PathBuf>,
    /// Bytes after which a new file begins; 0 takes the server's own bound.
    pub file_bytes_max: u64,
    /// Older files kept.
    pub backups_max: usize,
}

impl Audit {
    pub(super) fn open(&self, data_dir: Option<&Path>) -> Result<Option<apiserver::Audit>, Failure> {
        let usual = data_dir.map(|dir| dir.join("audit/audit.log"));
        let Some(path) = self.log_path.clone().or(usual).filter(|_| !self.disabled) else { return Ok(None) };
        let policy = self
            .policy_file
            .as_ref()
            .map(std::fs::read_to_string)
            .transpose()
            .step("cannot read the audit policy")?;
        let limits = match self.file_bytes_max {
            0 => AuditLimits::default(),
            file_bytes_max => AuditLimits { file_bytes_max, backups_max: self.backups_max },
        };
        apiserver::Audit::open(policy.as_deref(), &path, limits).map(Some).map_err(|error| {
            let text = format!("{}: {error}", path.display());
            Failure::new(Code::Usage, "cannot keep the audit log")
                .why(text)
                .fix("--no-audit serves without one")
        })
    }
}
