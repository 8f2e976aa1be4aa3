//! Kinds of the resource.k8s.io group: devices, their classes, and claims of them.
//!
//! Expressions that select devices are kept as they are written; nobody here reads them.

pub mod access;
mod device_class;
mod device_request;
mod items;
mod names;
mod resource_claim;
mod resource_claim_template;
mod resource_slice;
mod slice_capacity;
mod slice_devices;

use crate::Strategy;

pub use slice_devices::stamp_taints;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![
        &device_class::DeviceClasses,
        &resource_claim::ResourceClaims,
        &resource_claim_template::ResourceClaimTemplates,
        &resource_slice::ResourceSlices,
    ]
}

#[cfg(test)]
mod tests;
