//! The next step of a rollout.
//!
//! A plan works on a picture of the sets: it scales and annotates the picture,
//! and in the end every set that differs from the one it was taken from becomes
//! one write. So later rules see what earlier ones did, and a set is written at
//! most once. The status is written last, after everything it speaks of.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use runtime::OwnerReference;
use serde_json::{Value, json};

use super::math::{Share, fenceposts, new_set_replicas, proportional};
use super::revision::{
    DESIRED, HASH_LABEL, MAX, REVISION, inherit, note_size, noted, revision, same_template, template_hash,
};
use super::status;
use crate::views::workload::{DeploymentSpec, DeploymentStatus, ReplicaSetStatus};
use crate::views::{Deployment, ReplicaSet, Text};

/// Longest name of an object.
const NAME_MAX: usize = 253;

/// What a plan is made from.
pub(crate) struct View<'a> {
    pub(crate) deployment: &'a Text<Deployment>,
    /// The sets it owns.
    pub(crate) sets: &'a [Arc<Text<ReplicaSet>>],
    /// Pods that have not ended, for each set's uid.
    pub(crate) pods: &'a BTreeMap<String, usize>,
    pub(crate) now: Timestamp,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Create the new set; on success say `event`, if any.
    Create { name: String, tree: Value, event: Option<String> },
    /// Replace a set; on success say `event`, if any.
    Update { name: String, tree: Value, event: Option<String> },
    /// Delete an old set.
    Delete { name: String, uid: String },
}

/// A step, and what is said about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) status: DeploymentStatus,
    /// Revision the deployment is to show, if it is known.
    pub(crate) revision: Option<String>,
    pub(crate) wake_at: Option<Timestamp>,
}

/// A set as the plan pictures it.
#[derive(Debug, Clone)]
pub(crate) struct SetState<'a> {
    /// The set it was taken from; `None` for the one to be created.
    from: Option<&'a Text<ReplicaSet>>,
    name: String,
    tree: Value,
    annotations: BTreeMap<String, String>,
    pub(super) replicas: i32,
    min_ready_seconds: i64,
}

static UNBORN: ReplicaSetStatus = ReplicaSetStatus {
    replicas: 0,
    fully_labeled_replicas: 0,
    ready_replicas: 0,
    available_replicas: 0,
    terminating_replicas: None,
    observed_generation: 0,
    conditions: Vec::new(),
};

impl<'a> SetState<'a> {
    fn of(set: &'a Text<ReplicaSet>) -> SetState<'a> {
        SetState {
            from: Some(set),
            name: set.metadata.name.clone(),
            tree: Value::Null,
            annotations: set.metadata.annotations.clone(),
            replicas: set.spec.replicas,
            min_ready_seconds: set.spec.min_ready_seconds,
        }
    }

    pub(super) fn status(&self) -> &ReplicaSetStatus {
        self.from.map_or(&UNBORN, |set| &set.status)
    }

    /// Available pods that will stay: those beyond the wanted number are on their way out.
    fn available(&self) -> i32 {
        self.status().available_replicas.min(self.replicas)
    }

    /// Whether the status speaks of the set as it is now wanted.
    fn reported(&self) -> bool {
        self.from.is_none_or(|set| set.status.observed_generation >= set.metadata.generation)
    }

    fn uid(&self) -> &str {
        self.from.map_or("", |set| &set.metadata.uid)
    }

    fn age_order(&self) -> (Option<Timestamp>, &str) {
        (self.from.and_then(|set| set.metadata.creation_timestamp), &self.name)
    }

    fn action(&self) -> Option<Action> {
        let Some(from) = self.from else {
            let event = (self.replicas > 0)
                .then(|| format!("Scaled up replica set {} from 0 to {}", self.name, self.replicas));
            let mut tree = self.tree.clone();
            tree["metadata"]["annotations"] = json!(self.annotations);
            tree["spec"]["replicas"] = self.replicas.into();
            return Some(Action::Create { name: self.name.clone(), tree, event });
        };
        let unchanged = from.spec.replicas == self.replicas
            && from.metadata.annotations == self.annotations
            && from.spec.min_ready_seconds == self.min_ready_seconds;
        if unchanged {
            return None;
        }
        let mut tree = from.tree();
        tree["metadata"]["annotations"] = json!(self.annotations);
        tree["spec"]["replicas"] = self.replicas.into();
        if from.spec.min_ready_seconds != self.min_ready_seconds {
            tree["spec"]["minReadySeconds"] = self.min_ready_seconds.into();
        }
        let before = from.spec.replicas;
        let direction = if before < self.replicas { "up" } else { "down" };
        let event = (before != self.replicas).then(|| {
            format!("Scaled {direction} replica set {} from {before} to {}", self.name, self.replicas)
        });
        Some(Action::Update { name: self.name.clone(), tree, event })
    }
}

struct Picture<'a> {
    view: &'a View<'a>,
    new: Option<SetState<'a>>,
    /// From old to new.
    old: Vec<SetState<'a>>,
    status: DeploymentStatus,
    revision: Option<String>,
    deletions: Vec<Action>,
}

