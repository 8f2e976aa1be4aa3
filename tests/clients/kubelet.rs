//! Says of pods what a node would, for clusters that have none: clients that wait for pods see them run, end or never
//! start.

use anyhow::{Context, Result};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

/// A pod with this annotation ends well at once.
const ENDS: &str = "test/ends";
/// An image whose name has this part cannot be had.
const NOWHERE: &str = "nowhere";

/// Tells of every pod for as long as the cluster answers.
pub(crate) async fn run(client: Client) -> Result<()> {
    let pods = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default());
    let mut pods = std::pin::pin!(pods.default_backoff().touched_objects());
    while let Some(pod) = pods.try_next().await? {
        let Some(status) = status(&pod) else { continue };
        let namespace = pod.namespace().context("a pod has a namespace")?;
        let patch = json!({ "status": status });
        let told = Api::<Pod>::namespaced(client.clone(), &namespace)
            .patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch))
            .await;
        // A pod that is deleted meanwhile needs no status.
        if let Err(kube::Error::Api(refused)) = &told
            && refused.is_not_found()
        {
            continue;
        }
        told?;
    }
    Ok(())
}

/// What a node would say of a pod that waits; `None` when there is nothing new.
fn status(pod: &Pod) -> Option<Value> {
    let (spec, known) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let container = spec.containers.first()?;
    let image = container.image.as_deref().unwrap_or_default();
    if known.phase.as_deref() != Some("Pending") || image.contains(NOWHERE) {
        return None;
    }
    let ends = pod.annotations().contains_key(ENDS);
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    let condition = |kind: &str, is: bool| json!({"type": kind, "status": if is { "True" } else { "False" }, "lastTransitionTime": now});
    let state = if ends {
        json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}})
    } else {
        json!({"running": {"startedAt": now}})
    };
    Some(json!({
        "phase": if ends { "Succeeded" } else { "Running" },
        "startTime": now,
        "conditions": [condition("Initialized", true), condition("ContainersReady", !ends), condition("Ready", !ends)],
        "containerStatuses": [{
            "name": container.name, "image": image, "imageID": image, "restartCount": 0,
            "ready": !ends, "started": !ends, "state": state,
        }],
    }))
}
