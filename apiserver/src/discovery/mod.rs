//! Everything that is no resource: discovery, version, health, OpenAPI, token
//! keys, the list of paths.

mod documents;
mod health;
mod openapi;

use crate::context::Context;
use crate::negotiate::{self, Accepted, Format, OBJECT_TYPES, Offer, PLAIN};
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult};
use access::tokens::{DEFAULT_ISSUER, discovery as keys};
use bytes::Bytes;
use http::Method;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use schema::Tree;
use serde_json::json;

/// Serves a path that names no resource.
pub(crate) async fn serve(context: &Context) -> ApiResult<Reply> {
    let path = context.info.path.as_str();
    if path == "/" {
        return Ok(reply::tree(200, PLAIN, &json!({"paths": paths()})));
    }
    if let Some(reply) = health::serve(context, path) {
        return reply;
    }
    let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(path).trim_end_matches('/').split('/').collect();
    match parts.as_slice() {
        ["version"] => version(context),
        ["api"] => root(context, documents::core_group, documents::aggregated_core),
        ["apis"] => root(context, documents::groups, documents::aggregated_groups),
        ["api", "v1"] => group_version(context, "", "v1"),
        ["api", ..] => Err(ApiError::NoSuchResource),
        ["apis", group] => match documents::group(group) {
            Some(document) => plain(context, &document),
            None => Err(ApiError::NoSuchPage),
        },
        ["apis", group, version] if crate::catalog::has_group(group) => {
            group_version(context, group, version)
        }
        ["apis", group, ..] if crate::catalog::has_group(group) => Err(ApiError::NoSuchResource),
        ["openapi", "v2"] if !path.ends_with('/') => openapi::v2(context),
        ["openapi", "v3"] if !path.ends_with('/') => openapi::index(),
        ["openapi", "v3"] => Ok(reply::empty(404)),
        ["openapi", "v3", rest @ ..] if !path.ends_with('/') => openapi::v3(context, &rest.join("/")),
        [".well-known", "openid-configuration"] => Ok(configuration(context)),
        ["openid", "v1", "jwks"] => jwks(context).await,
        ["metrics"] | ["metrics", "slis"] => Ok(reply::bytes(
            200,
            "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            crate::metrics::write(&context.server),
        )),
        ["debug", "api_priority_and_fairness", page] => {
            let details = !context.query.text("includeRequestDetails").is_empty();
            let text = context.server.flow.dump(page, details).ok_or(ApiError::NoSuchPage)?;
            Ok(reply::bytes(200, "text/plain; charset=utf-8", text))
        }
        _ => Err(ApiError::NoSuchPage),
    }
}

/// Documents are read with GET only; the two roots answer every common method.
fn only_get(context: &Context) -> ApiResult<()> {
    if context.method == Method::GET { Ok(()) } else { Err(ApiError::MethodNotAllowed) }
}

fn version(context: &Context) -> ApiResult<Reply> {
    only_get(context)?;
    let accept = context.accept();
    let json = accept.is_empty()
        || accept.split(',').any(|clause| {
            matches!(clause.split(';').next().unwrap_or_default().trim(), "*/*" | "application/json")
        });
    if !json {
        return Err(ApiError::NoRepresentation("application/json".into()));
    }
    let version = json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": context.server.config.version, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "rust", "compiler": "rustc", "platform": format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
    });
    Ok(reply::tree(200, Accepted { pretty: context.wants_pretty(), ..PLAIN }, &version))
}

/// `/api` and `/apis`: the aggregated form when it is acceptable at all, else the old one.
fn root(context: &Context, legacy: fn(&Context) -> Tree, aggregated: fn() -> Tree) -> ApiResult<Reply> {
    if !matches!(context.method, Method::GET | Method::HEAD | Method::POST | Method::OPTIONS) {
        return Err(ApiError::MethodNotAllowed);
    }
    let accept = context.accept();
    if let Some(format) = aggregated_format(accept) {
        return aggregate(context, format, &aggregated());
    }
    let accepted = negotiate::negotiate(accept, Offer::STATUS)?;
    let document = legacy(context);
    if accepted.format == Format::Protobuf {
        return protobuf(&document);
    }
    Ok(reply::tree(200, Accepted { pretty: context.wants_pretty(), ..accepted }, &document))
}

