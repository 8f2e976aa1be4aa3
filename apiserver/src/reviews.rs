//! Questions about identity and permission: reviews are validated, answered
//! and never stored.

use crate::catalog::Kind;
use crate::codec::Content;
use crate::context::Context;
use crate::identity;
use crate::negotiate::Offer;
use crate::objects::Objects;
use crate::options::{WriteOptions, WriteVerb};
use crate::registry;
use crate::reply::Reply;
use crate::status::{ApiError, ApiResult};
use access::rbac;
use bytes::Bytes;
use kinds::{tree, write};
use schema::Tree;
use serde_json::{Value, json};

/// Answers a review.
pub(crate) async fn serve(context: &Context, kind: &'static Kind, bytes: Bytes) -> ApiResult<Reply> {
    let accepted =
        context.negotiate(Offer { table: false, partial: false, partial_list: false, watch: false })?;
    let options = WriteOptions::parse(&context.query, WriteVerb::Create)?;
    let mut review = registry::decode_body(context, kind, &bytes, options.validation)?;
    if kind.resource.namespaced {
        registry::check_namespace(context, kind, &mut review)?;
    }
    if let Some(text) = kind.strategy.bad_request(&review) {
        return Err(ApiError::BadRequest(text));
    }
    // These two are answered with a new object, which keeps nothing of the question.
    let answers_anew =
        matches!(kind.resource.plural.as_str(), "selfsubjectreviews" | "selfsubjectrulesreviews");
    if !answers_anew {
        registry::record_creator(context, kind, &options, &mut review);
    }
    write::prepare_create(kind.strategy, &mut review);
    let errors = kind.strategy.validate(&review);
    if !errors.is_empty() {
        let (word, group) = kind.strategy.error_kind();
        return Err(ApiError::invalid(group, word, "", &errors));
    }
    answer(context, kind, &mut review).await;
    context.show(kind, accepted, 201, Content::Tree(&review))
}

async fn answer(context: &Context, kind: &Kind, review: &mut Tree) {
    let server = &context.server;
    let permissions = server.permissions.snapshot(&server.store, &server.codec);
    let status = match kind.resource.plural.as_str() {
        "tokenreviews" => {
            let view = server.store.view();
            let objects = Objects { codec: &server.codec, view: &view };
            let audiences: Vec<String> =
                tree::strings_at(review, "spec.audiences").into_iter().map(str::to_owned).collect();
            let token = tree::str_at(review, "spec.token");
            let identified = server.identities.identify(token, &audiences, context.now, &objects).await;
            if let Some(used) = identified.as_ref().ok().and_then(|identified| identified.kept.as_ref()) {
                identity::note_use(server, used, &context.warnings).await;
            }
            access::authn::review_status(identified)
        }
        "selfsubjectreviews" => {
            review["metadata"] = json!({"creationTimestamp": crate::clock::seconds(context.now)});
            json!({"userInfo": context.user.to_tree()})
        }
        "selfsubjectrulesreviews" => {
            let namespace = tree::str_at(review, "spec.namespace").to_owned();
            review["spec"] = json!({});
            rbac::rules_review_status(permissions.roles(), &context.user, &namespace)
        }
        plural => {
            let requester = (plural == "selfsubjectaccessreviews").then_some(&*context.user);
            let specification = rbac::specification(review.get("spec").unwrap_or(&Value::Null), requester);
            let decision = permissions.authorizer().authorize(&specification.user, &specification.attributes);
            rbac::status(&specification, &decision)
        }
    };
    review["status"] = status;
}
