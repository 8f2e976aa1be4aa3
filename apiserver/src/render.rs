//! Objects, lists and watch events in the representation a client asked for.
//! Decides bytes and content types; which objects those are is the registry's.

use crate::catalog::Kind;
use crate::codec::{Codec, Content};
use crate::forms::{Form, FormKey, Forms};
use crate::negotiate::{Accepted, Format, Shape};
use crate::status::{ApiError, ApiResult};
use crate::yaml;
use bytes::Bytes;
use jiff::Timestamp;
use mvcc::{Entry, Revision};
use schema::Tree;
use schema::go::quote;
use schema::protobuf::Encoder;
use serde_json::{Map, json};
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
    /// Revision of the list, zero for what is not stored.
    pub revision: Revision,
    /// Token of the next page.
    pub resume: Option<String>,
    /// Items after this page.
    pub remaining: Option<usize>,
}

/// What stands around the items of a list.
pub struct ListFrame<'a> {
    /// Up to the first item.
    pub head: Vec<u8>,
    /// After the last one.
    pub tail: &'static [u8],
    /// apiVersion of the list.
    version: &'a str,
}

/// One request's way to bytes.
#[derive(Clone, Copy)]
pub struct Renderer<'a> {
    /// Opens stored bytes.
    pub codec: &'a Codec,
    /// What was made of them before.
    pub forms: &'a Forms,
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
        let mut out = match (self.accepted.shape, content) {
            (Shape::Full, Content::Entry(entry, _)) => {
                Vec::with_capacity(entry.object.bytes.len() + REVISION_BYTES)
            }
            _ => Vec::with_capacity(1024),
        };
        match self.accepted.shape {
            Shape::PartialList(_) => {
                let text = format!(
                    "you requested PartialObjectMetadataList, but the requested object is not a list (*{})",
                    self.go_type()
                );
                return Err(ApiError::UnfitRepresentation(text));
            }
            Shape::Full if self.accepted.format == Format::Protobuf => {
                let message = self.message(content, crate::protobuf::encoder(self.kind)?)?;
                let resource = self.kind.resource;
                return Ok(crate::protobuf::wrapped(&self.kind.api_version, &resource.kind, &message));
            }
            Shape::Partial(beta) if self.accepted.format == Format::Protobuf => {
                let message = self.metadata_message(content, crate::protobuf::metadata_encoder()?)?;
                return Ok(crate::protobuf::wrapped(meta_version(beta), "PartialObjectMetadata", &message));
            }
            Shape::Full => self.write(content, false, &mut out)?,
            Shape::Partial(beta) => self.write_partial(content, beta, &mut out)?,
            Shape::Table(beta) => {
                self.write_table(&[content], &object_meta(content), beta, true, &mut out)?
            }
        }
        Ok(finish(out, self.accepted))
    }

    /// A list.
    pub fn list(&self, items: &[Arc<Entry>], meta: &ListMeta) -> ApiResult<Bytes> {
        let contents: Vec<Content<'_>> =
            items.iter().map(|entry| Content::Entry(entry, entry.revision)).collect();
        self.contents(&contents, meta)
    }

    /// A list of any content.
    pub fn contents(&self, contents: &[Content<'_>], meta: &ListMeta) -> ApiResult<Bytes> {
        let frame = self.list_frame(contents.is_empty(), meta)?;
        if self.accepted.format == Format::Protobuf && !matches!(self.accepted.shape, Shape::Table(_)) {
            return self.protobuf_list(contents, frame.version, meta);
        }
        let sizes = contents.iter().map(|content| match (self.accepted.shape, content) {
            (Shape::Table(_), _) => TABLE_ROW_BYTES,
            (_, Content::Entry(entry, _)) => entry.object.bytes.len() + REVISION_BYTES,
            (_, Content::Tree(_)) => 256,
        });
        let mut out = Vec::with_capacity(frame.head.len() + 256 + sizes.sum::<usize>());
        out.extend_from_slice(&frame.head);
        for (index, content) in contents.iter().enumerate() {
            self.write_item(index, *content, &mut out)?;
        }
        out.extend_from_slice(frame.tail);
        Ok(finish(out, self.accepted))
    }

    /// What stands around the items of a list in JSON; refuses shapes that a list cannot have.
    pub fn list_frame(&self, empty: bool, meta: &ListMeta) -> ApiResult<ListFrame<'_>> {
        let (kind, version) = match self.accepted.shape {
            Shape::Table(beta) => {
                let mut head = Vec::with_capacity(4096);
                self.write_table_head(&meta.tree(), beta, true, &mut head);
                return Ok(ListFrame { head, tail: b"]}", version: meta_version(beta) });
            }
            Shape::Partial(_) => {
                let text = format!(
                    "you requested PartialObjectMetadata, but the requested object is a list (*{}List)",
                    self.go_type()
                );
                return Err(ApiError::UnfitRepresentation(text));
            }
            Shape::PartialList(beta) => ("PartialObjectMetadataList".to_owned(), meta_version(beta)),
            Shape::Full => (format!("{}List", self.kind.resource.kind), self.kind.api_version.as_str()),
        };
        let none = empty && self.accepted.shape != Shape::Full;
        let (open, tail): (&str, &[u8]) = if none { ("null", b"}") } else { ("[", b"]}") };
        let head = format!(
            "{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{},\"items\":{open}",
            meta.tree()
        );
        Ok(ListFrame { head: head.into_bytes(), tail, version })
    }

    /// Writes an item of a list in JSON, or a row of a Table.
    pub fn write_item(&self, index: usize, content: Content<'_>, out: &mut Vec<u8>) -> ApiResult<()> {
        if index > 0 {
            out.push(b',');
        }
        match self.accepted.shape {
            Shape::Table(beta) => self.write_row(content, beta, out),
            Shape::Full => self.write(content, true, out),
            Shape::Partial(beta) | Shape::PartialList(beta) => self.write_partial(content, beta, out),
        }
    }

    fn protobuf_list(&self, contents: &[Content<'_>], version: &str, meta: &ListMeta) -> ApiResult<Bytes> {
        let contents = contents.iter().copied();
        let messages: Vec<Bytes> = if self.accepted.shape == Shape::Full {
            let encoder = crate::protobuf::encoder(self.kind)?;
            contents.map(|content| self.message(content, encoder)).collect::<ApiResult<_>>()?
        } else {
            let encoder = crate::protobuf::metadata_encoder()?;
            contents.map(|content| self.metadata_message(content, encoder)).collect::<ApiResult<_>>()?
        };
        crate::protobuf::list(self.kind, self.accepted.shape, version, &meta.tree(), &messages)
    }

    /// A form of the content: what was kept if it is a stored version as it is stored, else made anew.
    fn form(
        &self,
        content: Content<'_>,
        form: Form,
        make: impl FnOnce() -> ApiResult<Bytes>,
    ) -> ApiResult<Bytes> {
        match content {
            Content::Entry(entry, revision) if entry.revision == revision => {
                self.forms.get(revision.0, FormKey::new(revision.0, self.kind, form), make)
            }
            // Something deleted, shown with the revision of its end, or what nobody stored.
            _ => make(),
        }
    }

    fn message(&self, content: Content<'_>, encoder: Encoder) -> ApiResult<Bytes> {
        self.form(content, Form::Message, || {
            let mut json = Vec::new();
            self.codec.write(self.kind, content, false, &mut json)?;
            crate::protobuf::message(encoder, &json)
        })
    }

    fn metadata_message(&self, content: Content<'_>, encoder: Encoder) -> ApiResult<Bytes> {
        self.form(content, Form::MetadataMessage, || {
            let mut json = Vec::new();
            self.write_partial(content, false, &mut json)?;
            crate::protobuf::message(encoder, &json)
        })
    }

    /// Writes the object's JSON as this kind; list items leave out kind and apiVersion.
    fn write(&self, content: Content<'_>, item: bool, out: &mut Vec<u8>) -> ApiResult<()> {
        let is_as_stored = match content {
            Content::Entry(entry, _) => !self.kind.converts && entry.object.sealing.is_none(),
            Content::Tree(_) => true,
        };
        if is_as_stored {
            return self.codec.write(self.kind, content, item, out);
        }
        let whole = self.form(content, Form::Json, || {
            crate::exact::bytes(|json| self.codec.write(self.kind, content, false, json))
        })?;
        if item {
            out.push(b'{');
            out.extend_from_slice(crate::codec::without_type(self.kind, &whole));
        } else {
            out.extend_from_slice(&whole);
        }
        Ok(())
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
        let mut out = Vec::with_capacity(match (self.accepted.shape, content) {
            (Shape::Full, Content::Entry(entry, _)) => entry.object.bytes.len() + EVENT_BYTES,
            _ => 1024,
        });
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        match self.accepted.shape {
            Shape::Full => self.write(content, false, &mut out)?,
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
        self.write_metadata(content, out)?;
        out.push(b'}');
        Ok(())
    }

    fn write_metadata(&self, content: Content<'_>, out: &mut Vec<u8>) -> ApiResult<()> {
        let is_sealed = matches!(content, Content::Entry(entry, _) if entry.object.sealing.is_some());
        if !is_sealed {
            return self.codec.write_metadata(self.kind, content, out);
        }
        let metadata = self.form(content, Form::Metadata, || {
            crate::exact::bytes(|json| self.codec.write_metadata(self.kind, content, json))
        })?;
        out.extend_from_slice(&metadata);
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
        self.write_table_head(meta, beta, columns, out);
        for (index, content) in rows.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            self.write_row(*content, beta, out)?;
        }
        out.extend_from_slice(b"]}");
        Ok(())
    }

    fn write_table_head(&self, meta: &Tree, beta: bool, columns: bool, out: &mut Vec<u8>) {
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
    }

    fn columns(&self) -> Tree {
        definitions(self.kind.strategy.columns())
    }

    fn write_row(&self, content: Content<'_>, beta: bool, out: &mut Vec<u8>) -> ApiResult<()> {
        let cells = self.form(content, Form::Cells, || self.cells(content, kinds::columns::OPEN))?;
        if cells.is_empty() {
            out.extend_from_slice(&self.cells(content, self.now)?);
        } else {
            kinds::columns::fill(&cells, self.now, out);
        }
        out.extend_from_slice(b",\"object\":");
        match self.include {
            Include::None => out.extend_from_slice(b"null"),
            Include::Object => self.write(content, false, out)?,
            Include::Metadata => self.write_partial(content, beta, out)?,
        }
        out.push(b'}');
        Ok(())
    }

    /// The beginning of a row, up to its cells and conditions. With an open time there are holes where ages stand; nothing
    /// when the object's own texts could be taken for one.
    fn cells(&self, content: Content<'_>, now: Timestamp) -> ApiResult<Bytes> {
        let mut tree = self.codec.lean_tree(self.kind, content)?;
        // Events are one kind under two names: their cells are read from the stored shape.
        if self.kind.converts {
            tree = self.kind.strategy.to_stored(tree);
        }
        if now == kinds::columns::OPEN && holds_hole(&tree) {
            return Ok(Bytes::new());
        }
        let cells = self.kind.strategy.row(&tree, now);
        let conditions = self.kind.strategy.row_conditions(&tree);
        let written = crate::exact::bytes(|out| {
            out.extend_from_slice(b"{\"cells\":");
            serde_json::to_writer(&mut *out, &cells)?;
            if !conditions.is_empty() {
                out.extend_from_slice(b",\"conditions\":");
                serde_json::to_writer(out, &conditions)?;
            }
            Ok::<_, serde_json::Error>(())
        });
        Ok(written.expect("cells encode into memory"))
    }
}

