//! Mounts below the agent's directories.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use super::VolumeError;

/// Mounts a tmpfs on a directory unless one is there. `size` in bytes.
pub fn tmpfs(path: &Path, size: Option<u64>) -> Result<(), VolumeError> {
    if is_mount_point(path).map_err(VolumeError::kernel("look at", path))? {
        return Ok(());
    }
    let data = size.map(|size| format!("size={size}")).unwrap_or_default();
    let data = std::ffi::CString::new(data).expect("digits hold no zero byte");
    mount("tmpfs", path, "tmpfs", MountFlags::empty(), Some(data.as_c_str()))
        .map_err(|error| VolumeError::kernel("mount a tmpfs on", path)(error.into()))
}

/// Makes `target` show what the open file `source` is.
pub fn bind_fd(source: &std::os::fd::OwnedFd, target: &Path) -> Result<(), VolumeError> {
    let source = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(source));
    mount_bind(&*source, target).map_err(|error| VolumeError::kernel("bind to", target)(error.into()))
}

/// A file system begins at this path.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let Some(parent) = path.parent() else { return Ok(true) };
    Ok(std::fs::metadata(path)?.dev() != std::fs::metadata(parent)?.dev())
}

/// Unmounts everything below a directory, the newest first, and fails if something stays.
pub fn unmount_below(dir: &Path) -> io::Result<()> {
    for point in mounts_below(dir)?.into_iter().rev() {
        // Detached, so that a process that still looks at it cannot hold the pod up.
        match unmount(&point, UnmountFlags::DETACH) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match mounts_below(dir)?.first() {
        None => Ok(()),
        Some(point) => Err(io::Error::other(format!("{} is still mounted", point.display()))),
    }
}

/// Mount points below `dir` in the order of mounting.
fn mounts_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let points =
        table.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| PathBuf::from(unescape(field)));
    Ok(points.filter(|point| point.starts_with(dir)).collect())
}

/// mountinfo writes blanks and backslashes as three octal digits.
fn unescape(field: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = field.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let digits: Vec<u8> = bytes.by_ref().take(3).collect();
        let code = digits.iter().fold(0_u32, |sum, digit| sum * 8 + u32::from(digit.wrapping_sub(b'0')));
        out.push(u8::try_from(code).unwrap_or(b'?'));
    }
    String::from_utf8_lossy(&out).into_owned()
}
