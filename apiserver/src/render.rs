//! Objects, lists and watch events in the representation a client asked for.
//! Decides bytes and content types; which objects those are is the registry's.

use crate::catalog::Kind;
use crate::codec::{Codec, Content};
use crate::negotiate::{Accepted, Format, Shape};
use crate::status::{ApiError, ApiResult};
use crate::yaml;
use bytes::Bytes;
use jiff::Timestamp;
use mvcc::{Entry, Revision};
use schema::Tree;
use schema::go::quote;
use serde_json::{Map, json};
use std::borrow::Cow;
use std::sync::Arc;

/// What a Table row shows of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Include {
    /// Metadata only.
    Metadata,
    /// All of it.
    Object,
    /// Nothing.
    None,
}

impl Include {
    /// Reads `includeObject`.
    pub fn parse(text: &str) -> ApiResult<Self> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "Object" => Ok(Self::Object),
            "None" => Ok(Self::None),
            other => Err(ApiError::BadRequest(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {}: must be 'Metadata', 'Object', 'None', or empty",
                quote(other)
            ))),
        }
    }
}

/// Metadata of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListMeta {
    /// Revision of the list.
    pub revision: Revision,
    /// Token of the next page.
    pub resume: Option<String>,
    /// Items after this page.
    pub remaining: Option<usize>,
}

/// One request's way to bytes.
#[derive(Clone, Copy)]
pub struct Renderer<'a> {
    /// Opens stored bytes.
    pub codec: &'a Codec,
    /// The kind as the client knows it.
    pub kind: &'a Kind,
    /// What the client accepts.
    pub accepted: Accepted,
    /// What Table rows show.
    pub include: Include,
    /// For ages in Tables.
    pub now: Timestamp,
}

