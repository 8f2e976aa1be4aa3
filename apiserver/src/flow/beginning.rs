//! The seats of a watch: they are held until its first state is sent, which is told by whoever sends it.

use super::Granted;
use std::sync::{Arc, Mutex};

/// Clones share the seats; they are given back when one of them says so, or when all are dropped.
#[derive(Clone)]
pub(crate) struct Beginning(Arc<Mutex<Option<Granted>>>);

impl Beginning {
    /// A watch that begins on these seats.
    pub(crate) fn new(granted: Granted) -> Self {
        Self(Arc::new(Mutex::new(Some(granted))))
    }

    /// The first state is sent.
    pub(crate) fn is_over(&self) {
        let granted = self.0.lock().expect("no panic while the lock is held").take();
        drop(granted);
    }
}
