//! Whether the node takes a pod that was bound to it.

use k8s_openapi::api::core::v1::Pod;

use super::resources::{self, Totals};
use super::spec;
use super::status::Forced;

/// What the node can give.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu: i128,
    /// Bytes.
    pub memory: i128,
    /// Pods.
    pub pods: usize,
}

/// Refuses a pod for which there is no room beside those that are here, or that names another node.
pub fn admit<'a>(
    pod: &Pod,
    others: impl IntoIterator<Item = &'a Pod>,
    capacity: Capacity,
    labels: &std::collections::BTreeMap<String, String>,
) -> Result<(), Forced> {
    let selector = spec::spec(pod).node_selector.iter().flatten();
    if selector.into_iter().any(|(key, value)| labels.get(key) != Some(value)) {
        let message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        return Err(refusal("NodeAffinity", message.into()));
    }
    let mut used = Totals::default();
    let mut count = 0;
    for other in others {
        let totals = resources::totals(other);
        used.cpu_request += totals.cpu_request;
        used.memory_request += totals.memory_request;
        count += 1;
    }
    let wanted = resources::totals(pod);
    if count + 1 > capacity.pods {
        return Err(out_of("pods", 1, count as i128, capacity.pods as i128));
    }
    if wanted.cpu_request > 0 && used.cpu_request + wanted.cpu_request > capacity.cpu {
        return Err(out_of("cpu", wanted.cpu_request, used.cpu_request, capacity.cpu));
    }
    if wanted.memory_request > 0 && used.memory_request + wanted.memory_request > capacity.memory {
        return Err(out_of("memory", wanted.memory_request, used.memory_request, capacity.memory));
    }
    Ok(())
}

fn out_of(resource: &str, wanted: i128, used: i128, capacity: i128) -> Forced {
    let message = format!(
        "Node didn't have enough resource: {resource}, requested: {wanted}, used: {used}, capacity: {capacity}"
    );
    refusal(&format!("OutOf{resource}"), message)
}

fn refusal(reason: &str, message: String) -> Forced {
    Forced { reason: reason.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(cpu: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}))
        .expect("a valid pod")
    }

    #[test]
    fn room_is_counted() {
        let capacity = Capacity { cpu: 2000, memory: 1 << 30, pods: 3 };
        let none = std::collections::BTreeMap::new();
        let others = [pod("1"), pod("500m")];
        assert_eq!(admit(&pod("500m"), &others, capacity, &none), Ok(()));
        let refused = admit(&pod("501m"), &others, capacity, &none).expect_err("too much");
        assert_eq!(refused.reason, "OutOfcpu");
        assert_eq!(
            refused.message,
            "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000"
        );
        let three = [pod("0"), pod("0"), pod("0")];
        assert_eq!(admit(&pod("0"), &three, capacity, &none).expect_err("too many").reason, "OutOfpods");
    }
}
