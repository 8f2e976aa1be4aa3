//! Kinds of the storage.k8s.io group, one file each; what they share is in [`parameters`].

mod csidriver;
mod csinode;
mod csistoragecapacity;
mod parameters;
pub mod storageclass;
mod volumeattachment;
mod volumeattributesclass;

pub(crate) use parameters::driver_name;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![
        &csidriver::CsiDrivers,
        &csinode::CsiNodes,
        &csistoragecapacity::CsiStorageCapacities,
        &storageclass::StorageClasses,
        &volumeattachment::VolumeAttachments,
        &volumeattributesclass::VolumeAttributesClasses,
    ]
}

#[cfg(test)]
mod tests;
