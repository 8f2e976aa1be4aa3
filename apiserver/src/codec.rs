//! Between trees and stored bytes. Stored bytes are JSON that starts with kind
//! and apiVersion, then metadata without resourceVersion, so that the revision
//! can be spliced in and a list item can leave the first two out without a
//! look at the rest. Decides that layout and sealing; never validates.

use crate::catalog::Kind;
use crate::empties;
use crate::exact;
use crate::status::{ApiError, ApiResult};
use access::seal::{Bond, Keyring, SystemRandom};
use bytes::Bytes;
use jiff::Timestamp;
use mvcc::{Entry, Key, Object, Revision};
use schema::Tree;
use serde::Deserialize;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;

/// `"metadata":` between the prefix of an item and its metadata object.
const METADATA_KEY: usize = "\"metadata\":".len();

/// Bytes a spliced resourceVersion takes at most.
const REVISION_MAX: usize = "\"resourceVersion\":\"18446744073709551615\",".len();

/// Opens and makes stored bytes.
#[derive(Clone)]
pub struct Codec {
    keyring: Option<Arc<Keyring>>,
    /// Stored bytes that were made a tree of, so that tests can tell who does.
    #[cfg(test)]
    pub(crate) decodes: Arc<std::sync::atomic::AtomicUsize>,
}

/// Of metadata, what tells whether an object lasts.
#[derive(Default, Deserialize)]
struct Lasting {
    #[serde(default, rename = "deletionTimestamp")]
    deleted: Option<Timestamp>,
}

/// An object of which only that is read.
#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    metadata: Lasting,
}

