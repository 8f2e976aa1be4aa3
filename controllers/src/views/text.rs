//! A view that also keeps the text it was read from, for kinds that come in numbers and are written back whole. Most of their
//! changes are looked at and lead to no write, so a tree is made only for one that does.

use std::ops::Deref;

use runtime::{Metadata, View};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A view and its text.
#[derive(Debug, Clone)]
pub(crate) struct Text<T> {
    text: Box<RawValue>,
    view: T,
}

impl<T> Text<T> {
    /// The object as the server sent it, without `managedFields`: an update without them leaves them as they are.
    pub(crate) fn tree(&self) -> Value {
        let mut tree: Value = serde_json::from_str(self.text.get()).expect("it was read before");
        if let Some(metadata) = tree.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        tree
    }
}

impl<T> Deref for Text<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.view
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let view = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Text { text, view })
    }
}

impl<T: View> View for Text<T> {
    fn metadata(&self) -> &Metadata {
        self.view.metadata()
    }

    fn groups(&self) -> Vec<String> {
        self.view.groups()
    }
}

#[cfg(test)]
mod tests {
    use kube::core::WatchEvent;
    use serde_json::json;

    use super::*;
    use crate::views::Deployment;

    #[test]
    fn an_event_keeps_the_text_and_the_tree_leaves_managed_fields_out() {
        let event = r#"{"type":"ADDED","object":{"metadata":{"name":"web","managedFields":[{"manager":"m"}]},"spec":{"replicas":3,"x":1.50}}}"#;
        let Ok(WatchEvent::Added(read)) = serde_json::from_str::<WatchEvent<Box<Text<Deployment>>>>(event)
        else {
            panic!("an event");
        };
        assert_eq!((read.metadata().name.as_str(), read.spec.replicas), ("web", 3));
        assert_eq!(read.tree(), json!({"metadata": {"name": "web"}, "spec": {"replicas": 3, "x": 1.5}}));
        let from_tree: Text<Deployment> = serde_json::from_value(read.tree()).expect("a Deployment");
        assert_eq!(from_tree.tree(), read.tree());
    }
}
