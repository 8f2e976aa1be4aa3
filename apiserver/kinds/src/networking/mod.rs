//! Kinds of the networking.k8s.io group, one file each.

mod ingress;
mod ingress_class;
mod ip_address;
mod network_policy;
pub mod service_cidr;

use crate::Strategy;

pub use ingress::class_annotation;
pub use ingress_class::is_default as is_default_class;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![
        &ingress::Ingresses,
        &ingress_class::IngressClasses,
        &ip_address::IpAddresses,
        &network_policy::NetworkPolicies,
        &service_cidr::ServiceCidrs,
    ]
}

#[cfg(test)]
mod tests;
