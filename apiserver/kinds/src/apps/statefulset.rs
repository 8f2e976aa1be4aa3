//! StatefulSets.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::deployment::not_negative;
use super::{amount, collisions, selector, template};
use crate::columns::{self, Column};
use crate::core::claims;
use crate::core::pod::internal;
use crate::core::pod::validate::{self, Options, volume_claims};
use crate::core::podtemplate::container_cell;
use crate::field::{self, BadValue, Error, Path};
use crate::names::{dns_label, label_rule};
use crate::selector::{Leniency, validate_label_selector};
use crate::tree::{
    at, carry_over, int_at, list_at, list_at_mut, map_at, remove, same_at, set, set_default, str_at,
};
use crate::{Resource, Strategy, Subresource, Tree, meta};

/// The strategy of StatefulSets.
pub(super) struct StatefulSets;

static RESOURCE: LazyLock<&'static Resource> =
    LazyLock::new(|| Resource::known("apps", "v1", "statefulsets"));

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Ready", "Pods that are ready, of all that should be."),
    Column::AGE,
    Column::text("Containers", "Names of the template's containers.").wide(),
    Column::text("Images", "Images of the template's containers.").wide(),
];

const FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

/// What an update of the spec may change.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
];

impl Strategy for StatefulSets {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn default(&self, obj: &mut Tree) {
        if str_at(obj, "spec.podManagementPolicy").is_empty() {
            set(obj, "spec.podManagementPolicy", "OrderedReady");
        }
        if str_at(obj, "spec.updateStrategy.type").is_empty() {
            set(obj, "spec.updateStrategy.type", "RollingUpdate");
            set_default(obj, "spec.updateStrategy.rollingUpdate", json!({}));
        }
        if str_at(obj, "spec.updateStrategy.type") == "RollingUpdate"
            && at(obj, "spec.updateStrategy.rollingUpdate").is_some()
        {
            set_default(obj, "spec.updateStrategy.rollingUpdate.partition", 0);
        }
        for when in ["whenDeleted", "whenScaled"] {
            let path = format!("spec.persistentVolumeClaimRetentionPolicy.{when}");
            if str_at(obj, &path).is_empty() {
                set(obj, &path, "Retain");
            }
        }
        set_default(obj, "spec.replicas", 1);
        set_default(obj, "spec.revisionHistoryLimit", 10);
        template::default(obj);
        list_at_mut(obj, "spec.volumeClaimTemplates").iter_mut().for_each(default_claim);
    }

    fn prepare_create(&self, obj: &mut Tree) {
        set(obj, "status", json!({"replicas": 0, "availableReplicas": 0}));
        meta::start_generation(obj);
        drop_disabled(obj, None);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Tree, old: &Tree) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            return;
        }
        carry_over(new, old, "status");
        drop_disabled(new, Some(old));
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, label_rule);
        errors.extend(spec_errors(obj, &template::options(None), Laxity::default()));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        if sub == Subresource::Status {
            let mut errors = status_errors(new);
            errors.extend(meta::validate_update(new, old));
            errors.extend(collisions::not_decremented(new, old));
            return errors;
        }
        let mut errors = meta::validate_update(new, old);
        let options = template::options(Some(old));
        let mut laxity = Laxity { any_service_name: true, any_claims: true, any_template: false };
        // What is stored may break a rule that came later; its template is then left alone.
        laxity.any_template = !spec_errors(old, &options, laxity).is_empty();
        errors.extend(spec_errors(new, &options, laxity));
        errors.extend(fixed(new, old));
        errors
    }

    fn warnings(&self, new: &Tree, old: Option<&Tree>) -> Vec<String> {
        let mut warnings = template::content_warnings(new, old);
        for (index, claim) in list_at(new, "spec.volumeClaimTemplates").iter().enumerate() {
            let path = Path::new("spec.volumeClaimTemplates").index(index);
            // Upstream names an update's place as nobody else does.
            let path = if old.is_some() { path.child("Spec") } else { path };
            warnings.extend(claims::fractional(claim, &path));
        }
        if int_at(new, "spec.revisionHistoryLimit").is_some_and(|limit| limit < 0) {
            warnings.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".to_owned());
        }
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Tree, now: Timestamp) -> Vec<Tree> {
        let number = |name: &str| int_at(obj, name).unwrap_or(0);
        vec![
            columns::name(obj),
            json!(format!("{}/{}", number("status.readyReplicas"), number("spec.replicas"))),
            columns::age(obj, now),
            json!(container_cell(obj, "spec.template.spec.containers", "name")),
            json!(container_cell(obj, "spec.template.spec.containers", "image")),
        ]
    }
}

