//! What a fresh cluster allows: the roles, bindings and namespaces that are there from the start.
//!
//! The facts are a table ([`policy.txt`](../../src/bootstrap/policy.txt)); this module only
//! writes them out as objects and compares them with stored ones. It stores nothing.

mod reconcile;
mod table;

use std::sync::OnceLock;

use base64::Engine;
use serde_json::json;

use crate::Tree;
use crate::rbac::{GROUP, Rule, aggregated_rules};
pub use reconcile::{Reconciled, reconcile};

use table::{Binding, Entry, Role, SubjectRef};

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";

/// Namespaces every cluster has.
pub const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// All ClusterRoles, Roles, ClusterRoleBindings and RoleBindings, in this order; roles that
/// aggregate already hold what they gather.
pub fn objects() -> Vec<Tree> {
    let entries = table::entries();
    let mut roles: Vec<Tree> = Vec::new();
    let mut bindings: Vec<Tree> = Vec::new();
    for entry in entries {
        match entry {
            Entry::Role(role) => roles.push(role_tree(role)),
            Entry::Binding(binding) => bindings.push(binding_tree(binding)),
        }
    }
    aggregate(&mut roles);
    let is_cluster = |tree: &Tree| tree["metadata"]["namespace"].is_null();
    roles.sort_by_key(|tree| !is_cluster(tree));
    bindings.sort_by_key(|tree| !is_cluster(tree));
    roles.into_iter().chain(bindings).collect()
}

/// The system namespaces as objects, without status.
pub fn namespaces() -> Vec<Tree> {
    NAMESPACES
        .iter()
        .map(|name| {
            json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]},
            })
        })
        .collect()
}

/// What an installed cluster has besides: its administrators' rights, and what new nodes are told about it.
pub fn installed(server: &str, authority_pem: &str) -> Vec<Tree> {
    let mut objects = cluster_info(server, authority_pem);
    objects.push(cluster_admins_binding());
    objects
}

/// `kube-public/cluster-info`, which anybody may read: where the cluster is and whom to trust. Bootstrap tokens sign it.
fn cluster_info(server: &str, authority_pem: &str) -> Vec<Tree> {
    const NAME: &str = "kontiki:bootstrap-signer-clusterinfo";
    let authority = base64::engine::general_purpose::STANDARD.encode(authority_pem);
    let kubeconfig = format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {authority}\n    server: {server}\n  name: \"\"\ncontexts: null\ncurrent-context: \"\"\nkind: Config\nusers: null\n"
    );
    let metadata = |name: &str| json!({"name": name, "namespace": "kube-public"});
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata("cluster-info"),
            "data": {"kubeconfig": kubeconfig},
        }),
        json!({
            "apiVersion": API_VERSION,
            "kind": "Role",
            "metadata": metadata(NAME),
            "rules": [{
                "apiGroups": [""],
                "resourceNames": ["cluster-info"],
                "resources": ["configmaps"],
                "verbs": ["get"],
            }],
        }),
        json!({
            "apiVersion": API_VERSION,
            "kind": "RoleBinding",
            "metadata": metadata(NAME),
            "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": NAME},
            "subjects": [{"apiGroup": GROUP, "kind": "User", "name": crate::users::ANONYMOUS}],
        }),
    ]
}

/// Binds the administrators of an installed server to cluster-admin, as kubeadm does.
fn cluster_admins_binding() -> Tree {
    json!({
        "apiVersion": API_VERSION,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": crate::groups::CLUSTER_ADMINS},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": crate::groups::CLUSTER_ADMINS}],
    })
}

/// The rules of ClusterRole `system:node`: what all nodes may do, whatever runs on them.
pub(crate) fn node_rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let is_node = |role: &Role| role.namespace.is_none() && role.name == "system:node";
        let found = table::entries().into_iter().find_map(|entry| match entry {
            Entry::Role(role) if is_node(&role) => Some(role.rules),
            _ => None,
        });
        found.expect("the table has system:node")
    })
}

/// Fills the rules of aggregating roles. A role may gather from one that gathers itself, so
/// this repeats until nothing changes; the table is three levels deep.
fn aggregate(roles: &mut [Tree]) {
    loop {
        let before = roles.to_vec();
        for role in roles.iter_mut() {
            let cluster_roles = before.iter().filter(|other| other["kind"] == "ClusterRole");
            if let Some(rules) = aggregated_rules(role, cluster_roles) {
                role["rules"] = rules.iter().map(Rule::to_tree).collect();
            }
        }
        if before == roles {
            return;
        }
    }
}

fn role_tree(role: Role) -> Tree {
    let kind = if role.namespace.is_some() { "Role" } else { "ClusterRole" };
    let mut tree = json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata(role.namespace.as_deref(), &role.name),
        "rules": role.rules.iter().map(Rule::to_tree).collect::<Vec<_>>(),
    });
    for target in &role.aggregated_to {
        tree["metadata"]["labels"][aggregation_label(target)] = "true".into();
    }
    if let Some(target) = &role.aggregates {
        let labels = json!({aggregation_label(target): "true"});
        tree["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
    }
    tree
}

fn binding_tree(binding: Binding) -> Tree {
    let (kind, role_kind) = match binding.namespace {
        Some(_) => ("RoleBinding", "Role"),
        None => ("ClusterRoleBinding", "ClusterRole"),
    };
    let mut tree = json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata(binding.namespace.as_deref(), &binding.name),
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": binding.role},
    });
    if !binding.subjects.is_empty() {
        tree["subjects"] = binding.subjects.iter().map(subject_tree).collect();
    }
    tree
}

fn subject_tree(subject: &SubjectRef) -> Tree {
    match subject {
        SubjectRef::User(name) => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
        SubjectRef::Group(name) => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
        SubjectRef::ServiceAccount { namespace, name } => {
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        }
    }
}

fn metadata(namespace: Option<&str>, name: &str) -> Tree {
    let mut metadata = json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    });
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    metadata
}

fn aggregation_label(target: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{target}")
}

#[cfg(test)]
mod tests;
