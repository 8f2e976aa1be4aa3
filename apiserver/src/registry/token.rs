//! `serviceaccounts/NAME/token`: a token for a service account. The rules are
//! in the access crate; nothing is stored.

use super::body::{self, Expected};
use super::managed;
use super::propose::linearizable;
use crate::admission::{self, Effects, Operation, Review};
use crate::catalog::Kind;
use crate::clock;
use crate::context::Context;
use crate::objects::Objects;
use crate::options::{WriteOptions, WriteVerb};
use crate::render;
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult, Cause, GroupResource};
use access::tokens::DEFAULT_ISSUER;
use access::tokens::request::{self, RequestError, Terms};
use bytes::Bytes;
use kinds::Subresource;
use schema::Tree;
use serde_json::json;

/// Grants a token.
pub(super) async fn create(context: &Context, kind: &'static Kind, bytes: Bytes) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    let options = WriteOptions::parse(&context.query, WriteVerb::Create)?;
    let schema =
        schema::kind("authentication.k8s.io", "v1", "TokenRequest").ok_or(ApiError::NoSuchResource)?;
    let expected = Expected { schema, group: "authentication.k8s.io", version: "v1", kind: "TokenRequest" };
    let mut wanted = body::decode_as(context, expected, &bytes, options.validation)?.tree;
    super::create::check_namespace(context, kind, &mut wanted)?;
    request::default(&mut wanted);
    managed::on_request(context, expected, Subresource::Token, &options, &mut wanted);
    let (namespace, name) = (context.namespace(), context.info.path_name.as_str());
    request::check_names(&wanted, namespace, name).map_err(refused)?;

    // Before the look at the state: it may take a moment.
    let key = context.signing_key().await?;
    let view = linearizable(context).await?;
    let objects = Objects { codec: &context.server.codec, view: &view };
    let account = objects
        .core("serviceaccounts", namespace, name)
        .ok_or_else(|| ApiError::not_found(&kind.group_resource, name))?;
    let mut effects = Effects::default();
    let mut review = Review::new(
        context,
        kind,
        Subresource::Token,
        Operation::Create,
        &view,
        options.dry_run,
        &mut effects,
    );
    admission::mutate(&mut review, &mut wanted, None)?;
    let (id, audiences) = (clock::uid(&context.server.seams), [DEFAULT_ISSUER.to_owned()]);
    let terms = Terms { issuer: DEFAULT_ISSUER, audiences: &audiences, now: context.now, id: &id };
    request::prepare(&mut wanted, &account, &terms).map_err(refused)?;
    let grant = request::grant(&wanted, &account, &objects, &terms).map_err(refused)?;
    let token = if options.dry_run { String::new() } else { key.sign(&grant.claims) };
    wanted["status"] = json!({"token": token, "expirationTimestamp": grant.expiration.to_string()});
    let body = render_answer(&wanted, accepted)?;
    Ok(reply::object(context, 201, accepted, body))
}

fn render_answer(answer: &Tree, accepted: crate::negotiate::Accepted) -> ApiResult<bytes::Bytes> {
    if accepted.format == crate::negotiate::Format::Protobuf {
        return crate::protobuf::enveloped(
            "io.k8s.api.authentication.v1.TokenRequest",
            "authentication.k8s.io/v1",
            "TokenRequest",
            answer,
        );
    }
    Ok(render::encode(answer, accepted))
}

fn refused(error: RequestError) -> ApiError {
    match error {
        RequestError::Invalid { name, field, value, detail } => {
            let shown = kinds::field::go_json(&value);
            let message = format!("Invalid value: {shown}: {detail}");
            let cause = Cause { reason: "FieldValueInvalid".into(), message, field: field.into() };
            ApiError::Invalid {
                group: "authentication.k8s.io".into(),
                kind: "TokenRequest".into(),
                name,
                causes: vec![cause],
                joined: None,
            }
        }
        RequestError::Conflict { resource, group, kind, name, detail } => {
            let _ = resource;
            ApiError::conflict(&GroupResource::new(group, kind), &name, detail)
        }
        RequestError::NotFound { resource, name } => {
            ApiError::not_found(&GroupResource::new("", resource), &name)
        }
        RequestError::BadRequest(text) => ApiError::BadRequest(text),
    }
}
