//! What is posted to a pod: its binding to a node and its eviction.

use super::body::{self, Expected};
use super::delete::{Admission, Deleted, delete_key};
use super::propose::{ATTEMPTS_MAX, Proposed, linearizable, propose};
use crate::admission::{Effects, Operation, Review};
use crate::catalog::{self, Kind};
use crate::context::Context;
use crate::negotiate;
use crate::options::{DeleteOptions, WriteOptions, WriteVerb};
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult, Cause, GroupResource};
use bytes::Bytes;
use kinds::core::binding as rules;
use kinds::core::pod::eviction::{self, Verdict};
use kinds::core::pod::{admission, binding};
use kinds::{Subresource, field, policy, tree};
use mvcc::{Entry, Key, Precondition, Revision, View};
use schema::Tree;
use serde_json::json;
use std::sync::Arc;

fn pods() -> ApiResult<&'static Kind> {
    catalog::find("", "v1", "pods").ok_or(ApiError::NoSuchResource)
}

/// Binds a pod to a node: `pods/NAME/binding`, or `bindings` with the name in the body.
pub(super) async fn bind(context: &Context, _kind: &'static Kind, bytes: Bytes) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    let options = WriteOptions::parse(&context.query, WriteVerb::Create)?;
    let schema = schema::kind("", "v1", "Binding").ok_or(ApiError::NoSuchResource)?;
    let expected = Expected { schema, group: "", version: "v1", kind: "Binding" };
    let mut wanted = body::decode_as(context, expected, &bytes, options.validation)?.tree;
    super::create::check_namespace(context, pods()?, &mut wanted)?;
    let name = match context.info.path_name.as_str() {
        "" => tree::str_at(&wanted, "metadata.name").to_owned(),
        name => {
            if let Some(text) = rules::bad_request(&wanted, name) {
                return Err(ApiError::BadRequest(text));
            }
            name.to_owned()
        }
    };
    let errors = rules::validate(&wanted);
    if !errors.is_empty() {
        return Err(ApiError::Plain(field::summary(&errors)));
    }
    let key = Key::new("pods", context.namespace(), name.as_str());
    for _ in 0..ATTEMPTS_MAX {
        if bind_once(context, &key, &wanted, &options).await? {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
            return Ok(reply::tree(
                201,
                negotiate::Accepted { shape: negotiate::Shape::Full, ..accepted },
                &status,
            ));
        }
    }
    Err(ApiError::conflict(&GroupResource::new("", "pods/binding"), &name, super::update::MODIFIED))
}

async fn bind_once(context: &Context, key: &Key, wanted: &Tree, options: &WriteOptions) -> ApiResult<bool> {
    let kind = pods()?;
    let view = linearizable(context).await?;
    let entry = view.get(key).ok_or_else(|| ApiError::not_found(&kind.group_resource, &key.name))?;
    let mut pod = context.server.codec.tree(kind, &entry, entry.revision)?;
    binding::bind(&mut pod, wanted, context.now)
        .map_err(|text| ApiError::conflict(&GroupResource::new("", "pods/binding"), &key.name, text))?;
    copy_topology(context, &view, &mut pod);
    if options.dry_run {
        return Ok(true);
    }
    let object = context.server.codec.object(kind, key.clone(), &pod)?;
    let preconditions = vec![Precondition::AtRevision(key.clone(), entry.revision)];
    Ok(matches!(
        propose(context, preconditions, vec![mvcc::Operation::Put(object)]).await?,
        Proposed::Applied(..)
    ))
}

/// A bound pod carries its node's zone and region.
fn copy_topology(context: &Context, view: &View, pod: &mut Tree) {
    let objects = crate::objects::Objects { codec: &context.server.codec, view };
    let Some(node) = objects.core("nodes", "", tree::str_at(pod, "spec.nodeName")) else { return };
    for (name, value) in admission::topology_labels(&node) {
        if pod["metadata"]["labels"].get(name).is_none() {
            pod["metadata"]["labels"][name] = json!(value);
        }
    }
}