/// An object about to be served.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    /// A stored version, shown with a revision (a deletion's differs from the entry's).
    Entry(&'a Entry, Revision),
    /// A tree that is not stored (dry runs, reviews, scales).
    Tree(&'a Tree),
}

impl Codec {
    /// A codec that seals with this keyring, or not at all.
    pub fn new(keyring: Option<Arc<Keyring>>) -> Self {
        Self {
            keyring,
            #[cfg(test)]
            decodes: Arc::default(),
        }
    }

    /// Makes what the store keeps of a tree.
    pub fn object(&self, kind: &Kind, key: Key, tree: &Tree) -> ApiResult<Object> {
        let stored: Cow<'_, Tree> = if kind.converts {
            Cow::Owned(kind.strategy.to_stored(tree.clone()))
        } else {
            empties::settled(kind.schema, Cow::Borrowed(tree))
        };
        let (bytes, metadata) = encode(&kind.stored.prefix, &stored);
        let meta = stored.get("metadata");
        let uid: Arc<str> = text(meta, "uid").into();
        let labels = pairs(meta.and_then(|meta| meta.get("labels")));
        let owners = meta.and_then(|meta| meta.get("ownerReferences")).and_then(Tree::as_array);
        let owners = owners.map_or(&[][..], Vec::as_slice).iter();
        let owners = owners.map(|owner| Arc::<str>::from(text(Some(owner), "uid"))).collect();
        let attributes = attributes(kind, tree, &stored);
        let revision_at = u32::try_from(kind.stored.prefix.len() + 1).expect("a prefix is short");
        let mut object = Object {
            key,
            uid,
            version: kind.stored.api_version.clone(),
            sealing: None,
            labels,
            attributes,
            owners,
            metadata: u32::try_from(metadata.start).expect("bodies are small")
                ..u32::try_from(metadata.end).expect("bodies are small"),
            revision_at,
            bytes,
        };
        if let (true, Some(keyring)) = (kind.stored.sealed, &self.keyring) {
            let sealed = keyring.seal(bond(&object), &object.bytes, &mut SystemRandom);
            object.sealing = Some(keyring.current().into());
            object.bytes = Bytes::copy_from_slice(&sealed);
            object.metadata = 0..0;
        }
        Ok(object)
    }

    /// The plain stored bytes of an object.
    pub fn plain<'a>(&self, object: &'a Object) -> ApiResult<Cow<'a, [u8]>> {
        if object.sealing.is_none() {
            return Ok(Cow::Borrowed(&object.bytes));
        }
        let keyring = self
            .keyring
            .as_ref()
            .ok_or_else(|| ApiError::Internal("no key to open a sealed object".into()))?;
        let plain = keyring
            .open(bond(object), &object.bytes)
            .map_err(|error| ApiError::Internal(error.to_string()))?;
        Ok(Cow::Owned(plain))
    }

    /// The object's `deletionTimestamp`. Reads its metadata and makes no tree.
    pub fn deleted(&self, object: &Object) -> ApiResult<Option<Timestamp>> {
        let plain = self.plain(object)?;
        let metadata: serde_json::Result<Lasting> = if object.sealing.is_some() {
            serde_json::from_slice(&plain).map(|whole: Whole| whole.metadata)
        } else {
            serde_json::from_slice(&plain[object.metadata.start as usize..object.metadata.end as usize])
        };
        Ok(metadata.map_err(|error| ApiError::Internal(error.to_string()))?.deleted)
    }

    /// The object as a tree of the asking kind's version, resourceVersion included.
    pub fn tree(&self, kind: &Kind, entry: &Entry, revision: Revision) -> ApiResult<Tree> {
        let plain = self.plain(&entry.object)?;
        let tree = serde_json::from_slice(&plain).map_err(|error| ApiError::Internal(error.to_string()))?;
        self.served(kind, tree, revision)
    }

    /// A stored tree as the asking kind serves it.
    fn served(&self, kind: &Kind, mut tree: Tree, revision: Revision) -> ApiResult<Tree> {
        #[cfg(test)]
        self.decodes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if kind.converts {
            tree = kind.strategy.from_stored(tree);
            tree["apiVersion"] = Tree::String(kind.api_version.clone());
            tree["kind"] = Tree::String(kind.resource.kind.clone());
        }
        set_revision(&mut tree, revision);
        Ok(tree)
    }

    /// The tree of any content without managedFields, for those who only look.
    pub fn lean_tree(&self, kind: &Kind, content: Content<'_>) -> ApiResult<Tree> {
        match content {
            Content::Entry(entry, revision) => {
                let plain = self.plain(&entry.object)?;
                let tree = crate::lean::parse(&plain);
                self.served(kind, tree.map_err(|error| ApiError::Internal(error.to_string()))?, revision)
            }
            Content::Tree(tree) => Ok(tree.clone()),
        }
    }

    /// The tree of any content.
    pub fn content_tree<'a>(&self, kind: &Kind, content: Content<'a>) -> ApiResult<Cow<'a, Tree>> {
        match content {
            Content::Entry(entry, revision) => self.tree(kind, entry, revision).map(Cow::Owned),
            Content::Tree(tree) => Ok(Cow::Borrowed(tree)),
        }
    }

    /// Writes the object's JSON as this kind; list items leave out kind and apiVersion.
    pub fn write(&self, kind: &Kind, content: Content<'_>, item: bool, out: &mut Vec<u8>) -> ApiResult<()> {
        match content {
            Content::Entry(entry, revision) if !kind.converts => {
                let plain = self.plain(&entry.object)?;
                splice(&plain, entry.object.revision_at as usize, revision, item, out);
            }
            content => {
                let tree = self.content_tree(kind, content)?;
                write_tree(&tree, item, out);
            }
        }
        Ok(())
    }

    /// Writes the metadata object's JSON, resourceVersion included.
    pub fn write_metadata(&self, kind: &Kind, content: Content<'_>, out: &mut Vec<u8>) -> ApiResult<()> {
        match content {
            Content::Entry(entry, revision) if is_plain(kind, entry) => {
                let (at, end) = (entry.object.revision_at as usize, entry.object.metadata.end as usize);
                out.push(b'{');
                write_revision(revision, out);
                out.extend_from_slice(&entry.object.bytes[at..end]);
            }
            content => {
                let tree = self.content_tree(kind, content)?;
                let empty = Tree::Object(serde_json::Map::new());
                serde_json::to_writer(&mut *out, tree.get("metadata").unwrap_or(&empty))
                    .expect("trees encode into memory");
            }
        }
        Ok(())
    }
}

/// Whether the stored bytes of the metadata are what the kind shows.
fn is_plain(kind: &Kind, entry: &Entry) -> bool {
    entry.object.sealing.is_none() && !kind.strategy.converts_metadata()
}

/// The rest of an object's JSON behind the brace, kind and apiVersion it starts with.
pub fn without_type<'a>(kind: &Kind, json: &'a [u8]) -> &'a [u8] {
    let start = crate::catalog::prefix(&kind.resource.kind, &kind.api_version).len() - METADATA_KEY;
    &json[start..]
}

/// What ciphertext is tied to.
fn bond(object: &Object) -> Bond<'_> {
    Bond {
        resource: &object.key.resource,
        namespace: &object.key.namespace,
        name: &object.key.name,
        uid: &object.uid,
    }
}

/// JSON of a tree in stored order: prefix, metadata without resourceVersion,
/// the rest. Gives the bytes and where the metadata object lies.
fn encode(prefix: &str, tree: &Tree) -> (Bytes, std::ops::Range<usize>) {
    let start = prefix.len();
    let mut end = start;
    let Ok(bytes) = exact::bytes(|out| {
        out.extend_from_slice(prefix.as_bytes());
        write_members(tree.get("metadata"), &["resourceVersion"], out);
        end = out.len();
        for (key, value) in tree.as_object().into_iter().flatten().filter(|(key, _)| !is_envelope(key)) {
            out.push(b',');
            write_member(key, value, out);
        }
        out.push(b'}');
        Ok::<_, Infallible>(())
    });
    (bytes, start..end)
}

