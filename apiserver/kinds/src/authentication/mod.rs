//! Kinds of the authentication.k8s.io group. They are questions: validated, answered, never stored.

use serde_json::Value;

use crate::field::Error;
use crate::tree::str_at;
use crate::{Resource, Strategy, Subresource};

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&TokenReviews, &SelfSubjectReviews]
}

/// The strategy of TokenReviews.
struct TokenReviews;

impl Strategy for TokenReviews {
    fn resource(&self) -> &'static Resource {
        crate::resource!("authentication.k8s.io", "v1", "tokenreviews")
    }

    fn bad_request(&self, obj: &Value) -> Option<String> {
        str_at(obj, "spec.token")
            .is_empty()
            .then(|| "token is required for TokenReview in authentication".to_owned())
    }

    fn validate(&self, _obj: &Value) -> Vec<Error> {
        Vec::new()
    }

    fn validate_update(&self, _sub: Subresource, _new: &Value, _old: &Value) -> Vec<Error> {
        Vec::new()
    }
}

/// The strategy of SelfSubjectReviews.
struct SelfSubjectReviews;

impl Strategy for SelfSubjectReviews {
    fn resource(&self) -> &'static Resource {
        crate::resource!("authentication.k8s.io", "v1", "selfsubjectreviews")
    }

    fn validate(&self, _obj: &Value) -> Vec<Error> {
        Vec::new()
    }

    fn validate_update(&self, _sub: Subresource, _new: &Value, _old: &Value) -> Vec<Error> {
        Vec::new()
    }
}