/// Evicts a pod, if the disruption budgets let it go.
pub(super) async fn evict(context: &Context, kind: &'static Kind, bytes: Bytes) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    let options = WriteOptions::parse(&context.query, WriteVerb::Create)?;
    let schema = schema::kind("policy", "v1", "Eviction").ok_or(ApiError::NoSuchResource)?;
    let expected =
        Expected { schema, group: "policy", version: eviction_version(context, &bytes), kind: "Eviction" };
    let mut wanted = body::decode_as(context, expected, &bytes, options.validation)?.tree;
    super::create::check_namespace(context, kind, &mut wanted)?;
    if let Some(text) = policy::eviction::bad_request(&wanted, &context.info.path_name) {
        return Err(ApiError::BadRequest(text));
    }
    let errors = policy::eviction::validate(&wanted);
    if !errors.is_empty() {
        let (word, group) = policy::eviction::ERROR_KIND;
        return Err(ApiError::invalid(group, word, &context.info.path_name, &errors));
    }
    review_eviction(context, kind, &mut wanted, &options).await?;
    let asked: Vec<&str> = context.query.all("dryRun").collect();
    let dry_run = policy::eviction::dry_run(&wanted, &asked).map_err(ApiError::Plain)?;
    let mut delete = delete_options(&wanted)?;
    delete.dry_run = dry_run;
    evict_key(context, kind, &delete).await?;
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(reply::tree(201, negotiate::Accepted { shape: negotiate::Shape::Full, ..accepted }, &status))
}

/// Bodies of the version that evictions had before are still taken.
fn eviction_version(context: &Context, bytes: &[u8]) -> &'static str {
    let said = match negotiate::body_format(context.content_type()) {
        Ok(negotiate::Format::Protobuf) => {
            schema::protobuf::unwrap(bytes).map(|envelope| envelope.api_version).unwrap_or_default()
        }
        Ok(negotiate::Format::Yaml) => api_version(schema::decode::yaml(bytes).ok().map(|(tree, _)| tree)),
        _ => api_version(schema::decode::json(bytes).ok().map(|(tree, _)| tree)),
    };
    if said == "policy/v1beta1" { "v1beta1" } else { "v1" }
}

fn api_version(body: Option<Tree>) -> String {
    body.map(|tree| tree::str_at(&tree, "apiVersion").to_owned()).unwrap_or_default()
}

/// Admission looks at the eviction, not at the deletion that follows from it.
async fn review_eviction(
    context: &Context,
    kind: &'static Kind,
    wanted: &mut Tree,
    options: &WriteOptions,
) -> ApiResult<()> {
    let view = linearizable(context).await?;
    // Nothing is stored under these: the eviction decides again on what it then finds.
    let mut effects = Effects::default();
    let mut review = Review::new(
        context,
        kind,
        Subresource::Eviction,
        Operation::Create,
        &view,
        options.dry_run,
        &mut effects,
    );
    crate::admission::mutate(&mut review, wanted, None)?;
    crate::admission::validate(&mut review, wanted, None)
}

fn delete_options(wanted: &Tree) -> ApiResult<DeleteOptions> {
    let mut inside = tree::at(wanted, "deleteOptions").cloned().unwrap_or_else(|| json!({}));
    // Nobody asks what options inside another object call themselves.
    tree::remove(&mut inside, "apiVersion");
    tree::remove(&mut inside, "kind");
    let bytes = serde_json::to_vec(&inside).map_err(|error| ApiError::Internal(error.to_string()))?;
    DeleteOptions::parse(&crate::query::Query::default(), &bytes, || Ok(negotiate::Format::Json))
}

/// Evicts the pod as it then is, deciding again while it or its budget changes under our hands.
async fn evict_key(context: &Context, kind: &'static Kind, delete: &DeleteOptions) -> ApiResult<()> {
    let key = context.key(kind);
    for _ in 0..ATTEMPTS_MAX {
        let view = linearizable(context).await?;
        let entry = view.get(&key).ok_or_else(|| ApiError::not_found(&kind.group_resource, &key.name))?;
        let pod = context.server.codec.tree(kind, &entry, entry.revision)?;
        let grant = grant(context, &view, &pod)?;
        let mut delete = delete.clone();
        let ties_revision = grant.at_this_revision && delete.revision.is_none();
        if ties_revision {
            delete.revision = Some(entry.revision.to_string());
        }
        if !delete.dry_run && wanted_is(&entry, &delete) {
            let Some(marked) = mark(context, kind, &entry, pod, grant.budget).await? else { continue };
            delete.revision = delete.revision.map(|_| marked.to_string());
        }
        let is_another = delete.uid.as_deref().is_some_and(|uid| uid != &*entry.object.uid);
        match delete_key(context, kind, &key, &delete, Admission::Passed).await {
            // The pod changed while it was to go as it was: the budgets are asked again.
            Err(ApiError::Conflict { .. }) if ties_revision && !is_another => {}
            deleted => {
                let (Deleted::Gone(..) | Deleted::Waiting(_) | Deleted::Dry(..)) = deleted?;
                return Ok(());
            }
        }
    }
    Err(ApiError::conflict(&kind.group_resource, &key.name, super::update::MODIFIED))
}

