//! Flags about the audit log. Their names are kube-apiserver's.

use std::path::PathBuf;

use clap::Args;

use crate::compose::Audit;

/// The flags; their defaults record metadata in the data directory.
#[derive(Debug, Args)]
#[command(next_help_heading = "Audit log")]
pub(super) struct AuditFlags {
    /// A Policy of audit.k8s.io/v1 that says what is recorded; without it, metadata of everything but probes.
    #[arg(long)]
    audit_policy_file: Option<PathBuf>,
    /// Where requests are recorded; audit/audit.log in the data directory if not given.
    #[arg(long, conflicts_with = "no_audit")]
    audit_log_path: Option<PathBuf>,
    /// Mebibytes after which a new file begins.
    #[arg(long, default_value_t = 100)]
    audit_log_maxsize: u64,
    /// Older files kept.
    #[arg(long, default_value_t = 10)]
    audit_log_maxbackup: usize,
    /// Record nothing.
    #[arg(long)]
    no_audit: bool,
}

impl AuditFlags {
    pub(super) fn options(self) -> Audit {
        Audit {
            disabled: self.no_audit,
            policy_file: self.audit_policy_file,
            log_path: self.audit_log_path,
            file_bytes_max: self.audit_log_maxsize << 20,
            backups_max: self.audit_log_maxbackup,
        }
    }
}
