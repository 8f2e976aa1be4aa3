//! Whether a CronJob is due, which of its jobs are history, and what its status says.

use cron::Schedule;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use runtime::Severity;

use crate::views::batch::{CronJob, CronJobStatus, Job, JobReference};

/// Missed times beyond which somebody should look, as upstream.
const MISSED_MAX: usize = 100;

/// What a plan is made from.
pub(super) struct View<'a> {
    pub(super) cronjob: &'a CronJob,
    /// Its jobs.
    pub(super) jobs: Vec<&'a Job>,
    pub(super) now: Timestamp,
}

/// What to say about the cron job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words(pub(super) Severity, pub(super) &'static str, pub(super) String);

/// One step: jobs are deleted, then one is made, then the status is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) status: CronJobStatus,
    /// Names and uids of jobs.
    pub(super) delete: Vec<(String, String)>,
    /// The time for which a job is made.
    pub(super) create: Option<Timestamp>,
    pub(super) words: Vec<Words>,
    pub(super) wake_at: Option<Timestamp>,
}

pub(super) fn plan(view: &View<'_>) -> Step {
    let cronjob = view.cronjob;
    let mut step = Step { status: cronjob.status.clone(), ..Step::default() };
    look_back(view, &mut step);
    if cronjob.metadata.deleting() || cronjob.spec.suspend {
        return step;
    }
    match due(view) {
        Ok((schedule, zone)) => start(view, &schedule, &zone, &mut step),
        Err(words) => step.words.push(words),
    }
    step
}

/// What became of the jobs so far.
fn look_back(view: &View<'_>, step: &mut Step) {
    let before = std::mem::take(&mut step.status.active);
    for job in view.jobs.iter().filter(|job| job.finished().is_none()) {
        step.status.active.push(reference(job));
    }
    step.status.active.sort_by(|left, right| left.name.cmp(&right.name));
    for old in &before {
        let job = view.jobs.iter().find(|job| job.metadata.uid == old.uid);
        match job.and_then(|job| job.finished()) {
            Some(condition) => {
                let message = format!("Saw completed job: {}, condition: {}", old.name, condition.r#type);
                step.words.push(Words(Severity::Normal, "SawCompletedJob", message));
            }
            None if job.is_none() => {
                let message = format!("Active job went missing: {}", old.name);
                step.words.push(Words(Severity::Normal, "MissingJob", message));
            }
            None => {}
        }
    }
    let last_success = view.jobs.iter().filter_map(|job| job.status.completion_time).max();
    step.status.last_successful_time = step.status.last_successful_time.max(last_success);
    let spec = &view.cronjob.spec;
    for (ty, limit) in
        [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)]
    {
        let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { continue };
        let mut ended: Vec<&&Job> = view.jobs.iter().filter(|job| job.condition(ty).is_some()).collect();
        ended.sort_by_key(|job| (job.status.start_time, job.metadata.name.clone()));
        let surplus = ended.len().saturating_sub(limit);
        step.delete.extend(ended[..surplus].iter().map(|job| named(job)));
    }
}

fn named(job: &Job) -> (String, String) {
    (job.metadata.name.clone(), job.metadata.uid.clone())
}

fn reference(job: &Job) -> JobReference {
    JobReference {
        kind: "Job".to_owned(),
        namespace: job.metadata.namespace.clone(),
        name: job.metadata.name.clone(),
        uid: job.metadata.uid.clone(),
        api_version: "batch/v1".to_owned(),
        resource_version: String::new(),
    }
}

fn due(view: &View<'_>) -> Result<(Schedule, TimeZone), Words> {
    let spec = &view.cronjob.spec;
    let name = spec.time_zone.as_deref().unwrap_or("UTC");
    let zone = cron::zone(name).map_err(|error| {
        let message = format!("invalid timeZone: {name:?}: {error}");
        Words(Severity::Warning, "UnknownTimeZone", message)
    })?;
    let schedule = Schedule::parse(&spec.schedule).map_err(|error| {
        let message = format!("unparseable schedule: {:?} : {error}", spec.schedule);
        Words(Severity::Warning, "UnparseableSchedule", message)
    })?;
    Ok((schedule, zone))
}

fn start(view: &View<'_>, schedule: &Schedule, zone: &TimeZone, step: &mut Step) {
    let cronjob = view.cronjob;
    step.wake_at = schedule.next_after(view.now, zone);
    let created = cronjob.metadata.creation_timestamp.unwrap_or(view.now);
    let mut since = cronjob.status.last_schedule_time.unwrap_or(created);
    let deadline = cronjob.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    if let Some(earliest) = deadline.and_then(|deadline| view.now.checked_sub(deadline).ok()) {
        since = since.max(earliest);
    }
    let Some(at) = latest(schedule, zone, since, view.now) else { return };
    if too_many_missed(schedule, zone, since, view.now) {
        let message =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        step.words.push(Words(Severity::Warning, "TooManyMissedTimes", message.to_owned()));
    }
    let runs = !step.status.active.is_empty();
    match cronjob.spec.concurrency_policy.as_str() {
        "Forbid" if runs => {
            let message =
                "Not starting job because prior execution is running and concurrency policy is Forbid";
            step.words.push(Words(Severity::Normal, "JobAlreadyActive", message.to_owned()));
            return;
        }
        "Replace" if runs => {
            let running = view.jobs.iter().filter(|job| job.finished().is_none());
            step.delete.extend(running.map(|job| named(job)));
            step.status.active.clear();
        }
        _ => {}
    }
    step.create = Some(at);
    step.status.last_schedule_time = Some(at);
}