/// Whether a text of the object holds the mark of a hole.
fn holds_hole(tree: &Tree) -> bool {
    match tree {
        Tree::String(text) => text.contains(kinds::columns::HOLE),
        Tree::Array(items) => items.iter().any(holds_hole),
        Tree::Object(members) => members.values().any(holds_hole),
        _ => false,
    }
}

/// Bytes that an object's resourceVersion takes at most, as it is put into its stored bytes.
const REVISION_BYTES: usize = 48;

/// Bytes that stand around an object in a frame of a watch, its resourceVersion included.
const EVENT_BYTES: usize = REVISION_BYTES + 40;

/// Bytes of an ordinary Table row with metadata, to reserve memory by.
const TABLE_ROW_BYTES: usize = 1536;

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
        if self.revision != Revision::ZERO {
            map.insert("resourceVersion".into(), json!(self.revision.to_string()));
        }
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

/// The Table of one object that is not stored as it is shown, such as a scale.
pub fn table_of_one(
    columns: &[kinds::Column],
    cells: Vec<Tree>,
    object: &Tree,
    include: Include,
    beta: bool,
) -> Tree {
    let shown = match include {
        Include::None => Tree::Null,
        Include::Object => object.clone(),
        Include::Metadata => partial(object, beta),
    };
    json!({
        "kind": "Table",
        "apiVersion": meta_version(beta),
        "metadata": object_meta(Content::Tree(object)),
        "columnDefinitions": definitions(columns),
        "rows": [{"cells": cells, "object": shown}],
    })
}

/// The metadata of an object, alone.
pub fn partial(object: &Tree, beta: bool) -> Tree {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": meta_version(beta), "metadata": metadata})
}

fn definitions(columns: &[kinds::Column]) -> Tree {
    let column = |column: &kinds::Column| json!({"name": column.name, "type": column.r#type, "format": column.format, "description": column.description, "priority": column.priority});
    Tree::Array(columns.iter().map(column).collect())
}

/// A tree in the client's format: statuses and everything else that is not stored.
pub fn encode(tree: &Tree, accepted: Accepted) -> Bytes {
    match accepted.format {
        Format::Yaml => yaml::encode(tree).into(),
        Format::Protobuf => crate::protobuf::named(tree),
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
