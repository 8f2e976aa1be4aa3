//! Plans as tables, and a simulated cluster that must converge and never leave its bounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::plan::{Action, View, plan};
use super::revision::{DESIRED, MAX, REVISION};
use crate::views::{Deployment, ReplicaSet, Text};

fn deployment(replicas: i32, surge: i32, unavailable: i32, template: &str) -> Value {
    json!({
        "metadata": { "name": "web", "namespace": "a", "uid": "dep", "generation": 1, "annotations": { "team": "x" } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "web" } },
            "template": template_of(template),
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 2,
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } },
        },
        "status": {},
    })
}

fn template_of(letter: &str) -> Value {
    json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "c", "image": letter }] } })
}

/// Notation: `REPLICAS +SURGE -UNAVAILABLE [recreate|paused] | SETS`, a set being
/// `IMAGE REPLICAS/AVAILABLE`, from old to new, the deployment's own image being `z`.
/// `@N` after a set is the deployment size noted on it. Expected: a word for each
/// write in order, and after `;` the reason of the Progressing condition.
fn check(given: &str, expect: &str) {
    let (head, tail) = given.split_once('|').unwrap();
    let words: Vec<&str> = head.split_whitespace().collect();
    let number = |at: usize| words[at].trim_start_matches(['+', '-']).parse::<i32>().unwrap();
    let mut tree = deployment(number(0), number(1), number(2), "z");
    if words.contains(&"recreate") {
        tree["spec"]["strategy"] = json!({ "type": "Recreate" });
    }
    if words.contains(&"paused") {
        tree["spec"]["paused"] = true.into();
    }
    let sets: Vec<Arc<Text<ReplicaSet>>> = tail
        .split(',')
        .filter(|set| !set.trim().is_empty())
        .enumerate()
        .map(|(at, set)| {
            Arc::new(serde_json::from_value(set_of(set.trim(), at, number(0), number(1))).unwrap())
        })
        .collect();
    let pods: BTreeMap<String, usize> = sets
        .iter()
        .map(|set| (set.metadata.uid.clone(), usize::try_from(set.status.replicas).unwrap()))
        .collect();
    let sum = |of: &dyn Fn(&ReplicaSet) -> i32| sets.iter().map(|set| of(set)).sum::<i32>();
    tree["status"] = json!({
        "observedGeneration": 1,
        "replicas": sum(&|set| set.status.replicas),
        "updatedReplicas": sum(&|set| if set.metadata.name == "z" { set.status.replicas } else { 0 }),
        "readyReplicas": sum(&|set| set.status.ready_replicas),
        "availableReplicas": sum(&|set| set.status.available_replicas),
    });
    let deployment: Text<Deployment> = serde_json::from_value(tree).unwrap();
    let now = Timestamp::from_second(5000).unwrap();
    let plan = plan(&View { deployment: &deployment, sets: &sets, pods: &pods, now });
    let mut done: Vec<String> = plan.actions.iter().map(|action| word(action, &sets)).collect();
    let progress = plan.status.conditions.iter().find(|condition| condition.r#type == "Progressing");
    done.push(format!("; {}", progress.map_or("-", |condition| condition.reason.as_str())));
    assert_eq!(done.join(" "), expect, "{given}");
}

fn set_of(text: &str, at: usize, desired: i32, surge: i32) -> Value {
    let (text, noted) = match text.split_once('@') {
        Some((text, noted)) => (text, noted.parse().unwrap()),
        None => (text, desired),
    };
    let (image, counts) = text.split_once(' ').unwrap();
    let (replicas, available) = counts.split_once('/').unwrap();
    let (replicas, available) = (replicas.parse::<i32>().unwrap(), available.parse::<i32>().unwrap());
    let owner = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "dep", "controller": true }]);
    json!({
        "metadata": {
            "name": image,
            "namespace": "a",
            "uid": image,
            "generation": 1,
            "creationTimestamp": Timestamp::from_second(i64::try_from(at).unwrap()).unwrap().to_string(),
            "annotations": {
                "team": "x",
                REVISION: (at + 1).to_string(),
                DESIRED: noted.to_string(),
                MAX: (noted + surge).to_string(),
            },
            "ownerReferences": owner,
        },
        "spec": { "replicas": replicas, "template": template_of(image) },
        "status": { "replicas": replicas, "availableReplicas": available, "readyReplicas": available, "observedGeneration": 1 },
    })
}

