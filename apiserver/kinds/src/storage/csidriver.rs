//! CSIDrivers: what a driver can do and wants to be told.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::field::{self, BadValue, Error, Path};
use crate::meta::{self, IMMUTABLE};
use crate::names::subdomain_rule;
use crate::tree::{at, bool_at, int_at, list_at, remove, same_at, set, set_default, str_at, strings_at};
use crate::{Resource, Strategy, Subresource};

/// Seconds a token for a driver is valid at least.
const TOKEN_SECONDS_MIN: i64 = 600;

/// Seconds a token for a driver is valid at most.
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// Seconds between two updates of what a node can take, at least.
const UPDATE_SECONDS_MIN: i64 = 10;

const TOKENS_IN_SECRETS: &str = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes";

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::boolean("AttachRequired", "Whether volumes are attached to a node before they are mounted."),
    Column::boolean("PodInfoOnMount", "Whether the driver is told which pod a volume is for."),
    Column::boolean("StorageCapacity", "Whether the driver tells how much room it has."),
    Column::text("TokenRequests", "Audiences of the tokens the driver wants."),
    Column::boolean("RequiresRepublish", "Whether volumes are published again from time to time."),
    Column::text("Modes", "Kinds of volumes the driver makes."),
    Column::AGE,
];

/// The strategy of CSIDrivers.
pub(super) struct CsiDrivers;

impl Strategy for CsiDrivers {
    fn resource(&self) -> &'static Resource {
        crate::resource!("storage.k8s.io", "v1", "csidrivers")
    }

    fn default(&self, obj: &mut Value) {
        set_default(obj, "spec.attachRequired", true);
        set_default(obj, "spec.fsGroupPolicy", "ReadWriteOnceWithFSType");
        for name in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            set_default(obj, &format!("spec.{name}"), false);
        }
        if list_at(obj, "spec.volumeLifecycleModes").is_empty() {
            set(obj, "spec.volumeLifecycleModes", json!(["Persistent"]));
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        remove(obj, "spec.preventPodSchedulingIfMissing");
    }

    fn prepare_update(&self, _sub: Subresource, new: &mut Value, old: &Value) {
        if at(old, "spec.preventPodSchedulingIfMissing").is_none() {
            remove(new, "spec.preventPodSchedulingIfMissing");
        }
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        errors.extend(spec_errors(obj));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        errors.extend(spec_errors(new));
        // Upstream names the first of them a little differently.
        for (name, printed) in
            [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
        {
            let path = format!("spec.{name}");
            if !same_at(new, old, &path) {
                errors.push(field::invalid(&Path::new("spec").child(printed), at(new, &path), IMMUTABLE));
            }
        }
        errors
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let changed = old.is_none_or(|old| !same_at(new, old, "spec.tokenRequests"));
        let asks = !list_at(new, "spec.tokenRequests").is_empty();
        let unset = at(new, "spec.serviceAccountTokenInSecrets").is_none();
        if changed && asks && unset { vec![TOKENS_IN_SECRETS.to_owned()] } else { Vec::new() }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let flag =
            |name: &str, default: bool| json!(bool_at(obj, &format!("spec.{name}")).unwrap_or(default));
        let audiences: Vec<&str> =
            list_at(obj, "spec.tokenRequests").iter().map(|request| str_at(request, "audience")).collect();
        let tokens = match at(obj, "spec.tokenRequests") {
            Some(_) => audiences.join(","),
            None => "<unset>".to_owned(),
        };
        vec![
            columns::name(obj),
            flag("attachRequired", true),
            flag("podInfoOnMount", false),
            flag("storageCapacity", false),
            json!(tokens),
            flag("requiresRepublish", false),
            json!(columns::or_none(&strings_at(obj, "spec.volumeLifecycleModes").join(","))),
            columns::age(obj, now),
        ]
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

fn spec_errors(obj: &Value) -> Vec<Error> {
    let path = Path::new("spec");
    let mut errors = Vec::new();
    for (name, printed) in [
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ] {
        if at(obj, &format!("spec.{name}")).is_none() {
            errors.push(field::required(&path.child(printed), ""));
        }
    }
    errors.extend(group_policy(obj, &path.child("fsGroupPolicy")));
    errors.extend(token_requests(obj, &path.child("tokenRequests")));
    for mode in strings_at(obj, "spec.volumeLifecycleModes") {
        let modes = ["Persistent", "Ephemeral"];
        if !modes.contains(&mode) {
            errors.push(field::not_supported(&path.child("volumeLifecycleModes"), mode, &modes));
        }
    }
    if at(obj, "spec.seLinuxMount").is_none() {
        errors.push(field::required(&path.child("seLinuxMount"), ""));
    }
    let period = "nodeAllocatableUpdatePeriodSeconds";
    if let Some(seconds) =
        int_at(obj, &format!("spec.{period}")).filter(|seconds| *seconds < UPDATE_SECONDS_MIN)
    {
        let text = "must be greater than or equal to 10 seconds";
        errors.push(field::invalid(&path.child(period), seconds, text));
    }
    errors.extend(tokens_in_secrets(obj, &path.child("serviceAccountTokenInSecrets")));
    errors
}

fn group_policy(obj: &Value, path: &Path) -> Option<Error> {
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    let policy = at(obj, "spec.fsGroupPolicy").and_then(Value::as_str)?;
    (!policies.contains(&policy)).then(|| field::not_supported(path, policy, &policies))
}

fn token_requests(obj: &Value, path: &Path) -> Vec<Error> {
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, request) in list_at(obj, "spec.tokenRequests").iter().enumerate() {
        let path = path.index(index);
        let audience = str_at(request, "audience");
        if !seen.insert(audience) {
            errors.push(field::duplicate(&path.child("audience"), audience));
            continue;
        }
        let Some(seconds) = int_at(request, "expirationSeconds") else { continue };
        let path = path.child("expirationSeconds");
        if seconds < TOKEN_SECONDS_MIN {
            errors.push(field::invalid(&path, seconds, "may not specify a duration less than 10 minutes"));
        }
        if seconds > TOKEN_SECONDS_MAX {
            let text = "may not specify a duration larger than 2^32 seconds";
            errors.push(field::invalid(&path, seconds, text));
        }
    }
    errors
}

fn tokens_in_secrets(obj: &Value, path: &Path) -> Option<Error> {
    let value = at(obj, "spec.serviceAccountTokenInSecrets")?;
    let text = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
    list_at(obj, "spec.tokenRequests")
        .is_empty()
        .then(|| field::invalid(path, BadValue::Json(value.clone()), text))
}
