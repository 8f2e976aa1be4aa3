//! OpenAPI documents, as JSON and as protobuf. They are made on first use and
//! kept; a document's hash costs no look at it.

use crate::catalog;
use crate::context::Context;
use crate::negotiate::{self, PLAIN};
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use http::Method;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, LOCATION, VARY};
use k8s::tables::{self, Resource};
use schema::openapi::{gnostic, v2 as version_2};
use serde_json::{Map, json};
use sha2::{Digest as _, Sha512};
use std::collections::HashMap;
use std::io::Read as _;
use std::sync::{LazyLock, Mutex};

/// Paths that belong to no resource, each with a small document of its own.
const PATHS_WITHOUT_RESOURCES: [&str; 4] =
    ["version", ".well-known/openid-configuration", "openid/v1/jwks", "api"];

/// How a document is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Encoding {
    Json,
    Protobuf,
}

/// The media types of protobuf: the one that is told, and the one that clients of all ages ask with, which is no valid
/// media type.
struct ProtobufTypes {
    told: &'static str,
    asked: &'static str,
}

const VERSION_2: ProtobufTypes = ProtobufTypes {
    told: "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    asked: "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
};
const VERSION_3: ProtobufTypes = ProtobufTypes {
    told: "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
    asked: "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
};

impl ProtobufTypes {
    /// What a client gets, if it takes any of what there is.
    fn choose(&self, accept: &str) -> Option<Encoding> {
        let fits = |range: &str| match range {
            "*/*" | "application/*" | "application/json" => Some(Encoding::Json),
            range if range == self.told || range == self.asked => Some(Encoding::Protobuf),
            _ => None,
        };
        if accept.trim().is_empty() {
            return Some(Encoding::Json);
        }
        negotiate::ranges(accept).into_iter().find_map(fits)
    }

    fn name(&self, encoding: Encoding) -> &'static str {
        match encoding {
            Encoding::Json => "application/json",
            Encoding::Protobuf => self.told,
        }
    }
}

/// The one document of version 2.
struct Whole {
    json: Packed,
    protobuf: Packed,
    etag: String,
}

/// A document as it is kept: descriptions make it large and compress to a tenth, and most clients take it as it is.
#[derive(Clone)]
struct Packed(Bytes);

impl Packed {
    fn new(document: &[u8]) -> Self {
        Self(reply::packed(document, Compression::default()).into())
    }

    fn unpacked(&self) -> Bytes {
        let mut document = Vec::new();
        GzDecoder::new(&*self.0).read_to_end(&mut document).expect("what was packed here");
        document.into()
    }

    fn reply(&self, context: &Context) -> Reply {
        if context.accepts_gzip() {
            reply::bytes_packed(200, PLAIN.format.media_type(), self.0.clone())
        } else {
            reply::bytes(200, PLAIN.format.media_type(), self.unpacked())
        }
    }
}

/// The document of version 2, for whoever asks with any method.
pub(super) fn v2(context: &Context) -> ApiResult<Reply> {
    static WHOLE: LazyLock<Whole> = LazyLock::new(whole);
    let Some(encoding) = VERSION_2.choose(context.accept()) else { return Ok(not_acceptable()) };
    let body = match encoding {
        Encoding::Json => &WHOLE.json,
        Encoding::Protobuf => &WHOLE.protobuf,
    };
    content(context, VERSION_2.name(encoding), body, &WHOLE.etag)
}

fn whole() -> Whole {
    let paths = all_paths();
    let resources: Vec<&Resource> = paths.iter().flat_map(|path| resources(path)).collect();
    let plain: Vec<String> = paths.iter().map(|path| format!("/{path}/")).collect();
    let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
    let document = version_2::document(&resources, &plain);
    let json = document.to_string();
    let etag = Sha512::digest(&json).iter().map(|byte| format!("{byte:02X}")).collect();
    let protobuf = Packed::new(&gnostic::v2(&document));
    Whole { json: Packed::new(json.as_bytes()), protobuf, etag }
}

fn not_acceptable() -> Reply {
    let mut reply = reply::empty(406);
    reply.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    reply
}

/// A document, or the answer that the client has it already.
fn content(context: &Context, media: &'static str, body: &Packed, etag: &str) -> ApiResult<Reply> {
    let etag = HeaderValue::from_str(&format!("\"{etag}\""))
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    let reading = matches!(context.method, Method::GET | Method::HEAD);
    let mut reply = if reading && context.headers.get(IF_NONE_MATCH) == Some(&etag) {
        reply::empty(304)
    } else {
        let mut reply = body.reply(context);
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
        reply
    };
    reply.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    reply.headers_mut().insert(ETAG, etag);
    Ok(reply)
}

