//! Encoded watch frames, shared by all watchers of the same encoding. A bounded memory beside the store's changes. Decides
//! only what makes two frames equal.

use crate::kept::Kept;
use crate::negotiate::Accepted;
use crate::render::Include;

/// Bytes of frames kept. A burst of 1,000 pod changes of 4 KiB fits; watchers further behind encode again.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// What makes two watchers' frames equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FrameKey {
    /// The change (its revision is unique in the store).
    pub(crate) revision: u64,
    /// ADDED, MODIFIED or DELETED.
    pub(crate) word: &'static str,
    /// The served kind: an object may be served in several groups and versions.
    pub(crate) kind: u32,
    /// The representation.
    pub(crate) accepted: Accepted,
    /// What only Tables have.
    pub(crate) table: Option<TableFrame>,
}

/// What makes two frames with Tables equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TableFrame {
    /// Whether the columns come with it, as in the first frame of a watch.
    pub(crate) first: bool,
    /// What the row shows of its object.
    pub(crate) include: Include,
    /// The second its ages are told at.
    pub(crate) second: i64,
}

/// The frames kept.
pub(crate) type Frames = Kept<FrameKey>;

/// No frames yet.
pub(crate) fn none_yet() -> Frames {
    Kept::new(BYTES_MAX)
}
