//! Jobs and CronJobs. Both are written back whole.

use jiff::Timestamp;
use runtime::{LabelSelector, Metadata, View};
use serde::{Deserialize, Serialize};

use super::pod::controlled_by;
use super::workload::whole_seconds;

/// A Job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Job {
    pub(crate) metadata: Metadata,
    pub(crate) spec: JobSpec,
    pub(crate) status: JobStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JobSpec {
    pub(crate) parallelism: i32,
    pub(crate) completions: Option<i32>,
    pub(crate) completion_mode: String,
    pub(crate) active_deadline_seconds: Option<i64>,
    pub(crate) backoff_limit: i32,
    pub(crate) backoff_limit_per_index: Option<i32>,
    pub(crate) max_failed_indexes: Option<i32>,
    pub(crate) pod_failure_policy: Option<Rules<FailureRule>>,
    pub(crate) success_policy: Option<Rules<SuccessRule>>,
    pub(crate) pod_replacement_policy: String,
    pub(crate) managed_by: Option<String>,
    pub(crate) selector: Option<LabelSelector>,
    pub(crate) suspend: bool,
    pub(crate) ttl_seconds_after_finished: Option<i64>,
    pub(crate) template: JobTemplate,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct JobTemplate {
    pub(crate) spec: JobTemplateSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JobTemplateSpec {
    pub(crate) restart_policy: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rules<T> {
    pub(crate) rules: Vec<T>,
}

/// What a pod's failure means.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FailureRule {
    pub(crate) action: String,
    pub(crate) on_exit_codes: Option<ExitCodes>,
    pub(crate) on_pod_conditions: Vec<ConditionPattern>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ExitCodes {
    pub(crate) container_name: Option<String>,
    pub(crate) operator: String,
    pub(crate) values: Vec<i32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConditionPattern {
    pub(crate) r#type: String,
    pub(crate) status: String,
}

/// When enough indexes have succeeded.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SuccessRule {
    pub(crate) succeeded_indexes: Option<String>,
    pub(crate) succeeded_count: Option<i32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JobStatus {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) conditions: Vec<JobCondition>,
    #[serde(skip_serializing_if = "Option::is_none", with = "whole_seconds")]
    pub(crate) start_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", with = "whole_seconds")]
    pub(crate) completion_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "zero")]
    pub(crate) active: i32,
    #[serde(skip_serializing_if = "zero")]
    pub(crate) succeeded: i32,
    #[serde(skip_serializing_if = "zero")]
    pub(crate) failed: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) terminating: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ready: Option<i32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) completed_indexes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed_indexes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uncounted_terminated_pods: Option<Uncounted>,
}

/// Pods that have ended, are not in the counters yet, and may still have their finalizer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Uncounted {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) succeeded: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JobCondition {
    pub(crate) r#type: String,
    pub(crate) status: String,
    #[serde(skip_serializing_if = "Option::is_none", with = "whole_seconds")]
    pub(crate) last_probe_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", with = "whole_seconds")]
    pub(crate) last_transition_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
}

impl Job {
    /// The true condition of a type.
    pub(crate) fn condition(&self, ty: &str) -> Option<&JobCondition> {
        self.status.conditions.iter().find(|condition| condition.r#type == ty && condition.status == "True")
    }

    /// The condition with which it has ended.
    pub(crate) fn finished(&self) -> Option<&JobCondition> {
        self.condition("Complete").or_else(|| self.condition("Failed"))
    }
}

/// A CronJob.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CronJob {
    pub(crate) metadata: Metadata,
    pub(crate) spec: CronJobSpec,
    pub(crate) status: CronJobStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CronJobSpec {
    pub(crate) schedule: String,
    pub(crate) time_zone: Option<String>,
    pub(crate) starting_deadline_seconds: Option<i64>,
    pub(crate) concurrency_policy: String,
    pub(crate) suspend: bool,
    pub(crate) successful_jobs_history_limit: Option<i32>,
    pub(crate) failed_jobs_history_limit: Option<i32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CronJobStatus {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) active: Vec<JobReference>,
    #[serde(skip_serializing_if = "Option::is_none", with = "whole_seconds")]
    pub(crate) last_schedule_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", with = "whole_seconds")]
    pub(crate) last_successful_time: Option<Timestamp>,
}

/// A Job that a CronJob has made.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JobReference {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) api_version: String,
    pub(crate) resource_version: String,
}

fn zero(number: &i32) -> bool {
    *number == 0
}

impl View for Job {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn groups(&self) -> Vec<String> {
        self.metadata.controller().map(|owner| controlled_by(&owner.uid)).into_iter().collect()
    }
}

impl View for CronJob {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}
