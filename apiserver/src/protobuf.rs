//! Protobuf at the edge: objects, lists, statuses and watch events in their
//! envelopes. The messages themselves are the schema's.

use crate::catalog::Kind;
use crate::negotiate::Shape;
use crate::status::{ApiError, ApiResult};
use bytes::Bytes;
use schema::{Schema, Tree, protobuf};
use serde_json::json;

/// Where definitions of shared types live.
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// An object in its envelope.
pub fn object(kind: &Kind, tree: &Tree) -> ApiResult<Bytes> {
    enveloped(&kind.schema.name, &kind.api_version, &kind.resource.kind, tree)
}

/// An object that is only metadata, in its envelope.
pub fn partial(json: &[u8]) -> ApiResult<Bytes> {
    let tree = parse(json)?;
    let version = tree["apiVersion"].as_str().unwrap_or("meta.k8s.io/v1").to_owned();
    enveloped(&format!("{META}.PartialObjectMetadata"), &version, "PartialObjectMetadata", &tree)
}

/// A list in its envelope.
pub fn list(kind: &Kind, shape: Shape, json: &[u8]) -> ApiResult<Bytes> {
    let tree = parse(json)?;
    let word = tree["kind"].as_str().unwrap_or_default().to_owned();
    let version = tree["apiVersion"].as_str().unwrap_or_default().to_owned();
    let definition = match shape {
        Shape::Full => format!("{}List", kind.schema.name),
        _ => format!("{META}.PartialObjectMetadataList"),
    };
    enveloped(&definition, &version, &word, &tree)
}

/// A Status in its envelope.
pub fn status(tree: &Tree) -> Bytes {
    enveloped(&format!("{META}.Status"), "v1", "Status", tree)
        .unwrap_or_else(|_| serde_json::to_vec(tree).expect("trees encode into memory").into())
}

/// Any object of a known definition in its envelope.
pub fn enveloped(definition: &str, api_version: &str, kind: &str, tree: &Tree) -> ApiResult<Bytes> {
    let raw = protobuf::encode(definition, tree)
        .map_err(|_| ApiError::NotAcceptable("application/json, application/yaml".to_owned()))?;
    Ok(protobuf::wrap(api_version, kind, &raw).into())
}

fn parse(json: &[u8]) -> ApiResult<Tree> {
    serde_json::from_slice(json).map_err(|error| ApiError::Internal(error.to_string()))
}

/// A length-prefixed watch event around an enveloped object.
pub fn event(word: &str, object: &[u8]) -> Bytes {
    let mut raw = Vec::with_capacity(object.len() + 16);
    field(1, object, &mut raw);
    let mut message = Vec::with_capacity(raw.len() + 16);
    field(1, word.as_bytes(), &mut message);
    field(2, &raw, &mut message);
    let mut out = Vec::with_capacity(message.len() + 4);
    out.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&message);
    out.into()
}

fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).expect("below 0x80"));
    out.extend_from_slice(bytes);
}

/// Reads an enveloped body as a tree with apiVersion and kind as the sender wrote them; the error is upstream's text.
pub fn decode(schema: &'static Schema, body: &[u8]) -> Result<Tree, String> {
    if !body.starts_with(&protobuf::MAGIC) {
        return Err("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
            .to_owned());
    }
    let envelope = protobuf::unwrap(body).map_err(|error| error.to_string())?;
    let mut tree = protobuf::decode(&schema.name, envelope.raw).map_err(|error| error.to_string())?;
    if !envelope.api_version.is_empty() {
        tree["apiVersion"] = json!(envelope.api_version);
    }
    if !envelope.kind.is_empty() {
        tree["kind"] = json!(envelope.kind);
    }
    Ok(tree)
}
