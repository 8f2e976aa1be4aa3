//! What happens next to a range of service addresses: it is protected and ready, and goes when nothing needs it.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use runtime::Metadata;
use serde::Deserialize;
use serde_json::{Value, json};

/// Keeps a range while addresses of it are in use.
pub(super) const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// The range every cluster has; the API server makes it.
const DEFAULT: &str = "kubernetes";
/// So long whoever gives addresses may not know yet that the range is on its way out.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

const READY: &str = "Kubernetes Service CIDR is ready";
const DEFAULT_READY: &str = "Kubernetes default Service CIDR is ready";
const STILL_USED: &str =
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";

/// A ServiceCIDR.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceCidr {
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
    pub(crate) status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Spec {
    pub(crate) cidrs: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) conditions: Vec<Value>,
}

/// One write, or a pause.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    AddFinalizer,
    RemoveFinalizer,
    /// The conditions the status should have.
    Conditions(Vec<Value>),
    WaitUntil(Timestamp),
}

/// Addresses of one family that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix {
    base: u128,
    length: u32,
    ipv6: bool,
}

impl Prefix {
    fn parse(cidr: &str) -> Option<Prefix> {
        let (address, length) = cidr.split_once('/')?;
        Some(Prefix { length: length.parse().ok()?, ..Prefix::of(address.parse().ok()?) })
    }

    /// One address alone.
    fn of(address: IpAddr) -> Prefix {
        match address {
            IpAddr::V4(ip) => Prefix { base: u128::from(u32::from(ip)), length: 32, ipv6: false },
            IpAddr::V6(ip) => Prefix { base: u128::from(ip), length: 128, ipv6: true },
        }
    }

    fn contains(self, other: Prefix) -> bool {
        let bits = if self.ipv6 { 128 } else { 32 };
        let differing = (self.base ^ other.base).checked_shr(bits - self.length).unwrap_or(0);
        self.ipv6 == other.ipv6 && self.length <= other.length && differing == 0
    }
}

fn prefixes(range: &ServiceCidr) -> impl Iterator<Item = Prefix> {
    range.spec.cidrs.iter().filter_map(|cidr| Prefix::parse(cidr))
}

/// The next steps of one range. `others` are the other ranges, `addresses` those that are given to Services.
pub(super) fn plan(
    range: &ServiceCidr,
    others: &[&ServiceCidr],
    addresses: impl IntoIterator<Item = String>,
    now: Timestamp,
) -> Vec<Action> {
    let is_protected = range.metadata.finalizers.iter().any(|name| name == FINALIZER);
    let Some(since) = range.metadata.deletion_timestamp else {
        let mut actions = Vec::new();
        if !is_protected {
            actions.push(Action::AddFinalizer);
        }
        let is_default = range.metadata.name == DEFAULT;
        // What the API server would say of its own range stands for good.
        let message = if is_default { DEFAULT_READY } else { READY };
        if !(is_default && has_ready(range, "True")) {
            actions.extend(condition(range, ("True", "", message), now));
        }
        return actions;
    };
    if is_needed(range, others, addresses) {
        return condition(range, ("False", "Terminating", STILL_USED), now).into_iter().collect();
    }
    match since + GRACE {
        until if until > now => vec![Action::WaitUntil(until)],
        _ if is_protected => vec![Action::RemoveFinalizer],
        _ => Vec::new(),
    }
}

/// Whether a given address would belong to no range without this one.
fn is_needed(
    range: &ServiceCidr,
    others: &[&ServiceCidr],
    addresses: impl IntoIterator<Item = String>,
) -> bool {
    let own: Vec<Prefix> = prefixes(range).collect();
    let rest: Vec<Prefix> = others.iter().flat_map(|other| prefixes(other)).collect();
    if own.iter().all(|own| rest.iter().any(|other| other.contains(*own))) {
        return false;
    }
    let within = |prefixes: &[Prefix], address| prefixes.iter().any(|prefix| prefix.contains(address));
    let given = addresses.into_iter().filter_map(|address| address.parse().ok().map(Prefix::of));
    given.into_iter().any(|address| within(&own, address) && !within(&rest, address))
}

