//! Admission: what a write needs from the rest of the cluster, and what the
//! cluster adds to it. Each plugin is a file; this one is their order.
//! Plugins read only the pinned view; what they read becomes preconditions.

mod certificates;
mod claim_resize;
mod default_ingress_class;
mod default_tolerations;
mod device_claims;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod pod_resize;
mod pod_security;
mod priority;
mod resource_quota;
mod role_escalation;
mod runtime_class;
mod service_account;
pub(crate) mod service_addresses;
pub(crate) mod service_allocation;
mod storage_class;
mod storage_protection;
mod taint_nodes;

use crate::catalog::Kind;
use crate::context::Context;
use crate::objects::Objects;
use crate::status::ApiResult;
use kinds::Subresource;
use mvcc::{Precondition, View};
use schema::Tree;

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

/// What a write needs besides itself: what must still hold when it is applied, and what else is written in the same
/// transaction. The object itself comes last, so that the transaction's last revision is its own.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) preconditions: Vec<Precondition>,
    operations: Vec<mvcc::Operation>,
}

impl Effects {
    /// Effects that begin with one precondition.
    pub(crate) fn requiring(precondition: Precondition) -> Self {
        Self { preconditions: vec![precondition], operations: Vec::new() }
    }

    /// The transaction that does all of it and then `last`, without reserve: the log keeps it as it is.
    pub(crate) fn with(self, last: mvcc::Operation) -> (Vec<Precondition>, Vec<mvcc::Operation>) {
        let mut operations = Vec::with_capacity(self.operations.len() + 1);
        operations.extend(self.operations);
        operations.push(last);
        let mut preconditions = Vec::with_capacity(self.preconditions.len());
        preconditions.extend(self.preconditions);
        (preconditions, operations)
    }
}

/// A write under admission.
pub(crate) struct Review<'a> {
    pub(crate) context: &'a Context,
    pub(crate) kind: &'a Kind,
    pub(crate) sub: Subresource,
    pub(crate) operation: Operation,
    pub(crate) view: &'a View,
    pub(crate) dry_run: bool,
    effects: &'a mut Effects,
}

impl<'a> Review<'a> {
    pub(crate) fn new(
        context: &'a Context,
        kind: &'a Kind,
        sub: Subresource,
        operation: Operation,
        view: &'a View,
        dry_run: bool,
        effects: &'a mut Effects,
    ) -> Self {
        Self { context, kind, sub, operation, view, dry_run, effects }
    }

    /// Makes the store refuse the write unless this still holds.
    pub(crate) fn require(&mut self, precondition: Precondition) {
        self.effects.preconditions.push(precondition);
    }

    /// Writes something else in the write's own transaction.
    pub(crate) fn also(&mut self, operation: mvcc::Operation) {
        self.effects.operations.push(operation);
    }

    /// Objects of the view.
    pub(crate) fn objects(&self) -> Objects<'a> {
        Objects { codec: &self.context.server.codec, view: self.view }
    }

    /// Whether the write is on this core resource itself.
    pub(crate) fn is_core(&self, plural: &str) -> bool {
        self.kind.resource.group.is_empty()
            && self.kind.resource.plural == plural
            && self.sub == Subresource::None
    }

    /// Whether the write is on this resource of another group, or on a part of it.
    pub(crate) fn is_on(&self, group: &str, plural: &str, sub: Subresource) -> bool {
        self.kind.resource.group == group && self.kind.resource.plural == plural && self.sub == sub
    }
}

/// Plugins that change the object, in upstream's order.
pub(crate) fn mutate(review: &mut Review<'_>, object: &mut Tree, old: Option<&Tree>) -> ApiResult<()> {
    namespace_lifecycle::admit(review, object)?;
    limit_ranger::mutate(review, object, old)?;
    service_account::mutate(review, object)?;
    node_restriction::admit(review, object, old)?;
    taint_nodes::mutate(review, object);
    priority::mutate(review, object, old)?;
    default_tolerations::mutate(review, object);
    default_ingress_class::mutate(review, object);
    storage_protection::mutate(review, object);
    runtime_class::mutate(review, object)?;
    storage_class::mutate(review, object);
    Ok(())
}

/// What only the cluster can give: addresses and ports, who asks and when. Runs after the strategy has prepared the object.
pub(crate) fn allocate(review: &mut Review<'_>, object: &mut Tree, old: Option<&Tree>) -> ApiResult<()> {
    certificates::complete(review, object, old);
    device_claims::complete(review, object);
    device_claims::check(review, object, old)?;
    service_allocation::allocate(review, object, old)
}

/// Gives back what only the cluster could give, before an object goes.
pub(crate) fn release(review: &mut Review<'_>, old: &Tree) {
    service_addresses::release(review, None, old);
}

/// Plugins that only look, after the object is known to be valid.
pub(crate) fn validate(review: &mut Review<'_>, object: &Tree, old: Option<&Tree>) -> ApiResult<()> {
    if review.operation == Operation::Delete {
        namespace_lifecycle::admit(review, object)?;
        node_restriction::admit(review, object, old)?;
    }
    limit_ranger::validate(review, object, old)?;
    pod_security::validate(review, object, old)?;
    priority::validate(review, object)?;
    claim_resize::validate(review, object, old)?;
    runtime_class::validate(review, object)?;
    pod_resize::validate(review, object, old)?;
    certificates::validate(review, object, old)?;
    role_escalation::validate(review, object, old)?;
    resource_quota::validate(review, object, old)
}
