//! A part of a volume as a mount of its own.
//!
//! What a container may write can hold links. The kernel is asked to refuse every step out of the volume, and
//! the opened file is bound to a place of the agent's own, so that nothing can be swapped in between.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;

use super::{VolumeError, mounts};

/// Makes `sub_path` of the volume at `volume` visible at `target`, which the agent owns.
pub fn bind(volume: &Path, sub_path: &str, target: &Path) -> Result<(), VolumeError> {
    let relative = Path::new(sub_path);
    if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(VolumeError::Source(format!("subPath {sub_path:?} must stay inside the volume")));
    }
    let root = rustix::fs::open(volume, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| VolumeError::kernel("open", volume)(error.into()))?;
    let found = match open_beneath(&root, relative) {
        Err(Errno::NOENT) => {
            make_beneath(&root, relative)
                .map_err(|error| VolumeError::kernel("create", &volume.join(relative))(error.into()))?;
            open_beneath(&root, relative)
        }
        other => other,
    };
    let found = found.map_err(|error| VolumeError::kernel("open", &volume.join(relative))(error.into()))?;
    prepare_target(&found, target)?;
    mounts::bind_fd(&found, target)
}

fn open_beneath(root: &OwnedFd, relative: &Path) -> Result<OwnedFd, Errno> {
    openat2(root.as_fd(), relative, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH)
}

/// Makes the missing directories one by one, each checked.
fn make_beneath(root: &OwnedFd, relative: &Path) -> Result<(), Errno> {
    let mut walked = PathBuf::new();
    let mut parent = open_beneath(root, Path::new("."))?;
    for part in relative.components() {
        let Component::Normal(name) = part else { continue };
        walked.push(name);
        match mkdirat(parent.as_fd(), name, Mode::from_raw_mode(0o750)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        parent = open_beneath(root, &walked)?;
    }
    Ok(())
}

/// A file is bound to a file, a directory to a directory.
fn prepare_target(found: &OwnedFd, target: &Path) -> Result<(), VolumeError> {
    if target.exists() {
        // Of the container before this one.
        mounts::unmount_below(target).map_err(VolumeError::kernel("unmount", target))?;
    }
    let metadata =
        rustix::fs::fstat(found).map_err(|error| VolumeError::kernel("look at", target)(error.into()))?;
    let is_directory = rustix::fs::FileType::from_raw_mode(metadata.st_mode).is_dir();
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(VolumeError::kernel("create", parent))?;
    }
    let result =
        if is_directory { std::fs::create_dir_all(target) } else { std::fs::File::create(target).map(drop) };
    result.map_err(VolumeError::kernel("create", target))
}
