//! What happens to nodes, and to pods because of them.

mod eviction;
mod gc;
mod health;
mod ipam;
mod lifecycle;

pub(crate) use self::gc::start as start_pod_gc;
pub(crate) use self::ipam::start as start_ipam;
pub(crate) use self::lifecycle::start as start_lifecycle;
