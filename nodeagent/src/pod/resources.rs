//! Amounts of cpu and memory: reading quantities, QoS classes, and what the kernel is told.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use proto::cri::LinuxContainerResources;

use super::spec;

/// The period over which a cpu limit is enforced, in microseconds.
const CPU_PERIOD_US: i64 = 100_000;
/// The least quota the kernel takes, in microseconds.
const CPU_QUOTA_MIN_US: i64 = 1_000;
/// The least shares the kernel takes.
const CPU_SHARES_MIN: i64 = 2;
/// The most shares the kernel takes.
const CPU_SHARES_MAX: i64 = 262_144;

/// How much the node owes a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Limits equal requests everywhere.
    Guaranteed,
    /// Something is asked for.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl std::fmt::Display for Qos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Qos::Guaranteed => "Guaranteed",
            Qos::Burstable => "Burstable",
            Qos::BestEffort => "BestEffort",
        })
    }
}

/// A quantity in thousandths, rounded up; none when it is not a quantity.
pub fn milli(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.trim();
    let split =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (numerator, denominator) = scale(suffix)?;
    let below = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(denominator)?;
    let above = digits.checked_mul(numerator)?.checked_mul(1000)?;
    let value = above.div_ceil_to(below);
    Some(if negative { -value } else { value })
}

/// Division of non-negative numbers that rounds up.
trait DivCeil {
    fn div_ceil_to(self, by: Self) -> Self;
}

impl DivCeil for i128 {
    fn div_ceil_to(self, by: i128) -> i128 {
        (self + by - 1) / by
    }
}

/// What a suffix multiplies by, as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1_i128 << (10 * power), 1));
    let decimal = |power: i32| match power {
        0.. => Some((10_i128.checked_pow(power.unsigned_abs())?, 1)),
        _ => Some((1, 10_i128.checked_pow(power.unsigned_abs())?)),
    };
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    }
}

/// A whole number of units, rounded up.
pub fn units(quantity: &Quantity) -> Option<i64> {
    i64::try_from(milli(quantity)?.div_euclid(1000) + i128::from(milli(quantity)?.rem_euclid(1000) != 0)).ok()
}

type List = BTreeMap<String, Quantity>;

fn requests(container: &Container) -> Option<&List> {
    container.resources.as_ref()?.requests.as_ref()
}

fn limits(container: &Container) -> Option<&List> {
    container.resources.as_ref()?.limits.as_ref()
}

/// The amount of a resource in thousandths; zero when it is not mentioned.
fn amount(list: Option<&List>, resource: &str) -> i128 {
    list.and_then(|list| list.get(resource)).and_then(milli).unwrap_or(0)
}

/// The class, from all containers' cpu and memory.
pub fn qos(pod: &Pod) -> Qos {
    const COUNTED: [&str; 2] = ["cpu", "memory"];
    let mut asked = false;
    let mut guaranteed = true;
    for (_, container) in spec::containers(pod) {
        for resource in COUNTED {
            let request = amount(requests(container), resource);
            let limit = amount(limits(container), resource);
            asked |= request != 0 || limit != 0;
            // A request that is not given is the limit.
            let request = if request == 0 { limit } else { request };
            guaranteed &= limit != 0 && request == limit;
        }
    }
    match (asked, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// The pod's own cgroup below the root.
pub fn cgroup_parent(root: &str, pod: &Pod) -> String {
    let root = root.trim_end_matches('/');
    match qos(pod) {
        Qos::Guaranteed => format!("{root}/pod{}", spec::uid(pod)),
        Qos::Burstable => format!("{root}/burstable/pod{}", spec::uid(pod)),
        Qos::BestEffort => format!("{root}/besteffort/pod{}", spec::uid(pod)),
    }
}

fn shares(milli_cpu: i128) -> i64 {
    i64::try_from(milli_cpu * 1024 / 1000).unwrap_or(CPU_SHARES_MAX).clamp(CPU_SHARES_MIN, CPU_SHARES_MAX)
}

fn quota(milli_cpu: i128) -> i64 {
    i64::try_from(milli_cpu * i128::from(CPU_PERIOD_US) / 1000).unwrap_or(i64::MAX).max(CPU_QUOTA_MIN_US)
}

/// What the kernel is told about one container.
pub fn container_resources(
    pod: &Pod,
    container: &Container,
    node_memory: u64,
    restrict_oom_score_adj: bool,
) -> LinuxContainerResources {
    let (cpu_request, cpu_limit) = (amount(requests(container), "cpu"), amount(limits(container), "cpu"));
    let asked = if cpu_request == 0 { cpu_limit } else { cpu_request };
    let memory_limit = amount(limits(container), "memory") / 1000;
    let adjust = oom_score_adj(pod, container, node_memory);
    LinuxContainerResources {
        cpu_period: if cpu_limit == 0 { 0 } else { CPU_PERIOD_US },
        cpu_quota: if cpu_limit == 0 { 0 } else { quota(cpu_limit) },
        cpu_shares: shares(asked),
        memory_limit_in_bytes: i64::try_from(memory_limit).unwrap_or(i64::MAX),
        oom_score_adj: if restrict_oom_score_adj { adjust.max(0) } else { adjust },
        ..LinuxContainerResources::default()
    }
}

/// Who is killed first when memory runs out: the more a container asked for, the later.
pub fn oom_score_adj(pod: &Pod, container: &Container, node_memory: u64) -> i64 {
    // 2,000,000,000 and more is what system-node-critical and its peers have.
    if spec::spec(pod).priority.is_some_and(|priority| priority >= 2_000_000_000) {
        return -997;
    }
    match qos(pod) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let request = amount(requests(container), "memory") / 1000;
            let share = 1000 * request / i128::from(node_memory.max(1));
            i64::try_from(1000 - share).unwrap_or(3).clamp(3, 999)
        }
    }
}

