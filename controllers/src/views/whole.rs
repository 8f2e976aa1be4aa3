//! A view that also keeps the tree it was read from, for kinds that are written back whole.

use std::ops::Deref;

use runtime::{Metadata, View};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A view and its tree.
#[derive(Debug, Clone)]
pub(crate) struct Whole<T> {
    /// The object as the server sent it, without `managedFields`.
    pub(crate) tree: Value,
    view: T,
}

impl<T> Deref for Whole<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.view
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut tree = Value::deserialize(deserializer)?;
        // Half of many objects, and an update without them leaves them as they are.
        if let Some(metadata) = tree.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let view = T::deserialize(&tree).map_err(D::Error::custom)?;
        Ok(Whole { tree, view })
    }
}

impl<T: View> View for Whole<T> {
    fn metadata(&self) -> &Metadata {
        self.view.metadata()
    }

    fn groups(&self) -> Vec<String> {
        self.view.groups()
    }
}
