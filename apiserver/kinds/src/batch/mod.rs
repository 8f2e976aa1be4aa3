//! Kinds of the batch group. A Job's spec stands in Jobs and in the templates of CronJobs alike, so its rules are apart, in
//! [`spec`]; what a Job's status may become is in [`status`].

mod cronjob;
pub(crate) mod indexes;
mod job;
mod policies;
mod spec;
mod status;
mod update;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&cronjob::CronJobs, &job::Jobs]
}

#[cfg(test)]
mod tests;
