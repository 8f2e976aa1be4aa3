//! Pods on a node through the container runtime interface.
