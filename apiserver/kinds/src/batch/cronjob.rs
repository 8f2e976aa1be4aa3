//! CronJobs.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::spec;
use crate::apps::deployment::not_negative;
use crate::apps::template as workload;
use crate::columns::{self, Column};
use crate::core::pod::features;
use crate::core::pod::validate::Options;
use crate::core::podtemplate::container_cell;
use crate::field::{self, BadValue, Error, Path};
use crate::names::subdomain_rule;
use crate::tree::{at, at_mut, bool_at, carry_over, list_at, set, set_default, str_at};
use crate::{Resource, Strategy, Subresource, Tree, meta};

/// The strategy of CronJobs.
pub(super) struct CronJobs;

static RESOURCE: LazyLock<&'static Resource> = LazyLock::new(|| Resource::known("batch", "v1", "cronjobs"));

/// A job's name may have 63 characters, of which eleven tell its time.
const NAME_LENGTH_MAX: usize = 52;

const TEMPLATE: &str = "spec.jobTemplate.spec.template";
const JOB_SPEC: &str = "spec.jobTemplate.spec";

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Schedule", "When jobs are made."),
    Column::text("Timezone", "Time zone of the schedule."),
    Column::boolean("Suspend", "Whether no jobs are made."),
    Column::integer("Active", "Jobs that run."),
    Column::text("Last Schedule", "Time since a job was last made."),
    Column::AGE,
    Column::text("Containers", "Names of the template's containers.").wide(),
    Column::text("Images", "Images of the template's containers.").wide(),
    Column::text("Selector", "Selector of the pods.").wide(),
];

impl Strategy for CronJobs {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn default(&self, obj: &mut Tree) {
        if str_at(obj, "spec.concurrencyPolicy").is_empty() {
            set(obj, "spec.concurrencyPolicy", "Allow");
        }
        set_default(obj, "spec.suspend", false);
        set_default(obj, "spec.successfulJobsHistoryLimit", 3);
        set_default(obj, "spec.failedJobsHistoryLimit", 1);
        set_default(obj, JOB_SPEC, json!({}));
        if let Some(job) = at_mut(obj, JOB_SPEC) {
            spec::default_template(job);
        }
    }

    fn prepare_create(&self, obj: &mut Tree) {
        set(obj, "status", json!({}));
        meta::start_generation(obj);
        if let Some(template) = at_mut(obj, TEMPLATE) {
            features::drop_disabled(template, None);
        }
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Tree, old: &Tree) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            return;
        }
        carry_over(new, old, "status");
        if let Some(template) = at_mut(new, TEMPLATE) {
            features::drop_disabled(template, at(old, TEMPLATE));
        }
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        errors.extend(spec_errors(obj, None));
        let name = str_at(obj, "metadata.name");
        if name.len() > NAME_LENGTH_MAX {
            let text = format!("must be no more than {NAME_LENGTH_MAX} characters");
            errors.push(field::invalid(&Path::new("metadata.name"), name, text));
        }
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        if sub == Subresource::Status {
            return Vec::new();
        }
        let mut errors = meta::validate_update(new, old);
        errors.extend(spec_errors(new, Some(old)));
        errors
    }

    fn warnings(&self, new: &Tree, old: Option<&Tree>) -> Vec<String> {
        let mut warnings: Vec<String> =
            if old.is_none() { workload::name_warning(new).into_iter().collect() } else { Vec::new() };
        let changed = old.is_none_or(|old| meta::generation(old) != meta::generation(new));
        if let (true, Some(job)) = (changed, at(new, JOB_SPEC)) {
            warnings.extend(spec::warnings(job, &Path::new(JOB_SPEC)));
        }
        if old.is_some() && str_at(new, "spec.schedule").contains("TZ") {
            warnings.push("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".to_owned());
        }
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Tree, now: Timestamp) -> Vec<Tree> {
        let suspend = match bool_at(obj, "spec.suspend") {
            None => "<unset>",
            Some(true) => "True",
            Some(false) => "False",
        };
        let last = match str_at(obj, "status.lastScheduleTime") {
            "" => "<none>".to_owned(),
            time => columns::since(time, now),
        };
        let zone = at(obj, "spec.timeZone").and_then(Value::as_str).unwrap_or("<none>");
        vec![
            columns::name(obj),
            json!(str_at(obj, "spec.schedule")),
            json!(zone),
            json!(suspend),
            json!(list_at(obj, "status.active").len()),
            json!(last),
            columns::age(obj, now),
            json!(container_cell(obj, "spec.jobTemplate.spec.template.spec.containers", "name")),
            json!(container_cell(obj, "spec.jobTemplate.spec.template.spec.containers", "image")),
            json!(columns::label_selector(obj, "spec.jobTemplate.spec.selector")),
        ]
    }
}

