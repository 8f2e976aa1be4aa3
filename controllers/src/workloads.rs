//! Starts the controllers of workloads over the caches they share.

use runtime::{Cache, Source};

use crate::views::batch::{CronJob, Job};
use crate::views::{Deployment, Pod, ReplicaSet, Text};
use crate::{Controller, House, cronjob, deployment, disruption, job, replicaset, resources};

pub(crate) fn start(house: &mut House<'_>, pods: &Cache<Pod>, wanted: &dyn Fn(Controller) -> bool) {
    let sets = Cache::<Text<ReplicaSet>>::new();
    let deployments = Cache::<Text<Deployment>>::new();
    if wanted(Controller::ReplicaSet) {
        replicaset::start(house, &replicaset::REPLICA_SETS, &sets, pods);
    }
    if wanted(Controller::Deployment) {
        deployment::start(house, &deployments, &sets, pods);
        house.follow(&deployments, Source::all(&resources::DEPLOYMENTS));
    }
    if wanted(Controller::ReplicaSet) || wanted(Controller::Deployment) {
        house.follow(&sets, Source::all(&resources::REPLICA_SETS));
    }
    if wanted(Controller::ReplicationController) {
        let controllers = Cache::<Text<ReplicaSet>>::new();
        replicaset::start(house, &replicaset::REPLICATION_CONTROLLERS, &controllers, pods);
        house.follow(&controllers, Source::all(&resources::REPLICATION_CONTROLLERS));
    }
    let jobs = Cache::<Text<Job>>::new();
    if wanted(Controller::Job) {
        job::start(house, &jobs, pods);
    }
    if wanted(Controller::CronJob) {
        let cronjobs = Cache::<Text<CronJob>>::new();
        cronjob::start(house, &cronjobs, &jobs);
        house.follow(&cronjobs, Source::all(&resources::CRON_JOBS));
    }
    if wanted(Controller::Job) || wanted(Controller::CronJob) {
        house.follow(&jobs, Source::all(&resources::JOBS));
    }
    if wanted(Controller::Disruption) {
        disruption::start(house, pods);
    }
}