/// The next step.
pub(crate) fn plan(view: &View<'_>) -> Plan {
    let mut picture = Picture::take(view);
    let deployment = view.deployment;
    if deployment.metadata.deleting() {
        picture.sync_new_set();
        return picture.finish_counting();
    }
    status::note_pause(deployment, &mut picture.status, view.now);
    picture.sync_new_set();
    if deployment.spec.paused {
        picture.scale();
        picture.clean_up();
        return picture.finish_counting();
    }
    if picture.was_scaled() {
        picture.scale();
        return picture.finish_counting();
    }
    if deployment.spec.strategy.r#type == "Recreate" {
        picture.recreate();
    } else {
        picture.roll();
    }
    picture.finish_rollout()
}

impl<'a> Picture<'a> {
    fn take(view: &'a View<'a>) -> Picture<'a> {
        let mut sets: Vec<SetState<'a>> = view.sets.iter().map(|set| SetState::of(set)).collect();
        sets.sort_by(|left, right| left.age_order().cmp(&right.age_order()));
        // Without sets there is nothing to compare, and no tree is made.
        let template = if sets.is_empty() { Value::Null } else { template_of(view.deployment) };
        // Should two sets have the template, the older one is the new set.
        let at = sets
            .iter()
            .position(|set| set.from.is_some_and(|from| same_template(&template_of(from), &template)));
        let new = at.map(|at| sets.remove(at));
        Picture {
            view,
            new,
            old: sets,
            status: view.deployment.status.clone(),
            revision: None,
            deletions: Vec::new(),
        }
    }

    fn spec(&self) -> &'a DeploymentSpec {
        &self.view.deployment.spec
    }

    fn next_revision(&self) -> i64 {
        self.old.iter().map(|set| revision(&set.annotations)).max().unwrap_or(0) + 1
    }

    /// Brings annotations of the new set up to date, if there is one.
    fn sync_new_set(&mut self) {
        let next = self.next_revision();
        let deployment = self.view.deployment;
        let Some(new) = &mut self.new else { return };
        inherit(&mut new.annotations, &deployment.metadata.annotations, next);
        new.min_ready_seconds = deployment.spec.min_ready_seconds;
        self.revision = new.annotations.get(REVISION).cloned();
        status::note_found(&deployment.spec, &mut self.status, &new.name, self.view.now);
    }

    /// Pictures the new set if it is missing; it begins with the room there is.
    fn need_new_set(&mut self) {
        if self.new.is_some() {
            return;
        }
        let total: i32 = self.old.iter().map(|set| set.replicas).sum();
        let replicas = new_set_replicas(self.spec(), total, 0);
        let mut new = born(self.view.deployment, self.status.collision_count);
        let next = self.next_revision();
        inherit(&mut new.annotations, &self.view.deployment.metadata.annotations, next);
        new.replicas = replicas;
        self.note_size_on(&mut new);
        self.revision = Some(next.to_string());
        if status::has_deadline(self.spec()) {
            let text = format!("Created new replica set \"{}\"", new.name);
            let created = status::progressing("True", "NewReplicaSetCreated", text, self.view.now);
            status::set_condition(&mut self.status, created);
        }
        self.new = Some(new);
    }

    fn note_size_on(&self, set: &mut SetState<'_>) {
        let spec = self.spec();
        note_size(&mut set.annotations, spec.replicas, spec.replicas + fenceposts(spec).max_surge);
    }

    fn all(&self) -> impl Iterator<Item = &SetState<'a>> {
        self.old.iter().chain(&self.new)
    }

    fn total(&self) -> i32 {
        self.all().map(|set| set.replicas).sum()
    }

    /// Whether `spec.replicas` changed since a set with pods was last scaled.
    fn was_scaled(&self) -> bool {
        let desired = self.spec().replicas;
        let mut active = self.all().filter(|set| set.replicas > 0);
        active.any(|set| noted(&set.annotations, DESIRED).is_some_and(|noted| noted != desired))
    }

    fn set_new(&mut self, replicas: i32) -> bool {
        let Some(mut new) = self.new.take() else { return false };
        let changed = new.replicas != replicas;
        if changed {
            new.replicas = replicas;
            self.note_size_on(&mut new);
        }
        self.new = Some(new);
        changed
    }

    fn set_old(&mut self, at: usize, replicas: i32) {
        let mut old = self.old[at].clone();
        if old.replicas != replicas {
            old.replicas = replicas;
            self.note_size_on(&mut old);
            self.old[at] = old;
        }
    }

    /// Follows a change of `spec.replicas` without hastening the rollout.
    fn scale(&mut self) {
        let desired = self.spec().replicas;
        let new_active = self.new.as_ref().is_some_and(|set| set.replicas > 0);
        let active: Vec<usize> = (0..self.old.len()).filter(|at| self.old[*at].replicas > 0).collect();
        match (new_active, active.as_slice()) {
            (true, []) => self.resize_new(desired),
            (false, [only]) => self.resize_old(*only, desired),
            (false, []) if self.new.is_some() => self.resize_new(desired),
            (false, []) if self.old.is_empty() => {}
            (false, []) => self.resize_old(self.old.len() - 1, desired),
            _ if self.saturated() => {
                for at in active {
                    self.set_old(at, 0);
                }
            }
            _ if self.spec().strategy.r#type == "RollingUpdate" => self.scale_in_proportion(),
            _ => {}
        }
    }

    /// Scales the new set and notes the deployment's size on it even if it had that
    /// many replicas by chance: else every look would take it for scaling again.
    fn resize_new(&mut self, replicas: i32) {
        if let Some(mut new) = self.new.take() {
            new.replicas = replicas;
            self.note_size_on(&mut new);
            self.new = Some(new);
        }
    }

    fn resize_old(&mut self, at: usize, replicas: i32) {
        let mut old = self.old[at].clone();
        old.replicas = replicas;
        self.note_size_on(&mut old);
        self.old[at] = old;
    }

    /// The new set has all it wants, and all of it is available.
    fn saturated(&self) -> bool {
        let desired = self.spec().replicas;
        self.new.as_ref().is_some_and(|set| {
            set.replicas == desired
                && noted(&set.annotations, DESIRED) == Some(desired)
                && set.status().available_replicas == desired
        })
    }

    fn scale_in_proportion(&mut self) {
        let spec = self.spec();
        let allowed = if spec.replicas > 0 { spec.replicas + fenceposts(spec).max_surge } else { 0 };
        let mut sets: Vec<SetState<'a>> = self.all().filter(|set| set.replicas > 0).cloned().collect();
        // Larger sets first; of equal ones the newer grows and the older shrinks.
        sets.sort_by(|left, right| left.age_order().cmp(&right.age_order()));
        if allowed > self.total() {
            sets.reverse();
        }
        sets.sort_by_key(|set| Reverse(set.replicas));
        let shares: Vec<Share> = sets
            .iter()
            .map(|set| Share {
                replicas: set.replicas,
                max_before: noted(&set.annotations, MAX).unwrap_or(0),
            })
            .collect();
        let sizes = proportional(spec, self.view.deployment.status.replicas, &shares);
        for (mut set, size) in sets.into_iter().zip(sizes) {
            set.replicas = size;
            // Noted even where the size stays, else the next look would scale again.
            self.note_size_on(&mut set);
            match self.old.iter_mut().find(|old| old.name == set.name) {
                Some(old) => *old = set,
                None => self.new = Some(set),
            }
        }
    }

    fn roll(&mut self) {
        self.need_new_set();
        let desired = self.spec().replicas;
        let new = self.new.as_ref().map_or(0, |set| set.replicas);
        let target = if new > desired { desired } else { new_set_replicas(self.spec(), self.total(), new) };
        if self.set_new(target) || self.shrink_old() {
            return;
        }
        if status::complete(self.view.deployment, &self.view.deployment.status) {
            self.clean_up();
        }
    }

    /// Takes from old sets what may go: first what is unhealthy, then what availability can spare.
    fn shrink_old(&mut self) -> bool {
        let Some(new) = &self.new else { return false };
        // A set that was scaled down and up again may still report pods it has since
        // deleted; upstream takes them for available and can fall below the bound.
        if !self.all().all(SetState::reported) {
            return false;
        }
        let old_total: i32 = self.old.iter().map(|set| set.replicas).sum();
        let spec = self.spec();
        let min_available = spec.replicas - fenceposts(spec).max_unavailable;
        let new_unavailable = new.replicas - new.available();
        let budget = self.total() - min_available - new_unavailable;
        if old_total == 0 || budget <= 0 {
            return false;
        }
        let mut cleaned = 0;
        for at in 0..self.old.len() {
            let set = &self.old[at];
            let unhealthy = set.replicas - set.available();
            let victims = unhealthy.min(budget - cleaned).min(set.replicas);
            if victims > 0 {
                self.set_old(at, set.replicas - victims);
                cleaned += victims;
            }
        }
        let available: i32 = self.all().map(SetState::available).sum();
        let spare = available - min_available;
        let mut taken = 0;
        for at in 0..self.old.len() {
            let set = &self.old[at];
            let victims = set.replicas.min(spare - taken);
            if victims > 0 {
                self.set_old(at, set.replicas - victims);
                taken += victims;
            }
        }
        cleaned + taken > 0
    }

    fn recreate(&mut self) {
        let mut shrunk = false;
        for at in 0..self.old.len() {
            shrunk |= self.old[at].replicas > 0;
            self.set_old(at, 0);
        }
        if shrunk || self.old_pods_run() {
            return;
        }
        self.need_new_set();
        self.set_new(self.spec().replicas);
        if status::complete(self.view.deployment, &self.view.deployment.status) {
            self.clean_up();
        }
    }

    fn old_pods_run(&self) -> bool {
        let counted = self.old.iter().any(|set| set.status().replicas > 0);
        let new = self.new.as_ref().map_or("", |set| set.uid());
        counted || self.view.pods.iter().any(|(uid, pods)| uid != new && *pods > 0)
    }

    /// Deletes the oldest empty sets beyond the history limit.
    fn clean_up(&mut self) {
        let Some(limit) = self.spec().revision_history_limit.filter(|limit| *limit != i32::MAX) else {
            return;
        };
        let mut alive: Vec<&SetState<'a>> =
            self.old.iter().filter(|set| set.from.is_some_and(|from| !from.metadata.deleting())).collect();
        let surplus = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        alive.sort_by_key(|set| revision(&set.annotations));
        alive.truncate(surplus);
        let empty = alive.into_iter().filter(|set| {
            let seen =
                set.from.is_some_and(|from| from.metadata.generation <= from.status.observed_generation);
            set.status().replicas == 0 && set.replicas == 0 && seen
        });
        let deletions: Vec<Action> =
            empty.map(|set| Action::Delete { name: set.name.clone(), uid: set.uid().to_owned() }).collect();
        self.deletions = deletions;
    }

    fn counted(&self) -> DeploymentStatus {
        let all: Vec<&SetState<'_>> = self.all().collect();
        status::counted(self.view.deployment, &self.status, &all, self.new.as_ref(), self.view.now)
    }

    fn finish_counting(self) -> Plan {
        let status = self.counted();
        self.finish(status)
    }

    fn finish_rollout(self) -> Plan {
        let mut status = self.counted();
        let deployment = self.view.deployment;
        let name = self.new.as_ref().map(|set| set.name.as_str());
        status::judge_rollout(deployment, &self.status, &mut status, name, self.view.now);
        let all: Vec<&SetState<'_>> = self.all().collect();
        status::pass_failures(&mut status, &all, self.new.as_ref());
        self.finish(status)
    }

    fn finish(self, status: DeploymentStatus) -> Plan {
        let deleted = |name: &str| {
            self.deletions
                .iter()
                .any(|action| matches!(action, Action::Delete { name: gone, .. } if gone == name))
        };
        let writes =
            self.new.iter().chain(&self.old).filter(|set| !deleted(&set.name)).filter_map(SetState::action);
        let actions: Vec<Action> = writes.chain(self.deletions.iter().cloned()).collect();
        let wake_at = status::wake_at(self.view.deployment, &status);
        Plan { actions, status, revision: self.revision, wake_at }
    }
}

