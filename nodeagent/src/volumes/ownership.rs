//! fsGroup: a volume's files belong to a group that all containers of the pod are in.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

/// What the group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// Gives a directory and all in it to a group. New files inherit it.
pub fn give(path: &Path, group: i64, access: Access) -> io::Result<()> {
    let group = u32::try_from(group).map_err(io::Error::other)?;
    visit(path, &|path, metadata| give_one(path, metadata, group, access))
}

fn give_one(path: &Path, metadata: &std::fs::Metadata, group: u32, access: Access) -> io::Result<()> {
    lchown(path, None, Some(group))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let shared = match access {
        Access::ReadOnly => 0o440,
        Access::ReadWrite => 0o660,
    };
    let directory = if metadata.is_dir() { 0o2110 } else { 0 };
    let mode = metadata.permissions().mode() & 0o7777;
    std::fs::set_permissions(path, Permissions::from_mode(mode | shared | directory))
}

fn visit(path: &Path, act: &dyn Fn(&Path, &std::fs::Metadata) -> io::Result<()>) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(path)?;
    act(path, &metadata)?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            visit(&entry?.path(), act)?;
        }
    }
    Ok(())
}
