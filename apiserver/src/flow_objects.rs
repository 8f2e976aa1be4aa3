//! The objects of priority and fairness: those every cluster has are put back
//! when somebody changes or deletes them, and each FlowSchema says whether its
//! level exists. Every server does so; writes that come second are refused.

use crate::bootstrap::{ensure, replace};
use crate::catalog::{self, Kind};
use crate::clock;
use crate::server::Inner;
use futures::StreamExt as _;
use kinds::flowcontrol::bootstrap as flow;
use kinds::tree;
use mvcc::{Interest, Key, Operation};
use raft_store::Watcher;
use schema::Tree;
use schema::fields::{self, Set, Write};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Their group.
pub(crate) const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// The manager under whose name a FlowSchema's status is written.
const STATUS_MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";
/// Changes come in groups, the look waits for the rest of one; and who changes them all the time is answered no faster.
const SETTLE_MS: u64 = 1000;

/// The objects every cluster has.
pub(crate) fn shipped() -> impl Iterator<Item = Tree> {
    flow::shipped().iter().map(|shipped| shipped.object.clone())
}

/// Looks after them until the server stops.
pub(crate) async fn run(server: Arc<Inner>) {
    while !server.stopping.is_cancelled() {
        let watchers: Option<Vec<Watcher>> = kinds().map(|kind| watch(&server, kind)).collect();
        keep(&server).await;
        // Compacted meanwhile: begin again at once.
        let Some(watchers) = watchers else { continue };
        if !changed(&server, watchers).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
    }
}

fn kinds() -> impl Iterator<Item = &'static Kind> {
    catalog::all().iter().filter(|kind| kind.resource.group == GROUP)
}

fn watch(server: &Inner, kind: &Kind) -> Option<Watcher> {
    let after = server.store.view().revision();
    server.store.watch(Interest::Resource(kind.stored_as.clone()), after).ok()
}

/// Waits for a change of any of them; false when the server stops.
async fn changed(server: &Inner, mut watchers: Vec<Watcher>) -> bool {
    let mut waiting: futures::stream::FuturesUnordered<_> =
        watchers.iter_mut().map(|watcher| watcher.next()).collect();
    tokio::select! {
        () = server.stopping.cancelled() => false,
        ended = waiting.next() => !matches!(ended, Some(Err(raft_store::WatchEnd::Stopped))),
    }
}

async fn keep(server: &Arc<Inner>) {
    for object in shipped() {
        ensure(server, object).await;
    }
    for kind in kinds() {
        let view = server.store.view();
        for entry in view.list(&kind.stored_as, None, None) {
            let stored = server.codec.tree(kind, entry, entry.revision);
            if stored.is_ok_and(|stored| flow::is_left_over(&stored)) {
                // Refused when somebody has just claimed the object.
                let _ = replace(server, entry, Operation::Delete(entry.object.key.clone())).await;
            }
        }
    }
    tell_levels(server).await;
}

/// Writes into each schema whether the level it names is there.
async fn tell_levels(server: &Inner) {
    let find = |plural| catalog::find(GROUP, "v1", plural);
    let (Some(schemas), Some(levels)) = (find("flowschemas"), find("prioritylevelconfigurations")) else {
        return;
    };
    let view = server.store.view();
    let now = clock::seconds(clock::now(&server.seams));
    for entry in view.list(&schemas.stored_as, None, None) {
        let Ok(old) = server.codec.tree(schemas, entry, entry.revision) else { continue };
        let level = tree::str_at(&old, "spec.priorityLevelConfiguration.name");
        let exists = view.entry(&Key::new(levels.stored_as.clone(), "", level)).is_some();
        let Some(mut new) = told(&old, level, exists, &now) else { continue };
        let write = Write {
            manager: STATUS_MANAGER,
            api_version: &schemas.api_version,
            subresource: "status",
            time: &now,
            reset: &Set::default(),
            others: &[],
        };
        fields::update_managers(schemas.schema, Some(&old), &mut new, &write);
        if let Ok(object) = server.codec.object(schemas, entry.object.key.clone(), &new) {
            // Refused when the schema has changed; that change brings us here again.
            let _ = replace(server, entry, Operation::Put(object)).await;
        }
    }
}

/// The schema with the condition, unless it says so already.
fn told(schema: &Tree, level: &str, exists: bool, now: &str) -> Option<Tree> {
    let (status, reason, rest) = if exists {
        ("False", "Found", "and it exists")
    } else {
        ("True", "NotFound", "but there is no such object")
    };
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named \"{level}\" {rest}");
    let is_dangling = |condition: &&Tree| tree::str_at(condition, "type") == "Dangling";
    let conditions = tree::list_at(schema, "status.conditions");
    let old = conditions.iter().find(is_dangling);
    let says = |old: &Tree, name: &str, value: &str| tree::str_at(old, name) == value;
    if old.is_some_and(|old| says(old, "status", status) && says(old, "message", &message)) {
        return None;
    }
    let since = old
        .filter(|old| says(old, "status", status))
        .map_or(now, |old| tree::str_at(old, "lastTransitionTime"));
    let condition = json!({
        "type": "Dangling", "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
    });
    let mut told: Vec<Tree> =
        conditions.iter().filter(|condition| !is_dangling(condition)).cloned().collect();
    told.push(condition);
    let mut schema = schema.clone();
    tree::set(&mut schema, "status.conditions", Tree::Array(told));
    Some(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_says_since_when_its_level_is_missing() {
        let schema = json!({"status": {"conditions": [{"type": "Other"}]}});
        let missing = told(&schema, "l", false, "t1").expect("nothing was said yet");
        assert_eq!(missing["status"]["conditions"][1]["status"], "True");
        assert_eq!(missing["status"]["conditions"][0]["type"], "Other");
        assert_eq!(told(&missing, "l", false, "t2"), None);
        let other = told(&missing, "m", false, "t2").expect("another level");
        assert_eq!(other["status"]["conditions"][1]["lastTransitionTime"], "t1");
        let found = told(&missing, "l", true, "t2").expect("it is there now");
        assert_eq!(found["status"]["conditions"][1]["lastTransitionTime"], "t2");
        assert_eq!(found["status"]["conditions"][1]["reason"], "Found");
    }
}
