//! What a Job's status may become. Other controllers than ours may run a job, so the rules of a job's end hold here; each
//! is only asked when what it is about changes, so that a status that breaks one can still be mended elsewhere.

use jiff::Timestamp;
use serde_json::Value;

use super::indexes;
use super::job::{has_condition, has_condition_status};
use crate::apps::deployment::not_negative;
use crate::core::pod::internal;
use crate::field::{self, BadValue, Error, Path};
use crate::tree::{at, bool_at, int_at, list_at, same_at, str_at};

/// Everything wrong with replacing the status of `old` by that of `new`.
pub(super) fn update_errors(new: &Value, old: &Value) -> Vec<Error> {
    let change = Change { new, old };
    let mut errors = number_errors(new);
    errors.extend(end_errors(&change));
    errors.extend(index_errors(&change));
    errors.extend(rest_errors(&change));
    errors.extend(success_errors(new));
    errors.extend(transition_errors(&change));
    errors
}

/// A status and its successor.
struct Change<'a> {
    new: &'a Value,
    old: &'a Value,
}

impl Change<'_> {
    /// Whether a field of the status differs.
    fn of(&self, name: &str) -> bool {
        !same_at(self.new, self.old, &format!("status.{name}"))
    }

    /// Whether a number that is zero when absent differs.
    fn of_number(&self, name: &str) -> bool {
        number(self.new, name) != number(self.old, name)
    }

    /// Whether a condition became true or stopped being it.
    fn of_condition(&self, ty: &str) -> bool {
        has_condition(self.new, ty) != has_condition(self.old, ty)
    }

    fn of_end(&self) -> bool {
        is_finished(self.new) != is_finished(self.old)
    }
}

fn number(job: &Value, name: &str) -> i64 {
    int_at(job, &format!("status.{name}")).unwrap_or(0)
}

fn is_finished(job: &Value) -> bool {
    has_condition(job, "Complete") || has_condition(job, "Failed")
}

fn path(name: &str) -> Path {
    Path::new("status").child(name)
}

fn conditions(text: impl Into<String>) -> Error {
    field::invalid(&path("conditions"), BadValue::Omitted, text)
}

fn number_errors(job: &Value) -> Vec<Error> {
    let null = Value::Null;
    let status = at(job, "status").unwrap_or(&null);
    let mut errors: Vec<Error> = ["active", "succeeded", "failed", "ready", "terminating"]
        .into_iter()
        .filter_map(|name| not_negative(status, name, &Path::new("status")))
        .collect();
    let mut seen: Vec<&str> = Vec::new();
    for list in ["succeeded", "failed"] {
        let pods = list_at(status, &format!("uncountedTerminatedPods.{list}"));
        for (index, uid) in pods.iter().map(|uid| uid.as_str().unwrap_or("")).enumerate() {
            let path = path("uncountedTerminatedPods").child(list).index(index);
            if uid.is_empty() {
                errors.push(field::invalid(&path, uid, "must not be empty"));
            } else if seen.contains(&uid) {
                errors.push(field::duplicate(&path, uid));
            } else {
                seen.push(uid);
            }
        }
    }
    errors
}