fn has_ready(range: &ServiceCidr, status: &str) -> bool {
    range
        .status
        .conditions
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == status)
}

/// The conditions with this one, unless it is there already.
fn condition(
    range: &ServiceCidr,
    (status, reason, message): (&str, &str, &str),
    now: Timestamp,
) -> Option<Action> {
    let is_ready = |condition: &&Value| condition["type"] == "Ready";
    let old = range.status.conditions.iter().find(is_ready);
    let text = |name: &str| old.map_or("", |old| old[name].as_str().unwrap_or_default());
    if old.is_some() && text("status") == status && text("reason") == reason && text("message") == message {
        return None;
    }
    let mut conditions: Vec<Value> =
        range.status.conditions.iter().filter(|condition| !is_ready(condition)).cloned().collect();
    conditions.push(json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": runtime::time::seconds(now),
    }));
    Some(Action::Conditions(conditions))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:01:00Z";

    /// `NAME CIDR[,CIDR] [words]`: `held` for the finalizer, `ready` for the condition, `going@SECOND` for a deletion.
    fn range(text: &str) -> ServiceCidr {
        let words: Vec<&str> = text.split(' ').collect();
        let has = |word: &str| words.contains(&word);
        let going = words.iter().find_map(|word| word.strip_prefix("going@"));
        let message = if words[0] == DEFAULT { DEFAULT_READY } else { READY };
        let ready = json!([{ "type": "Ready", "status": "True", "reason": "", "message": message }]);
        serde_json::from_value(json!({
            "metadata": {
                "name": words[0],
                "finalizers": if has("held") { vec![FINALIZER] } else { vec![] },
                "deletionTimestamp": going.map(|second| format!("2026-01-01T00:00:{second}Z")),
            },
            "spec": { "cidrs": words[1].split(',').collect::<Vec<_>>() },
            "status": { "conditions": if has("ready") { ready } else { json!([]) } },
        }))
        .expect("a range")
    }

    /// The steps as words.
    fn check(own: &str, others: &[&str], addresses: &[&str], expected: &str) {
        let others: Vec<ServiceCidr> = others.iter().map(|text| range(text)).collect();
        let others: Vec<&ServiceCidr> = others.iter().collect();
        let addresses = addresses.iter().map(|address| (*address).to_owned());
        let actions = plan(&range(own), &others, addresses, NOW.parse().expect("a time"));
        let words = actions.iter().map(|action| match action {
            Action::AddFinalizer => "hold".to_owned(),
            Action::RemoveFinalizer => "release".to_owned(),
            Action::WaitUntil(until) => format!("wait {until}"),
            Action::Conditions(conditions) => conditions
                .iter()
                .map(|condition| format!("{}={}", condition["type"], condition["status"]).replace('"', ""))
                .collect::<Vec<_>>()
                .join(" "),
        });
        assert_eq!(words.collect::<Vec<_>>().join(", "), expected, "{own}");
    }

    #[test]
    fn a_new_range_is_protected_and_ready() {
        check("a 10.0.0.0/24", &[], &[], "hold, Ready=True");
        check("a 10.0.0.0/24 held ready", &[], &[], "");
        check("kubernetes 10.0.0.0/24 held ready", &[], &[], "");
    }

    #[test]
    fn a_range_goes_when_its_addresses_have_another() {
        let going = "a 10.0.0.0/24 held ready going@00";
        check(going, &[], &["10.0.0.7"], "Ready=False");
        check(going, &[], &["10.0.1.7", "fd00::7"], "release");
        check(going, &["b 10.0.0.0/16"], &["10.0.0.7"], "release");
        check(going, &["b 10.0.0.0/28"], &["10.0.0.7"], "release");
        check(going, &["b 10.0.0.0/28"], &["10.0.0.7", "10.0.0.77"], "Ready=False");
        check(
            "a 10.0.0.0/24,fd00::/112 held ready going@00",
            &["b 10.0.0.0/16"],
            &["fd00::7"],
            "Ready=False",
        );
        check("a 10.0.0.0/24 held going@55", &[], &[], "wait 2026-01-01T00:01:05Z");
        check("a 10.0.0.0/24 going@00", &[], &[], "");
    }
}
