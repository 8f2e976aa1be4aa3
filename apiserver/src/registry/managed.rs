//! managedFields of plain writes: who set what. Decides when ownership is
//! recorded and which fields a write cannot own; how, is the schema's.

use super::body::Expected;
use crate::catalog::Kind;
use crate::clock;
use crate::context::Context;
use crate::options::WriteOptions;
use kinds::{Subresource, tree};
use schema::Tree;
use schema::fields::{self, Set, Version, Write};

/// Records the creator.
pub(crate) fn on_create(context: &Context, kind: &Kind, options: &WriteOptions, wanted: &mut Tree) {
    record(context, kind, Subresource::None, options, wanted, None);
}

/// Records the updater.
pub(super) fn on_update(
    context: &Context,
    kind: &Kind,
    sub: Subresource,
    options: &WriteOptions,
    wanted: &mut Tree,
    old: &Tree,
) {
    record(context, kind, sub, options, wanted, Some(old));
}

/// Records who changed the status of an object beside the one a request is about.
pub(crate) fn record_status(context: &Context, kind: &Kind, manager: &str, wanted: &mut Tree, old: &Tree) {
    let write = Write {
        manager,
        api_version: &kind.api_version,
        subresource: Subresource::Status.as_str(),
        time: &clock::seconds(context.now),
        reset: &reset_fields(kind, Subresource::Status),
        others: &[],
    };
    fields::update_managers(kind.schema, Some(old), wanted, &write);
}

/// Records the updater of a scale, in the scale's own managedFields.
pub(super) fn on_scale(
    context: &Context,
    expected: Expected<'_>,
    options: &WriteOptions,
    wanted: &mut Tree,
    old: &Tree,
) {
    let write = Write {
        manager: &manager(context, options),
        api_version: &expected.api_version(),
        subresource: Subresource::Scale.as_str(),
        time: &clock::seconds(context.now),
        reset: &Set::default(),
        others: &[],
    };
    fields::update_managers(expected.schema, Some(old), wanted, &write);
}

/// Records who asked for what is answered through a subresource and stored nowhere.
pub(super) fn on_request(
    context: &Context,
    expected: Expected<'_>,
    sub: Subresource,
    options: &WriteOptions,
    wanted: &mut Tree,
) {
    let write = Write {
        manager: &manager(context, options),
        api_version: &expected.api_version(),
        subresource: sub.as_str(),
        time: &clock::seconds(context.now),
        reset: &Set::default(),
        others: &[],
    };
    fields::update_managers(expected.schema, None, wanted, &write);
}

fn manager(context: &Context, options: &WriteOptions) -> String {
    if options.field_manager.is_empty() {
        context.user_agent_manager()
    } else {
        options.field_manager.clone()
    }
}

fn record(
    context: &Context,
    kind: &Kind,
    sub: Subresource,
    options: &WriteOptions,
    wanted: &mut Tree,
    old: Option<&Tree>,
) {
    let others: Vec<(&Kind, Tree, Tree)> = old.map_or_else(Vec::new, |old| {
        kind.other_versions()
            .map(|other| (other, kind.in_version(other, old), kind.in_version(other, wanted)))
            .collect()
    });
    let others: Vec<Version<'_>> = others
        .iter()
        .map(|(other, old, new)| Version { api_version: &other.api_version, schema: other.schema, old, new })
        .collect();
    let write = Write {
        manager: &manager(context, options),
        api_version: &kind.api_version,
        subresource: sub.as_str(),
        time: &clock::seconds(context.now),
        reset: &reset_fields(kind, sub),
        others: &others,
    };
    fields::update_managers(kind.schema, old, wanted, &write);
}

/// What a write through this part resets, so that nobody comes to own it that way.
pub(super) fn reset_fields(kind: &Kind, sub: Subresource) -> Set {
    let plural = kind.resource.plural.as_str();
    let reset: &[&[&str]] = match (sub, plural) {
        (Subresource::EphemeralContainers | Subresource::Resize, _) => &[],
        (Subresource::Status, "pods") => {
            &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]
        }
        (Subresource::Status, "deployments") => &[&["spec"], &["metadata", "labels"]],
        (Subresource::Status, "certificatesigningrequests") => &[&["spec"], &["status", "conditions"]],
        (Subresource::Status, plural) if resets_metadata(plural) => &[&["spec"], &["metadata"]],
        (Subresource::Status, _) => &[&["spec"]],
        (_, "certificatesigningrequests") if sub == Subresource::None => &[&["spec"], &["status"]],
        (_, "certificatesigningrequests") => &[&["spec"], &["status", "certificate"]],
        _ if kind.subresource("status").is_some() => &[&["status"]],
        _ => &[],
    };
    Set::of_fields(reset)
}

/// Resources whose status keeps the whole metadata as it was.
fn resets_metadata(plural: &str) -> bool {
    matches!(
        plural,
        "devicetaintrules"
            | "flowschemas"
            | "prioritylevelconfigurations"
            | "resourceclaims"
            | "servicecidrs"
            | "storageversionmigrations"
            | "storageversions"
            | "validatingadmissionpolicies"
            | "volumeattachments"
    )
}

/// An update that changes nothing but the times in managedFields changes nothing.
pub(super) fn keep_times(wanted: &mut Tree, old: &Tree) {
    let same = |key: &str| key == "metadata" || wanted.get(key) == old.get(key);
    let keys = wanted.as_object().into_iter().chain(old.as_object()).flat_map(|map| map.keys());
    if !keys.into_iter().all(|key| same(key)) || !same_metadata(&wanted["metadata"], &old["metadata"]) {
        return;
    }
    tree::carry_over(wanted, old, "metadata.managedFields");
}

fn same_metadata(wanted: &Tree, old: &Tree) -> bool {
    let keys = wanted.as_object().into_iter().chain(old.as_object()).flat_map(|map| map.keys());
    keys.into_iter().all(|key| match key.as_str() {
        "managedFields" => same_managers(&wanted[key], &old[key]),
        _ => wanted.get(key) == old.get(key),
    })
}

fn same_managers(wanted: &Tree, old: &Tree) -> bool {
    let same = |a: &Tree, b: &Tree| {
        let keys = a.as_object().into_iter().chain(b.as_object()).flat_map(|map| map.keys());
        keys.into_iter().all(|key| key == "time" || a.get(key) == b.get(key))
    };
    let (mut wanted, old) = (items(wanted), items(old));
    wanted.len() == old.len() && wanted.all(|entry| old.clone().any(|other| same(entry, other)))
}

fn items(tree: &Tree) -> std::slice::Iter<'_, Tree> {
    tree.as_array().map_or(&[][..], Vec::as_slice).iter()
}

/// Takes the stored revision out of a tree that is about to get a wanted one.
pub(super) fn without_revision(tree: &mut Tree) {
    tree::remove(tree, "metadata.resourceVersion");
}
