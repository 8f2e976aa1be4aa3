//! Where a stream goes: the agent's address and the path it knows, from the
//! pod, its node and the client's options. Pure but for the pinned view.

use crate::context::Context;
use crate::objects::Objects;
use crate::registry::propose::linearizable;
use crate::status::{ApiError, ApiResult, GroupResource};
use kinds::core::pod::admission;
use kinds::tree;
use schema::Tree;

/// Port of a node agent that names none.
const AGENT_PORT: u16 = 10250;

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    /// Plain HTTP.
    None,
    /// TLS with the agents' authority.
    Agent,
    /// TLS with whoever answers.
    Unverified,
}

/// One end of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// Address or name.
    pub(super) host: String,
    /// Port.
    pub(super) port: u16,
    /// How the connection is protected.
    pub(super) security: Security,
    /// Path and query.
    pub(super) target: String,
}

/// The pod a path names, and its node if it has one.
pub(super) struct Place {
    /// The pod.
    pub(super) pod: Tree,
    /// Its node's name, empty before it is bound.
    pub(super) node: String,
}

/// Reads the pod.
pub(super) async fn pod(context: &Context) -> ApiResult<Place> {
    let view = linearizable(context).await?;
    let objects = Objects { codec: &context.server.codec, view: &view };
    let name = &context.info.path_name;
    let pod = objects
        .core("pods", &context.info.namespace, name)
        .ok_or_else(|| ApiError::not_found(&GroupResource::new("", "pods"), name))?;
    let node = tree::str_at(&pod, "spec.nodeName").to_owned();
    Ok(Place { pod, node })
}

/// The agent of a node, asked for a path.
pub(super) fn agent(context: &Context, node: &str, target: String) -> ApiResult<Location> {
    let view = context.server.store.view();
    let objects = Objects { codec: &context.server.codec, view: &view };
    // Upstream looks the node up under the pod's resource; the text follows.
    let resource = GroupResource::new("", &*context.info.resource);
    let node_object = objects.core("nodes", "", node).ok_or_else(|| ApiError::not_found(&resource, node))?;
    let addresses = tree::list_at(&node_object, "status.addresses");
    let of = |kind: &str| {
        addresses
            .iter()
            .find(|address| tree::str_at(address, "type") == kind)
            .map(|address| tree::str_at(address, "address").to_owned())
    };
    let host = ["InternalIP", "ExternalIP", "Hostname"].into_iter().find_map(of);
    let host = host.ok_or_else(|| {
        ApiError::Internal(format!("no preferred addresses found; known addresses: {}", addresses.len()))
    })?;
    let port = tree::int_at(&node_object, "status.daemonEndpoints.kubeletEndpoint.Port");
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0).unwrap_or(AGENT_PORT);
    Ok(Location { host, port, security: Security::Agent, target })
}

fn container(context: &Context, pod: &Tree) -> ApiResult<String> {
    admission::choose_container(pod, context.query.text("container")).map_err(ApiError::BadRequest)
}

fn bound(context: &Context, node: &str) -> ApiResult<()> {
    if node.is_empty() {
        return Err(ApiError::BadRequest(format!(
            "pod {} does not have a host assigned",
            context.info.path_name
        )));
    }
    Ok(())
}

/// Where `exec` and `attach` go; a channel that the options leave out has upstream's default.
pub(super) async fn exec(context: &Context, word: &str) -> ApiResult<Location> {
    let place = pod(context).await?;
    let container = container(context, &place.pod)?;
    bound(context, &place.node)?;
    let flag = |key: &str, default: bool| context.query.optional_flag(key).unwrap_or(default);
    let attach = word == "attach";
    let channels = [
        ("input", flag("stdin", false)),
        ("output", flag("stdout", attach)),
        ("error", flag("stderr", attach)),
        ("tty", flag("tty", false)),
    ];
    let mut pairs: Vec<String> =
        channels.iter().filter(|(_, on)| *on).map(|(name, _)| format!("{name}=1")).collect();
    if !attach {
        pairs.extend(context.query.all("command").map(|argument| format!("command={}", escape(argument))));
    }
    let target = format!(
        "/{word}/{}/{}/{container}?{}",
        context.info.namespace,
        context.info.path_name,
        pairs.join("&")
    );
    agent(context, &place.node, target)
}

/// Where a port-forward goes.
pub(super) async fn port_forward(context: &Context) -> ApiResult<Location> {
    let place = pod(context).await?;
    bound(context, &place.node)?;
    let ports: Vec<&str> = context.query.all("ports").collect();
    let query = if ports.is_empty() { String::new() } else { format!("?port={}", escape(&ports.join(","))) };
    agent(
        context,
        &place.node,
        format!("/portForward/{}/{}{query}", context.info.namespace, context.info.path_name),
    )
}

/// Where the log of a pod comes from; nowhere before it is bound.
pub(super) async fn log(context: &Context, query: &str) -> ApiResult<Option<Location>> {
    let place = pod(context).await?;
    let container = container(context, &place.pod)?;
    if place.node.is_empty() {
        return Ok(None);
    }
    let target =
        format!("/containerLogs/{}/{}/{container}{query}", context.info.namespace, context.info.path_name);
    agent(context, &place.node, target).map(Some)
}

/// Percent-encodes a query value or a path segment.
pub(super) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("strings take every write");
        }
        out
    })
}
