//! ComponentStatuses: how the parts of the control plane are, looked up when somebody asks. Nothing is stored.
//!
//! The scheduler and the controllers are well while they renew their Leases, the store while this server is in contact
//! with the others. The store goes by the name under which upstream's is looked for.

use crate::catalog::Kind;
use crate::codec::Content;
use crate::context::Context;
use crate::negotiate::Offer;
use crate::objects::Objects;
use crate::options::ListOptions;
use crate::registry::route::Verb;
use crate::render::ListMeta;
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult, GroupResource};
use jiff::{SignedDuration, Timestamp};
use kinds::tree;
use schema::Tree;
use serde_json::json;

/// The plural under which they are asked for.
pub(crate) const PLURAL: &str = "componentstatuses";

/// Component and the Lease it keeps.
const LEASES: [(&str, &str); 2] =
    [("controller-manager", "kube-controller-manager"), ("scheduler", "kube-scheduler")];

/// The store's name.
const STORE: &str = "etcd-0";

/// Answers a request for one component or all.
pub(crate) fn serve(context: &Context, kind: &'static Kind, verb: Verb) -> ApiResult<Reply> {
    let statuses = statuses(context);
    if verb == Verb::Get {
        let accepted = context.accept_object()?;
        let name = context.info.path_name.as_str();
        let found = statuses.iter().find(|status| tree::str_at(status, "metadata.name") == name);
        // Upstream names the kind and not the resource.
        let found =
            found.ok_or_else(|| ApiError::not_found(&GroupResource::new("", "componentstatus"), name))?;
        return context.show(kind, accepted, 200, Content::Tree(found));
    }
    let accepted =
        context.negotiate(Offer { table: true, partial: true, partial_list: true, watch: false })?;
    let options = ListOptions::parse(&context.query, false)?;
    let selected = |status: &&Tree| {
        let name = tree::str_at(status, "metadata.name");
        options.labels.matches(|_| None)
            && options.fields.matches(|field| Some(if field == "metadata.name" { name } else { "" }))
    };
    let contents: Vec<Content<'_>> = statuses.iter().filter(selected).map(Content::Tree).collect();
    let body = context.renderer(kind, accepted)?.contents(&contents, &ListMeta::default())?;
    Ok(reply::object(context, 200, accepted, body))
}

fn statuses(context: &Context) -> Vec<Tree> {
    let server = &context.server;
    let view = server.store.view();
    let objects = Objects { codec: &server.codec, view: &view };
    let mut statuses: Vec<Tree> = LEASES
        .iter()
        .map(|(component, lease)| {
            let lease = objects.get("coordination.k8s.io", "leases", "kube-system", lease);
            status(
                component,
                lease.as_ref().is_some_and(|lease| is_held(lease, context.now)),
                "lease not renewed",
            )
        })
        .collect();
    statuses.push(status(STORE, server.in_contact(), "no contact with the leader"));
    statuses
}

fn status(name: &str, healthy: bool, otherwise: &str) -> Tree {
    let (status, message, error) = if healthy { ("True", "ok", "") } else { ("False", "", otherwise) };
    let mut condition = json!({"type": "Healthy", "status": status});
    for (key, text) in [("message", message), ("error", error)] {
        if !text.is_empty() {
            condition[key] = json!(text);
        }
    }
    json!({"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition]})
}

/// Whether the Lease was renewed as recently as it promises.
fn is_held(lease: &Tree, now: Timestamp) -> bool {
    let seconds = tree::int_at(lease, "spec.leaseDurationSeconds").unwrap_or(0);
    let renewed = tree::str_at(lease, "spec.renewTime").parse::<Timestamp>();
    renewed.is_ok_and(|renewed| {
        renewed.checked_add(SignedDuration::from_secs(seconds)).is_ok_and(|until| until >= now)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_well_while_its_lease_counts() {
        let lease = json!({"spec": {"leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}});
        for (now, held) in [("2026-01-01T00:00:15Z", true), ("2026-01-01T00:00:16Z", false)] {
            assert_eq!(is_held(&lease, now.parse().expect("a time")), held, "{now}");
        }
        assert!(!is_held(&json!({"spec": {}}), Timestamp::UNIX_EPOCH));
    }
}
