//! Jobs and cron jobs as tables: an object in, its defaults, faults and cells out.

use serde_json::{Value, json};

use crate::tree::{at, set};
use crate::{Strategy, Subresource};

fn strategy(plural: &str) -> &'static dyn Strategy {
    crate::strategy("batch", "v1", plural).expect("registered")
}

/// A job as it is stored, with the given parts of its spec.
fn job(spec: Value) -> Value {
    let template = json!({"metadata": {"labels": {"a": "b"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let mut job = json!({"metadata": {"name": "j", "namespace": "n", "uid": "u", "resourceVersion": "1"},
        "spec": {"template": template}});
    for (name, value) in spec.as_object().expect("an object") {
        set(&mut job, &format!("spec.{name}"), value.clone());
    }
    strategy("jobs").default(&mut job);
    strategy("jobs").prepare_create(&mut job);
    job
}

fn texts(errors: &[crate::field::Error]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_job_selects_its_pods_by_its_uid() {
    let job = job(json!({}));
    assert_eq!(
        at(&job, "spec.selector.matchLabels"),
        Some(&json!({"batch.kubernetes.io/controller-uid": "u"}))
    );
    let labels = json!({"a": "b", "batch.kubernetes.io/controller-uid": "u", "controller-uid": "u",
        "batch.kubernetes.io/job-name": "j", "job-name": "j"});
    assert_eq!(at(&job, "spec.template.metadata.labels"), Some(&labels));
    assert_eq!(at(&job, "metadata.labels"), Some(&labels));
    assert_eq!(texts(&strategy("jobs").validate(&job)), [""; 0]);
}

#[test]
fn labels_of_the_writer_stay_the_writers() {
    let mut job = json!({"metadata": {"name": "j", "uid": "u", "labels": {"x": "y"}},
        "spec": {"template": {"metadata": {"labels": {"a": "b"}}}}});
    strategy("jobs").default(&mut job);
    strategy("jobs").prepare_create(&mut job);
    assert_eq!(at(&job, "metadata.labels"), Some(&json!({"x": "y"})));
}

/// Changes the spec of a job and compares what an update says.
fn check_update(mut old: Value, changes: Value, errors: &[&str]) {
    let mut new = old.clone();
    for (path, value) in changes.as_object().expect("an object") {
        set(&mut new, path, value.clone());
    }
    strategy("jobs").prepare_update(Subresource::None, &mut new, &old);
    set(&mut old, "metadata.resourceVersion", "1");
    assert_eq!(texts(&strategy("jobs").validate_update(Subresource::None, &new, &old)), errors);
}

#[test]
fn pods_of_a_suspended_job_may_be_directed_and_sized() {
    let suspended = || job(json!({"suspend": true}));
    check_update(suspended(), json!({"spec.template.spec.nodeSelector": {"disk": "fast"}}), &[]);
    let sized = json!([{"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File", "resources": {"requests": {"cpu": "1"}}}]);
    check_update(suspended(), json!({"spec.template.spec.containers": sized}), &[]);
    check_update(
        job(json!({})),
        json!({"spec.completions": 4}),
        &["spec.completions: Invalid value: 4: field is immutable"],
    );
    let indexed = || job(json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3}));
    check_update(indexed(), json!({"spec.completions": 5, "spec.parallelism": 5}), &[]);
    check_update(
        indexed(),
        json!({"spec.completions": 5}),
        &["spec.completions: Invalid value: 5: can only be modified in tandem with spec.parallelism"],
    );
}

#[test]
fn a_running_jobs_template_is_fixed_and_printed_with_its_metadata() {
    let old = job(json!({}));
    let mut new = old.clone();
    set(&mut new, "spec.template.spec.nodeSelector", json!({"disk": "fast"}));
    let errors = texts(&strategy("jobs").validate_update(Subresource::None, &new, &old));
    assert_eq!(errors.len(), 1);
    let start = "spec.template: Invalid value: {\"labels\":{\"a\":\"b\",\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"j\",\"controller-uid\":\"u\",\"job-name\":\"j\"},\"Spec\":{\"Volumes\":null,";
    assert!(errors[0].starts_with(start), "{}", errors[0]);
}

/// The status before and after, and what is wrong with the step.
fn check_status(before: Value, after: Value, errors: &[&str]) {
    let (mut old, mut new) = (job(json!({})), job(json!({})));
    old["status"] = before;
    new["status"] = after;
    assert_eq!(texts(&strategy("jobs").validate_update(Subresource::Status, &new, &old)), errors);
}

#[test]
fn a_job_ends_once_and_in_order() {
    let condition = |ty: &str| json!({"type": ty, "status": "True"});
    let time = "2026-01-01T00:00:00Z";
    let complete = json!({"startTime": time, "completionTime": time, "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]});
    check_status(json!({"startTime": time}), complete.clone(), &[]);
    check_status(
        json!({"startTime": time}),
        json!({"startTime": time, "conditions": [condition("Failed")]}),
        &[
            "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
        ],
    );
    check_status(
        complete,
        json!({"startTime": time, "succeeded": 0}),
        &[
            "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
            "status.succeeded: Invalid value: 0: cannot decrease the succeeded counter",
            "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
        ],
    );
    check_status(
        json!({}),
        json!({"completedIndexes": "0"}),
        &[
            "status.completedIndexes: Invalid value: \"0\": cannot set non-empty completedIndexes when non-indexed completion mode",
        ],
    );
}

#[test]
fn cells_tell_how_far_a_job_is() {
    let now = "2026-01-01T00:02:00Z".parse().expect("a time");
    for (status, cells) in [
        (json!({}), ["Running", "0/1", ""]),
        (json!({"startTime": "2026-01-01T00:00:00Z", "succeeded": 1}), ["Running", "1/1", "2m"]),
        (
            json!({"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:05Z", "succeeded": 1,
                "conditions": [{"type": "Complete", "status": "True"}]}),
            ["Complete", "1/1", "65s"],
        ),
        (json!({"conditions": [{"type": "Suspended", "status": "True"}]}), ["Suspended", "0/1", ""]),
    ] {
        let mut job = job(json!({}));
        job["status"] = status;
        assert_eq!(strategy("jobs").row(&job, now)[1..4], cells.map(|cell| json!(cell)));
    }
}

#[test]
fn schedules_name_zones_in_their_own_field() {
    let check = |schedule: &str, zone: Option<&str>, errors: &[&str]| {
        let mut cronjob = job(json!({}));
        cronjob["spec"] = json!({"schedule": schedule, "timeZone": zone,
            "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}});
        strategy("cronjobs").default(&mut cronjob);
        assert_eq!(texts(&strategy("cronjobs").validate(&cronjob)), errors);
    };
    check("*/5 * * * *", Some("Europe/Berlin"), &[]);
    check("@every 5m", None, &[]);
    check(
        "* * *",
        None,
        &["spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]"],
    );
    check(
        "TZ=UTC 0 0 * * *",
        None,
        &[
            "spec.schedule: Invalid value: \"TZ=UTC 0 0 * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ],
    );
    check("@daily", Some("../x"), &["spec.timeZone: Invalid value: \"../x\": unknown time zone ../x"]);
}
