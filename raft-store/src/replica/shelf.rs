//! A place for a snapshot in memory that outlives stores, for tests and the simulator.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

/// Holds one snapshot. Only who opened it last may write to it: of a process that has ended, nothing is finished later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf {
    kept: Arc<Mutex<Kept>>,
    opening: u64,
}

#[derive(Debug, Default)]
struct Kept {
    snapshot: Option<Bytes>,
    openings: u64,
}

impl Shelf {
    /// The same shelf for another owner. The ones before can still read.
    pub(crate) fn open(&self) -> Self {
        let mut kept = self.kept();
        kept.openings += 1;
        Self { kept: self.kept.clone(), opening: kept.openings }
    }

    pub(super) fn snapshot(&self) -> Option<Bytes> {
        self.kept().snapshot.clone()
    }

    /// Replaces the snapshot by what `choose` makes of it.
    pub(super) fn replace(
        &self,
        choose: impl FnOnce(Option<Bytes>) -> io::Result<Option<Bytes>>,
    ) -> io::Result<()> {
        let mut kept = self.kept();
        if kept.openings != self.opening {
            return Err(io::Error::other("the shelf has another owner"));
        }
        kept.snapshot = choose(kept.snapshot.clone())?;
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no panic while the lock is held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_opened_it_before_writes_no_more() {
        let shelf = Shelf::default();
        let put = |shelf: &Shelf, text: &'static str| shelf.replace(|_| Ok(Some(Bytes::from(text))));
        let first = shelf.open();
        put(&first, "first").expect("its own");
        let second = shelf.open();
        assert!(put(&first, "late").is_err());
        assert_eq!(second.snapshot().as_deref(), Some(&b"first"[..]));
        put(&second, "second").expect("its own");
        assert_eq!(first.snapshot().as_deref(), Some(&b"second"[..]));
    }
}
