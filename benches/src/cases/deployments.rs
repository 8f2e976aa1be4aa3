//! What does an object cost that is heavy to decode, check and compare: a Deployment of three containers? It is paused and
//! wants no pods, so that what its controller does about a change, which is in the figure, is a status.

use http::Method;

use super::Subject;
use super::writes::{CLIENTS, JSON, STRATEGIC, row};
use crate::client::Call;
use crate::objects::{self, NAMESPACE};
use crate::table::Table;

/// Requests of a row.
const OPERATIONS: usize = 2000;

/// Creates Deployments, reads them, replaces some of them and patches their status.
pub(super) async fn deployments(subject: &Subject, table: &mut Table) -> anyhow::Result<()> {
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments");
    let count = subject.scaled(OPERATIONS);
    for clients in CLIENTS {
        let calls = (0..count)
            .map(|index| objects::deployment(&format!("web-{clients}-{index:05}"), 0))
            .map(|body| Call::with_body(Method::POST, &path, JSON, body));
        row(subject, table, "create_deployment", clients, calls.collect()).await?;
    }
    subject.settle().await?;
    for clients in CLIENTS {
        let calls = (0..count).map(|index| Call::get(format!("{path}/web-1-{index:05}")));
        row(subject, table, "get_deployment", clients, calls.collect()).await?;
    }
    for clients in CLIENTS {
        let calls = (0..count).map(|index| {
            let name = format!("web-1-{index:05}");
            Call::with_body(Method::PUT, format!("{path}/{name}"), JSON, objects::deployment(&name, clients))
        });
        row(subject, table, "update_deployment_put", clients, calls.collect()).await?;
    }
    for clients in CLIENTS {
        let calls = (0..count).map(|index| {
            let path = format!("{path}/web-1-{index:05}/status");
            Call::with_body(Method::PATCH, path, STRATEGIC, objects::deployment_status_patch(clients))
        });
        row(subject, table, "patch_deployment_status", clients, calls.collect()).await?;
    }
    Ok(())
}