/// The attributes of an object, sorted.
fn attributes(kind: &Kind, tree: &Tree, stored: &Tree) -> Vec<(Arc<str>, Arc<str>)> {
    let found = kind.strategy.attributes(stored);
    let held = match &*kind.stored_as {
        "services" => crate::admission::service_allocation::attributes(tree),
        _ => Vec::new(),
    };
    let mut attributes = Vec::with_capacity(found.len() + held.len());
    attributes.extend(found.into_iter().map(|(name, value)| (shared(name), value.into())));
    attributes.extend(held);
    attributes.sort();
    attributes
}

/// The one copy that this thread's objects share of an attribute's name, of which there are a few dozen.
fn shared(name: &'static str) -> Arc<str> {
    thread_local! {
        static NAMES: RefCell<HashMap<&'static str, Arc<str>>> = RefCell::default();
    }
    NAMES.with_borrow_mut(|names| names.entry(name).or_insert_with(|| name.into()).clone())
}

fn is_envelope(key: &str) -> bool {
    matches!(key, "kind" | "apiVersion" | "metadata")
}

fn write_members(tree: Option<&Tree>, skip: &[&str], out: &mut Vec<u8>) {
    out.push(b'{');
    let members =
        tree.and_then(Tree::as_object).into_iter().flatten().filter(|(key, _)| !skip.contains(&key.as_str()));
    for (index, (key, value)) in members.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_member(key, value, out);
    }
    out.push(b'}');
}

fn write_member(key: &str, value: &Tree, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, key).expect("texts encode into memory");
    out.push(b':');
    serde_json::to_writer(&mut *out, value).expect("trees encode into memory");
}

fn write_tree(tree: &Tree, item: bool, out: &mut Vec<u8>) {
    if item {
        return write_members(Some(tree), &["kind", "apiVersion"], out);
    }
    out.push(b'{');
    let first = ["kind", "apiVersion", "metadata"]
        .into_iter()
        .filter_map(|key| tree.get(key).map(|value| (key, value)));
    let rest = tree
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !is_envelope(key))
        .map(|(key, value)| (key.as_str(), value));
    for (index, (key, value)) in first.chain(rest).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_member(key, value, out);
    }
    out.push(b'}');
}

/// Copies stored bytes with the revision put in, in one pass.
fn splice(plain: &[u8], at: usize, revision: Revision, item: bool, out: &mut Vec<u8>) {
    out.reserve(plain.len() + REVISION_MAX);
    let mut from = 0;
    if item {
        out.push(b'{');
        from = at - 1 - METADATA_KEY;
    }
    out.extend_from_slice(&plain[from..at]);
    write_revision(revision, out);
    out.extend_from_slice(&plain[at..]);
}

fn write_revision(revision: Revision, out: &mut Vec<u8>) {
    write!(out, "\"resourceVersion\":\"{revision}\",").expect("vectors take every write");
}

/// Puts a revision into a tree.
pub fn set_revision(tree: &mut Tree, revision: Revision) {
    if let Some(Tree::Object(metadata)) = tree.get_mut("metadata") {
        metadata.insert("resourceVersion".to_owned(), Tree::String(revision.to_string()));
    }
}

fn text<'a>(tree: Option<&'a Tree>, key: &str) -> &'a str {
    tree.and_then(|tree| tree.get(key)).and_then(Tree::as_str).unwrap_or_default()
}

fn pairs(map: Option<&Tree>) -> Vec<(Arc<str>, Arc<str>)> {
    let Some(map) = map.and_then(Tree::as_object) else { return Vec::new() };
    let pair =
        |(key, value): (&String, &Tree)| (key.as_str().into(), value.as_str().unwrap_or_default().into());
    // Room for exactly as many: a map knows its length.
    let mut pairs: Vec<(Arc<str>, Arc<str>)> = map.iter().map(pair).collect();
    pairs.sort();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_item_leaves_out_kind_and_version() {
        let tree = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "resourceVersion": "3"}, "data": {"k": "v"}});
        let prefix = crate::catalog::prefix("ConfigMap", "v1");
        let (bytes, metadata) = encode(&prefix, &tree);
        assert_eq!(&bytes[metadata.clone()], br#"{"name":"a"}"#);
        let mut out = Vec::new();
        splice(&bytes, metadata.start + 1, Revision(7), true, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            r#"{"metadata":{"resourceVersion":"7","name":"a"},"data":{"k":"v"}}"#
        );
        let mut whole = Vec::new();
        splice(&bytes, metadata.start + 1, Revision(7), false, &mut whole);
        let read: Tree = serde_json::from_slice(&whole).expect("JSON");
        assert_eq!(read["metadata"]["resourceVersion"], "7");
        assert_eq!(read["kind"], "ConfigMap");
    }
}