fn spec_errors(obj: &Value, old: Option<&Value>) -> Vec<Error> {
    let null = Value::Null;
    let spec = at(obj, "spec").unwrap_or(&null);
    let path = Path::new("spec");
    let options = Options::template(old.and_then(|old| at(old, TEMPLATE)));
    let mut errors = schedule_errors(spec, old, &path.child("schedule"));
    errors.extend(not_negative(spec, "startingDeadlineSeconds", &path));
    let zone = at(spec, "timeZone").and_then(Value::as_str);
    let zone_changed = old.is_none_or(|old| at(old, "spec.timeZone").and_then(Value::as_str) != zone);
    if let (true, Some(zone)) = (zone_changed, zone) {
        errors.extend(zone_errors(zone, &path.child("timeZone")));
    }
    errors.extend(concurrency_error(spec, &path.child("concurrencyPolicy")));
    errors.extend(job_errors(spec, &path.child("jobTemplate").child("spec"), &options));
    for name in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        errors.extend(not_negative(spec, name, &path));
    }
    errors
}

fn schedule_errors(spec: &Value, old: Option<&Value>, path: &Path) -> Vec<Error> {
    let schedule = str_at(spec, "schedule");
    if schedule.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut errors = Vec::new();
    if let Err(text) = cron::Schedule::parse(schedule) {
        errors.push(field::invalid(path, schedule, text));
    }
    let has_zone = schedule.contains("TZ");
    let had_zone = old.is_some_and(|old| str_at(old, "spec.schedule").contains("TZ"));
    if has_zone && had_zone && at(spec, "timeZone").is_some() {
        let text = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
        errors.push(field::invalid(path, schedule, text));
    } else if has_zone && !had_zone {
        let text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(field::invalid(path, schedule, text));
    }
    errors
}

fn zone_errors(zone: &str, path: &Path) -> Vec<Error> {
    if zone.is_empty() {
        return vec![field::invalid(path, zone, "timeZone must be nil or non-empty string")];
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_+".contains(c);
    let is_part = |part: &str| {
        !matches!(part, "." | "..")
            && !part.starts_with('-')
            && (1..=14).contains(&part.len())
            && part.chars().all(fits)
    };
    if !zone.split('/').all(is_part) {
        return vec![field::invalid(path, zone, format!("unknown time zone {zone}"))];
    }
    let mut errors = Vec::new();
    if zone.eq_ignore_ascii_case("Local") {
        let text = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(field::invalid(path, zone, text));
    }
    if let Err(text) = cron::zone(zone) {
        errors.push(field::invalid(path, zone, text));
    }
    errors
}

fn concurrency_error(spec: &Value, path: &Path) -> Option<Error> {
    const POLICIES: [&str; 3] = ["Allow", "Forbid", "Replace"];
    match str_at(spec, "concurrencyPolicy") {
        "" => Some(field::required(path, "")),
        policy if POLICIES.contains(&policy) => None,
        policy => Some(field::not_supported(path, policy, &POLICIES)),
    }
}

fn job_errors(spec: &Value, path: &Path, options: &Options) -> Vec<Error> {
    let null = Value::Null;
    let job = at(spec, "jobTemplate.spec").unwrap_or(&null);
    let mut errors = spec::content_errors(job, path, options);
    if at(job, "selector").is_some() {
        let value = crate::apps::selector::printed(at(job, "selector"));
        errors.push(field::invalid(&path.child("selector"), value, "`selector` will be auto-generated"));
    }
    if bool_at(job, "manualSelector") == Some(true) {
        let value = BadValue::Json(Value::Bool(true));
        errors.push(field::not_supported(&path.child("manualSelector"), value, &["nil", "false"]));
    }
    errors
}