/// The template of an object.
fn template_of<T>(object: &Text<T>) -> Value {
    object.tree()["spec"]["template"].take()
}

/// The set for a template nobody has yet.
fn born<'a>(deployment: &Text<Deployment>, collisions: Option<i32>) -> SetState<'a> {
    let mut source = deployment.tree();
    let mut template = source["spec"]["template"].take();
    let hash = template_hash(&template, collisions);
    template["metadata"]["labels"][HASH_LABEL] = hash.as_str().into();
    let mut selector = source["spec"]["selector"].take();
    selector["matchLabels"][HASH_LABEL] = hash.as_str().into();
    let metadata = &deployment.metadata;
    let prefix: String = metadata.name.chars().take(NAME_MAX - 1 - hash.len()).collect();
    let name = format!("{prefix}-{hash}");
    let mut tree = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": metadata.namespace,
            "labels": template["metadata"]["labels"],
            "ownerReferences": [OwnerReference::controlled_by("apps/v1", "Deployment", metadata)],
        },
        "spec": { "selector": selector, "template": template },
    });
    let min_ready_seconds = deployment.spec.min_ready_seconds;
    if min_ready_seconds != 0 {
        tree["spec"]["minReadySeconds"] = min_ready_seconds.into();
    }
    SetState { from: None, name, tree, annotations: BTreeMap::new(), replicas: 0, min_ready_seconds }
}

/// What a set that already has the name of the new one is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NameTaken {
    /// The new set itself, not yet seen.
    Ours,
    /// Another set whose template hashes alike: try again with this status.
    Collision(DeploymentStatus),
}

/// Judges a set that was in the way of the new one.
pub(crate) fn name_taken(deployment: &Text<Deployment>, taken: &Text<ReplicaSet>) -> NameTaken {
    let ours = taken.metadata.controller().is_some_and(|owner| owner.uid == deployment.metadata.uid);
    if ours && same_template(&template_of(taken), &template_of(deployment)) {
        return NameTaken::Ours;
    }
    let mut status = deployment.status.clone();
    status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
    NameTaken::Collision(status)
}

/// The status of a deployment whose new set could not be created.
pub(crate) fn creation_failed(
    deployment: &Deployment,
    text: &str,
    now: Timestamp,
) -> Option<DeploymentStatus> {
    if !status::has_deadline(&deployment.spec) {
        return None;
    }
    let mut failed = deployment.status.clone();
    let condition = status::progressing("False", "ReplicaSetCreateError", text.to_owned(), now);
    status::set_condition(&mut failed, condition);
    Some(failed)
}
