//! A small disk of the test's own: ext4 on a loop device, whose power can be cut and whose space can end.
//!
//! After [`Disk::cut`] the file system takes nothing any more and forgets what was not written through, as a machine
//! without power does; mounted again, it shows what had reached the disk. The kernel's own memory of the device is
//! written back meanwhile, so a device with a volatile cache is not modelled.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// Programs a disk is made and cut with, and the Debian packages they are in.
const PROGRAMS: [(&str, &str); 3] =
    [("/sbin/mkfs.ext4", "e2fsprogs"), ("/sbin/losetup", "mount"), ("/usr/sbin/xfs_io", "xfsprogs")];

/// A file system in a file.
pub struct Disk {
    folder: TempDir,
    mounted: bool,
}

impl Disk {
    /// Why this machine cannot have one, if it cannot.
    pub fn unfit() -> Option<String> {
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        if !root {
            return Some("mounting needs root".into());
        }
        let missing = PROGRAMS.iter().find(|(program, _)| !Path::new(program).exists());
        missing.map(|(program, package)| format!("{program} is missing: package {package}"))
    }

    /// Makes one of so many MiB and mounts it.
    ///
    /// # Errors
    /// The machine has no loop device or no space left.
    pub fn make(mebibytes: u64) -> Result<Self> {
        let mut disk = Self { folder: tempfile::tempdir()?, mounted: false };
        std::fs::File::create(disk.image())?.set_len(mebibytes << 20)?;
        run("mkfs.ext4", &["-q", "-E", "lazy_itable_init=0", &disk.image().to_string_lossy()])?;
        std::fs::create_dir(disk.root())?;
        disk.mount()?;
        Ok(disk)
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Where it is mounted.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Mounts it.
    ///
    /// # Errors
    /// The file system is damaged.
    pub fn mount(&mut self) -> Result<()> {
        run("mount", &["-o", "loop", &self.image().to_string_lossy(), &self.root().to_string_lossy()])?;
        self.mounted = true;
        Ok(())
    }

    /// Cuts its power: from now on every access fails, and what was not written through is gone.
    ///
    /// # Errors
    /// It is not mounted.
    pub fn cut(&self) -> Result<()> {
        run("xfs_io", &["-x", "-c", "shutdown", &self.root().to_string_lossy()])
    }

    /// Unmounts it. Nobody may hold a file on it.
    ///
    /// # Errors
    /// Somebody does.
    pub fn unmount(&mut self) -> Result<()> {
        run("umount", &[&self.root().to_string_lossy()])?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A failed test's server may still be ending.
        if self.mounted && self.unmount().is_err() {
            let _ = run("umount", &["-l", &self.root().to_string_lossy()]);
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let path = format!("/usr/sbin:/sbin:{}", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    let output = output.with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
