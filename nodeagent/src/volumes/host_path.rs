//! hostPath: a path of the node.

use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::VolumeError;

/// Checks the path against its type, and makes it where the type says so.
pub fn check(source: &HostPathVolumeSource) -> Result<(), VolumeError> {
    let path = Path::new(&source.path);
    let kind = std::fs::metadata(path).ok().map(|metadata| metadata.file_type());
    let is = |ok: bool, what: &str| {
        if ok {
            return Ok(());
        }
        Err(VolumeError::Source(format!("hostPath type check failed: {} is not {what}", source.path)))
    };
    match source.type_.as_deref().unwrap_or_default() {
        "" => Ok(()),
        "DirectoryOrCreate" => {
            if kind.is_none() {
                make_directory(path)?;
            }
            is(path.is_dir(), "a directory")
        }
        "FileOrCreate" => {
            if kind.is_none() {
                make_file(path)?;
            }
            is(path.is_file(), "a file")
        }
        "Directory" => is(kind.is_some_and(|kind| kind.is_dir()), "a directory"),
        "File" => is(kind.is_some_and(|kind| kind.is_file()), "a file"),
        "Socket" => is(kind.is_some_and(|kind| kind.is_socket()), "a socket file"),
        "CharDevice" => is(kind.is_some_and(|kind| kind.is_char_device()), "a character device"),
        "BlockDevice" => is(kind.is_some_and(|kind| kind.is_block_device()), "a block device"),
        other => Err(VolumeError::Source(format!("{other} is an invalid volume type"))),
    }
}

fn make_directory(path: &Path) -> Result<(), VolumeError> {
    std::fs::create_dir_all(path).map_err(VolumeError::kernel("create", path))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o755))
        .map_err(VolumeError::kernel("change the mode of", path))
}

fn make_file(path: &Path) -> Result<(), VolumeError> {
    std::fs::File::create(path).map_err(VolumeError::kernel("create", path))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o644))
        .map_err(VolumeError::kernel("change the mode of", path))
}
