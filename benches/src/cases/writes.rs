//! What does one write, and one read of one object, cost at 1, 16 and 64 clients?

use http::Method;

use super::Subject;
use crate::client::Call;
use crate::load::closed_loop;
use crate::objects::{self, NAMESPACE, collection};
use crate::table::Table;

pub(super) const CLIENTS: [usize; 3] = [1, 16, 64];
/// Requests of a row.
const OPERATIONS: usize = 5000;
pub(super) const JSON: &str = "application/json";
pub(super) const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Creates 15,000 ConfigMaps, replaces 5,000 of them three times and reads them three times.
pub(super) async fn config_maps(subject: &Subject, table: &mut Table) -> anyhow::Result<()> {
    let maps = collection(NAMESPACE, "configmaps");
    let count = subject.scaled(OPERATIONS);
    for clients in CLIENTS {
        let calls = (0..count)
            .map(|index| objects::config_map(&format!("cm-{clients}-{index:05}"), 0))
            .map(|body| Call::with_body(Method::POST, &maps, JSON, body));
        row(subject, table, "create_configmap_1k", clients, calls.collect()).await?;
    }
    for clients in CLIENTS {
        let calls = (0..count).map(|index| {
            let name = format!("cm-1-{index:05}");
            Call::with_body(Method::PUT, format!("{maps}/{name}"), JSON, objects::config_map(&name, clients))
        });
        row(subject, table, "update_configmap_put", clients, calls.collect()).await?;
    }
    for clients in CLIENTS {
        let calls = (0..count).map(|index| Call::get(format!("{maps}/cm-1-{index:05}")));
        row(subject, table, "get_configmap", clients, calls.collect()).await?;
    }
    Ok(())
}

/// Creates 5,000 pods.
pub(super) async fn create_pods(subject: &Subject, table: &mut Table) -> anyhow::Result<()> {
    let pods = collection(NAMESPACE, "pods");
    let calls = (0..subject.scaled(OPERATIONS))
        .map(|index| Call::with_body(Method::POST, &pods, JSON, objects::pod(&format!("pod-{index:05}"))));
    row(subject, table, "create_pod", 16, calls.collect()).await
}

/// Patches the status of every pod as its kubelet would, three times.
pub(super) async fn pod_status(subject: &Subject, table: &mut Table) -> anyhow::Result<()> {
    let pods = collection(NAMESPACE, "pods");
    for clients in CLIENTS {
        let calls = (0..subject.scaled(OPERATIONS)).map(|index| {
            let path = format!("{pods}/pod-{index:05}/status");
            Call::with_body(Method::PATCH, path, STRATEGIC, objects::pod_status_patch(clients))
        });
        row(subject, table, "patch_pod_status", clients, calls.collect()).await?;
    }
    Ok(())
}

/// One row: these calls, shared by so many clients.
pub(super) async fn row(
    subject: &Subject,
    table: &mut Table,
    case: &str,
    clients: usize,
    calls: Vec<Call>,
) -> anyhow::Result<()> {
    let operations = calls.len();
    let outcome = closed_loop(&subject.target, &subject.pids, clients, calls).await?;
    table.load(case, clients, &outcome, operations);
    Ok(())
}
