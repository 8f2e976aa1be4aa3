//! The resources the controllers name themselves.

use runtime::Resource;

pub(crate) static NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");
pub(crate) static PODS: Resource = Resource::namespaced("", "v1", "pods", "Pod");
pub(crate) static NODES: Resource = Resource::cluster("", "v1", "nodes", "Node");
pub(crate) static CLAIMS: Resource =
    Resource::namespaced("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim");
pub(crate) static VOLUMES: Resource = Resource::cluster("", "v1", "persistentvolumes", "PersistentVolume");
pub(crate) static STORAGE_CLASSES: Resource =
    Resource::cluster("storage.k8s.io", "v1", "storageclasses", "StorageClass");
pub(crate) static RESOURCE_QUOTAS: Resource =
    Resource::namespaced("", "v1", "resourcequotas", "ResourceQuota");
pub(crate) static ATTRIBUTES_CLASSES: Resource =
    Resource::cluster("storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass");
pub(crate) static SERVICES: Resource = Resource::namespaced("", "v1", "services", "Service");
pub(crate) static ENDPOINTS: Resource = Resource::namespaced("", "v1", "endpoints", "Endpoints");
pub(crate) static CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
pub(crate) static SECRETS: Resource = Resource::namespaced("", "v1", "secrets", "Secret");
pub(crate) static CLUSTER_ROLES: Resource =
    Resource::cluster("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole");
pub(crate) static SERVICE_ACCOUNTS: Resource =
    Resource::namespaced("", "v1", "serviceaccounts", "ServiceAccount");
pub(crate) static REPLICA_SETS: Resource = Resource::namespaced("apps", "v1", "replicasets", "ReplicaSet");
pub(crate) static DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");
pub(crate) static LEASES: Resource = Resource::namespaced("coordination.k8s.io", "v1", "leases", "Lease");
pub(crate) static SERVICE_CIDRS: Resource =
    Resource::cluster("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR");
pub(crate) static IP_ADDRESSES: Resource =
    Resource::cluster("networking.k8s.io", "v1", "ipaddresses", "IPAddress");
pub(crate) static SIGNING_REQUESTS: Resource =
    Resource::cluster("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest");
pub(crate) static SUBJECT_ACCESS_REVIEWS: Resource =
    Resource::cluster("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview");
pub(crate) static ENDPOINT_SLICES: Resource =
    Resource::namespaced("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice");
pub(crate) static REPLICATION_CONTROLLERS: Resource =
    Resource::namespaced("", "v1", "replicationcontrollers", "ReplicationController");
pub(crate) static JOBS: Resource = Resource::namespaced("batch", "v1", "jobs", "Job");
pub(crate) static CRON_JOBS: Resource = Resource::namespaced("batch", "v1", "cronjobs", "CronJob");
pub(crate) static BUDGETS: Resource =
    Resource::namespaced("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget");
pub(crate) static STATEFUL_SETS: Resource = Resource::namespaced("apps", "v1", "statefulsets", "StatefulSet");
