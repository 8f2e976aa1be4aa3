//! What a pod may learn about itself: fieldRef and resourceFieldRef.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::pod::{resources, spec};

/// Facts about where the pod runs.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The node's addresses.
    pub host_ips: Vec<String>,
    /// The pod's addresses.
    pub pod_ips: Vec<String>,
    /// Thousandths of a core that pods may use; stands in for a limit that is not set.
    pub allocatable_cpu: i128,
    /// Bytes that pods may use.
    pub allocatable_memory: i128,
}

/// The value of a field, as text. `metadata.labels` without a key gives all of them, one a line.
pub fn field(pod: &Pod, place: &Place, path: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(unsupported(path)),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => spec::name(pod).to_owned(),
        "metadata.namespace" => spec::namespace(pod).to_owned(),
        "metadata.uid" => spec::uid(pod).to_owned(),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => spec::spec(pod).node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec::spec(pod).service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => place.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => place.host_ips.join(","),
        "status.podIP" => place.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => place.pod_ips.join(","),
        _ => return Err(unsupported(path)),
    })
}

fn unsupported(path: &str) -> String {
    format!("unsupported fieldPath: {path}")
}

/// `metadata.labels['app']` taken apart.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// `key="value"` lines in key order, values quoted as Go quotes them.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={}", go_quote(value))).collect();
    lines.join("\n")
}

fn go_quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The value of a resource in units of the divisor, rounded up.
pub fn resource(
    pod: &Pod,
    own: Option<&Container>,
    place: &Place,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => spec::container(pod, name).map(|(_, container)| container),
        None => own.map(std::borrow::Cow::Borrowed),
    };
    let container = container.ok_or_else(|| {
        format!("container {:?} not found", selector.container_name.as_deref().unwrap_or_default())
    })?;
    let (list, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let requirements = container.resources.clone().unwrap_or_default();
    let from = |list: &Option<BTreeMap<String, Quantity>>| {
        list.as_ref().and_then(|list| list.get(name)).and_then(resources::milli)
    };
    let fallback = || match name {
        "cpu" => place.allocatable_cpu,
        "memory" => place.allocatable_memory * 1000,
        _ => 0,
    };
    let value = match list {
        "limits" => from(&requirements.limits).unwrap_or_else(fallback),
        "requests" => from(&requirements.requests).unwrap_or(0),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let divisor =
        selector.divisor.as_ref().and_then(resources::milli).filter(|divisor| *divisor > 0).unwrap_or(1000);
    Ok(((value + divisor - 1) / divisor).to_string())
}
