//! Does to the computer what the plan says, when it says so.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::computer::Computer;
use crate::plan::{Fault, Plan};
use crate::trace::{Effect, Event, Recorder};

/// Carries out the plan's faults, then heals what is left of them.
pub async fn storm(computer: &Computer, plan: &Plan, recorder: &Recorder) {
    let began = Instant::now();
    for (at_ms, fault) in &plan.faults {
        sleep_until(began + Duration::from_millis(*at_ms)).await;
        let installed = install(computer, *fault, plan);
        let effect = if installed { Effect::Installed } else { Effect::Skipped };
        recorder.record(Event::Fault { fault: format!("{fault:?}"), effect });
    }
    sleep_until(began + Duration::from_millis(plan.storm_ms)).await;
    computer.disk().heal(Duration::from_millis(plan.disk_ms));
    recorder.record(Event::Calm);
}

fn install(computer: &Computer, fault: Fault, plan: &Plan) -> bool {
    let disk = computer.disk();
    let later = |for_ms, undo: fn(&Computer, u64)| {
        let (computer, disk_ms) = (computer.clone(), plan.disk_ms);
        tokio::spawn(async move {
            sleep(Duration::from_millis(for_ms)).await;
            undo(&computer, disk_ms);
        });
    };
    match fault {
        Fault::Cut { torn } => return disk.cut(torn),
        Fault::CutInCommit { torn } => disk.cut_in_commit(torn),
        Fault::Fill { for_ms } => {
            disk.fill();
            later(for_ms, |computer, _| computer.disk().free());
        }
        Fault::InputOutput => disk.fail_sync(),
        Fault::Slow { pause_ms, for_ms } => {
            disk.set_pause(Duration::from_millis(pause_ms));
            later(for_ms, |computer, disk_ms| computer.disk().set_pause(Duration::from_millis(disk_ms)));
        }
        Fault::Restart => return computer.restart(),
    }
    true
}
