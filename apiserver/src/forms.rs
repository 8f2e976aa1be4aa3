//! Stored objects in other forms than their stored bytes: as protobuf, as cells of a Table, in another version, opened when
//! they are sealed. Each is made once and kept while there is room. Decides only what makes two forms equal.

use crate::catalog::Kind;
use crate::kept::Kept;

/// Bytes of forms kept: 5,000 pods as protobuf and as Table rows take a third of it.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// A form of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// JSON of the kind's version, resourceVersion included.
    Json,
    /// JSON of the metadata alone, resourceVersion included.
    Metadata,
    /// The protobuf message.
    Message,
    /// The protobuf message of the metadata alone.
    MetadataMessage,
    /// The cells of a Table row, with holes where ages stand.
    Cells,
}

/// What makes two forms equal. A revision names one version of one object, so it stands for the uid too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FormKey {
    revision: u64,
    /// The served kind: an object may be served in several groups and versions.
    kind: u32,
    form: Form,
}

impl FormKey {
    pub(crate) fn new(revision: u64, kind: &Kind, form: Form) -> Self {
        Self { revision, kind: kind.id, form }
    }
}

/// The forms kept.
pub(crate) type Forms = Kept<FormKey>;

/// No forms yet.
pub(crate) fn none_yet() -> Forms {
    Kept::new(BYTES_MAX)
}
