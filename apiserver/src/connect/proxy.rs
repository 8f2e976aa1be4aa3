//! The proxies: where a request to a node, pod or service goes on to. Decides
//! the address; what is behind it answers.

use super::location::{Location, Security, agent, escape, pod};
use crate::context::Context;
use crate::objects::Objects;
use crate::registry::propose::linearizable;
use crate::status::{ApiError, ApiResult, GroupResource};
use kinds::tree;
use schema::Tree;
use schema::go::quote;
use std::net::IpAddr;
use std::sync::Arc;

/// Port of a scheme that names none.
const HTTP_PORT: u16 = 80;
/// Port of `https` when none is named.
const HTTPS_PORT: u16 = 443;

/// `[SCHEME:]NAME[:PORT]`, as the path of a proxy names its end.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Target<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        (!name.is_empty() && matches!(scheme, "" | "http" | "https")).then_some(Self { scheme, name, port })
    }

    fn of(context: &'a Context, kind: &str) -> ApiResult<Self> {
        let text = &context.info.path_name;
        Self::parse(text)
            .ok_or_else(|| ApiError::BadRequest(format!("invalid {kind} request {}", quote(text))))
    }

    /// Whoever is proxied to shows no certificate of ours, so none is asked for.
    fn security(&self) -> Security {
        if self.scheme == "https" { Security::Unverified } else { Security::None }
    }

    fn default_port(&self) -> u16 {
        if self.scheme == "https" { HTTPS_PORT } else { HTTP_PORT }
    }
}

/// Path and query that follow `/proxy`.
fn rest(context: &Context) -> String {
    let path = context.info.rest.join("/");
    let query: Vec<String> = context
        .query
        .pairs()
        .iter()
        .map(|(key, value)| format!("{}={}", escape(key), escape(value)))
        .collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let path: String = path.split('/').map(escape).collect::<Vec<_>>().join("/");
    format!("/{path}{query}")
}

/// Where a node's proxy goes: its agent, or another port of the node.
pub(super) async fn node(context: &Context) -> ApiResult<Location> {
    let target = Target::of(context, "node")?;
    let found = agent(context, target.name, rest(context))?;
    match target.port {
        "" => Ok(found),
        port if port == found.port.to_string() => Ok(found),
        port => Ok(Location { port: number(port)?, security: target.security(), ..found }),
    }
}

/// Where a pod's proxy goes: its address, at the first port that it names unless one is asked for.
pub(super) async fn pod_address(context: &Context) -> ApiResult<Location> {
    let target = Target::of(context, "pod")?;
    let mut named = context.clone();
    target.name.clone_into(&mut Arc::make_mut(&mut named.info).path_name);
    let place = pod(&named).await?;
    let host = tree::str_at(&place.pod, "status.podIP").to_owned();
    if !host.parse::<IpAddr>().is_ok_and(is_global_unicast) {
        return Err(ApiError::BadRequest("address not allowed".into()));
    }
    let port = match target.port {
        "" => first_port(&place.pod).unwrap_or_else(|| target.default_port()),
        port => number(port)?,
    };
    Ok(Location { host, port, security: target.security(), target: rest(context) })
}

fn first_port(pod: &Tree) -> Option<u16> {
    let mut ports = tree::list_at(pod, "spec.containers")
        .iter()
        .filter_map(|container| tree::list_at(container, "ports").first());
    ports
        .next()
        .and_then(|port| tree::int_at(port, "containerPort"))
        .and_then(|port| u16::try_from(port).ok())
}

fn number(port: &str) -> ApiResult<u16> {
    port.parse().map_err(|_| ApiError::Internal(format!("error dialing backend: unknown port {port}")))
}

fn is_global_unicast(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || is_link_local)
}

