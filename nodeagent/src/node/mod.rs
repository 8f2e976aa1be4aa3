//! The node itself: its object, status and lease, and what the agent finds out about the machine.

pub mod cni;
pub mod facts;
pub mod labels;
pub mod lease;
pub mod object;
pub mod sync;

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// A directory that only root may look into; the parents are made as well.
pub fn private_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o750))
}