/// How a job's end must look.
fn end_errors(change: &Change<'_>) -> Vec<Error> {
    let job = change.new;
    let has = |ty: &str| has_condition(job, ty);
    let (completed, failed) = (has("Complete"), has("Failed"));
    let complete_changed = change.of_condition("Complete");
    let (start, end) = (str_at(job, "status.startTime"), str_at(job, "status.completionTime"));
    let end_changed = complete_changed || change.of("completionTime");
    let end_path = path("completionTime");
    let mut errors = Vec::new();
    if completed && failed && (complete_changed || change.of_condition("Failed")) {
        errors.push(conditions("cannot set Complete=True and Failed=true conditions"));
    }
    if completed && has("FailureTarget") && (complete_changed || change.of_condition("FailureTarget")) {
        errors.push(conditions("cannot set Complete=True and FailureTarget=true conditions"));
    }
    if end_changed && !end.is_empty() && !completed {
        let text = "cannot set completionTime when there is no Complete=True condition";
        errors.push(field::invalid(&end_path, end, text));
    }
    if end_changed && end.is_empty() && completed {
        errors.push(field::required(&end_path, "completionTime is required for Complete jobs"));
    }
    if (change.of("startTime") || change.of("completionTime")) && is_before(end, start) {
        errors.push(field::invalid(&end_path, end, "must be equal to or after `startTime`"));
    }
    if (change.of_condition("Failed") || change.of("failedIndexes")) && failed && !has("FailureTarget") {
        errors.push(conditions("cannot set Failed=True condition without the FailureTarget=true condition"));
    }
    if (complete_changed || change.of_condition("SuccessCriteriaMet"))
        && completed
        && !has("SuccessCriteriaMet")
    {
        let text = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
        errors.push(conditions(text));
    }
    errors.extend(finished_errors(change));
    errors
}

fn is_before(time: &str, other: &str) -> bool {
    match (time.parse::<Timestamp>(), other.parse::<Timestamp>()) {
        (Ok(time), Ok(other)) => time < other,
        _ => false,
    }
}

/// What a finished job must not have left.
fn finished_errors(change: &Change<'_>) -> Vec<Error> {
    let job = change.new;
    let mut errors = Vec::new();
    if !is_finished(job) {
        return errors;
    }
    let active = number(job, "active");
    if (change.of_end() || change.of_number("active")) && active > 0 {
        errors.push(field::invalid(&path("active"), active, "active>0 is invalid for finished job"));
    }
    let never_starts =
        bool_at(job, "spec.suspend") == Some(true) && int_at(job, "spec.completions") == Some(0);
    let has_start = !str_at(job, "status.startTime").is_empty();
    if (change.of_end() || change.of("startTime")) && !never_starts && !has_start {
        errors.push(field::required(&path("startTime"), "startTime is required for finished job"));
    }
    let uncounted = at(job, "status.uncountedTerminatedPods");
    let has_uncounted = uncounted
        .is_some_and(|pods| !list_at(pods, "succeeded").is_empty() || !list_at(pods, "failed").is_empty());
    if (change.of_end() || change.of("uncountedTerminatedPods")) && has_uncounted {
        let value = internal::bad_value("*UncountedTerminatedPods", uncounted);
        let path = path("uncountedTerminatedPods");
        errors.push(field::invalid(&path, value, "must be empty for finished job"));
    }
    errors
}

fn index_errors(change: &Change<'_>) -> Vec<Error> {
    let job = change.new;
    let completed = str_at(job, "status.completedIndexes");
    let failed = at(job, "status.failedIndexes").and_then(Value::as_str);
    let completions = int_at(job, "spec.completions");
    let per_index = at(job, "spec.backoffLimitPerIndex").is_some();
    let (completed_changed, failed_changed) = (change.of("completedIndexes"), change.of("failedIndexes"));
    let (completed_path, failed_path) = (path("completedIndexes"), path("failedIndexes"));
    let mut errors = Vec::new();
    if let (true, Some(completions)) = (completed_changed, completions)
        && let Err(text) = indexes::count(completed, completions)
    {
        let text = format!("error parsing completedIndexes: {text}");
        errors.push(field::invalid(&completed_path, completed, text));
    }
    if let (true, true, Some(completions), Some(failed)) = (failed_changed, per_index, completions, failed)
        && let Err(text) = indexes::count(failed, completions)
    {
        let text = format!("error parsing failedIndexes: {text}");
        errors.push(field::invalid(&failed_path, failed, text));
    }
    if completed_changed && !completed.is_empty() && str_at(job, "spec.completionMode") != "Indexed" {
        let text = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.push(field::invalid(&completed_path, completed, text));
    }
    if let (true, false, Some(failed)) = (failed_changed, per_index, failed) {
        let text = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.push(field::invalid(&failed_path, failed, text));
    }
    if let (true, Some(completions), Some(failed)) =
        (completed_changed || failed_changed, completions, failed)
        && let Some(index) = indexes::overlap(completed, failed, completions)
    {
        let text = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.push(field::invalid(&failed_path, failed, text));
    }
    errors
}

