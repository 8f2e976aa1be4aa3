//! Errors as clients see them: every failure of a request becomes a
//! `metav1.Status` here, and nowhere else is an HTTP code chosen for one.
//! This module decides codes, reasons, details and wording; it never writes a
//! response and never knows which handler failed.

use schema::Tree;
use schema::go::quote;
use serde_json::{Map, json};
use std::fmt::Write as _;

/// A resource as errors name it: `pods` or `deployments.apps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupResource {
    /// API group, empty for core.
    pub group: String,
    /// Plural name, for example `pods`.
    pub resource: String,
}

impl GroupResource {
    /// Names a resource of a group.
    pub fn new(group: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { group: group.into(), resource: resource.into() }
    }
}

impl std::fmt::Display for GroupResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.resource)
        } else {
            write!(f, "{}.{}", self.resource, self.group)
        }
    }
}

/// One machine-readable cause inside `details.causes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Reason word, for example `FieldValueInvalid`.
    pub reason: String,
    /// Human text without the field path.
    pub message: String,
    /// Field path; left out when empty.
    pub field: String,
}

/// What `details` of a Status says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Object name, left out when empty.
    pub name: String,
    /// API group, left out when empty.
    pub group: String,
    /// Resource plural (or kind for invalid objects), left out when empty.
    pub kind: String,
    /// Object uid, left out when empty.
    pub uid: String,
    /// Causes, left out when empty.
    pub causes: Vec<Cause>,
    /// Seconds after which to retry; 0 is left out.
    pub retry_after: u32,
}

/// Why a request failed, in the terms of the API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The request cannot be understood.
    #[error("{0}")]
    BadRequest(String),
    /// No valid credentials.
    #[error("Unauthorized")]
    Unauthorized,
    /// Refused by the authorizer or an admission plugin.
    #[error("{resource} {name:?} is forbidden: {text}")]
    Forbidden {
        /// What was asked for.
        resource: GroupResource,
        /// Object name, may be empty.
        name: String,
        /// Why.
        text: String,
        /// Machine-readable causes.
        causes: Vec<Cause>,
    },
    /// Refused by the authorizers, in their words.
    #[error(transparent)]
    Denied(#[from] access::rbac::Forbidden),
    /// The named object is absent.
    #[error("{resource} {name:?} not found")]
    NotFound {
        /// Its resource.
        resource: GroupResource,
        /// Its name.
        name: String,
    },
    /// No such path within a known group.
    #[error("the server could not find the requested resource")]
    NoSuchResource,
    /// No such path at all: plain text, as a web server's.
    #[error("404 page not found")]
    NoSuchPage,
    /// The path exists but not with this method.
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// No acceptable representation (router level: with the list of types).
    #[error("406: Not Acceptable\n\nAvailable representations: {0}")]
    NoRepresentation(String),
    /// No acceptable representation (negotiation level).
    #[error("only the following media types are accepted: {0}")]
    NotAcceptable(String),
    /// The representation asked for does not fit the answer.
    #[error("{0}")]
    UnfitRepresentation(String),
    /// PATCH with a type this resource does not take.
    #[error("415: Unsupported Media Type")]
    UnsupportedPatchType,
    /// The body's type is unknown.
    #[error("the body of the request was in an unknown format - accepted media types include: {0}")]
    UnsupportedMediaType(String),
    /// Create of something that is there.
    #[error("{resource} {name:?} already exists")]
    AlreadyExists {
        /// Its resource.
        resource: GroupResource,
        /// Its name.
        name: String,
    },
    /// Create of something that is there and on its way out.
    #[error("object is being deleted: {resource} {name:?} already exists")]
    BeingDeleted {
        /// Its resource.
        resource: GroupResource,
        /// Its name.
        name: String,
    },
    /// `generateName` found no free name.
    #[error(
        "{resource} {name:?} already exists, the server was not able to generate a unique name for the object"
    )]
    NoFreeName {
        /// Its resource.
        resource: GroupResource,
        /// The last name tried.
        name: String,
    },
    /// A precondition failed.
    #[error("Operation cannot be fulfilled on {resource} {name:?}: {text}")]
    Conflict {
        /// Its resource (delete preconditions say the kind).
        resource: GroupResource,
        /// Its name.
        name: String,
        /// Why.
        text: String,
    },
    /// An apply about fields that others own with other values.
    #[error("{text}")]
    ApplyConflict {
        /// All of them in words.
        text: String,
        /// One cause each.
        causes: Vec<Cause>,
    },
    /// The asked-for revision is gone.
    #[error("{text}")]
    Expired {
        /// Why.
        text: String,
        /// A token to go on with inconsistently.
        resume: Option<String>,
    },
    /// The body is larger than the limit.
    #[error("{0}")]
    TooLarge(String),
    /// Validation failed.
    #[error("{}", invalid_text(group, kind, name, causes, joined.as_deref()))]
    Invalid {
        /// Group of the kind.
        group: String,
        /// Kind, for example `Deployment`.
        kind: String,
        /// Object name, may be empty.
        name: String,
        /// All findings.
        causes: Vec<Cause>,
        /// The findings as one text, when it differs from joining the causes.
        joined: Option<String>,
    },
    /// A patch that does not apply.
    #[error("{0}")]
    Unprocessable(String),
    /// Our fault.
    #[error("Internal error occurred: {0}")]
    Internal(String),
    /// A failure that upstream reports as a bare 500 without reason.
    #[error("{0}")]
    Plain(String),
    /// The operation did not complete in time and may have happened.
    #[error("Timeout: {0}")]
    Timeout(String),
    /// The server is not yet at the revision asked for.
    #[error("Too large resource version: {asked}, current: {current}")]
    RevisionTooLarge {
        /// Asked for.
        asked: u64,
        /// The newest known here.
        current: u64,
    },
    /// What was asked for may be granted later.
    #[error("{text}")]
    TooManyRequests {
        /// Why not now.
        text: String,
        /// Machine-readable causes.
        causes: Vec<Cause>,
        /// Seconds after which to ask again; 0 says nothing about it.
        retry_after: u32,
    },
    /// This replica cannot serve now.
    #[error("{0}")]
    Unavailable(String),
}

