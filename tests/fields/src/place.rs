//! Where in an object a value stands, and how a tree is changed there.

use std::fmt;

use serde_json::Value;

/// One step into a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A field of a struct.
    Field(String),
    /// An entry of a map.
    Entry(String),
    /// An item of a list.
    Item(usize),
}

/// Steps from the root. Displays as `spec.ports[0].name` and `metadata.labels[app]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place(pub Vec<Step>);

impl Place {
    /// One step further.
    pub fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// The place with every index and key left out: what the schema knows of it.
    pub fn form(&self) -> String {
        let steps = self.0.iter().map(|step| match step {
            Step::Field(name) => format!(".{name}"),
            Step::Entry(_) | Step::Item(_) => "[]".to_owned(),
        });
        steps.collect()
    }

    /// The name of the first field.
    pub fn first(&self) -> &str {
        match self.0.first() {
            Some(Step::Field(name)) => name,
            _ => "",
        }
    }

    /// Whether a merge patch can say it: lists are only replaced as a whole there.
    pub fn is_mergeable(&self) -> bool {
        !self.0.iter().any(|step| matches!(step, Step::Item(_)))
    }

    /// The tree with another value here, or with none; nothing where the tree has no such place.
    pub fn changed(&self, tree: &Value, value: Option<&Value>) -> Option<Value> {
        let mut tree = tree.clone();
        let (last, way) = self.0.split_last()?;
        let parent = way.iter().try_fold(&mut tree, |tree, step| match step {
            Step::Field(name) | Step::Entry(name) => tree.get_mut(name),
            Step::Item(index) => tree.get_mut(index),
        })?;
        match (last, value, parent) {
            (Step::Field(name) | Step::Entry(name), Some(value), Value::Object(fields)) => {
                fields.insert(name.clone(), value.clone());
            }
            (Step::Field(name) | Step::Entry(name), None, Value::Object(fields)) => {
                fields.remove(name)?;
            }
            (Step::Item(index), Some(value), Value::Array(items)) => *items.get_mut(*index)? = value.clone(),
            (Step::Item(index), None, Value::Array(items)) if *index < items.len() => {
                items.remove(*index);
            }
            _ => return None,
        }
        Some(tree)
    }

    /// A merge patch that sets this place alone; `null` removes.
    pub fn merge_patch(&self, value: Option<&Value>) -> Value {
        let value = value.cloned().unwrap_or(Value::Null);
        self.0.iter().rev().fold(value, |inner, step| match step {
            Step::Field(name) | Step::Entry(name) => serde_json::json!({ name: inner }),
            Step::Item(_) => inner,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if index == 0 => write!(f, "{name}")?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Entry(key) => write!(f, "[{key}]")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_is_changed_removed_and_patched() {
        let field = |name: &str| Step::Field(name.to_owned());
        let place = Place::default().then(field("a")).then(Step::Item(1)).then(field("b"));
        assert_eq!((place.to_string(), place.form()), ("a[1].b".to_owned(), ".a[].b".to_owned()));
        let tree = json!({"a": [{}, {"b": 1}]});
        assert_eq!(place.changed(&tree, Some(&json!(2))), Some(json!({"a": [{}, {"b": 2}]})));
        assert_eq!(place.changed(&tree, None), Some(json!({"a": [{}, {}]})));
        assert_eq!(place.changed(&json!({"a": [{}]}), None), None);
        assert!(!place.is_mergeable());
        let place = Place::default().then(field("a")).then(Step::Entry("k".to_owned()));
        assert_eq!(place.merge_patch(None), json!({"a": {"k": null}}));
    }
}
