//! Whether a pod that was resized still fits the node it runs on. Decides only that; whether the resize itself is sound, the
//! pod's own rules say.

use serde_json::Value;

use super::resource_math::{Resources, aggregate, is_pod_level, resources_at};
use crate::quantity::{self, Quantity};
use crate::tree::{map_at, str_at};

/// Label that names a node's operating system.
const OS_LABEL: &str = "kubernetes.io/os";

/// Why a node cannot take the new size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Text of the 403.
    pub text: String,
    /// Reason of the Status cause.
    pub reason: &'static str,
}

/// Checks a resized pod against its node.
pub fn check(pod: &Value, node: &Value) -> Result<(), Misfit> {
    let labels = map_at(node, "metadata.labels");
    let os = labels.and_then(|labels| labels.get(OS_LABEL)).and_then(Value::as_str).unwrap_or("linux");
    if os != "linux" {
        let name = str_at(node, "metadata.name");
        let text = format!("pod resize is only supported on linux nodes, node {name:?} is {os:?}");
        return Err(Misfit { text, reason: "UnsupportedPlatform" });
    }
    let wanted = requests(pod);
    let short: Vec<String> =
        [("cpu", Quantity::milli_value as fn(&Quantity) -> i64), ("memory", Quantity::value)]
            .into_iter()
            .filter_map(|(name, number)| shortage(&wanted, node, name, number))
            .collect();
    if short.is_empty() {
        return Ok(());
    }
    let text = format!("node didn't have enough allocatable resources: {}", short.join("; "));
    Err(Misfit { text, reason: "NodeCapacity" })
}

fn shortage(wanted: &Resources, node: &Value, name: &str, number: fn(&Quantity) -> i64) -> Option<String> {
    let wanted = wanted.get(name)?;
    let have = map_at(node, "status.allocatable")
        .and_then(|all| all.get(name))
        .map_or_else(|| quantity::of(&Value::from("0")), quantity::of);
    (*wanted > have).then(|| format!("{name}, requested: {}, allocatable: {}", number(wanted), number(&have)))
}

/// What the pod asks for in all: its containers, or what it asks for as a whole, and its overhead.
fn requests(pod: &Value) -> Resources {
    let mut total = aggregate(&pod["spec"], "resources.requests");
    let own = resources_at(pod, "spec.resources.requests");
    total.extend(own.into_iter().filter(|(name, _)| is_pod_level(name)));
    for (name, more) in resources_at(pod, "spec.overhead") {
        total.entry(name).and_modify(|sum| *sum = sum.plus(&more)).or_insert_with(|| more.clone());
    }
    total
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check_fit(cpu: &str, memory: &str, os: &str, expect: &str) {
        let pod = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}], "overhead": {"cpu": "500m"}}});
        let node = json!({"metadata": {"name": "n", "labels": {OS_LABEL: os}}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}});
        let got = check(&pod, &node)
            .map_or_else(|misfit| format!("{}: {}", misfit.reason, misfit.text), |()| "fits".to_owned());
        assert_eq!(got, expect, "{cpu} {memory} {os}");
    }

    #[test]
    fn a_resized_pod_must_fit_its_node() {
        check_fit("1500m", "1Gi", "linux", "fits");
        let short = "NodeCapacity: node didn't have enough allocatable resources: ";
        check_fit("1600m", "1", "linux", &format!("{short}cpu, requested: 2100, allocatable: 2000"));
        check_fit(
            "2",
            "2Gi",
            "linux",
            &format!(
                "{short}cpu, requested: 2500, allocatable: 2000; memory, requested: 2147483648, allocatable: 1073741824"
            ),
        );
        let text =
            "UnsupportedPlatform: pod resize is only supported on linux nodes, node \"n\" is \"windows\"";
        check_fit("1", "1", "windows", text);
    }
}