fn word(action: &Action, sets: &[Arc<Text<ReplicaSet>>]) -> String {
    match action {
        Action::Create { tree, .. } => format!("new={}", tree["spec"]["replicas"]),
        Action::Update { name, tree, .. } => {
            let before = sets.iter().find(|set| set.metadata.name == *name).unwrap().spec.replicas;
            format!("{name}:{before}>{}", tree["spec"]["replicas"])
        }
        Action::Delete { name, .. } => format!("{name}:gone"),
    }
}

#[test]
fn a_rollout_surges_then_takes_what_can_be_spared() {
    check("10 +3 -2 |", "new=10 ; NewReplicaSetCreated");
    check("10 +3 -2 | a 10/10", "new=3 a:10>8 ; NewReplicaSetCreated");
    check("10 +3 -2 | a 8/8, z 3/0", "z:3>5 ; FoundNewReplicaSet");
    check("10 +3 -2 | a 8/8, z 5/0", "; FoundNewReplicaSet");
    check("10 +3 -2 | a 8/8, z 5/2", "a:8>6 ; FoundNewReplicaSet");
    check("10 +3 -2 | a 8/7, z 5/1", "a:8>7 ; FoundNewReplicaSet");
    check("3 +0 -1 | a 3/3", "new=0 a:3>2 ; NewReplicaSetCreated");
    check("3 +0 -1 | z 3/3", "; NewReplicaSetAvailable");
}

#[test]
fn recreate_waits_for_the_old_pods() {
    check("3 +0 -0 recreate | a 3/3", "a:3>0 ; -");
    check("3 +0 -0 recreate | a 0/0", "new=3 ; NewReplicaSetCreated");
}

#[test]
fn scaling_is_proportional_during_a_rollout() {
    check("20 +3 -2 | a 8/8@10, z 5/3@10", "z:5>9 a:8>14 ; FoundNewReplicaSet");
    check("5 +3 -2 | z 3/3@3", "z:3>5 ; FoundNewReplicaSet");
    check("5 +3 -2 paused | a 3/3@5, z 1/1@5", "a:3>7 ; DeploymentPaused");
}

#[test]
fn history_beyond_the_limit_goes() {
    let mut tree = deployment(1, 1, 0, "z");
    tree["status"] = json!({
        "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1, "observedGeneration": 1,
    });
    let sets: Vec<Arc<Text<ReplicaSet>>> = ["a 0/0", "b 0/0", "c 0/0", "d 0/0", "z 1/1"]
        .iter()
        .enumerate()
        .map(|(at, set)| Arc::new(serde_json::from_value(set_of(set, at, 1, 1)).unwrap()))
        .collect();
    let deployment: Text<Deployment> = serde_json::from_value(tree).unwrap();
    let now = Timestamp::from_second(5000).unwrap();
    let plan = plan(&View { deployment: &deployment, sets: &sets, pods: &BTreeMap::new(), now });
    let words: Vec<String> = plan.actions.iter().map(|action| word(action, &sets)).collect();
    assert_eq!(words, ["a:gone", "b:gone"]);
}

#[test]
fn lack_of_progress_is_a_failure_after_the_deadline() {
    let mut tree = deployment(3, 1, 0, "z");
    tree["status"] = json!({ "replicas": 3, "updatedReplicas": 3, "conditions": [{
        "type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated",
        "lastUpdateTime": "1970-01-01T00:00:00Z", "lastTransitionTime": "1970-01-01T00:00:00Z",
    }] });
    let deployment: Text<Deployment> = serde_json::from_value(tree).unwrap();
    let sets = [Arc::new(serde_json::from_value(set_of("z 3/0", 0, 3, 1)).unwrap())];
    let at = |second| {
        let now = Timestamp::from_second(second).unwrap();
        plan(&View { deployment: &deployment, sets: &sets, pods: &BTreeMap::new(), now })
    };
    let early = at(100);
    assert_eq!(early.wake_at, Some(Timestamp::from_second(601).unwrap()));
    let late = at(601);
    let condition =
        late.status.conditions.iter().find(|condition| condition.r#type == "Progressing").unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str(), condition.message.as_str()),
        ("False", "ProgressDeadlineExceeded", "ReplicaSet \"z\" has timed out progressing.")
    );
}

