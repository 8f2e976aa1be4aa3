//! Kubernetes types and tables of facts, of one minor version.
