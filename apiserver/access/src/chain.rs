//! The chain of authorizers: `system:masters`, then Node, then RBAC.

use crate::node::{self, Graph};
use crate::rbac::{self, Attributes, Decision, Forbidden, Roles};
use crate::user::UserInfo;

/// Both authorizers over one pinned view.
#[derive(Clone, Copy)]
pub struct Authorizer<'a> {
    /// Roles and bindings.
    pub roles: &'a dyn Roles,
    /// What is related to which node.
    pub graph: &'a dyn Graph,
}

impl<'a> Authorizer<'a> {
    /// The chain over this view.
    pub fn new(roles: &'a dyn Roles, graph: &'a dyn Graph) -> Authorizer<'a> {
        Authorizer { roles, graph }
    }

    /// Decides. The reasons of authorizers without an opinion come one a line.
    pub fn authorize(&self, user: &UserInfo, attributes: &Attributes) -> Decision {
        if user.is_privileged() {
            return Decision::Allow(String::new());
        }
        let node = node::authorize(self.graph, user, attributes);
        if node.is_allowed() {
            return node;
        }
        let rbac = rbac::authorize(self.roles, user, attributes);
        if rbac.is_allowed() {
            return rbac;
        }
        let reasons: Vec<&str> =
            [node.reason(), rbac.reason()].into_iter().filter(|reason| !reason.is_empty()).collect();
        Decision::NoOpinion(reasons.join("\n"))
    }

    /// Decides, and says why not in the words of the 403.
    pub fn check(&self, user: &UserInfo, attributes: &Attributes) -> Result<(), Forbidden> {
        match self.authorize(user, attributes) {
            Decision::Allow(_) => Ok(()),
            Decision::NoOpinion(reason) => Err(rbac::forbidden(user, attributes, &reason)),
        }
    }
}
