//! Where validation is looser because what is stored already breaks a newer rule.
//!
//! An update must not fail over something it does not touch, so every rule that came after the field may be waived by the
//! object that is being replaced. New objects get no waivers.

use serde_json::Value;

use super::selectors::{label_keys, pod_affinity_terms};
use super::{annotations, security, volumes};
use crate::core::pod::containers::{each, is_sidecar};
use crate::core::pod::resource_math::is_huge_page;
use crate::field::Path;
use crate::names::label_value;
use crate::quantity::{self, Quantity};
use crate::selector::{Leniency, validate_label_selector};
use crate::tree::{at, bool_at, list_at, map_at, str_at, strings_at};

/// The waivers of one validation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The spec is a pod's and not a template's.
    pub(crate) is_pod: bool,
    /// A malformed deletion cost passes.
    pub(super) any_deletion_cost: bool,
    /// Selectors of affinity terms may hold any value.
    pub(super) any_affinity_values: bool,
    /// Required node affinity may hold any value.
    pub(super) any_node_affinity_values: bool,
    /// Huge pages need not be a multiple of the page size.
    pub(super) any_huge_pages: bool,
    /// Selectors of spread constraints are not checked.
    pub(super) any_spread_selectors: bool,
    /// Label keys of spread constraints follow the older rule.
    pub(super) old_spread_keys: bool,
    /// Tokens may be projected outside their volume.
    pub(super) any_token_path: bool,
    /// Sysctls of a namespace shared with the host pass.
    pub(super) any_sysctls: bool,
    /// Tolerations may compare with `Lt` and `Gt`.
    pub(super) comparing_tolerations: bool,
    /// User namespaces may go with the host's network.
    pub(super) users_with_host_network: bool,
    /// User namespaces may go with block devices.
    pub(super) users_with_devices: bool,
    /// SELinux change policies other than `Recursive` pass.
    pub(super) any_selinux_change: bool,
    /// Init containers that end may ask for a restart on resize.
    pub(super) restarting_init_resize: bool,
}

impl Options {
    /// For a new pod, or for a pod that replaces `old`.
    pub(crate) fn pod(old: Option<&Value>) -> Options {
        Options { is_pod: true, ..Options::template(old) }
    }

    /// For a new template, or for a template that replaces `old`. A pod reads as a template here.
    pub(crate) fn template(old: Option<&Value>) -> Options {
        let Some(old) = old else { return Options::default() };
        let null = Value::Null;
        let spec = at(old, "spec").unwrap_or(&null);
        Options {
            is_pod: false,
            any_deletion_cost: annotations::deletion_cost_error(old, &Path::root()).is_some(),
            any_affinity_values: has_bad_affinity_selector(spec),
            any_node_affinity_values: has_bad_node_affinity_value(spec),
            any_huge_pages: each(spec).any(has_odd_huge_pages) || odd_huge_pages(spec, "overhead"),
            any_spread_selectors: has_bad_spread_selector(spec),
            old_spread_keys: has_bad_spread_keys(spec),
            any_token_path: volumes::has_outside_token(spec),
            any_sysctls: security::has_shared_sysctl(spec),
            comparing_tolerations: list_at(spec, "tolerations")
                .iter()
                .any(|toleration| matches!(str_at(toleration, "operator"), "Lt" | "Gt")),
            users_with_host_network: bool_at(spec, "hostUsers") == Some(false)
                && bool_at(spec, "hostNetwork") == Some(true),
            users_with_devices: bool_at(spec, "hostUsers") == Some(false)
                && each(spec).any(|container| !list_at(container, "volumeDevices").is_empty()),
            any_selinux_change: at(spec, "securityContext.seLinuxChangePolicy").is_some(),
            restarting_init_resize: list_at(spec, "initContainers").iter().any(restarts_on_resize),
        }
    }
}

fn has_bad_affinity_selector(spec: &Value) -> bool {
    pod_affinity_terms(spec).any(|term| {
        ["labelSelector", "namespaceSelector"]
            .iter()
            .any(|name| !validate_label_selector(term, name, Leniency::default(), &Path::root()).is_empty())
    })
}

fn has_bad_node_affinity_value(spec: &Value) -> bool {
    let path = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    list_at(spec, path)
        .iter()
        .flat_map(|term| list_at(term, "matchExpressions"))
        .flat_map(|requirement| strings_at(requirement, "values"))
        .any(|value| !label_value(value).is_empty())
}

fn has_bad_spread_selector(spec: &Value) -> bool {
    list_at(spec, "topologySpreadConstraints").iter().any(|constraint| {
        !validate_label_selector(constraint, "labelSelector", Leniency::default(), &Path::root()).is_empty()
    })
}

fn has_bad_spread_keys(spec: &Value) -> bool {
    list_at(spec, "topologySpreadConstraints")
        .iter()
        .any(|constraint| !label_keys(constraint, &Path::root()).is_empty())
}

fn has_odd_huge_pages(container: &Value) -> bool {
    ["resources.limits", "resources.requests"].iter().any(|list| odd_huge_pages(container, list))
}

fn odd_huge_pages(owner: &Value, list: &str) -> bool {
    map_at(owner, list)
        .into_iter()
        .flatten()
        .any(|(name, value)| is_huge_page(name) && !is_multiple_of_page(name, &quantity::of(value)))
}

/// Whether an amount of huge pages is a whole number of pages.
pub(super) fn is_multiple_of_page(name: &str, amount: &Quantity) -> bool {
    let Some(page) = name.strip_prefix("hugepages-").and_then(|page| Quantity::parse(page).ok()) else {
        return false;
    };
    page.sign() > 0 && quantity::is_whole(&page) && amount.value() % page.value() == 0
}

fn restarts_on_resize(container: &Value) -> bool {
    !is_sidecar(container)
        && list_at(container, "resizePolicy")
            .iter()
            .any(|policy| str_at(policy, "restartPolicy") == "RestartContainer")
}
