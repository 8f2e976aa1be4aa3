//! Does to the computers and the network what the plan says, when it says so.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::cluster::Cluster;
use crate::computer::Computer;
use crate::network::Condition;
use crate::plan::{Fault, Plan, Shape};
use crate::tally::{FAULTS, INSTALLED, SKIPPED};
use crate::trace::{Effect, Event, Recorder};

/// Carries out the plan's faults, then heals what is left of them.
pub async fn storm(cluster: &Cluster, plan: &Plan, recorder: &Recorder) {
    let began = Instant::now();
    for (at_ms, fault) in &plan.faults {
        sleep_until(began + Duration::from_millis(*at_ms)).await;
        let installed = install(cluster, *fault, plan);
        let effect = if installed { Effect::Installed } else { Effect::Skipped };
        recorder.count(FAULTS, fault.name(), if installed { INSTALLED } else { SKIPPED });
        recorder.record(Event::Fault { fault: format!("{fault:?}"), effect });
        tell_states(cluster, recorder);
    }
    sleep_until(began + Duration::from_millis(plan.storm_ms)).await;
    cluster.network().heal();
    for computer in cluster.computers() {
        computer.disk().heal(Duration::from_millis(plan.disk_ms));
    }
    recorder.record(Event::Calm);
}

/// Records what every member has come to.
pub fn tell_states(cluster: &Cluster, recorder: &Recorder) {
    for computer in cluster.computers() {
        if let Some(api) = computer.running() {
            let (computer, (revision, oldest, hash)) = (computer.number(), api.state());
            recorder.record(Event::State { computer, revision, oldest, hash });
        }
    }
}

fn install(cluster: &Cluster, fault: Fault, plan: &Plan) -> bool {
    match fault {
        Fault::Partition { shape, is_silent, for_ms } => {
            spoil(cluster, partition(cluster, shape, is_silent), for_ms)
        }
        Fault::Lose { percent, for_ms } => spoil(cluster, vec![Condition::Lossy(percent)], for_ms),
        Fault::Double { percent, for_ms } => spoil(cluster, vec![Condition::Doubling(percent)], for_ms),
        Fault::SlowLink { of, delay_ms, for_ms } => {
            let slow = |computer: &Computer| Condition::Slow { computer: computer.number(), delay_ms };
            spoil(cluster, cluster.targets(of).into_iter().map(slow).collect(), for_ms)
        }
        Fault::Transfer => {
            let leader = cluster.leader();
            let is_there = leader.is_some();
            tokio::spawn(async move {
                if let Some((_, api)) = leader {
                    api.hand_over().await;
                }
            });
            is_there
        }
        Fault::Cut { of, .. }
        | Fault::CutInCommit { of, .. }
        | Fault::Fill { of, .. }
        | Fault::InputOutput { of }
        | Fault::Slow { of, .. }
        | Fault::Restart { of }
        | Fault::ClockJump { of, .. }
        | Fault::Replace { of, .. }
        | Fault::Retire { of, .. } => {
            let hit =
                cluster.targets(of).into_iter().filter(|computer| strike(cluster, computer, fault, plan));
            hit.count() > 0
        }
    }
}

/// Does something to one computer.
fn strike(cluster: &Cluster, computer: &Computer, fault: Fault, plan: &Plan) -> bool {
    let disk = computer.disk();
    match fault {
        Fault::Cut { torn, .. } => return disk.cut(torn),
        Fault::CutInCommit { torn, .. } => disk.cut_in_commit(torn),
        Fault::Fill { for_ms, .. } => {
            disk.fill();
            later(for_ms, move || disk.free());
        }
        Fault::InputOutput { .. } => disk.fail_sync(),
        Fault::Slow { pause_ms, for_ms, .. } => {
            disk.set_pause(Duration::from_millis(pause_ms));
            let usual = Duration::from_millis(plan.disk_ms);
            later(for_ms, move || disk.set_pause(usual));
        }
        Fault::Restart { .. } => return computer.restart(),
        Fault::ClockJump { by_ms, .. } => computer.set_clock(by_ms),
        Fault::Replace { is_removed_first, .. } => {
            return cluster.replace(computer.number(), is_removed_first);
        }
        Fault::Retire { for_ms, .. } => {
            let Some(member) = cluster.retire(computer.number()) else { return false };
            let (cluster, number) = (cluster.clone(), computer.number());
            later(for_ms, move || cluster.enlist(member, number));
        }
        Fault::Partition { .. }
        | Fault::Lose { .. }
        | Fault::Double { .. }
        | Fault::SlowLink { .. }
        | Fault::Transfer => unreachable!("nothing that is done to a computer"),
    }
    true
}

fn spoil(cluster: &Cluster, conditions: Vec<Condition>, for_ms: u64) -> bool {
    let is_any = !conditions.is_empty();
    let network = cluster.network().clone();
    let number = network.spoil(conditions);
    later(for_ms, move || network.mend(number));
    is_any
}

fn later(for_ms: u64, undo: impl FnOnce() + Send + 'static) {
    tokio::spawn(async move {
        sleep(Duration::from_millis(for_ms)).await;
        undo();
    });
}

/// The wires that a partition cuts.
fn partition(cluster: &Cluster, shape: Shape, is_silent: bool) -> Vec<Condition> {
    let members = cluster.computers().len();
    let number = |of| cluster.targets(of).first().map(|computer| computer.number());
    let is_cut = |from: usize, to: usize| match shape {
        Shape::Alone(of) => number(of).is_some_and(|one| from == one || to == one),
        Shape::Deaf(of) => number(of) == Some(to),
        Shape::Mute(of) => number(of) == Some(from),
        Shape::Bridge(of) => number(of).is_some_and(|one| from != one && to != one),
        Shape::OneWay { from: speaker, to: listener } => (from, to) == (speaker, listener),
        Shape::Islands => true,
    };
    let pairs = (0..members).flat_map(|from| (0..members).map(move |to| (from, to)));
    let cut = pairs.filter(|(from, to)| from != to && is_cut(*from, *to));
    cut.map(|(from, to)| Condition::Cut { from, to, is_silent }).collect()
}