/// Where a service's proxy goes: one of the pods behind it.
pub(super) async fn service(context: &Context) -> ApiResult<Location> {
    let target = Target::of(context, "service")?;
    let view = linearizable(context).await?;
    let objects = Objects { codec: &context.server.codec, view: &view };
    let namespace = context.namespace();
    // Upstream's reads name whatever is absent by the resource of the request.
    let resource = GroupResource::new("", &*context.info.resource);
    let read = |plural: &str| {
        let absent = || ApiError::not_found(&resource, target.name);
        objects.core(plural, namespace, target.name).ok_or_else(absent)
    };
    let mut port_name = target.port.to_owned();
    if let Ok(number) = target.port.parse::<i64>() {
        let service = read("services")?;
        let port = tree::list_at(&service, "spec.ports")
            .iter()
            .find(|port| tree::int_at(port, "port") == Some(number));
        let absent = || {
            ApiError::Unavailable(format!(
                "no service port {number} found for service {}",
                quote(target.name)
            ))
        };
        tree::str_at(port.ok_or_else(absent)?, "name").clone_into(&mut port_name);
    }
    let endpoints = read("endpoints")?;
    let is_pod = |address: &Tree| stands_for_a_pod(&objects, namespace, address);
    let candidates = addresses(&endpoints, &port_name, is_pod);
    if candidates.is_empty() {
        let asked = if tree::list_at(&endpoints, "subsets").is_empty() {
            target.name
        } else {
            context.info.path_name.as_str()
        };
        return Err(ApiError::Unavailable(format!("no endpoints available for service {}", quote(asked))));
    }
    let at = usize::try_from(context.server.seams.random.next() % candidates.len() as u64).unwrap_or(0);
    let (host, port) = candidates[at].clone();
    Ok(Location { host, port, security: target.security(), target: rest(context) })
}

/// Ready addresses at the port of this name.
fn addresses(endpoints: &Tree, port_name: &str, is_pod: impl Fn(&Tree) -> bool) -> Vec<(String, u16)> {
    let mut found = Vec::new();
    for subset in tree::list_at(endpoints, "subsets") {
        let port = tree::list_at(subset, "ports").iter().find(|port| tree::str_at(port, "name") == port_name);
        let port = port.and_then(|port| tree::int_at(port, "port")).and_then(|port| u16::try_from(port).ok());
        let Some(port) = port else { continue };
        let pods = tree::list_at(subset, "addresses").iter().filter(|address| is_pod(address));
        found.extend(pods.map(|address| (tree::str_at(address, "ip").to_owned(), port)));
    }
    found
}

/// Endpoints may be written by hand; only those that are pods of the namespace are proxied to.
fn stands_for_a_pod(objects: &Objects<'_>, namespace: &str, address: &Tree) -> bool {
    if tree::str_at(address, "targetRef.namespace") != namespace {
        return false;
    }
    let pod = objects.core("pods", namespace, tree::str_at(address, "targetRef.name"));
    let ip = tree::str_at(address, "ip");
    pod.is_some_and(|pod| {
        tree::list_at(&pod, "status.podIPs").iter().any(|own| tree::str_at(own, "ip") == ip)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(text: &str, expect: Option<(&str, &str, &str)>) {
        assert_eq!(
            Target::parse(text),
            expect.map(|(scheme, name, port)| Target { scheme, name, port }),
            "{text}"
        );
    }

    #[test]
    fn a_target_is_a_name_with_a_port_and_a_scheme() {
        check("a", Some(("", "a", "")));
        check("a:web", Some(("", "a", "web")));
        check("https:a:443", Some(("https", "a", "443")));
        check("https:a:", Some(("https", "a", "")));
        check("ftp:a:web", None);
        check(":80", None);
        check("a:b:c:d", None);
    }

    #[test]
    fn only_ready_pods_at_the_named_port_are_candidates() {
        let endpoints = json!({"subsets": [
            {"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.9"}], "ports": [{"name": "web", "port": 8080}]},
            {"notReadyAddresses": [{"ip": "10.0.0.2"}], "ports": [{"name": "web", "port": 8080}]},
            {"addresses": [{"ip": "10.0.0.3"}], "ports": [{"name": "other", "port": 1}]},
        ]});
        let is_pod = |address: &Tree| tree::str_at(address, "ip") != "10.0.0.9";
        assert_eq!(addresses(&endpoints, "web", is_pod), [("10.0.0.1".to_owned(), 8080)]);
        assert!(addresses(&endpoints, "nope", is_pod).is_empty());
    }

    #[test]
    fn only_global_unicast_addresses_are_proxied_to() {
        for (ip, allowed) in [
            ("10.0.0.1", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("::1", false),
            ("fd00::1", true),
            ("0.0.0.0", false),
        ] {
            assert_eq!(ip.parse().is_ok_and(is_global_unicast), allowed, "{ip}");
        }
    }
}