/// Sums over the pod, for its cgroup and for admission.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Thousandths of a core asked for.
    pub cpu_request: i128,
    /// Bytes asked for.
    pub memory_request: i128,
    /// Thousandths of a core allowed; none when one container has no limit.
    pub cpu_limit: Option<i128>,
    /// Bytes allowed; none when one container has no limit.
    pub memory_limit: Option<i128>,
}

/// What the pod asks for and may use: main containers and sidecars together, or its greediest init container.
pub fn totals(pod: &Pod) -> Totals {
    let of = |list: fn(&Container) -> Option<&List>, resource: &str| {
        let (mut steady, mut peak) = (0_i128, 0_i128);
        for (role, container) in spec::containers(pod) {
            let value = amount(list(container), resource);
            match role {
                spec::Role::Init => peak = peak.max(steady + value),
                spec::Role::Sidecar | spec::Role::Main | spec::Role::Ephemeral => steady += value,
            }
        }
        peak.max(steady)
    };
    let all_limited =
        |resource: &str| spec::containers(pod).all(|(_, container)| amount(limits(container), resource) != 0);
    let request = |resource: &str| {
        let requested = of(requests, resource);
        if requested == 0 { of(limits, resource) } else { requested }
    };
    Totals {
        cpu_request: request("cpu"),
        memory_request: request("memory") / 1000,
        cpu_limit: all_limited("cpu").then(|| of(limits, "cpu")),
        memory_limit: all_limited("memory").then(|| of(limits, "memory") / 1000),
    }
}

/// What the kernel is told about the pod as a whole.
pub fn pod_cgroup(pod: &Pod) -> PodCgroup {
    let totals = totals(pod);
    PodCgroup {
        cpu_shares: shares(totals.cpu_request),
        cpu_quota: totals.cpu_limit.map(quota),
        cpu_period: CPU_PERIOD_US,
        memory_limit: totals.memory_limit.and_then(|limit| i64::try_from(limit).ok()),
    }
}

/// Limits of a pod's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodCgroup {
    /// Weight of the processor, as v1 counts it.
    pub cpu_shares: i64,
    /// Microseconds per period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: i64,
    /// Bytes.
    pub memory_limit: Option<i64>,
}

impl PodCgroup {
    /// The weight as cgroup v2 counts it.
    pub fn cpu_weight(&self) -> i64 {
        1 + (self.cpu_shares - 2) * 9999 / 262_142
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_in_thousandths() {
        let cases = [
            ("1", 1000),
            ("100m", 100),
            ("1.5", 1500),
            ("0.1m", 1),
            ("64Mi", 67_108_864_000),
            ("1e3", 1_000_000),
            ("1k", 1_000_000),
            ("250u", 1),
            ("-2", -2000),
        ];
        for (text, expected) in cases {
            assert_eq!(milli(&Quantity(text.into())), Some(expected), "{text}");
        }
        assert_eq!(milli(&Quantity("12x".into())), None);
        assert_eq!(milli(&Quantity(String::new())), None);
    }
}
