//! emptyDir: scratch space that lives as long as its pod.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use k8s_openapi::api::core::v1::EmptyDirVolumeSource;

use super::{VolumeError, mounts, ownership};
use crate::pod::resources;

/// Makes the directory, on disk or in memory.
pub fn set_up(path: &Path, source: &EmptyDirVolumeSource, fs_group: Option<i64>) -> Result<(), VolumeError> {
    let is_new = !path.exists();
    directory(path)?;
    match source.medium.as_deref() {
        None | Some("") => {}
        Some("Memory") => {
            let size = source
                .size_limit
                .as_ref()
                .and_then(resources::units)
                .and_then(|size| u64::try_from(size).ok());
            mounts::tmpfs(path, size.filter(|size| *size > 0))?;
            open_to_all(path)?;
        }
        Some(other) => return Err(VolumeError::Source(format!("unknown storage medium {other:?}"))),
    }
    // What containers wrote since is theirs: ownership is given once.
    match fs_group.filter(|_| is_new) {
        Some(group) => ownership::give(path, group, ownership::Access::ReadWrite)
            .map_err(VolumeError::kernel("change the owner of", path)),
        None => Ok(()),
    }
}

/// A directory that any user of the pod may use.
pub fn directory(path: &Path) -> Result<(), VolumeError> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(VolumeError::kernel("create", path))?;
    open_to_all(path)
}

fn open_to_all(path: &Path) -> Result<(), VolumeError> {
    std::fs::set_permissions(path, Permissions::from_mode(0o777))
        .map_err(VolumeError::kernel("change the mode of", path))
}
