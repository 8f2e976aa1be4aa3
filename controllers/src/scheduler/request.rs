//! What a pod asks of a node.

use std::collections::BTreeMap;

use super::quantity;
use super::view::{Container, Pod, ResourceList};

/// Counted for a container that asks for no processor time when nodes are compared.
const DEFAULT_CPU: i64 = 100;
/// Counted for a container that asks for no memory when nodes are compared.
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts of resources: processors in thousandths, all else in units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Amounts(pub(crate) BTreeMap<String, i64>);

impl Amounts {
    pub(crate) fn of(list: &ResourceList) -> Amounts {
        let amounts = list.iter().map(|(name, text)| {
            let amount = if name == "cpu" {
                quantity::millis(text).and_then(|millis| i64::try_from(millis).ok())
            } else {
                quantity::whole(text)
            };
            (name.clone(), amount.unwrap_or(0))
        });
        Amounts(amounts.collect())
    }

    pub(crate) fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() += amount;
        }
    }

    pub(crate) fn subtract(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() -= amount;
        }
    }

    fn raise_to(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            let mine = self.0.entry(name.clone()).or_default();
            *mine = (*mine).max(*amount);
        }
    }
}

/// What a pod asks for, and what is counted for it when nodes are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) exact: Amounts,
    /// With defaults for what containers leave out; cpu and memory only.
    pub(crate) nonzero: Amounts,
}

impl Request {
    pub(crate) fn of(pod: &Pod) -> Request {
        Request { exact: total(pod, &exact), nonzero: total(pod, &with_defaults) }
    }
}

fn exact(container: &Container) -> Amounts {
    Amounts::of(&container.resources.requests)
}

fn with_defaults(container: &Container) -> Amounts {
    let asked = exact(container);
    let or = |name: &str, default| asked.0.get(name).copied().unwrap_or(default);
    let pair = [("cpu", or("cpu", DEFAULT_CPU)), ("memory", or("memory", DEFAULT_MEMORY))];
    Amounts(pair.map(|(name, amount)| (name.to_owned(), amount)).into())
}

/// Containers run together; init containers run one after the other, each beside
/// the sidecars started before it. The larger of the two counts.
fn total(pod: &Pod, asks: &dyn Fn(&Container) -> Amounts) -> Amounts {
    let mut running = Amounts::default();
    for container in &pod.spec.containers {
        running.add(&asks(container));
    }
    let (mut sidecars, mut starting) = (Amounts::default(), Amounts::default());
    for container in &pod.spec.init_containers {
        let mut amount = asks(container);
        if container.restart_policy == "Always" {
            running.add(&amount);
            sidecars.add(&amount);
            amount = sidecars.clone();
        } else {
            amount.add(&sidecars);
        }
        starting.raise_to(&amount);
    }
    running.raise_to(&starting);
    // What is asked for the pod as a whole replaces what its containers ask for.
    running.0.extend(Amounts::of(&pod.spec.resources.requests).0);
    running.add(&Amounts::of(&pod.spec.overhead));
    running
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: Value, cpu: i64) {
        let pod: Pod = serde_json::from_value(json!({ "spec": spec })).unwrap();
        assert_eq!(Request::of(&pod).exact.get("cpu"), cpu, "{spec}");
    }

    #[test]
    fn init_containers_and_sidecars_count_where_they_run() {
        let asks = |cpu: &str| json!({ "resources": { "requests": { "cpu": cpu } } });
        let sidecar = json!({ "restartPolicy": "Always", "resources": { "requests": { "cpu": "100m" } } });
        check(json!({ "containers": [asks("1"), asks("500m")] }), 1500);
        check(json!({ "containers": [asks("1")], "initContainers": [asks("3"), asks("2")] }), 3000);
        check(json!({ "containers": [asks("1")], "initContainers": [sidecar, asks("3")] }), 3100);
        check(json!({ "containers": [asks("1")], "initContainers": [asks("3"), sidecar] }), 3000);
        check(json!({ "containers": [asks("1")], "overhead": { "cpu": "250m" } }), 1250);
        check(json!({ "containers": [asks("1")], "resources": { "requests": { "cpu": "4" } } }), 4000);
    }
}
