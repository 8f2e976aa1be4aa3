//! Services: fields that follow from each other, what a change of type clears, Table cells.
//!
//! Addresses and node ports come from pools this crate cannot see. [`allocation`] says what a write needs from them; a
//! caller asks it before [`crate::write::prepare_create`] or [`crate::write::prepare_update`], fills in what it allocated,
//! and only then validates, because validation wants the complete object.

pub mod allocation;
mod update;
mod validate;
mod warnings;

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::field::Error;
use crate::tree::{at, bool_at, carry_over, int_at, list_at, list_at_mut, remove, set, str_at, strings_at};
use crate::{Resource, Strategy, Subresource, meta, names};

/// Seconds a client sticks to its endpoint when nothing else is said.
const AFFINITY_SECONDS: i64 = 10_800;

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Type", "How the service is reached."),
    Column::text("Cluster-IP", "Address inside the cluster."),
    Column::text("External-IP", "Addresses outside the cluster."),
    Column::text("Port(s)", "Ports, with the node port after a colon."),
    Column::AGE,
    Column::text("Selector", "Labels of the pods behind the service.").wide(),
];

/// The strategy of Services.
pub(super) struct Services;

impl Strategy for Services {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "services")
    }

    fn default(&self, obj: &mut Value) {
        default_affinity(obj);
        if str_at(obj, "spec.type").is_empty() {
            set(obj, "spec.type", "ClusterIP");
        }
        for port in list_at_mut(obj, "spec.ports") {
            default_port(port);
        }
        if is_externally_accessible(obj) && str_at(obj, "spec.externalTrafficPolicy").is_empty() {
            set(obj, "spec.externalTrafficPolicy", "Cluster");
        }
        let kind = str_at(obj, "spec.type").to_owned();
        if at(obj, "spec.internalTrafficPolicy").is_none()
            && ["ClusterIP", "NodePort", "LoadBalancer"].contains(&kind.as_str())
        {
            set(obj, "spec.internalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            if at(obj, "spec.allocateLoadBalancerNodePorts").is_none() {
                set(obj, "spec.allocateLoadBalancerNodePorts", true);
            }
            for ingress in list_at_mut(obj, "status.loadBalancer.ingress") {
                if !str_at(ingress, "ip").is_empty() && at(ingress, "ipMode").is_none() {
                    set(ingress, "ipMode", "VIP");
                }
            }
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "status", json!({"loadBalancer": {}}));
        drop_unused_policy(obj);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            return;
        }
        carry_over(new, old, "status");
        update::drop_what_the_type_forbids(new, old);
        drop_unused_policy(new);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, names::label_rule);
        errors.extend(validate::service(obj, None));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if sub == Subresource::Status {
            errors.extend(validate::load_balancer_status(new, Some(old)));
        } else {
            errors.extend(update::validate(new, old));
            errors.extend(validate::service(new, Some(old)));
        }
        errors
    }

    fn status_warns(&self) -> bool {
        true
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        warnings::of(new)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let ports: Vec<String> = list_at(obj, "spec.ports").iter().map(print_port).collect();
        vec![
            columns::name(obj),
            json!(str_at(obj, "spec.type")),
            json!(columns::or_none(strings_at(obj, "spec.clusterIPs").first().unwrap_or(&""))),
            json!(external_addresses(obj)),
            json!(columns::or_none(&ports.join(","))),
            columns::age(obj, now),
            json!(columns::labels(obj, "spec.selector")),
        ]
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn attributes(&self, obj: &Value) -> Vec<(&'static str, String)> {
        vec![
            ("spec.clusterIP", str_at(obj, "spec.clusterIP").to_owned()),
            ("spec.type", str_at(obj, "spec.type").to_owned()),
        ]
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

fn default_affinity(obj: &mut Value) {
    if str_at(obj, "spec.sessionAffinity").is_empty() {
        set(obj, "spec.sessionAffinity", "None");
    }
    match str_at(obj, "spec.sessionAffinity") {
        "None" => drop(remove(obj, "spec.sessionAffinityConfig")),
        "ClientIP" if at(obj, "spec.sessionAffinityConfig.clientIP.timeoutSeconds").is_none() => {
            set(obj, "spec.sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}));
        }
        _ => {}
    }
}

fn default_port(port: &mut Value) {
    if str_at(port, "protocol").is_empty() {
        set(port, "protocol", "TCP");
    }
    let target = at(port, "targetPort");
    if target.is_none() || target == Some(&json!(0)) || target == Some(&json!("")) {
        let number = int_at(port, "port").unwrap_or(0);
        set(port, "targetPort", number);
    }
}

/// A name outside the cluster has no endpoints to be policed; the field was once defaulted by mistake.
fn drop_unused_policy(obj: &mut Value) {
    let is_known = ["Cluster", "Local"].contains(&str_at(obj, "spec.internalTrafficPolicy"));
    if str_at(obj, "spec.type") == "ExternalName" && is_known {
        remove(obj, "spec.internalTrafficPolicy");
    }
}

fn is_externally_accessible(obj: &Value) -> bool {
    match str_at(obj, "spec.type") {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !list_at(obj, "spec.externalIPs").is_empty(),
        _ => false,
    }
}

/// Whether a port of its own tells load balancers if a node has endpoints.
fn needs_health_check(obj: &Value) -> bool {
    str_at(obj, "spec.type") == "LoadBalancer" && str_at(obj, "spec.externalTrafficPolicy") == "Local"
}

fn needs_cluster_ip(obj: &Value) -> bool {
    str_at(obj, "spec.type") != "ExternalName"
}

fn is_headless(obj: &Value) -> bool {
    strings_at(obj, "spec.clusterIPs") == ["None"]
}

fn node_port(port: &Value) -> i64 {
    int_at(port, "nodePort").unwrap_or(0)
}

fn node_ports(obj: &Value) -> Vec<i64> {
    list_at(obj, "spec.ports").iter().map(node_port).filter(|port| *port != 0).collect()
}

/// Whether ports that name no node port get one.
fn allocates_node_ports(obj: &Value) -> bool {
    match str_at(obj, "spec.type") {
        "NodePort" => true,
        "LoadBalancer" => bool_at(obj, "spec.allocateLoadBalancerNodePorts") != Some(false),
        _ => false,
    }
}

fn print_port(port: &Value) -> String {
    let (number, protocol) = (int_at(port, "port").unwrap_or(0), str_at(port, "protocol"));
    match node_port(port) {
        0 => format!("{number}/{protocol}"),
        node => format!("{number}:{node}/{protocol}"),
    }
}

fn external_addresses(obj: &Value) -> String {
    let external = strings_at(obj, "spec.externalIPs");
    match str_at(obj, "spec.type") {
        "ClusterIP" | "NodePort" => columns::or_none(&external.join(",")),
        "LoadBalancer" => {
            let mut addresses = columns::balancer_addresses(obj);
            addresses.extend(external);
            if addresses.is_empty() { "<pending>".to_owned() } else { addresses.join(",") }
        }
        "ExternalName" => str_at(obj, "spec.externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}
