//! What the log knows of its segments. While there is only the first, with nothing before it, there is nothing that its
//! file does not say: sled is founded when the second begins. A server that has not written much yet, as most of those
//! that live for a test, does without its files, its buffers and its threads.
//!
//! ```text
//! founding      marked; whatever is found beside the mark is removed, for the first segment says it all
//! founded       sled knows the first segment; the mark is gone; only now the second one's file is made
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::sled::{self, Contents, Extent, Index, Marks};

/// There while sled is founded.
const FOUNDING: &str = "founding";

/// The segments and marks of a log in a directory.
pub(super) struct Known {
    dir: PathBuf,
    /// `None` while there is only the first segment.
    pub(super) index: Option<Index>,
    contents: Contents,
}

impl Known {
    /// Reads what is known of the log in a directory. What it returns is durable.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let mark = dir.join(FOUNDING);
        if mark.exists() {
            Index::remove(dir)?;
            // The mark may not go before what it is about.
            sync_dir(dir)?;
            fs::remove_file(mark)?;
        }
        sync_dir(dir)?;
        dir.parent().map_or(Ok(()), sync_dir)?;
        let index = if Index::exists(dir) { Some(Index::open(dir)?) } else { None };
        let index = index.filter(|index| !index.contents().segments.is_empty());
        let contents = match &index {
            Some(index) => index.contents().clone(),
            None => {
                let segments = BTreeMap::from([(0, Extent::default())]);
                Contents { marks: Marks::default(), segments }
            }
        };
        Ok(Self { dir: dir.to_owned(), index, contents })
    }

    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Has sled know it, before there is anything that only sled can tell.
    pub(super) fn found(&mut self) -> io::Result<&mut Index> {
        let index = match self.index.take() {
            Some(index) => index,
            None => self.founded()?,
        };
        Ok(self.index.insert(index))
    }

    fn founded(&self) -> io::Result<Index> {
        let mark = self.dir.join(FOUNDING);
        File::create(&mark)?;
        sync_dir(&self.dir)?;
        let mut index = Index::open(&self.dir)?;
        index.write(self.contents.clone())?;
        index.sync()?;
        fs::remove_file(mark)?;
        sync_dir(&self.dir)?;
        sled::keep_ballast(&self.dir);
        Ok(index)
    }

    /// Replaces what is known, all or nothing. It is durable after [`Known::sync`].
    pub(super) fn write(&mut self, contents: Contents) -> io::Result<()> {
        self.found()?.write(contents.clone())?;
        self.contents = contents;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.index.as_ref().map_or(Ok(()), Index::sync)
    }

    /// Bytes on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.index.as_ref().map_or(0, Index::disk_bytes)
    }

    /// Files beside those that are synced.
    pub(super) fn stray_files(&self) -> u64 {
        self.index.as_ref().map_or(0, Index::stray_files)
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tempfile::TempDir;

    use super::super::disk::{DiskLog, SMALL};
    use super::super::segment::{self, Segment};
    use super::super::{LogBackend as _, Op, Record};
    use super::*;

    fn log(dir: &TempDir) -> DiskLog {
        DiskLog::open_with(dir.path(), SMALL).expect("the directory is free and whole")
    }

    fn append(log: &mut DiskLog, indexes: std::ops::Range<u64>) {
        for index in indexes {
            let record = Record { index, bytes: Bytes::from(vec![b'r'; 300]) };
            log.commit(vec![Op::Append(vec![record])]).expect("writable");
        }
    }

    fn written(records: u64) -> TempDir {
        let dir = tempfile::tempdir().expect("a writable temporary directory");
        let mut log = log(&dir);
        log.load().expect("readable");
        append(&mut log, 0..records);
        dir
    }

    fn found(dir: &TempDir) -> usize {
        log(dir).load().expect("readable").records.len()
    }

    fn names(dir: &Path) -> Vec<String> {
        let files = fs::read_dir(dir).expect("readable").map(|file| file.expect("readable").file_name());
        let mut names: Vec<_> = files.filter_map(|name| name.into_string().ok()).collect();
        names.retain(|name| !name.starts_with("segment-") && name != "ballast");
        names.sort();
        names
    }

    #[test]
    fn one_segment_needs_no_index() {
        let dir = written(5);
        assert_eq!(found(&dir), 5);
        assert_eq!(names(dir.path()), Vec::<String>::new());
        append(&mut log(&dir), 5..40);
        assert!(names(dir.path()).contains(&"db".to_owned()));
        assert!(!names(dir.path()).contains(&FOUNDING.to_owned()));
        assert_eq!(found(&dir), 40);
    }

    /// A crash at any moment of it, and in the middle of a file.
    #[test]
    fn a_founding_that_was_cut_off_is_begun_again() {
        let states: [fn(&Path); 5] = [
            |dir| {
                File::create(dir.join(FOUNDING)).expect("writable");
            },
            |dir| {
                fs::write(dir.join("conf"), b"{").expect("writable");
                fs::write(dir.join("db"), b"").expect("writable");
                File::create(dir.join(FOUNDING)).expect("writable");
            },
            |dir| {
                drop(Index::open(dir).expect("writable"));
                File::create(dir.join(FOUNDING)).expect("writable");
            },
            |dir| drop(Index::open(dir).expect("writable")),
            |dir| {
                Known::open(dir).expect("readable").found().expect("writable");
            },
        ];
        for (number, crash) in states.into_iter().enumerate() {
            let dir = written(5);
            crash(dir.path());
            assert_eq!(found(&dir), 5, "{number}");
            append(&mut log(&dir), 5..40);
            assert_eq!(found(&dir), 40, "{number}");
            assert!(!dir.path().join(FOUNDING).exists(), "{number}");
        }
    }

    #[test]
    fn an_index_that_is_lost_is_missed() {
        let dir = written(40);
        Index::remove(dir.path()).expect("writable");
        let error = DiskLog::open_with(dir.path(), SMALL).err().expect("it is refused");
        assert!(error.to_string().contains("index"), "{error}");
    }

    /// The first segment's file is made before anything is written to it.
    #[test]
    fn a_first_segment_that_was_not_finished_is_made_again() {
        let dir = tempfile::tempdir().expect("a writable temporary directory");
        drop(Segment::create(dir.path(), 0, 100, None).expect("writable"));
        append(&mut log(&dir), 0..5);
        let length = fs::metadata(segment::path(dir.path(), 0)).expect("it is there").len();
        assert_eq!((found(&dir), length), (5, SMALL as u64));
    }

    #[test]
    fn a_log_is_open_once() {
        let dir = written(5);
        let open = log(&dir);
        let error = DiskLog::open_with(dir.path(), SMALL).err().expect("it is in use");
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        drop(open);
        assert_eq!(found(&dir), 5);
    }
}
