//! Many files that change at once.
//!
//! A reader that follows the links sees all old files or all new ones, never a mixture:
//!
//! ```text
//! volume/
//!   ..2026_07_01_10_00_00.000000001/   color
//!   ..data -> ..2026_07_01_10_00_00.000000001      replaced by one rename
//!   color -> ..data/color
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path};

use jiff::Timestamp;

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";

/// One file of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What it holds.
    pub data: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// Its owner, if not root.
    pub owner: Option<u32>,
}

/// Files by their path relative to the volume.
pub type Payload = BTreeMap<String, File>;

/// Makes `dir` hold exactly `payload`. Gives whether anything changed.
pub fn write(dir: &Path, payload: &Payload, now: Timestamp) -> io::Result<bool> {
    for path in payload.keys() {
        check_path(path)?;
    }
    let old = std::fs::read_link(dir.join(DATA)).ok();
    if old.as_ref().is_some_and(|old| holds(&dir.join(old), payload)) {
        link_names(dir, payload)?;
        return Ok(false);
    }
    let version = now.strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string();
    let target = dir.join(&version);
    // A leftover of an attempt that died at this very nanosecond.
    remove_any(&target)?;
    std::fs::create_dir(&target)?;
    std::fs::set_permissions(&target, Permissions::from_mode(0o755))?;
    for (path, file) in payload {
        write_file(&target.join(path), file)?;
    }
    remove_any(&dir.join(DATA_NEXT))?;
    symlink(&version, dir.join(DATA_NEXT))?;
    std::fs::rename(dir.join(DATA_NEXT), dir.join(DATA))?;
    link_names(dir, payload)?;
    remove_old_versions(dir, &version)?;
    Ok(true)
}

fn check_path(path: &str) -> io::Result<()> {
    let relative = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !relative || path.starts_with("..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path: {path}")));
    }
    Ok(())
}

fn write_file(path: &Path, file: &File) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, &file.data)?;
    // After writing, so that the umask has no say.
    std::fs::set_permissions(path, Permissions::from_mode(file.mode))?;
    match file.owner {
        Some(owner) => chown(path, Some(owner), None),
        None => Ok(()),
    }
}

/// Whether a version directory has exactly these files with these contents.
fn holds(version: &Path, payload: &Payload) -> bool {
    let mut found = BTreeSet::new();
    if files_below(version, version, &mut found).is_err() {
        return false;
    }
    let expected: BTreeSet<String> = payload.keys().cloned().collect();
    found == expected
        && payload
            .iter()
            .all(|(path, file)| std::fs::read(version.join(path)).is_ok_and(|data| data == file.data))
}

fn files_below(root: &Path, dir: &Path, found: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(root, &path, found)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            found.insert(relative.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// The first part of every path becomes a link into the current data; links to what is gone go.
fn link_names(dir: &Path, payload: &Payload) -> io::Result<()> {
    let names: BTreeSet<&str> = payload.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &names {
        let link = dir.join(name);
        if std::fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !names.contains(name.as_str()) {
            remove_any(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_old_versions(dir: &Path, current: &str) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("..") && name != DATA && name != current {
            remove_any(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_any(path: &Path) -> io::Result<()> {
    let result = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |data: &str| File { data: data.as_bytes().to_vec(), mode: 0o644, owner: None };
        files.iter().map(|(path, data)| ((*path).to_owned(), file(data))).collect()
    }

    /// Visible names with contents, `name=content`, and how many versions there are.
    fn shown(dir: &Path) -> String {
        let mut out = Vec::new();
        let mut versions = 0;
        for entry in std::fs::read_dir(dir).expect("the directory is there") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            if name.starts_with("..") {
                versions += usize::from(name != DATA);
                continue;
            }
            let target = std::fs::read_link(dir.join(&name)).expect("a link");
            assert!(target.starts_with(DATA), "{name} leads to {}", target.display());
            let mut files = BTreeSet::new();
            if dir.join(&name).is_dir() {
                files_below(dir, &dir.join(&name), &mut files).expect("readable");
            } else {
                files.insert(name);
            }
            for file in files {
                let content = std::fs::read_to_string(dir.join(&file)).expect("readable");
                out.push(format!("{file}={content}"));
            }
        }
        out.sort();
        format!("{} ({versions})", out.join(" "))
    }

    #[test]
    fn writes_changes_and_removes() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut now = Timestamp::UNIX_EPOCH;
        let mut step = |files: &[(&str, &str)]| {
            now += jiff::SignedDuration::from_secs(1);
            let changed = write(dir.path(), &payload(files), now).expect("written");
            format!("{changed} {}", shown(dir.path()))
        };
        assert_eq!(step(&[("a", "1"), ("b/c", "2")]), "true a=1 b/c=2 (1)");
        assert_eq!(step(&[("a", "1"), ("b/c", "2")]), "false a=1 b/c=2 (1)");
        assert_eq!(step(&[("a", "3"), ("d", "4")]), "true a=3 d=4 (1)");
        assert_eq!(step(&[]), "true  (1)");
    }

    #[test]
    fn an_open_reader_keeps_the_old_version() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), &payload(&[("a", "old")]), Timestamp::UNIX_EPOCH).expect("written");
        let mut reader = std::fs::File::open(dir.path().join("a")).expect("readable");
        let later = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(1);
        write(dir.path(), &payload(&[("a", "new")]), later).expect("written");
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).expect("readable");
        assert_eq!(text, "old");
        assert_eq!(std::fs::read_to_string(dir.path().join("a")).expect("readable"), "new");
    }

    #[test]
    fn paths_stay_inside() {
        let dir = tempfile::tempdir().expect("a directory");
        for path in ["../x", "/x", "a/../../x", "", "..data"] {
            let result = write(dir.path(), &payload(&[(path, "x")]), Timestamp::UNIX_EPOCH);
            assert!(result.is_err(), "{path} was taken");
        }
    }
}