/// Every document's path and hash.
pub(super) fn index() -> ApiResult<Reply> {
    let mut paths = Map::new();
    for path in all_paths() {
        let url = format!("/openapi/v3/{path}?hash={}", hash(&path));
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    Ok(reply::bytes(200, "text/plain; charset=utf-8", json!({"paths": paths}).to_string()))
}

/// One document.
pub(super) fn v3(context: &Context, path: &str) -> ApiResult<Reply> {
    if !all_paths().iter().any(|known| known == path) {
        return Ok(reply::empty(404));
    }
    let Some(encoding) = VERSION_3.choose(context.accept()) else { return Ok(not_acceptable()) };
    let hash = hash(path);
    let asked = context.query.text("hash");
    if !asked.is_empty() && asked != hash {
        let mut reply = reply::bytes(301, VERSION_3.name(encoding), Bytes::new());
        let location = HeaderValue::from_str(&format!("/openapi/v3/{path}?hash={hash}"))
            .map_err(|error| ApiError::Internal(error.to_string()))?;
        reply.headers_mut().insert(LOCATION, location);
        return Ok(reply);
    }
    let mut reply = content(context, VERSION_3.name(encoding), &document(path, encoding), &hash)?;
    if !asked.is_empty() {
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    Ok(reply)
}

fn all_paths() -> Vec<String> {
    let mut paths: Vec<String> = PATHS_WITHOUT_RESOURCES.iter().map(|path| (*path).to_owned()).collect();
    paths.push("apis".to_owned());
    for (group, version) in catalog::groups() {
        if group.is_empty() {
            paths.push(format!("api/{version}"));
        } else {
            let root = format!("apis/{group}");
            if !paths.contains(&root) {
                paths.push(root);
            }
            paths.push(format!("apis/{group}/{version}"));
        }
    }
    paths
}

/// Group and version of a document about resources.
fn group_version(path: &str) -> Option<(&str, &str)> {
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => Some(("", version)),
        ["apis", group, version] => Some((group, version)),
        _ => None,
    }
}

/// The rows of the resource table that are served in a group version.
fn resources(path: &str) -> Vec<&'static Resource> {
    let Some((group, version)) = group_version(path) else { return Vec::new() };
    let kinds =
        catalog::all().iter().filter(|kind| kind.resource.group == group && kind.resource.version == version);
    kinds
        .flat_map(|kind| {
            let names = std::iter::once(kind.resource.plural.clone())
                .chain(kind.subresources.iter().map(|sub| format!("{}/{}", kind.resource.plural, sub.name)));
            names.filter_map(|name| tables::resource(group, version, &name)).collect::<Vec<_>>()
        })
        .collect()
}

fn hash(path: &str) -> String {
    schema::openapi::hash(env!("CARGO_PKG_VERSION"), path, &resources(path))
}

/// A document of version 3, made once.
fn document(path: &str, encoding: Encoding) -> Packed {
    static DOCUMENTS: LazyLock<Mutex<HashMap<(String, Encoding), Packed>>> = LazyLock::new(Mutex::default);
    let key = (path.to_owned(), encoding);
    if let Some(document) = DOCUMENTS.lock().expect("no panic while the lock is held").get(&key) {
        return document.clone();
    }
    let tree = if group_version(path).is_some() {
        schema::openapi::document(&resources(path))
    } else {
        schema::openapi::plain_document(&[&format!("/{path}")])
    };
    let document = match encoding {
        Encoding::Json => Packed::new(tree.to_string().as_bytes()),
        Encoding::Protobuf => Packed::new(&gnostic::v3(&tree)),
    };
    DOCUMENTS.lock().expect("no panic while the lock is held").insert(key, document.clone());
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, told: Option<&str>) {
        assert_eq!(VERSION_2.choose(accept).map(|encoding| VERSION_2.name(encoding)), told, "{accept:?}");
    }

    #[test]
    fn protobuf_is_told_by_its_valid_name_only() {
        let valid = Some("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
        check("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", valid);
        check("application/com.github.proto-openapi.spec.v2.v1.0+protobuf", valid);
        check("application/json;q=0.5, application/com.github.proto-openapi.spec.v2.v1.0+protobuf", valid);
        check("application/com.github.proto-openapi.spec.v3.v1.0+protobuf", None);
    }

    #[test]
    fn json_is_for_everybody_else() {
        check("", Some("application/json"));
        check("*/*", Some("application/json"));
        check("text/html, application/*;q=0.1", Some("application/json"));
        check("text/html", None);
    }
}
