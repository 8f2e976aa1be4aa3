//! The chain of authorizers: `system:masters`, then Node, then RBAC, unless configured otherwise.

use crate::node::{self, Graph};
use crate::rbac::{self, Attributes, Decision, Forbidden, Roles};
use crate::user::UserInfo;

/// One authorizer of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nodes read what their pods need.
    Node,
    /// Roles and bindings.
    Rbac,
    /// Everybody may do everything.
    AlwaysAllow,
    /// Nobody may do anything.
    AlwaysDeny,
}

impl Mode {
    /// The chain when nothing else is said.
    pub const DEFAULT: &'static [Mode] = &[Mode::Node, Mode::Rbac];
}

/// The authorizers over one pinned view.
#[derive(Clone, Copy)]
pub struct Authorizer<'a> {
    /// Roles and bindings.
    pub roles: &'a dyn Roles,
    /// What is related to which node.
    pub graph: &'a dyn Graph,
    /// Who is asked, in this order.
    modes: &'a [Mode],
}

impl<'a> Authorizer<'a> {
    /// The chain over this view.
    pub fn new(roles: &'a dyn Roles, graph: &'a dyn Graph) -> Authorizer<'a> {
        Authorizer { roles, graph, modes: Mode::DEFAULT }
    }

    /// The same, asking these.
    pub fn with_modes(self, modes: &'a [Mode]) -> Authorizer<'a> {
        Authorizer { modes, ..self }
    }

    /// Decides. The reasons of authorizers without an opinion come one a line.
    pub fn authorize(&self, user: &UserInfo, attributes: &Attributes) -> Decision {
        if user.is_privileged() {
            return Decision::Allow(None);
        }
        let mut reasons = Vec::new();
        for mode in self.modes {
            match self.ask(*mode, user, attributes) {
                allowed @ Decision::Allow(_) => return allowed,
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }

    fn ask(&self, mode: Mode, user: &UserInfo, attributes: &Attributes) -> Decision {
        match mode {
            Mode::Node => node::authorize(self.graph, user, attributes),
            Mode::Rbac => rbac::authorize(self.roles, user, attributes),
            Mode::AlwaysAllow => Decision::Allow(None),
            Mode::AlwaysDeny => Decision::NoOpinion("Everything is forbidden.".to_owned()),
        }
    }

    /// Decides, and says why not in the words of the 403.
    pub fn check(&self, user: &UserInfo, attributes: &Attributes) -> Result<(), Forbidden> {
        self.authorize(user, attributes).demand(user, attributes)
    }
}
