//! Controllers and scheduler: pure plans over views, through the Kubernetes API.
