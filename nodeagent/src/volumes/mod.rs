//! The volumes of a pod on this node: where they are, how they come and go.
//!
//! Setting up is idempotent and may be repeated on a running pod. A volume type that is not known here is an
//! error that names it, never a silent empty directory.

pub mod atomic;
pub mod empty_dir;
pub mod host_path;
pub mod mounts;
pub mod ownership;
pub mod projection;
pub mod subpath;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};

use crate::container::downward::Place;
use crate::objects::Objects;
use crate::pod::spec;

/// Why a volume is not there.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// What it refers to is missing or wrong; the text is upstream's.
    #[error("{0}")]
    Source(String),
    /// The kernel refused.
    #[error("{what} {path}: {source}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl VolumeError {
    /// Wraps an error of the kernel.
    pub fn kernel(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| VolumeError::Kernel { what, path, source }
    }
}

/// A volume that could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {name:?} : {source}")]
pub struct MountFailure {
    /// Its name in the pod.
    pub name: String,
    /// Why not.
    #[source]
    pub source: VolumeError,
}

/// What setting up needs beside the pod.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where ConfigMaps, Secrets and tokens come from.
    pub objects: &'a Objects,
    /// The pod's own directory.
    pub pod_dir: &'a Path,
    /// Facts for downwardAPI.
    pub place: &'a Place,
    /// The time.
    pub now: Timestamp,
}

/// Directory names that tell the kind of a volume, as other tools expect them.
fn plugin(volume: &Volume) -> Option<&'static str> {
    if volume.empty_dir.is_some() {
        Some("kubernetes.io~empty-dir")
    } else if volume.config_map.is_some() {
        Some("kubernetes.io~configmap")
    } else if volume.secret.is_some() {
        Some("kubernetes.io~secret")
    } else if volume.projected.is_some() {
        Some("kubernetes.io~projected")
    } else if volume.downward_api.is_some() {
        Some("kubernetes.io~downward-api")
    } else {
        None
    }
}

/// Where a volume is on the node.
pub fn path(pod_dir: &Path, volume: &Volume) -> Option<PathBuf> {
    if let Some(host_path) = &volume.host_path {
        return Some(PathBuf::from(&host_path.path));
    }
    Some(pod_dir.join("volumes").join(plugin(volume)?).join(&volume.name))
}

/// Sets all volumes up. Gives the time when contents should be looked at again.
pub async fn set_up(context: Context<'_>, pod: &Pod) -> Result<Timestamp, MountFailure> {
    for volume in spec::spec(pod).volumes.iter().flatten() {
        let result = set_up_one(context, pod, volume).await;
        result.map_err(|source| MountFailure { name: volume.name.clone(), source })?;
    }
    Ok(projection::next_look(context, pod))
}

/// Writes volumes again whose sources may have changed.
pub async fn refresh(context: Context<'_>, pod: &Pod) -> Result<Timestamp, MountFailure> {
    for volume in spec::spec(pod).volumes.iter().flatten().filter(|volume| has_sources(volume)) {
        let result = set_up_one(context, pod, volume).await;
        result.map_err(|source| MountFailure { name: volume.name.clone(), source })?;
    }
    Ok(projection::next_look(context, pod))
}

fn has_sources(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
}

async fn set_up_one(context: Context<'_>, pod: &Pod, volume: &Volume) -> Result<(), VolumeError> {
    if let Some(host_path) = &volume.host_path {
        return host_path::check(host_path);
    }
    let Some(path) = path(context.pod_dir, volume) else {
        return Err(VolumeError::Source(unknown_kind(volume)));
    };
    let fs_group = spec::spec(pod).security_context.as_ref().and_then(|context| context.fs_group);
    if let Some(empty_dir) = &volume.empty_dir {
        return empty_dir::set_up(&path, empty_dir, fs_group);
    }
    // Secrets and tokens must never reach a disk.
    if volume.secret.is_some() || volume.projected.is_some() {
        empty_dir::directory(&path)?;
        mounts::tmpfs(&path, None)?;
    } else {
        empty_dir::directory(&path)?;
    }
    let payload = projection::payload(context, pod, volume).await?;
    atomic::write(&path, &payload, context.now).map_err(VolumeError::kernel("write", &path))?;
    match fs_group {
        Some(group) => ownership::give(&path, group, ownership::Access::ReadOnly)
            .map_err(VolumeError::kernel("change the owner of", &path)),
        None => Ok(()),
    }
}

/// The first member of the volume's source that is set.
fn unknown_kind(volume: &Volume) -> String {
    let tree = serde_json::to_value(volume).unwrap_or_default();
    let kind = tree.as_object().and_then(|map| map.keys().find(|key| *key != "name").cloned());
    format!("volumes of type {} are not supported by this node", kind.unwrap_or_else(|| "unknown".into()))
}

/// Unmounts everything below the pod's directory.
pub fn tear_down(pod_dir: &Path) -> Result<(), VolumeError> {
    mounts::unmount_below(pod_dir).map_err(VolumeError::kernel("unmount", pod_dir))
}

/// Removes the pod's directory. Refuses while something is mounted in it: what is mounted is not ours to delete.
pub fn remove(pod_dir: &Path) -> Result<(), VolumeError> {
    mounts::unmount_below(pod_dir).map_err(VolumeError::kernel("unmount", pod_dir))?;
    match std::fs::remove_dir_all(pod_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(VolumeError::kernel("remove", pod_dir)(error))
        }
        _ => Ok(()),
    }
}