fn rest_errors(change: &Change<'_>) -> Vec<Error> {
    let job = change.new;
    let mut errors = Vec::new();
    let terminating = number(job, "terminating");
    if (change.of_end() || change.of("terminating")) && terminating > 0 && is_finished(job) {
        let text = "terminating>0 is invalid for finished job";
        errors.push(field::invalid(&path("terminating"), terminating, text));
    }
    let ready = number(job, "ready");
    if (change.of("ready") || change.of_number("active")) && ready > number(job, "active") {
        errors.push(field::invalid(&path("ready"), ready, "cannot set more ready pods than active"));
    }
    errors
}

fn success_errors(job: &Value) -> Vec<Error> {
    let has = |ty: &str| has_condition(job, ty);
    let mut errors = Vec::new();
    if has("SuccessCriteriaMet") && has("Failed") {
        errors.push(conditions("cannot set SuccessCriteriaMet=True and Failed=true conditions"));
    }
    if has("SuccessCriteriaMet") && has("FailureTarget") {
        errors.push(conditions("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"));
    }
    if at(job, "spec.successPolicy").is_some() && !has("SuccessCriteriaMet") && has("Complete") {
        let text = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        errors.push(conditions(text));
    }
    errors
}

/// What must not be undone.
fn transition_errors(change: &Change<'_>) -> Vec<Error> {
    let (new, old) = (change.new, change.old);
    let lost = |ty: &str| has_condition(old, ty) && !has_condition(new, ty);
    let mut errors: Vec<Error> = ["Failed", "Complete", "FailureTarget"]
        .into_iter()
        .filter(|ty| lost(ty))
        .map(|ty| conditions(format!("cannot disable the terminal {ty}=True condition")))
        .collect();
    if number(new, "failed") < number(old, "failed") {
        errors.push(field::invalid(
            &path("failed"),
            number(new, "failed"),
            "cannot decrease the failed counter",
        ));
    }
    if number(new, "succeeded") < number(old, "succeeded") && !may_shrink(new) {
        let text = "cannot decrease the succeeded counter";
        errors.push(field::invalid(&path("succeeded"), number(new, "succeeded"), text));
    }
    let (end, old_end) = (at(new, "status.completionTime"), at(old, "status.completionTime"));
    if end.is_some() && old_end.is_some() && end != old_end {
        errors.push(field::invalid(&path("completionTime"), end, crate::meta::IMMUTABLE));
    }
    let resumes = has_condition(old, "Suspended") && has_condition_status(new, "Suspended", "False");
    let had_start = at(old, "status.startTime").is_some();
    if change.of("startTime") && had_start && !resumes && bool_at(new, "spec.suspend") != Some(true) {
        let text = "field is immutable for unsuspended job once set";
        errors.push(field::invalid(&path("startTime"), at(new, "status.startTime"), text));
    }
    if lost("SuccessCriteriaMet") {
        errors.push(conditions("cannot disable the SuccessCriteriaMet=True condition"));
    }
    let was_complete = has_condition(old, "Complete") && !has_condition(old, "SuccessCriteriaMet");
    if was_complete && has_condition(new, "SuccessCriteriaMet") {
        let text = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        errors.push(conditions(text));
    }
    errors
}

/// An indexed job whose completions and parallelism go together can be made smaller.
fn may_shrink(job: &Value) -> bool {
    str_at(job, "spec.completionMode") == "Indexed"
        && int_at(job, "spec.completions") == int_at(job, "spec.parallelism")
}
