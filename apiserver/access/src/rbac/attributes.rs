//! What is asked of an authorizer, and the text of its refusal.

use super::GROUP;
use crate::go;
use crate::user::UserInfo;

/// One requirement of a field or label selector, as far as authorizers look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Field path or label key.
    pub key: String,
    /// How it compares.
    pub operator: Operator,
    /// With what; one value for fields.
    pub values: Vec<String>,
}

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Equals one value.
    Equals,
    /// Differs from one value.
    NotEquals,
    /// Is one of several.
    In,
    /// Is none of several.
    NotIn,
    /// Is there.
    Exists,
    /// Is not there.
    DoesNotExist,
}

/// A request as authorizers see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, …; for paths the lower-case method.
    pub verb: String,
    /// Whether it is for a resource; else only `path` counts.
    pub is_resource: bool,
    /// Empty for cluster scope.
    pub namespace: String,
    /// API group; empty for core.
    pub group: String,
    /// API version; no built-in authorizer looks at it.
    pub version: String,
    /// Plural.
    pub resource: String,
    /// `status`, `log`, …
    pub subresource: String,
    /// Empty for create and for collections (unless the selector is `metadata.name=x`).
    pub name: String,
    /// The path of a request that is not for a resource.
    pub path: String,
    /// Requirements of the field selector that could be read.
    pub fields: Vec<Requirement>,
    /// Requirements of the label selector that could be read.
    pub labels: Vec<Requirement>,
}

impl Attributes {
    /// A request for a path outside resources.
    pub fn path(verb: &str, path: &str) -> Attributes {
        Attributes { verb: verb.to_owned(), path: path.to_owned(), ..Attributes::default() }
    }

    /// A request for a resource at cluster scope; set further fields as needed.
    pub fn resource(verb: &str, group: &str, resource: &str) -> Attributes {
        Attributes {
            verb: verb.to_owned(),
            is_resource: true,
            group: group.to_owned(),
            version: "*".to_owned(),
            resource: resource.to_owned(),
            ..Attributes::default()
        }
    }

    /// The same in a namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Attributes {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// The same for one object.
    #[must_use]
    pub fn named(mut self, name: &str) -> Attributes {
        name.clone_into(&mut self.name);
        self
    }

    /// The same for a subresource.
    #[must_use]
    pub fn subresource(mut self, subresource: &str) -> Attributes {
        subresource.clone_into(&mut self.subresource);
        self
    }

    /// Whether the field selector demands `key=value`.
    pub fn requires_field(&self, key: &str, value: &str) -> bool {
        self.fields
            .iter()
            .any(|field| field.key == key && field.operator == Operator::Equals && field.values == [value])
    }
}

/// A 403: what to put into the Status. `message` is complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Forbidden {
    /// `details.group`.
    pub group: String,
    /// `details.kind`: the resource.
    pub resource: String,
    /// `details.name`.
    pub name: String,
    /// `message`.
    pub message: String,
}

impl Forbidden {
    /// `RESOURCE.GROUP "NAME" is forbidden: WHY`, as upstream builds it.
    pub fn new(group: &str, resource: &str, name: &str, why: &str) -> Forbidden {
        let qualified = match (resource, group) {
            ("", _) => String::new(),
            (resource, "") => resource.to_owned(),
            (resource, group) => format!("{resource}.{group}"),
        };
        let message = match (qualified.as_str(), name) {
            ("", _) => format!("forbidden: {why}"),
            (resource, "") => format!("{resource} is forbidden: {why}"),
            (resource, name) => format!("{resource} {} is forbidden: {why}", go::quote(name)),
        };
        Forbidden { group: group.to_owned(), resource: resource.to_owned(), name: name.to_owned(), message }
    }

    /// The same for a role or binding.
    pub(super) fn rbac(resource: &str, name: &str, why: &str) -> Forbidden {
        Forbidden::new(GROUP, resource, name, why)
    }
}

/// The refusal of a request that no authorizer allows.
pub fn forbidden(user: &UserInfo, attributes: &Attributes, reason: &str) -> Forbidden {
    let user = go::quote(&user.name);
    let verb = &attributes.verb;
    let mut why = if attributes.is_resource {
        let resource = match attributes.subresource.as_str() {
            "" => go::quote(&attributes.resource),
            sub => go::quote(&format!("{}/{sub}", attributes.resource)),
        };
        let scope = match attributes.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {}", go::quote(namespace)),
        };
        let group = go::quote(&attributes.group);
        format!("User {user} cannot {verb} resource {resource} in API group {group} {scope}")
    } else {
        format!("User {user} cannot {verb} path {}", go::quote(&attributes.path))
    };
    if !reason.is_empty() {
        why = format!("{why}: {reason}");
    }
    Forbidden::new(&attributes.group, &attributes.resource, &attributes.name, &why)
}