/// A cluster in a few lines: sets with pods that are ready or not. The set
/// "controller" and the reporting of its status are steps of their own, so the
/// plan sees stale counts as it does in life.
struct World {
    deployment: Value,
    sets: Vec<Value>,
    pods: BTreeMap<String, Vec<bool>>,
    clock: i64,
}

impl World {
    fn new(replicas: i32, surge: i32, unavailable: i32) -> World {
        let deployment = deployment(replicas, surge, unavailable, "t0");
        World { deployment, sets: Vec::new(), pods: BTreeMap::new(), clock: 1000 }
    }

    fn sync_deployment(&mut self) -> bool {
        self.clock += 1;
        let deployment: Text<Deployment> = serde_json::from_value(self.deployment.clone()).unwrap();
        let sets: Vec<Arc<Text<ReplicaSet>>> =
            self.sets.iter().map(|set| Arc::new(serde_json::from_value(set.clone()).unwrap())).collect();
        let pods = self.pods.iter().map(|(uid, pods)| (uid.clone(), pods.len())).collect();
        let now = Timestamp::from_second(self.clock).unwrap();
        let plan = plan(&View { deployment: &deployment, sets: &sets, pods: &pods, now });
        for action in &plan.actions {
            self.apply(action);
        }
        let changed = !plan.actions.is_empty() || plan.status != deployment.status;
        self.deployment["status"] = serde_json::to_value(&plan.status).unwrap();
        changed
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Create { name, tree, .. } => {
                let mut tree = tree.clone();
                assert!(
                    self.sets.iter().all(|set| set["metadata"]["name"] != name.as_str()),
                    "created twice"
                );
                tree["metadata"]["uid"] = name.as_str().into();
                tree["metadata"]["generation"] = 1.into();
                tree["metadata"]["creationTimestamp"] =
                    Timestamp::from_second(self.clock).unwrap().to_string().into();
                tree["status"] = json!({});
                self.sets.push(tree);
                self.pods.insert(name.clone(), Vec::new());
            }
            Action::Update { name, tree, .. } => {
                let set = self.sets.iter_mut().find(|set| set["metadata"]["name"] == name.as_str()).unwrap();
                let generation = set["metadata"]["generation"].as_i64().unwrap();
                let moved = i64::from(set["spec"] != tree["spec"]);
                *set = tree.clone();
                set["metadata"]["generation"] = (generation + moved).into();
            }
            Action::Delete { name, .. } => {
                assert!(self.pods[name].is_empty(), "deleted a set with pods");
                self.sets.retain(|set| set["metadata"]["name"] != name.as_str());
                self.pods.remove(name);
            }
        }
    }

    /// One set makes or deletes one pod.
    fn sync_set(&mut self, at: usize) -> bool {
        let Some(set) = self.sets.get(at) else { return false };
        let want = usize::try_from(set["spec"]["replicas"].as_i64().unwrap()).unwrap();
        let pods = self.pods.get_mut(set["metadata"]["uid"].as_str().unwrap()).unwrap();
        if pods.len() < want {
            pods.push(false);
        } else if pods.len() > want {
            pods.sort_unstable();
            pods.remove(0);
        } else {
            return false;
        }
        true
    }

    fn report_set(&mut self, at: usize) -> bool {
        let Some(set) = self.sets.get_mut(at) else { return false };
        let pods = &self.pods[set["metadata"]["uid"].as_str().unwrap()];
        let ready = pods.iter().filter(|ready| **ready).count();
        let status = json!({
            "replicas": pods.len(), "readyReplicas": ready, "availableReplicas": ready,
            "observedGeneration": set["metadata"]["generation"],
        });
        let changed = set["status"] != status;
        set["status"] = status;
        changed
    }

    fn ready_pod(&mut self, pick: usize) -> bool {
        let mut waiting: Vec<&mut bool> = self.pods.values_mut().flatten().filter(|ready| !**ready).collect();
        if waiting.is_empty() {
            return false;
        }
        let at = pick % waiting.len();
        *waiting[at] = true;
        true
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut moved = self.sync_deployment();
            for at in 0..self.sets.len() {
                moved |= self.sync_set(at);
                moved |= self.report_set(at);
            }
            moved |= self.ready_pod(0);
            if !moved {
                return;
            }
        }
        panic!("did not settle: {:#?}", self.deployment);
    }

    fn pods_ready(&self) -> usize {
        self.pods.values().flatten().filter(|ready| **ready).count()
    }

    fn pods_wanted(&self) -> i64 {
        self.sets.iter().map(|set| set["spec"]["replicas"].as_i64().unwrap()).sum()
    }

    fn roll_to(&mut self, template: usize) {
        self.deployment["spec"]["template"] = template_of(&format!("t{template}"));
        let generation = self.deployment["metadata"]["generation"].as_i64().unwrap();
        self.deployment["metadata"]["generation"] = (generation + 1).into();
    }

    fn assert_done(&self, replicas: i32) {
        let status = &self.deployment["status"];
        for field in ["replicas", "updatedReplicas", "availableReplicas", "readyReplicas"] {
            assert_eq!(status[field].as_i64().unwrap_or(0), i64::from(replicas), "{field}");
        }
        assert_eq!(self.pods_wanted(), i64::from(replicas));
        let progress = status["conditions"].as_array().unwrap();
        assert!(progress.iter().any(|condition| condition["reason"] == "NewReplicaSetAvailable"));
        assert!(self.sets.len() <= 3, "the new set and two of history");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rolling_updates_stay_within_their_bounds_and_end(
        replicas in 1..8i32,
        surge in 0..4i32,
        unavailable in 0..4i32,
        steps in proptest::collection::vec((0..8u8, 0..16usize), 0..200),
    ) {
        let mut world = World::new(replicas, surge, unavailable);
        world.settle();
        world.assert_done(replicas);
        // Both bounds at zero mean one pod may be missing.
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable.min(replicas) };
        for (step, pick) in steps {
            let sets = world.sets.len().max(1);
            match step {
                0 => world.roll_to(pick % 4),
                1 | 2 => { world.sync_deployment(); }
                3 | 4 => { world.sync_set(pick % sets); }
                5 | 6 => { world.report_set(pick % sets); }
                _ => { world.ready_pod(pick); }
            }
            prop_assert!(world.pods_wanted() <= i64::from(replicas + surge));
            let ready = i32::try_from(world.pods_ready()).unwrap();
            prop_assert!(ready >= replicas - unavailable, "{} of {} ready", ready, replicas);
        }
        world.settle();
        world.assert_done(replicas);
    }

    #[test]
    fn scaling_during_a_rollout_ends(
        sizes in proptest::collection::vec(0..9i32, 1..5),
        steps in proptest::collection::vec((0..8u8, 0..16usize), 0..120),
    ) {
        let mut world = World::new(sizes[0], 2, 1);
        world.settle();
        for (step, pick) in steps {
            let sets = world.sets.len().max(1);
            match step {
                0 => world.roll_to(pick % 3),
                1 => {
                    world.deployment["spec"]["replicas"] = sizes[pick % sizes.len()].into();
                    let generation = world.deployment["metadata"]["generation"].as_i64().unwrap();
                    world.deployment["metadata"]["generation"] = (generation + 1).into();
                }
                2 | 3 => { world.sync_deployment(); }
                4 => { world.sync_set(pick % sets); }
                5 | 6 => { world.report_set(pick % sets); }
                _ => { world.ready_pod(pick); }
            }
        }
        world.settle();
        let replicas = i32::try_from(world.deployment["spec"]["replicas"].as_i64().unwrap()).unwrap();
        world.assert_done(replicas);
    }
}