/// A claim template shows kind, version and the phase a claim starts in.
fn default_claim(claim: &mut Value) {
    // Whatever its writer calls it, it is a claim.
    set(claim, "kind", "PersistentVolumeClaim");
    set(claim, "apiVersion", "v1");
    set_default(claim, "spec.volumeMode", "Filesystem");
    if str_at(claim, "status.phase").is_empty() {
        set(claim, "status.phase", "Pending");
    }
}

/// `maxUnavailable` is not served, unless what is stored has it.
fn drop_disabled(obj: &mut Value, old: Option<&Value>) {
    const FIELD: &str = "spec.updateStrategy.rollingUpdate.maxUnavailable";
    if old.is_none_or(|old| at(old, FIELD).is_none()) {
        remove(obj, FIELD);
    }
    template::drop_disabled(obj, old);
}

/// Rules that do not bind an update, because what they are about cannot change.
#[derive(Debug, Clone, Copy, Default)]
struct Laxity {
    any_service_name: bool,
    any_claims: bool,
    any_template: bool,
}

fn spec_errors(obj: &Value, options: &Options, laxity: Laxity) -> Vec<Error> {
    let null = Value::Null;
    let spec = at(obj, "spec").unwrap_or(&null);
    let path = Path::new("spec");
    let mut errors: Vec<Error> = management_error(spec, &path).into_iter().collect();
    errors.extend(strategy_errors(spec, &path.child("updateStrategy")));
    errors.extend(retention_errors(spec, &path.child("persistentVolumeClaimRetentionPolicy")));
    if !laxity.any_claims {
        let claims = volume_claims::Leniency::default();
        for (index, claim) in list_at(spec, "volumeClaimTemplates").iter().enumerate() {
            let path = path.child("volumeClaimTemplates").index(index).child("spec");
            errors.extend(volume_claims::claim_spec(at(claim, "spec").unwrap_or(&null), claims, &path));
        }
    }
    for name in ["replicas", "minReadySeconds", "ordinals.start"] {
        errors.extend(not_negative(spec, name, &path));
    }
    let service = str_at(spec, "serviceName");
    if !laxity.any_service_name && !service.is_empty() {
        let path = path.child("serviceName");
        errors.extend(dns_label(service).into_iter().map(|text| field::invalid(&path, service, text)));
    }
    errors.extend(selector_errors(spec, &path.child("selector")));
    if selector::is_usable(spec) {
        errors.extend(template_errors(spec, &path.child("template"), options, laxity));
    } else {
        errors.push(field::invalid(&path.child("selector"), selector::printed(at(spec, "selector")), ""));
    }
    errors.extend(template::runs_always(spec, &path.child("template"), "StatefulSet"));
    errors
}

fn management_error(spec: &Value, path: &Path) -> Option<Error> {
    let path = path.child("podManagementPolicy");
    match str_at(spec, "podManagementPolicy") {
        "OrderedReady" | "Parallel" => None,
        "" => Some(field::required(&path, "")),
        policy => Some(field::invalid(&path, policy, "must be 'OrderedReady' or 'Parallel'")),
    }
}

fn strategy_errors(spec: &Value, path: &Path) -> Vec<Error> {
    let null = Value::Null;
    let strategy = at(spec, "updateStrategy").unwrap_or(&null);
    let rolling = at(strategy, "rollingUpdate");
    let rolling_path = path.child("rollingUpdate");
    match (str_at(strategy, "type"), rolling) {
        ("", _) => vec![field::required(path, "")],
        ("OnDelete", Some(rolling)) => {
            let value = internal::bad_value("RollingUpdateStatefulSetStrategy", Some(rolling));
            vec![field::invalid(&rolling_path, value, "only allowed for updateStrategy 'RollingUpdate'")]
        }
        ("RollingUpdate", Some(rolling)) => rolling_errors(rolling, &rolling_path),
        ("OnDelete" | "RollingUpdate", None) => Vec::new(),
        _ => {
            let value = internal::bad_value("StatefulSetUpdateStrategy", Some(strategy));
            vec![field::invalid(path, value, "must be 'RollingUpdate' or 'OnDelete'")]
        }
    }
}

