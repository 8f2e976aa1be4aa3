//! `/containerLogs/<namespace>/<pod>/<container>`.

use std::path::PathBuf;

use hyper::StatusCode;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ContainerStatus;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Desk;
use super::query::Query;
use super::reply::{Reply, stream, text};
use crate::logs::line::Stream;
use crate::logs::stream::{Wish, send};
use crate::pod::spec;
use crate::pod::supervisor::Entry;

/// Chunks between the file and a slow client.
const CHUNKS_MAX: usize = 4;

/// Answers with a container's log.
pub fn answer(desk: &Desk, namespace: &str, pod: &str, container: &str, query: &Query) -> Reply {
    let Some(entry) = desk.pods.find(namespace, pod) else {
        return text(StatusCode::NOT_FOUND, format!("pod {pod:?} does not exist\n"));
    };
    if spec::container(&entry.target.borrow().pod, container).is_none() {
        return text(StatusCode::NOT_FOUND, format!("container {container:?} not found in pod {pod:?}\n"));
    }
    let wish = match wish(query, Timestamp::now()) {
        Ok(wish) => wish,
        Err(message) => return text(StatusCode::BAD_REQUEST, message),
    };
    let id = {
        let glimpse = entry.glimpse.borrow();
        let status = spec::container_statuses(&glimpse.status).find(|status| status.name == container);
        match choose(status, container, pod, query.is_set(&["previous"])) {
            Ok(id) => id,
            Err(message) => return text(StatusCode::BAD_REQUEST, message),
        }
    };
    let Some(path) = log_path(&entry, &id) else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, format!("container {id:?} is no longer there"));
    };
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::spawn(async move {
        let is_over = || !is_running(&entry, &id);
        if let Err(error) = send(path, wish, is_over, sender.clone()).await {
            // Told to the client as the end of what it reads; it may be gone.
            let _ = sender.send(Err(error)).await;
        }
    });
    stream(ReceiverStream::new(receiver))
}

fn log_path(entry: &Entry, id: &str) -> Option<PathBuf> {
    let glimpse = entry.glimpse.borrow();
    let container = glimpse.observed.containers.iter().find(|container| container.id == id)?;
    Some(PathBuf::from(&container.log_path)).filter(|path| !path.as_os_str().is_empty())
}

fn is_running(entry: &Entry, id: &str) -> bool {
    entry.glimpse.borrow().observed.running().any(|container| container.id == id)
}

fn wish(query: &Query, now: Timestamp) -> Result<Wish, String> {
    fn number<T: std::str::FromStr>(query: &Query, name: &str) -> Result<Option<T>, String> {
        let value = query.get(name).filter(|value| !value.is_empty());
        value.map(str::parse).transpose().map_err(|_| format!("invalid value for {name}"))
    }
    let since_seconds =
        number::<i64>(query, "sinceSeconds")?.map(|seconds| now - SignedDuration::from_secs(seconds));
    Ok(Wish {
        follow: query.is_set(&["follow"]),
        tail_lines: number(query, "tailLines")?,
        since: number(query, "sinceTime")?.or(since_seconds),
        timestamps: query.is_set(&["timestamps"]),
        limit_bytes: number(query, "limitBytes")?,
        stream: match query.get("stream") {
            Some("Stdout") => Some(Stream::Stdout),
            Some("Stderr") => Some(Stream::Stderr),
            _ => None,
        },
    })
}

/// Which container's log is meant, or why there is none.
fn choose(
    status: Option<&ContainerStatus>,
    container: &str,
    pod: &str,
    previous: bool,
) -> Result<String, String> {
    let id_of =
        |id: &Option<String>| id.as_deref().and_then(|id| id.split_once("://")).map(|(_, id)| id.to_owned());
    let status = status.cloned().unwrap_or_default();
    let (state, last) = (status.state.unwrap_or_default(), status.last_state.unwrap_or_default());
    let last_id = last.terminated.as_ref().and_then(|end| id_of(&end.container_id));
    if previous {
        return last_id
            .ok_or_else(|| format!("previous terminated container {container:?} in pod {pod:?} not found"));
    }
    if state.running.is_some() {
        return id_of(&status.container_id)
            .ok_or_else(|| format!("container {container:?} in pod {pod:?} is not available"));
    }
    if let Some(end) = state.terminated {
        let ended = format!("container {container:?} in pod {pod:?} is terminated");
        return id_of(&end.container_id).or(last_id).ok_or(ended);
    }
    if last.terminated.is_some() {
        return last_id.ok_or_else(|| format!("container {container:?} in pod {pod:?} is terminated"));
    }
    let why = match state.waiting.and_then(|waiting| waiting.reason).as_deref() {
        Some("ErrImagePull") => ": image can't be pulled".to_owned(),
        Some("ImagePullBackOff") => ": trying and failing to pull image".to_owned(),
        Some(reason) => format!(": {reason}"),
        None => " - no logs yet".to_owned(),
    };
    Err(format!("container {container:?} in pod {pod:?} is waiting to start{why}"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ContainerState, ContainerStateRunning, PodStatus};

    use super::*;

    /// `kubectl logs POD -c DEBUGGER` once answered that the debugger waits to start, as only
    /// the pod's own containers were looked through.
    #[test]
    fn an_added_container_has_a_log() {
        let running =
            ContainerState { running: Some(ContainerStateRunning::default()), ..Default::default() };
        let added = ContainerStatus {
            name: "debugger".to_owned(),
            container_id: Some("containerd://abc".to_owned()),
            state: Some(running),
            ..Default::default()
        };
        let status = PodStatus { ephemeral_container_statuses: Some(vec![added]), ..Default::default() };
        let of = |name: &str| {
            let found = spec::container_statuses(&status).find(|status| status.name == name);
            choose(found, name, "p", false)
        };
        assert_eq!(of("debugger"), Ok("abc".to_owned()));
        assert_eq!(
            of("main"),
            Err(r#"container "main" in pod "p" is waiting to start - no logs yet"#.to_owned())
        );
    }
}
