//! Trees without managedFields, which are a third of an ordinary object and of no interest to those who only look.

use schema::Tree;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Reads stored JSON.
pub(crate) fn parse(json: &[u8]) -> Result<Tree, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let tree = Lean { depth: 0 }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(tree)
}

/// Reads one value; what lies at `metadata.managedFields` is passed over.
#[derive(Clone, Copy)]
struct Lean {
    depth: usize,
}

impl Lean {
    fn below(self) -> Self {
        Self { depth: self.depth + 1 }
    }

    /// managedFields stand one level below the root; deeper ones, of pod templates, are always empty.
    fn skips(self, key: &str) -> bool {
        self.depth == 1 && key == "managedFields"
    }
}

impl<'de> DeserializeSeed<'de> for Lean {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Lean {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.below())? {
            list.push(item);
        }
        Ok(Tree::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut object = schema::Object::new();
        while let Some(key) = members.next_key::<String>()? {
            if self.skips(&key) {
                members.next_value::<IgnoredAny>()?;
            } else {
                object.insert(key, members.next_value_seed(self.below())?);
            }
        }
        Ok(Tree::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_but_managed_fields_is_there() {
        let rest = json!({"kind": "X", "list": [null, true, -1, 18_446_744_073_709_551_615_u64, 1.5, "a\"b", {"managedFields": [1]}]});
        let mut stored = rest.clone();
        stored["metadata"] = json!({"managedFields": [{"manager": "m"}], "name": "n"});
        let mut wanted = rest;
        wanted["metadata"] = json!({"name": "n"});
        assert_eq!(parse(stored.to_string().as_bytes()).expect("JSON"), wanted);
        assert!(parse(b"{} x").is_err());
    }
}
