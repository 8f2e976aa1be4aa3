//! Protobuf at the edge: objects, lists, statuses and watch events in their
//! envelopes. The messages themselves are the schema's.

use crate::catalog::Kind;
use crate::negotiate::Shape;
use crate::status::{ApiError, ApiResult};
use bytes::Bytes;
use schema::protobuf::Encoder;
use schema::{Schema, Tree, protobuf};
use serde_json::json;

/// Where definitions of shared types live.
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// How objects of a kind are encoded; an error when protobuf has no message for it.
pub fn encoder(kind: &Kind) -> ApiResult<Encoder> {
    Encoder::of(&kind.schema.name).map_err(|_| no_message())
}

/// How objects that are only metadata are encoded.
pub fn metadata_encoder() -> ApiResult<Encoder> {
    Encoder::of(&format!("{META}.PartialObjectMetadata")).map_err(|_| no_message())
}

/// The message of an object in JSON.
pub fn message(encoder: Encoder, json: &[u8]) -> ApiResult<Bytes> {
    crate::exact::bytes(|out| encoder.encode(json, out))
        .map_err(|error| ApiError::Internal(error.to_string()))
}

/// A message in its envelope.
pub fn wrapped(api_version: &str, kind: &str, message: &[u8]) -> Bytes {
    protobuf::wrap(api_version, kind, message).into()
}

/// A list of messages in its envelope.
pub fn list(kind: &Kind, shape: Shape, api_version: &str, meta: &Tree, items: &[Bytes]) -> ApiResult<Bytes> {
    let (definition, word) = match shape {
        Shape::Full => (format!("{}List", kind.schema.name), format!("{}List", kind.resource.kind)),
        _ => (format!("{META}.PartialObjectMetadataList"), "PartialObjectMetadataList".to_owned()),
    };
    Encoder::of(&definition).map_err(|_| no_message())?;
    let meta = protobuf::encode(&format!("{META}.ListMeta"), meta).map_err(|_| no_message())?;
    // Of every list the metadata is field 1 and the items are field 2.
    let length = field_length(meta.len()) + items.iter().map(|item| field_length(item.len())).sum::<usize>();
    let write = |out: &mut Vec<u8>| {
        field(1, &meta, out);
        items.iter().for_each(|item| field(2, item, out));
    };
    Ok(protobuf::wrap_parts(api_version, &word, length, write).into())
}

/// A Status in its envelope.
pub fn status(tree: &Tree) -> Bytes {
    enveloped(&format!("{META}.Status"), "v1", "Status", tree)
        .unwrap_or_else(|_| serde_json::to_vec(tree).expect("trees encode into memory").into())
}

/// An object that is not stored in the envelope of the kind it names: a scale, a status, metadata alone.
pub fn named(tree: &Tree) -> Bytes {
    let text = |name: &str| tree.get(name).and_then(Tree::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let definition = match kind {
        "Status" => return status(tree),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(format!("{META}.{kind}")),
        _ => k8s::tables::definition_of_kind(group, version, kind).map(ToOwned::to_owned),
    };
    // What has no message goes as JSON, which clients tell from protobuf by its first byte.
    definition
        .and_then(|definition| enveloped(&definition, api_version, kind, tree).ok())
        .unwrap_or_else(|| serde_json::to_vec(tree).expect("trees encode into memory").into())
}

/// Any object of a known definition in its envelope.
pub fn enveloped(definition: &str, api_version: &str, kind: &str, tree: &Tree) -> ApiResult<Bytes> {
    let raw = protobuf::encode(definition, tree).map_err(|_| no_message())?;
    Ok(wrapped(api_version, kind, &raw))
}

fn no_message() -> ApiError {
    ApiError::NotAcceptable("application/json, application/yaml".to_owned())
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

/// Bytes a field takes with its number and length.
fn field_length(length: usize) -> usize {
    let bits = (usize::BITS - length.leading_zeros()).max(1);
    1 + bits.div_ceil(7) as usize + length
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

/// Reads an enveloped object of any kind the tables know.
pub fn decode_any(body: &[u8]) -> Option<Tree> {
    let envelope = protobuf::unwrap(body).ok()?;
    let (group, version) = envelope.api_version.split_once('/').unwrap_or(("", &envelope.api_version));
    let name = k8s::tables::definition_of_kind(group, version, &envelope.kind)?;
    decode(schema::definition(name)?, body).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_stored_is_wrapped_as_what_it_names() {
        let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"},
            "spec": {"replicas": 2}, "status": {"replicas": 1, "selector": "a=b"}});
        let refusal = json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "message": "no", "code": 404});
        let partial = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": "web"}});
        for tree in [scale, refusal, partial] {
            let bytes = named(&tree);
            let envelope = protobuf::unwrap(&bytes).expect("protobuf");
            assert_eq!(envelope.api_version, tree["apiVersion"]);
            assert_eq!(envelope.kind, tree["kind"]);
        }
    }

    #[test]
    fn a_scale_survives_its_message() {
        let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"},
            "spec": {"replicas": 2}, "status": {"replicas": 1, "selector": "a=b"}});
        let read = decode_any(&named(&scale)).expect("a scale");
        assert_eq!((&read["spec"], &read["status"]), (&scale["spec"], &scale["status"]));
        assert_eq!(read["metadata"]["name"], "web");
    }
}