/// Shorthand of this crate's fallible results.
pub type ApiResult<T> = Result<T, ApiError>;

/// Joins causes as an aggregate error prints: one alone, several in brackets.
pub fn aggregate(texts: &[String]) -> String {
    match texts {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn invalid_text(group: &str, kind: &str, name: &str, causes: &[Cause], joined: Option<&str>) -> String {
    let mut text = String::new();
    let qualified = GroupResource::new(group, kind);
    write!(text, "{qualified} {} is invalid", quote(name)).expect("strings take every write");
    if let Some(joined) = joined {
        write!(text, ": {joined}").expect("strings take every write");
    } else if !causes.is_empty() {
        let mut seen: Vec<String> = Vec::new();
        for cause in causes {
            let line = if cause.field.is_empty() {
                cause.message.clone()
            } else {
                format!("{}: {}", cause.field, cause.message)
            };
            if !seen.contains(&line) {
                seen.push(line);
            }
        }
        write!(text, ": {}", aggregate(&seen)).expect("strings take every write");
    }
    text
}

impl ApiError {
    /// Absent object.
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::NotFound { resource: resource.clone(), name: name.to_owned() }
    }

    /// Refused by admission.
    pub fn forbidden(resource: &GroupResource, name: &str, text: impl Into<String>) -> Self {
        Self::Forbidden {
            resource: resource.clone(),
            name: name.to_owned(),
            text: text.into(),
            causes: Vec::new(),
        }
    }

    /// Failed precondition.
    pub fn conflict(resource: &GroupResource, name: &str, text: impl Into<String>) -> Self {
        Self::Conflict { resource: resource.clone(), name: name.to_owned(), text: text.into() }
    }

    /// Validation findings of an object or of options.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[kinds::field::Error]) -> Self {
        Self::Invalid {
            group: group.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            causes: errors.iter().map(cause).collect(),
            joined: None,
        }
    }

    /// The HTTP code.
    pub fn code(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::Unauthorized => 401,
            Self::Forbidden { .. } | Self::Denied(_) => 403,
            Self::NotFound { .. } | Self::NoSuchResource | Self::NoSuchPage => 404,
            Self::MethodNotAllowed => 405,
            Self::NoRepresentation(_) | Self::NotAcceptable(_) | Self::UnfitRepresentation(_) => 406,
            Self::AlreadyExists { .. }
            | Self::BeingDeleted { .. }
            | Self::NoFreeName { .. }
            | Self::ApplyConflict { .. }
            | Self::Conflict { .. } => 409,
            Self::Expired { .. } => 410,
            Self::TooLarge(_) => 413,
            Self::UnsupportedPatchType | Self::UnsupportedMediaType(_) => 415,
            Self::Invalid { .. } | Self::Unprocessable(_) => 422,
            Self::TooManyRequests { .. } => 429,
            Self::Internal(_) | Self::Plain(_) => 500,
            Self::Unavailable(_) => 503,
            Self::Timeout(_) | Self::RevisionTooLarge { .. } => 504,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden { .. } | Self::Denied(_) => "Forbidden",
            Self::NotFound { .. } | Self::NoSuchResource | Self::NoSuchPage => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NoRepresentation(_) | Self::NotAcceptable(_) | Self::UnfitRepresentation(_) => {
                "NotAcceptable"
            }
            Self::AlreadyExists { .. } | Self::BeingDeleted { .. } | Self::NoFreeName { .. } => {
                "AlreadyExists"
            }
            Self::Conflict { .. } | Self::ApplyConflict { .. } => "Conflict",
            Self::Expired { .. } => "Expired",
            Self::TooLarge(_) => "RequestEntityTooLarge",
            Self::UnsupportedPatchType | Self::UnsupportedMediaType(_) => "UnsupportedMediaType",
            Self::Invalid { .. } | Self::Unprocessable(_) => "Invalid",
            Self::Internal(_) => "InternalError",
            Self::Plain(_) => "",
            Self::TooManyRequests { .. } => "TooManyRequests",
            Self::Unavailable(_) => "ServiceUnavailable",
            Self::Timeout(_) | Self::RevisionTooLarge { .. } => "Timeout",
        }
    }

    /// Seconds for the `Retry-After` header, if any.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::RevisionTooLarge { .. } => Some(1),
            Self::TooManyRequests { retry_after, .. } if *retry_after > 0 => Some(*retry_after),
            _ => None,
        }
    }

    fn details(&self) -> Option<Details> {
        match self {
            Self::Forbidden { resource, name, causes, .. } => Some(Details {
                name: name.clone(),
                group: resource.group.clone(),
                kind: resource.resource.clone(),
                causes: causes.clone(),
                ..Details::default()
            }),
            Self::Denied(denied) => Some(Details {
                name: denied.name.clone(),
                group: denied.group.clone(),
                kind: denied.resource.clone(),
                ..Details::default()
            }),
            Self::NotFound { resource, name }
            | Self::AlreadyExists { resource, name }
            | Self::BeingDeleted { resource, name }
            | Self::Conflict { resource, name, .. } => Some(Details {
                name: name.clone(),
                group: resource.group.clone(),
                kind: resource.resource.clone(),
                ..Details::default()
            }),
            Self::ApplyConflict { causes, .. } => {
                Some(Details { causes: causes.clone(), ..Details::default() })
            }
            Self::NoFreeName { resource, name } => Some(Details {
                name: name.clone(),
                group: resource.group.clone(),
                kind: resource.resource.clone(),
                retry_after: 1,
                ..Details::default()
            }),
            Self::Invalid { group, kind, name, causes, .. } => Some(Details {
                name: name.clone(),
                group: group.clone(),
                kind: kind.clone(),
                causes: causes.clone(),
                ..Details::default()
            }),
            Self::RevisionTooLarge { .. } => Some(Details {
                causes: vec![Cause {
                    reason: "ResourceVersionTooLarge".into(),
                    message: "Too large resource version".into(),
                    field: String::new(),
                }],
                retry_after: 1,
                ..Details::default()
            }),
            Self::TooManyRequests { causes, retry_after, .. } => {
                Some(Details { causes: causes.clone(), retry_after: *retry_after, ..Details::default() })
            }
            Self::Internal(text) => Some(Details {
                causes: vec![Cause { reason: String::new(), message: text.clone(), field: String::new() }],
                ..Details::default()
            }),
            Self::NoSuchResource
            | Self::MethodNotAllowed
            | Self::NoRepresentation(_)
            | Self::UnsupportedPatchType
            | Self::Unprocessable(_) => Some(Details::default()),
            Self::Timeout(_) => Some(Details::default()),
            _ => None,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Forbidden { resource, name, text, .. } if name.is_empty() => {
                format!("{resource} is forbidden: {text}")
            }
            Self::Forbidden { resource, name, text, .. } => {
                format!("{resource} {} is forbidden: {text}", quote(name))
            }
            Self::NotFound { resource, name } => format!("{resource} {} not found", quote(name)),
            Self::RevisionTooLarge { asked, current } => {
                format!("Timeout: Too large resource version: {asked}, current: {current}")
            }
            other => other.to_string(),
        }
    }

    /// The whole `metav1.Status`.
    pub fn status(&self) -> Tree {
        let mut metadata = Map::new();
        if let Self::Expired { resume: Some(resume), .. } = self {
            metadata.insert("continue".into(), json!(resume));
        }
        let mut status = Map::new();
        status.insert("kind".into(), json!("Status"));
        status.insert("apiVersion".into(), json!("v1"));
        status.insert("metadata".into(), Tree::Object(metadata));
        status.insert("status".into(), json!("Failure"));
        status.insert("message".into(), json!(self.message()));
        if !self.reason().is_empty() {
            status.insert("reason".into(), json!(self.reason()));
        }
        if let Some(details) = self.details() {
            status.insert("details".into(), details.tree());
        }
        status.insert("code".into(), json!(self.code()));
        Tree::Object(status)
    }
}

