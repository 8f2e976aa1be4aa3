//! PriorityLevelConfigurations: how many requests a level may have at work, and what happens to the others.

use serde_json::{Value, json};

use super::{bootstrap, keep_all_but_status, validate_conditions};
use crate::columns::{self, Column};
use crate::core::pod::internal;
use crate::field::{self, Error, Path};
use crate::names::subdomain_rule;
use crate::tree::{at, at_mut, carry_over, int_at, map_at, same_at, set, set_default, str_at};
use crate::{Resource, Strategy, Subresource, meta};

const QUEUES_MAX: i64 = 10_000_000;
/// Bits of the hash that deals a hand of queues.
const HASH_BITS_MAX: i64 = 60;
/// Belongs to a version of before, and means something only there.
const ZERO_SHARES_ANNOTATION: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";
const SHARES_TEXT: &str = "must be a non-negative integer";
const PERCENT_TEXT: &str = "must be between 0 and 100, inclusive";

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Type", "Whether the level is limited."),
    Column::text("NominalConcurrencyShares", "Its part of the server's seats."),
    Column::text("Queues", "Queues for waiting requests."),
    Column::text("HandSize", "Queues one flow may use."),
    Column::text("QueueLengthLimit", "Requests in one queue."),
    Column::AGE,
];

/// The strategy of PriorityLevelConfigurations.
pub(super) struct PriorityLevelConfigurations;

impl Strategy for PriorityLevelConfigurations {
    fn resource(&self) -> &'static Resource {
        crate::resource!("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations")
    }

    fn default(&self, obj: &mut Value) {
        if let Some(exempt) = at_mut(obj, "spec.exempt") {
            set_default(exempt, "nominalConcurrencyShares", 0);
            set_default(exempt, "lendablePercent", 0);
        }
        if let Some(limited) = at_mut(obj, "spec.limited") {
            set_default(limited, "nominalConcurrencyShares", 30);
            set_default(limited, "lendablePercent", 0);
        }
        if let Some(queuing) = at_mut(obj, "spec.limited.limitResponse.queuing") {
            for (name, number) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
                if int_at(queuing, name).unwrap_or(0) == 0 {
                    set(queuing, name, number);
                }
            }
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "status", json!({}));
        meta::start_generation(obj);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        if sub == Subresource::Status {
            keep_all_but_status(new, old);
            return;
        }
        carry_over(new, old, "status");
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        let annotations = map_at(obj, "metadata.annotations");
        if annotations.is_some_and(|annotations| annotations.contains_key(ZERO_SHARES_ANNOTATION)) {
            let text = format!("annotation '{ZERO_SHARES_ANNOTATION}' is forbidden");
            errors.push(field::forbidden(&Path::new("metadata.annotations"), text));
        }
        errors.extend(validate_spec(obj));
        errors.extend(validate_mandatory(obj));
        errors.extend(validate_conditions(obj));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Value, _old: &Value) -> Vec<Error> {
        if sub == Subresource::Status { validate_conditions(new) } else { self.validate(new) }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let number = |path: &str| int_at(obj, path).map_or(json!("<none>"), |number| json!(number));
        vec![
            columns::name(obj),
            json!(str_at(obj, "spec.type")),
            number("spec.limited.nominalConcurrencyShares"),
            number("spec.limited.limitResponse.queuing.queues"),
            number("spec.limited.limitResponse.queuing.handSize"),
            number("spec.limited.limitResponse.queuing.queueLengthLimit"),
            columns::age(obj, now),
        ]
    }
}

/// The levels the server cannot do without stay as they are; of the exempt one the own part may change.
fn validate_mandatory(obj: &Value) -> Option<Error> {
    let name = str_at(obj, "metadata.name");
    let shipped = bootstrap::mandatory_spec("PriorityLevelConfiguration", name)?;
    let mut compared = obj.clone();
    let mut except = "";
    if name == "exempt" {
        carry_over(&mut compared, shipped, "spec.exempt");
        except = " except the 'spec.exempt' field";
    }
    (!same_at(&compared, shipped, "spec")).then(|| {
        let spec = internal::bad_value("PriorityLevelConfigurationSpec", at(obj, "spec"));
        let text = format!("spec of '{name}'{except} must equal the fixed value");
        field::invalid(&Path::new("spec"), spec, text)
    })
}

