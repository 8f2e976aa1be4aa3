//! OpenAPI documents. They are made on first use and kept; a document's hash
//! costs no look at it.

use crate::catalog;
use crate::context::Context;
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, LOCATION, VARY};
use k8s::tables::{self, Resource};
use serde_json::{Map, json};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

/// Paths that belong to no resource, each with a small document of its own.
const PLAIN: [&str; 4] = ["version", ".well-known/openid-configuration", "openid/v1/jwks", "api"];

/// Version 2 is not served; clients fall back to version 3.
pub(super) fn v2(context: &Context) -> ApiResult<Reply> {
    let _ = context;
    Ok(reply::bytes(404, "text/plain; charset=utf-8", "404 page not found\n"))
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
    let hash = hash(path);
    let asked = context.query.text("hash");
    if !asked.is_empty() && asked != hash {
        let mut reply = reply::bytes(301, "application/json", Bytes::new());
        let location = HeaderValue::from_str(&format!("/openapi/v3/{path}?hash={hash}"))
            .map_err(|error| ApiError::Internal(error.to_string()))?;
        reply.headers_mut().insert(LOCATION, location);
        return Ok(reply);
    }
    if !accepts_json(&context.accept()) {
        return Ok(reply::empty(406));
    }
    let mut reply = reply::object(context, 200, crate::negotiate::PLAIN, document(path));
    let headers = reply.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(
        ETAG,
        HeaderValue::from_str(&format!("\"{hash}\""))
            .map_err(|error| ApiError::Internal(error.to_string()))?,
    );
    if !asked.is_empty() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    Ok(reply)
}

fn accepts_json(accept: &str) -> bool {
    let fits = |clause: &str| {
        matches!(
            clause.split(';').next().unwrap_or_default().trim(),
            "*/*" | "application/*" | "application/json"
        )
    };
    accept.is_empty() || accept.split(',').any(fits)
}

fn all_paths() -> Vec<String> {
    let mut paths: Vec<String> = PLAIN.iter().map(|path| (*path).to_owned()).collect();
    paths.push("apis".to_owned());
    for (group, version) in catalog::groups() {
        if group.is_empty() {
            paths.push(format!("api/{version}"));
        } else {
            paths.push(format!("apis/{group}"));
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

/// The document's bytes, made once.
fn document(path: &str) -> Bytes {
    static DOCUMENTS: LazyLock<Mutex<HashMap<String, Bytes>>> = LazyLock::new(Mutex::default);
    if let Some(bytes) = DOCUMENTS.lock().expect("no panic while the lock is held").get(path) {
        return bytes.clone();
    }
    let tree = if group_version(path).is_some() {
        schema::openapi::document(&resources(path))
    } else {
        schema::openapi::plain_document(&[&format!("/{path}")])
    };
    let bytes = Bytes::from(tree.to_string());
    DOCUMENTS.lock().expect("no panic while the lock is held").insert(path.to_owned(), bytes.clone());
    bytes
}