impl Details {
    /// As JSON, empty fields left out.
    pub fn tree(&self) -> Tree {
        let mut map = Map::new();
        for (key, value) in
            [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)]
        {
            if !value.is_empty() {
                map.insert(key.into(), json!(value));
            }
        }
        if !self.causes.is_empty() {
            map.insert("causes".into(), Tree::Array(self.causes.iter().map(Cause::tree).collect()));
        }
        if self.retry_after > 0 {
            map.insert("retryAfterSeconds".into(), json!(self.retry_after));
        }
        Tree::Object(map)
    }
}

impl Cause {
    fn tree(&self) -> Tree {
        let mut map = Map::new();
        for (key, value) in [("reason", &self.reason), ("message", &self.message), ("field", &self.field)] {
            if !value.is_empty() {
                map.insert(key.into(), json!(value));
            }
        }
        Tree::Object(map)
    }
}

/// `metav1.Status` of a success that returns no object.
pub fn success(details: &Details) -> Tree {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details.tree()})
}

/// A field error as a cause.
pub fn cause(error: &kinds::field::Error) -> Cause {
    Cause { reason: error.ty.reason().to_owned(), message: error.body(), field: error.field.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_found_names_resource_and_group() {
        let error = ApiError::not_found(&GroupResource::new("apps", "deployments"), "web");
        let status = error.status();
        assert_eq!(status["message"], "deployments.apps \"web\" not found");
        assert_eq!(status["details"], json!({"name": "web", "group": "apps", "kind": "deployments"}));
        assert_eq!(status["code"], 404);
    }

    #[test]
    fn several_findings_stand_in_brackets_once() {
        let cause = |field: &str| Cause {
            reason: "FieldValueRequired".into(),
            message: "Required value".into(),
            field: field.into(),
        };
        let error = ApiError::Invalid {
            group: String::new(),
            kind: "Pod".into(),
            name: "x".into(),
            causes: vec![cause("a"), cause("b"), cause("a")],
            joined: None,
        };
        assert_eq!(error.status()["message"], "Pod \"x\" is invalid: [a: Required value, b: Required value]");
    }
}