/// The last time in `since..=now` at which the schedule was due. It is searched backwards, in steps that double, so that a
/// long pause costs no more than a short one.
fn latest(schedule: &Schedule, zone: &TimeZone, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let mut back = SignedDuration::from_secs(60);
    let mut due = loop {
        let from = now.checked_sub(back).unwrap_or(since).max(since);
        match schedule.next_after(from, zone).filter(|due| *due <= now) {
            Some(due) => break due,
            None if from == since => return None,
            None => back = back.saturating_mul(2),
        }
    };
    while let Some(next) = schedule.next_after(due, zone).filter(|next| *next <= now) {
        due = next;
    }
    Some(due)
}

fn too_many_missed(schedule: &Schedule, zone: &TimeZone, since: Timestamp, now: Timestamp) -> bool {
    let times =
        std::iter::successors(schedule.next_after(since, zone), |due| schedule.next_after(*due, zone));
    times.take_while(|due| *due <= now).take(MISSED_MAX + 1).count() > MISSED_MAX
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A cron job of every ten minutes that was last scheduled at 00:00, at a later time.
    fn step(spec: Value, jobs: Value, now: &str) -> Step {
        let mut whole = json!({"schedule": "*/10 * * * *", "concurrencyPolicy": "Allow",
            "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0});
        whole.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
        let cronjob: CronJob = serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "n", "creationTimestamp": "2025-12-31T00:00:00Z"},
            "spec": whole, "status": {"lastScheduleTime": "2026-01-01T00:00:00Z"}}))
        .expect("a cron job");
        let jobs: Vec<Job> = serde_json::from_value(jobs).expect("jobs");
        plan(&View { cronjob: &cronjob, jobs: jobs.iter().collect(), now: now.parse().expect("a time") })
    }

    fn time(text: &str) -> Option<Timestamp> {
        Some(text.parse().expect("a time"))
    }

    fn running() -> Value {
        json!([{"metadata": {"name": "c-1", "uid": "u1"}}])
    }

    #[test]
    fn the_latest_due_time_is_made_up_for() {
        assert_eq!(step(json!({}), json!([]), "2026-01-01T00:09:59Z").create, None);
        let due = step(json!({}), json!([]), "2026-01-01T00:35:00Z");
        assert_eq!(due.create, time("2026-01-01T00:30:00Z"));
        assert_eq!(due.status.last_schedule_time, due.create);
        assert_eq!(due.wake_at, time("2026-01-01T00:40:00Z"));
        let late = step(json!({}), json!([]), "2026-03-01T00:05:00Z");
        assert_eq!(late.create, time("2026-03-01T00:00:00Z"));
        assert_eq!(late.words[0].1, "TooManyMissedTimes");
    }

    #[test]
    fn suspension_and_deadlines_let_times_pass() {
        assert_eq!(step(json!({"suspend": true}), json!([]), "2026-01-01T00:35:00Z").create, None);
        let spec = json!({"startingDeadlineSeconds": 60});
        assert_eq!(step(spec.clone(), json!([]), "2026-01-01T00:35:00Z").create, None);
        assert_eq!(step(spec, json!([]), "2026-01-01T00:30:30Z").create, time("2026-01-01T00:30:00Z"));
        let unknown = step(json!({"timeZone": "Nope/X"}), json!([]), "2026-01-01T00:35:00Z");
        assert_eq!((unknown.create, unknown.words[0].1), (None, "UnknownTimeZone"));
    }

    #[test]
    fn a_running_job_may_stand_in_the_way() {
        let at = "2026-01-01T00:10:00Z";
        let forbid = step(json!({"concurrencyPolicy": "Forbid"}), running(), at);
        assert_eq!((forbid.create, forbid.words[0].1), (None, "JobAlreadyActive"));
        let replace = step(json!({"concurrencyPolicy": "Replace"}), running(), at);
        assert_eq!(replace.delete, [("c-1".to_owned(), "u1".to_owned())]);
        assert_eq!(replace.create, time(at));
        let allow = step(json!({}), running(), at);
        assert_eq!((allow.status.active.len(), allow.create), (1, time(at)));
    }

    #[test]
    fn ended_jobs_become_history_and_then_nothing() {
        let job = |name: &str, ty: &str, start: &str| {
            json!({"metadata": {"name": name, "uid": name},
                "status": {"startTime": start, "completionTime": (ty == "Complete").then_some(start),
                    "conditions": [{"type": ty, "status": "True"}]}})
        };
        let jobs = json!([
            job("old", "Complete", "2026-01-01T00:00:01Z"),
            job("new", "Complete", "2026-01-01T00:00:02Z"),
            job("bad", "Failed", "2026-01-01T00:00:03Z")
        ]);
        let step = step(json!({}), jobs, "2026-01-01T00:05:00Z");
        let deleted: Vec<&str> = step.delete.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(deleted, ["old", "bad"]);
        assert_eq!(step.status.last_successful_time, time("2026-01-01T00:00:02Z"));
    }
}