/// Leave to evict a pod.
struct Grant {
    /// Only as it is now.
    at_this_revision: bool,
    /// The budget that pays, with the payment taken, and the object it replaces.
    budget: Option<Charged>,
}

struct Charged {
    kind: &'static Kind,
    entry: Arc<Entry>,
    tree: Tree,
}

/// What the budgets of the pod's namespace say, as a grant or as the refusal.
fn grant(context: &Context, view: &View, pod: &Tree) -> ApiResult<Grant> {
    let budgets = catalog::find("policy", "v1", "poddisruptionbudgets").ok_or(ApiError::NoSuchResource)?;
    let namespace = tree::str_at(pod, "metadata.namespace");
    let codec = &context.server.codec;
    let mut selecting: Vec<(Arc<Entry>, Tree)> = Vec::new();
    for entry in view.list(&budgets.stored_as, Some(namespace), None) {
        let budget = codec.tree(budgets, entry, entry.revision)?;
        if eviction::selects(&budget, pod) {
            selecting.push((entry.clone(), budget));
        }
    }
    let trees: Vec<Tree> = selecting.iter().map(|(_, budget)| budget.clone()).collect();
    match eviction::decide(pod, &trees, context.now) {
        Verdict::Delete { at_this_revision } => Ok(Grant { at_this_revision, budget: None }),
        Verdict::Charge(tree) => {
            let charged = selecting.into_iter().next().map(|(entry, _)| Charged { kind: budgets, entry, tree: *tree });
            Ok(Grant { at_this_revision: false, budget: charged })
        }
        Verdict::TooManyRequests { cause, retry_after_seconds } => Err(ApiError::TooManyRequests {
            text: "Cannot evict pod as it would violate the pod's disruption budget.".to_owned(),
            causes: vec![Cause { reason: "DisruptionBudget".to_owned(), message: cause, field: String::new() }],
            retry_after: retry_after_seconds.unwrap_or(0),
        }),
        Verdict::Forbidden { budget, text } => {
            Err(ApiError::forbidden(&GroupResource::new("policy", "poddisruptionbudget"), &budget, text))
        }
        Verdict::SeveralBudgets => Err(ApiError::Plain(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
                .to_owned(),
        )),
    }
}

/// Whether the pod is the one the client means; for any other the deletion refuses with the right words.
fn wanted_is(entry: &Entry, delete: &DeleteOptions) -> bool {
    let revision = entry.revision.to_string();
    delete.uid.as_deref().is_none_or(|uid| uid == &*entry.object.uid)
        && delete.revision.as_deref().is_none_or(|wanted| wanted == revision)
}

/// Notes in the pod's status that it is being evicted, and in its budget that it was paid for, before the pod is deleted;
/// gives the revision of that. Both or neither is written, so that no disruption is paid for twice.
async fn mark(
    context: &Context,
    kind: &Kind,
    entry: &Arc<Entry>,
    mut pod: Tree,
    charged: Option<Charged>,
) -> ApiResult<Option<Revision>> {
    let codec = &context.server.codec;
    eviction::mark(&mut pod, context.now);
    let key = entry.object.key.clone();
    let mut preconditions = vec![Precondition::AtRevision(key.clone(), entry.revision)];
    let mut operations = Vec::new();
    if let Some(Charged { kind, entry, tree }) = charged {
        let key = entry.object.key.clone();
        operations.push(mvcc::Operation::Put(codec.object(kind, key.clone(), &tree)?));
        preconditions.push(Precondition::AtRevision(key, entry.revision));
    }
    operations.push(mvcc::Operation::Put(codec.object(kind, key, &pod)?));
    match propose(context, preconditions, operations).await? {
        Proposed::Applied(_, revision) => Ok(Some(revision)),
        Proposed::Refused(_) => Ok(None),
    }
}
