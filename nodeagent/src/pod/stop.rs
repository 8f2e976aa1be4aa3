//! Stopping one container: preStop hook, stop signal, grace, kill.

use std::time::Duration;

use jiff::Timestamp;

use super::execute::{Round, Update, std_duration};
use super::plan::{Kill, kill_grace};
use super::spec;
use crate::events::Severity;
use crate::probe::attempt::Subject;

/// The least time a container gets between the stop signal and the end.
const GRACE_MIN: Duration = Duration::from_secs(2);

/// Stops a container. `Err` when the runtime could not; a container that is gone is stopped.
pub async fn kill(round: &Round, kill: &Kill) -> Result<(), ()> {
    let container = spec::container(&round.pod, &kill.name).map(|(_, container)| container);
    let container = container.as_deref();
    let whole = std_duration(kill_grace(&round.pod, container, kill.probe));
    let begun = round.memory.stopping.get(&kill.id).copied();
    if begun.is_none() {
        round.shared.recorder.container(
            &round.pod,
            &kill.name,
            Severity::Normal,
            "Killing",
            kill.message.clone(),
        );
        round.tell(Update::Stopping(kill.id.clone()));
    }
    let since = begun.unwrap_or_else(Timestamp::now);
    // Only whole seconds count as used, as the runtime is told whole seconds.
    let used = |now: Timestamp| Duration::from_secs(std_duration(now.duration_since(since)).as_secs());
    let left = |now: Timestamp| whole.saturating_sub(used(now));
    let hook = container.and_then(|container| container.lifecycle.as_ref()?.pre_stop.as_ref());
    if let (Some(hook), Some(container), None) = (hook, container, begun)
        && !whole.is_zero()
    {
        let ips = round.observed.sandboxes.first().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
        let place = round.shared.place(&round.pod, &ips);
        let subject = Subject {
            runtime: std::sync::Arc::clone(&round.shared.runtime),
            id: kill.id.clone(),
            container: container.clone(),
            pod_ip: place.pod_ips.first().cloned().unwrap_or_default(),
        };
        let run = tokio::time::timeout(whole, subject.hook(hook, whole));
        match round.unless_cancelled(run).await {
            None => return Ok(()),
            Some(Ok(Err(error))) => {
                tracing::debug!(pod = spec::full_name(&round.pod), error, "a preStop hook failed");
                let message = "PreStopHook failed";
                round.shared.recorder.container(
                    &round.pod,
                    &kill.name,
                    Severity::Warning,
                    "FailedPreStopHook",
                    message,
                );
            }
            Some(Ok(Ok(())) | Err(_)) => {}
        }
    }
    let grace = left(Timestamp::now()).max(GRACE_MIN);
    let stop = round.shared.runtime.stop_container(kill.id.clone(), grace);
    match round.unless_cancelled(stop).await {
        Some(Err(error)) if !error.is_not_found() => {
            tracing::warn!(pod = spec::full_name(&round.pod), %error, "a container cannot be stopped");
            Err(())
        }
        _ => Ok(()),
    }
}