impl Renderer<'_> {
    /// One object.
    pub fn single(&self, content: Content<'_>) -> ApiResult<Bytes> {
        let mut out = Vec::with_capacity(1024);
        match self.accepted.shape {
            Shape::PartialList(_) => {
                let text = format!(
                    "you requested PartialObjectMetadataList, but the requested object is not a list (*{})",
                    self.go_type()
                );
                return Err(ApiError::UnfitRepresentation(text));
            }
            Shape::Full if self.accepted.format == Format::Protobuf => {
                return crate::protobuf::object(self.kind, &*self.codec.content_tree(self.kind, content)?);
            }
            Shape::Full => self.codec.write(self.kind, content, false, &mut out)?,
            Shape::Partial(beta) => {
                self.write_partial(content, beta, &mut out)?;
                if self.accepted.format == Format::Protobuf {
                    return crate::protobuf::partial(&out);
                }
            }
            Shape::Table(beta) => {
                self.write_table(&[content], &object_meta(content), beta, true, &mut out)?
            }
        }
        Ok(finish(out, self.accepted))
    }

    /// A list.
    pub fn list(&self, items: &[Arc<Entry>], meta: &ListMeta) -> ApiResult<Bytes> {
        let contents = || items.iter().map(|entry| Content::Entry(entry, entry.revision));
        let mut out =
            Vec::with_capacity(256 + items.iter().map(|entry| entry.object.bytes.len() + 48).sum::<usize>());
        let (kind, version) = match self.accepted.shape {
            Shape::Table(beta) => {
                let rows: Vec<Content<'_>> = contents().collect();
                self.write_table(&rows, &meta.tree(), beta, true, &mut out)?;
                return Ok(finish(out, self.accepted));
            }
            Shape::Partial(_) => {
                let text = format!(
                    "you requested PartialObjectMetadata, but the requested object is a list (*{}List)",
                    self.go_type()
                );
                return Err(ApiError::UnfitRepresentation(text));
            }
            Shape::PartialList(beta) => {
                ("PartialObjectMetadataList".to_owned(), meta_version(beta).to_owned())
            }
            Shape::Full => (format!("{}List", self.kind.resource.kind), self.kind.api_version.clone()),
        };
        out.extend_from_slice(
            format!(
                "{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{},\"items\":",
                meta.tree()
            )
            .as_bytes(),
        );
        let full = self.accepted.shape == Shape::Full;
        if items.is_empty() && !full {
            out.extend_from_slice(b"null}");
            return self.finish_list(out);
        }
        out.push(b'[');
        for (index, content) in contents().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            if full {
                self.codec.write(self.kind, content, true, &mut out)?;
            } else {
                self.write_partial(content, version.ends_with("beta1"), &mut out)?;
            }
        }
        out.extend_from_slice(b"]}");
        self.finish_list(out)
    }

    fn finish_list(&self, json: Vec<u8>) -> ApiResult<Bytes> {
        if self.accepted.format == Format::Protobuf {
            return crate::protobuf::list(self.kind, self.accepted.shape, &json);
        }
        Ok(finish(json, self.accepted))
    }

    /// The kind's internal Go type, as two errors name it.
    fn go_type(&self) -> String {
        format!("{}.{}", crate::catalog::go_package(&self.kind.resource.group), self.kind.resource.kind)
    }

    /// One frame of a watch.
    pub fn event(&self, word: &str, content: Content<'_>, first: bool) -> ApiResult<Bytes> {
        if self.accepted.format == Format::Protobuf {
            return Ok(crate::protobuf::event(word, &self.single(content)?));
        }
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        match self.accepted.shape {
            Shape::Full => self.codec.write(self.kind, content, false, &mut out)?,
            Shape::Partial(beta) | Shape::PartialList(beta) => self.write_partial(content, beta, &mut out)?,
            Shape::Table(beta) => {
                self.write_table(&[content], &object_meta(content), beta, first, &mut out)?
            }
        }
        out.extend_from_slice(b"}\n");
        Ok(out.into())
    }

    /// A frame that only tells how far the watch is.
    pub fn bookmark(&self, revision: Revision, initial_end: bool, first: bool) -> ApiResult<Bytes> {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), json!(revision.to_string()));
        if initial_end {
            metadata.insert("annotations".into(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let mut tree = json!({"kind": self.kind.resource.kind, "apiVersion": self.kind.api_version, "metadata": metadata});
        if self.accepted.shape == Shape::Full {
            // Fields that are printed even when nobody sets them belong to an empty object too.
            schema::decode::conform(self.kind.schema, &mut tree)
                .map_err(|error| ApiError::Internal(error.to_string()))?;
        }
        self.event("BOOKMARK", Content::Tree(&tree), first)
    }

    fn write_partial(&self, content: Content<'_>, beta: bool, out: &mut Vec<u8>) -> ApiResult<()> {
        let version = meta_version(beta);
        out.extend_from_slice(
            format!("{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"{version}\",\"metadata\":")
                .as_bytes(),
        );
        self.codec.write_metadata(self.kind, content, out)?;
        out.push(b'}');
        Ok(())
    }

    fn write_table(
        &self,
        rows: &[Content<'_>],
        meta: &Tree,
        beta: bool,
        columns: bool,
        out: &mut Vec<u8>,
    ) -> ApiResult<()> {
        let version = meta_version(beta);
        out.extend_from_slice(
            format!(
                "{{\"kind\":\"Table\",\"apiVersion\":\"{version}\",\"metadata\":{meta},\"columnDefinitions\":"
            )
            .as_bytes(),
        );
        let definitions = if columns { self.columns() } else { Tree::Null };
        out.extend_from_slice(definitions.to_string().as_bytes());
        out.extend_from_slice(b",\"rows\":[");
        for (index, content) in rows.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            self.write_row(*content, beta, out)?;
        }
        out.extend_from_slice(b"]}");
        Ok(())
    }

    fn columns(&self) -> Tree {
        let column = |column: &kinds::Column| json!({"name": column.name, "type": column.r#type, "format": column.format, "description": column.description, "priority": column.priority});
        Tree::Array(self.kind.strategy.columns().iter().map(column).collect())
    }

    fn write_row(&self, content: Content<'_>, beta: bool, out: &mut Vec<u8>) -> ApiResult<()> {
        let mut tree = self.codec.content_tree(self.kind, content)?;
        // Events are one kind under two names: their cells are read from the stored shape.
        if self.kind.converts {
            tree = Cow::Owned(self.kind.strategy.to_stored(tree.into_owned()));
        }
        out.extend_from_slice(b"{\"cells\":");
        let cells = self.kind.strategy.row(&tree, self.now);
        serde_json::to_writer(&mut *out, &cells).expect("cells encode into memory");
        let conditions = self.kind.strategy.row_conditions(&tree);
        if !conditions.is_empty() {
            out.extend_from_slice(b",\"conditions\":");
            serde_json::to_writer(&mut *out, &conditions).expect("conditions encode into memory");
        }
        out.extend_from_slice(b",\"object\":");
        match self.include {
            Include::None => out.extend_from_slice(b"null"),
            Include::Object => self.codec.write(self.kind, content, false, out)?,
            Include::Metadata => self.write_partial(content, beta, out)?,
        }
        out.push(b'}');
        Ok(())
    }
}

fn meta_version(beta: bool) -> &'static str {
    if beta { "meta.k8s.io/v1beta1" } else { "meta.k8s.io/v1" }
}

/// List metadata of a Table that shows one object.
fn object_meta(content: Content<'_>) -> Tree {
    let revision = match content {
        Content::Entry(_, revision) => Some(revision.to_string()),
        Content::Tree(tree) => {
            tree.pointer("/metadata/resourceVersion").and_then(Tree::as_str).map(str::to_owned)
        }
    };
    revision.map_or_else(|| json!({}), |revision| json!({"resourceVersion": revision}))
}

impl ListMeta {
    fn tree(&self) -> Tree {
        let mut map = Map::new();
        map.insert("resourceVersion".into(), json!(self.revision.to_string()));
        if let Some(resume) = &self.resume {
            map.insert("continue".into(), json!(resume));
        }
        if let Some(remaining) = self.remaining {
            map.insert("remainingItemCount".into(), json!(remaining));
        }
        Tree::Object(map)
    }
}

/// JSON bytes in the client's format.
fn finish(json: Vec<u8>, accepted: Accepted) -> Bytes {
    if accepted.format == Format::Yaml || accepted.pretty {
        let tree: Tree = serde_json::from_slice(&json).expect("encoded above");
        return encode(&tree, accepted);
    }
    json.into()
}

/// A tree in the client's format: statuses and everything else that is not stored.
pub fn encode(tree: &Tree, accepted: Accepted) -> Bytes {
    match accepted.format {
        Format::Yaml => yaml::encode(tree).into(),
        Format::Protobuf => crate::protobuf::status(tree),
        Format::Json if accepted.pretty => {
            serde_json::to_vec_pretty(tree).expect("trees encode into memory").into()
        }
        Format::Json => serde_json::to_vec(tree).expect("trees encode into memory").into(),
    }
}

/// A frame that ends a watch with a Status.
pub fn error_event(error: &ApiError, accepted: Accepted) -> Bytes {
    let status = error.status();
    if accepted.format == Format::Protobuf {
        return crate::protobuf::event("ERROR", &crate::protobuf::status(&status));
    }
    let mut out =
        serde_json::to_vec(&json!({"type": "ERROR", "object": status})).expect("trees encode into memory");
    out.push(b'\n');
    out.into()
}