/// The format in which a client takes aggregated discovery.
fn aggregated_format(accept: &str) -> Option<Format> {
    accept.split(',').find_map(|clause| {
        let mut parts = clause.split(';').map(str::trim);
        let format = match parts.next()? {
            "application/json" => Format::Json,
            "application/yaml" => Format::Yaml,
            "application/vnd.kubernetes.protobuf" => Format::Protobuf,
            _ => return None,
        };
        let parameters: Vec<&str> = parts.collect();
        let wanted = ["g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"];
        wanted.iter().all(|one| parameters.contains(one)).then_some(format)
    })
}

fn aggregate(context: &Context, format: Format, document: &Tree) -> ApiResult<Reply> {
    use sha2::{Digest as _, Sha512};
    let json = serde_json::to_vec(document).map_err(|error| ApiError::Internal(error.to_string()))?;
    let hash = Sha512::digest(&json).iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let etag = HeaderValue::from_str(&format!("\"{hash}\""))
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    let media = match format {
        Format::Json => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Format::Yaml => "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Format::Protobuf => {
            "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        }
    };
    let mut reply = if context.headers.get(IF_NONE_MATCH) == Some(&etag) {
        reply::bytes(304, media, Bytes::new())
    } else {
        let body = match format {
            Format::Json => json.into(),
            Format::Yaml => crate::yaml::encode(document).into(),
            Format::Protobuf => crate::protobuf::enveloped(
                "io.k8s.api.apidiscovery.v2.APIGroupDiscoveryList",
                "apidiscovery.k8s.io/v2",
                "APIGroupDiscoveryList",
                document,
            )?,
        };
        reply::bytes(200, media, body)
    };
    reply.headers_mut().insert(ETAG, etag);
    reply.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    Ok(reply)
}

fn group_version(context: &Context, group: &str, version: &str) -> ApiResult<Reply> {
    let document = documents::group_version(group, version).ok_or(ApiError::NoSuchResource)?;
    plain(context, &document)
}

fn plain(context: &Context, document: &Tree) -> ApiResult<Reply> {
    only_get(context)?;
    negotiate::route_accepts(context.accept(), false)?;
    let accepted = negotiate::negotiate(&plain_accept(context.accept()), Offer::STATUS)?;
    if accepted.format == Format::Protobuf {
        return protobuf(document);
    }
    Ok(reply::tree(200, Accepted { pretty: context.wants_pretty(), ..accepted }, document))
}

/// Group documents know no transforms; asked for one they answer plainly.
fn plain_accept(accept: &str) -> String {
    let clauses: Vec<&str> = accept
        .split(',')
        .map(
            |clause| if clause.contains("as=") { clause.split(';').next().unwrap_or(clause) } else { clause },
        )
        .collect();
    clauses.join(",")
}

fn protobuf(document: &Tree) -> ApiResult<Reply> {
    let kind = document["kind"].as_str().unwrap_or_default();
    let definition = format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}");
    let body = crate::protobuf::enveloped(&definition, "v1", kind, document)
        .map_err(|_| ApiError::NotAcceptable(OBJECT_TYPES.into()))?;
    Ok(reply::bytes(200, Format::Protobuf.media_type(), body))
}

fn configuration(context: &Context) -> Reply {
    let host = context
        .headers
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("kubernetes.default.svc");
    cached(reply::bytes(200, "application/json", keys::configuration(DEFAULT_ISSUER, host)))
}

async fn jwks(context: &Context) -> ApiResult<Reply> {
    const MEDIA: &str = keys::JWKS_CONTENT_TYPE;
    let accept = context.accept();
    let fits = |clause: &str| matches!(clause.split(';').next().unwrap_or_default().trim(), "*/*" | MEDIA);
    if !accept.is_empty() && !accept.split(',').any(fits) {
        return Err(ApiError::NoRepresentation(MEDIA.into()));
    }
    Ok(cached(reply::bytes(200, MEDIA, keys::jwks(context.signing_key().await?.as_ref()))))
}

fn cached(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(keys::CACHE_CONTROL));
    reply
}

/// Every path a client may start from, sorted.
fn paths() -> Vec<String> {
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/version",
    ]
    .iter()
    .map(|path| (*path).to_owned())
    .collect();
    for (group, version) in crate::catalog::groups().iter().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{group}/{version}"));
    }
    paths.extend(health::paths());
    paths.sort();
    paths.dedup();
    paths
}
