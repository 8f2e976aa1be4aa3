//! Who is being answered on a level's seats, for the pages that show it. Places are used again, so that no request
//! allocates.

use super::Flows;
use super::queues::Seat;
use crate::request_info::RequestInfo;
use access::UserInfo;
use std::sync::Arc;
use std::time::Duration;

/// Who asks, and for what.
pub(super) struct About {
    pub(super) user: Arc<UserInfo>,
    pub(super) info: Arc<RequestInfo>,
}

/// A request that runs.
pub(super) struct Entry {
    pub(super) flows: Arc<Flows>,
    pub(super) about: About,
    pub(super) seat: Seat,
    pub(super) came: Duration,
}

/// Those that run.
#[derive(Default)]
pub(super) struct Roll {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
}

impl Roll {
    /// Enters one and gives its place.
    pub(super) fn enter(&mut self, entry: Entry) -> usize {
        if let Some(place) = self.free.pop() {
            self.entries[place] = Some(entry);
            return place;
        }
        self.entries.push(Some(entry));
        self.entries.len() - 1
    }

    /// Takes one out. Whoever calls drops it after the level's lock.
    pub(super) fn leave(&mut self, place: usize) -> Option<Entry> {
        self.free.push(place);
        self.entries[place].take()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }
}