fn rolling_errors(rolling: &Value, path: &Path) -> Vec<Error> {
    let mut errors: Vec<Error> = not_negative(rolling, "partition", path).into_iter().collect();
    let unavailable = at(rolling, "maxUnavailable");
    if unavailable.is_some() {
        let path = path.child("maxUnavailable");
        errors.extend(amount::validate(unavailable, &path));
        if amount::is_zero(unavailable) {
            errors.push(field::invalid(&path, unavailable, "cannot be 0"));
        }
        errors.extend(amount::at_most_all(unavailable, &path));
    }
    errors
}

fn retention_errors(spec: &Value, path: &Path) -> Vec<Error> {
    let Some(policy) = at(spec, "persistentVolumeClaimRetentionPolicy") else { return Vec::new() };
    ["whenDeleted", "whenScaled"]
        .into_iter()
        .filter(|when| !matches!(str_at(policy, when), "Retain" | "Delete"))
        .map(|when| field::not_supported(&path.child(when), str_at(policy, when), &["Retain", "Delete"]))
        .collect()
}

fn selector_errors(spec: &Value, path: &Path) -> Vec<Error> {
    let Some(selector) = at(spec, "selector") else { return vec![field::required(path, "")] };
    let mut errors = validate_label_selector(spec, "selector", Leniency::default(), path);
    if selector::selects_all(spec) {
        let value = selector::printed(Some(selector));
        errors.push(field::invalid(path, value, "empty selector is invalid for statefulset"));
    }
    errors
}

fn template_errors(spec: &Value, path: &Path, options: &Options, laxity: Laxity) -> Vec<Error> {
    let template = as_made(spec);
    let mut errors = Vec::new();
    let labels = at(&template, "metadata.labels").cloned().unwrap_or(Value::Null);
    if !selector::selects_all(spec) && !selector::matches_template(spec, &template) {
        let path = path.child("metadata").child("labels");
        let text = "`selector` does not match template `labels`";
        errors.push(field::invalid(&path, BadValue::Json(labels), text));
    }
    if !laxity.any_template {
        errors.extend(validate::template(&template, path, options));
    }
    errors.extend(validate::template_metadata(&template, path, options));
    errors
}

/// The template as pods are made of it: their names and subdomain are the set's, and each claim is a volume.
fn as_made(spec: &Value) -> Value {
    let mut template = at(spec, "template").cloned().unwrap_or(Value::Null);
    let claims = list_at(spec, "volumeClaimTemplates");
    if !template.is_object() {
        return template;
    }
    remove(&mut template, "spec.subdomain");
    remove(&mut template, "spec.hostname");
    if claims.is_empty() {
        return template;
    }
    let names: Vec<&str> = claims.iter().map(|claim| str_at(claim, "metadata.name")).collect();
    let mut volumes: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}))
        .collect();
    volumes.dedup();
    let others = list_at(&template, "spec.volumes");
    volumes.extend(others.iter().filter(|volume| !names.contains(&str_at(volume, "name"))).cloned());
    set(&mut template, "spec.volumes", volumes);
    template
}

fn fixed(new: &Value, old: &Value) -> Option<Error> {
    let mut new = new.clone();
    for name in CHANGEABLE {
        carry_over(&mut new, old, &format!("spec.{name}"));
    }
    // Stored claim templates show a status that a writer need not repeat.
    (!same_at(&new, old, "spec")).then(|| field::forbidden(&Path::new("spec"), FIXED))
}

fn status_errors(obj: &Value) -> Vec<Error> {
    let status = Value::Object(map_at(obj, "status").cloned().unwrap_or_default());
    let path = Path::new("status");
    let number = |name: &str| int_at(&status, name).unwrap_or(0);
    let mut errors = Vec::new();
    for name in [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ] {
        errors.extend(not_negative(&status, name, &path));
    }
    let mut at_most = |name: &str, limit: &str| {
        if number(name) > number(limit) {
            let text = format!("cannot be greater than status.{limit}");
            errors.push(field::invalid(&path.child(name), number(name), text));
        }
    };
    for name in ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
        at_most(name, "replicas");
    }
    at_most("availableReplicas", "readyReplicas");
    errors
}