fn validate_spec(obj: &Value) -> Vec<Error> {
    let path = Path::new("spec");
    let (kind, type_path) = (str_at(obj, "spec.type"), path.child("type"));
    let (exempt, limited) = (at(obj, "spec.exempt"), at(obj, "spec.limited"));
    let (exempt_path, limited_path) = (path.child("exempt"), path.child("limited"));
    let mut errors = Vec::new();
    if (str_at(obj, "metadata.name") == "exempt") != (kind == "Exempt") {
        let text = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.push(field::invalid(&type_path, kind, text));
    }
    match kind {
        "Exempt" => {
            if limited.is_some() {
                errors.push(field::forbidden(&limited_path, "must be nil if the type is not Limited"));
            }
            if let Some(exempt) = exempt {
                errors.extend(validate_shares(exempt, &exempt_path));
                errors.extend(validate_lendable(exempt, &exempt_path));
            }
        }
        "Limited" => {
            if exempt.is_some() {
                errors.push(field::forbidden(&exempt_path, "must be nil if the type is Limited"));
            }
            match limited {
                None => {
                    errors.push(field::required(&limited_path, "must not be empty when type is Limited"));
                }
                Some(limited) => errors.extend(validate_limited(limited, &limited_path)),
            }
        }
        other => errors.push(field::not_supported(&type_path, other, &["Exempt", "Limited"])),
    }
    errors
}

fn validate_shares(owner: &Value, path: &Path) -> Option<Error> {
    let shares = int_at(owner, "nominalConcurrencyShares").filter(|shares| *shares < 0)?;
    Some(field::invalid(&path.child("nominalConcurrencyShares"), shares, SHARES_TEXT))
}

fn validate_lendable(owner: &Value, path: &Path) -> Option<Error> {
    let percent = int_at(owner, "lendablePercent").filter(|percent| !(0..=100).contains(percent))?;
    Some(field::invalid(&path.child("lendablePercent"), percent, PERCENT_TEXT))
}

fn validate_limited(limited: &Value, path: &Path) -> Vec<Error> {
    let mut errors: Vec<Error> = validate_shares(limited, path).into_iter().collect();
    let response = at(limited, "limitResponse").unwrap_or(&Value::Null);
    errors.extend(validate_response(response, &path.child("limitResponse")));
    errors.extend(validate_lendable(limited, path));
    if let Some(percent) = int_at(limited, "borrowingLimitPercent").filter(|percent| *percent < 0) {
        let text = "if specified, must be a non-negative integer";
        errors.push(field::invalid(&path.child("borrowingLimitPercent"), percent, text));
    }
    errors
}

fn validate_response(response: &Value, path: &Path) -> Vec<Error> {
    let queuing_path = path.child("queuing");
    match (str_at(response, "type"), at(response, "queuing")) {
        ("Reject", None) => Vec::new(),
        ("Reject", Some(_)) => {
            let text = "must be nil if limited.limitResponse.type is not Limited";
            vec![field::forbidden(&queuing_path, text)]
        }
        ("Queue", None) => {
            let text = "must not be empty if limited.limitResponse.type is Limited";
            vec![field::required(&queuing_path, text)]
        }
        ("Queue", Some(queuing)) => validate_queuing(queuing, &queuing_path),
        (other, _) => vec![field::not_supported(&path.child("type"), other, &["Queue", "Reject"])],
    }
}

fn validate_queuing(queuing: &Value, path: &Path) -> Vec<Error> {
    let number = |name: &str| int_at(queuing, name).unwrap_or(0);
    let (queues, hand, length) = (number("queues"), number("handSize"), number("queueLengthLimit"));
    let mut errors = Vec::new();
    if length <= 0 {
        errors.push(field::invalid(&path.child("queueLengthLimit"), length, "must be positive"));
    }
    let queues_path = path.child("queues");
    if queues <= 0 {
        errors.push(field::invalid(&queues_path, queues, "must be positive"));
    } else if queues > QUEUES_MAX {
        let text = format!("must not be greater than {QUEUES_MAX}");
        errors.push(field::invalid(&queues_path, queues, text));
    }
    let problem = hand_problem(queues, hand);
    errors.extend(problem.map(|text| field::invalid(&path.child("handSize"), hand, text)));
    errors
}

fn hand_problem(queues: i64, hand: i64) -> Option<String> {
    if hand <= 0 {
        return Some("must be positive".to_owned());
    }
    if hand > queues {
        return Some(format!("should not be greater than queues ({queues})"));
    }
    (entropy_bits(queues, hand) > HASH_BITS_MAX).then(|| {
        format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS_MAX}"
        )
    })
}

/// Bits it takes to deal one hand.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // Both numbers are below ten million.
fn entropy_bits(queues: i64, hand: i64) -> i64 {
    ((queues as f64).log2() * hand as f64).ceil() as i64
}
