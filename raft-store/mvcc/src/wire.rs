//! Between the store's words and their numbered form in the log, in snapshots and on the wire.
//!
//! Encoding copies no object bytes but into the final buffer; decoding slices them out of the buffer
//! they came in. A message that lacks what it must have is refused with [`Malformed`].

use std::sync::Arc;

use bytes::Bytes;
use proto::store as wire;
use proto::store::{command, interest, operation, precondition};

use crate::state::{Command, CommandBody, ProposalId};
use crate::types::{Entry, Interest, Key, Object, Operation, Precondition, Revision, Term, Transaction};

/// A message that is no valid command or record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed record: {what}")]
pub struct Malformed {
    /// What is missing or out of range.
    pub what: &'static str,
}

fn need<T>(value: Option<T>, what: &'static str) -> Result<T, Malformed> {
    value.ok_or(Malformed { what })
}

/// The numbered form of a command.
pub fn command(command: &Command) -> wire::Command {
    let body = match &command.body {
        CommandBody::Transact(transaction) => command::Body::Transact(transact(transaction)),
        CommandBody::Compact(at) => command::Body::Compact(wire::Compact { at: at.0 }),
    };
    wire::Command {
        proposal: Bytes::copy_from_slice(&command.proposal.0.to_be_bytes()),
        feature_level: command.feature_level,
        body: Some(body),
    }
}

/// Reads a command.
pub fn read_command(message: wire::Command) -> Result<Command, Malformed> {
    let proposal: [u8; 16] =
        message.proposal[..].try_into().map_err(|_| Malformed { what: "proposal id is not 16 bytes" })?;
    let body = match need(message.body, "command without a body this version knows")? {
        command::Body::Transact(transact) => CommandBody::Transact(read_transaction(transact)?),
        command::Body::Compact(compact) => CommandBody::Compact(Revision(compact.at)),
    };
    let proposal = ProposalId(u128::from_be_bytes(proposal));
    Ok(Command { proposal, feature_level: message.feature_level, body })
}

fn transact(transaction: &Transaction) -> wire::Transact {
    wire::Transact {
        preconditions: transaction.preconditions.iter().map(precondition).collect(),
        operations: transaction.operations.iter().map(operation).collect(),
        fence: transaction.fence.map(|term| term.0),
    }
}

fn read_transaction(message: wire::Transact) -> Result<Transaction, Malformed> {
    Ok(Transaction {
        preconditions: message.preconditions.into_iter().map(read_precondition).collect::<Result<_, _>>()?,
        operations: message.operations.into_iter().map(read_operation).collect::<Result<_, _>>()?,
        fence: message.fence.map(Term),
    })
}

fn operation(operation: &Operation) -> wire::Operation {
    let operation = match operation {
        Operation::Put(put) => operation::Operation::Put(object(put)),
        Operation::Delete(deleted) => operation::Operation::Delete(key(deleted)),
    };
    wire::Operation { operation: Some(operation) }
}

fn read_operation(message: wire::Operation) -> Result<Operation, Malformed> {
    match need(message.operation, "operation of an unknown kind")? {
        operation::Operation::Put(object) => Ok(Operation::Put(read_object(object)?)),
        operation::Operation::Delete(key) => Ok(Operation::Delete(read_key(Some(key))?)),
    }
}

fn precondition(condition: &Precondition) -> wire::Precondition {
    use precondition::Precondition as Wire;
    let precondition = match condition {
        Precondition::Absent(absent) => Wire::Absent(key(absent)),
        Precondition::Exists(present) => Wire::Exists(key(present)),
        Precondition::AtRevision(at, revision) => {
            Wire::AtRevision(wire::AtRevision { key: Some(key(at)), revision: revision.0 })
        }
        Precondition::Uid(of, uid) => Wire::Uid(wire::Uid { key: Some(key(of)), uid: uid.to_string() }),
        Precondition::Attribute { key: of, name, value } => Wire::Attribute(wire::Attribute {
            key: Some(key(of)),
            name: name.to_string(),
            value: value.to_string(),
        }),
        Precondition::NamespaceEmpty { namespace } => Wire::NamespaceEmpty(namespace.to_string()),
        Precondition::RangeEmpty { resource, namespace } => Wire::RangeEmpty(wire::RangeEmpty {
            resource: resource.to_string(),
            namespace: namespace.as_ref().map(|namespace| namespace.to_string()),
        }),
        Precondition::Unchanged { range, since } => {
            Wire::Unchanged(wire::Unchanged { range: Some(interest(range)), since: since.0 })
        }
    };
    wire::Precondition { precondition: Some(precondition) }
}

fn read_precondition(message: wire::Precondition) -> Result<Precondition, Malformed> {
    use precondition::Precondition as Wire;
    Ok(match need(message.precondition, "precondition of an unknown kind")? {
        Wire::Absent(key) => Precondition::Absent(read_key(Some(key))?),
        Wire::Exists(key) => Precondition::Exists(read_key(Some(key))?),
        Wire::AtRevision(at) => Precondition::AtRevision(read_key(at.key)?, Revision(at.revision)),
        Wire::Uid(uid) => Precondition::Uid(read_key(uid.key)?, uid.uid.into()),
        Wire::Attribute(attribute) => Precondition::Attribute {
            key: read_key(attribute.key)?,
            name: attribute.name.into(),
            value: attribute.value.into(),
        },
        Wire::NamespaceEmpty(namespace) => Precondition::NamespaceEmpty { namespace: namespace.into() },
        Wire::RangeEmpty(range) => Precondition::RangeEmpty {
            resource: range.resource.into(),
            namespace: range.namespace.map(Arc::from),
        },
        Wire::Unchanged(unchanged) => Precondition::Unchanged {
            range: read_interest(need(unchanged.range, "unchanged without a range")?)?,
            since: Revision(unchanged.since),
        },
    })
}

fn interest(range: &Interest) -> wire::Interest {
    use interest::Interest as Wire;
    let interest = match range {
        Interest::Resource(resource) => Wire::Resource(resource.to_string()),
        Interest::Namespace { resource, namespace } => Wire::Namespace(wire::NamespaceRange {
            resource: resource.to_string(),
            namespace: namespace.to_string(),
        }),
        Interest::Object(object) => Wire::Object(key(object)),
        Interest::Attribute { resource, name, value } => Wire::Attribute(wire::AttributeRange {
            resource: resource.to_string(),
            name: name.to_string(),
            value: value.to_string(),
        }),
        Interest::Owner(uid) => Wire::Owner(uid.to_string()),
    };
    wire::Interest { interest: Some(interest) }
}

fn read_interest(message: wire::Interest) -> Result<Interest, Malformed> {
    use interest::Interest as Wire;
    Ok(match need(message.interest, "interest of an unknown kind")? {
        Wire::Resource(resource) => Interest::Resource(resource.into()),
        Wire::Namespace(range) => {
            Interest::Namespace { resource: range.resource.into(), namespace: range.namespace.into() }
        }
        Wire::Object(key) => Interest::Object(read_key(Some(key))?),
        Wire::Attribute(range) => Interest::Attribute {
            resource: range.resource.into(),
            name: range.name.into(),
            value: range.value.into(),
        },
        Wire::Owner(uid) => Interest::Owner(uid.into()),
    })
}

fn key(key: &Key) -> wire::Key {
    wire::Key {
        resource: key.resource.to_string(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    }
}

fn read_key(message: Option<wire::Key>) -> Result<Key, Malformed> {
    let message = need(message, "missing key")?;
    Ok(Key::new(message.resource, message.namespace, message.name))
}

fn pairs(pairs: &[(Arc<str>, Arc<str>)]) -> Vec<wire::Pair> {
    let pair = |(name, value): &(Arc<str>, Arc<str>)| wire::Pair {
        name: name.to_string(),
        value: value.to_string(),
    };
    pairs.iter().map(pair).collect()
}

fn read_pairs(pairs: Vec<wire::Pair>) -> Vec<(Arc<str>, Arc<str>)> {
    pairs.into_iter().map(|pair| (pair.name.into(), pair.value.into())).collect()
}

/// An object without its bytes.
fn header(object: &Object) -> wire::Object {
    wire::Object {
        key: Some(key(&object.key)),
        uid: object.uid.to_string(),
        version: object.version.to_string(),
        sealing: object.sealing.as_ref().map(|sealing| sealing.to_string()),
        labels: pairs(&object.labels),
        attributes: pairs(&object.attributes),
        owners: object.owners.iter().map(|owner| owner.to_string()).collect(),
        metadata_start: object.metadata.start,
        metadata_end: object.metadata.end,
        revision_at: object.revision_at,
        bytes: Bytes::new(),
    }
}

fn object(object: &Object) -> wire::Object {
    wire::Object { bytes: object.bytes.clone(), ..header(object) }
}

fn read_object(message: wire::Object) -> Result<Object, Malformed> {
    Ok(Object {
        key: read_key(message.key)?,
        uid: message.uid.into(),
        version: message.version.into(),
        sealing: message.sealing.map(Arc::from),
        labels: read_pairs(message.labels),
        attributes: read_pairs(message.attributes),
        owners: message.owners.into_iter().map(Arc::from).collect(),
        metadata: message.metadata_start..message.metadata_end,
        revision_at: message.revision_at,
        bytes: message.bytes,
    })
}

/// The canonical form that is hashed: a stored version without its bytes.
pub(crate) fn entry_header(of: &Object, revision: Revision, created: Revision) -> wire::Entry {
    wire::Entry { object: Some(header(of)), revision: revision.0, created: created.0 }
}

/// The numbered form of a stored version.
pub fn entry(entry: &Entry) -> wire::Entry {
    wire::Entry { object: Some(object(&entry.object)), revision: entry.revision.0, created: entry.created.0 }
}

/// Reads a stored version.
pub fn read_entry(message: wire::Entry) -> Result<Entry, Malformed> {
    let object = read_object(need(message.object, "entry without an object")?)?;
    Ok(Entry::new(object, Revision(message.revision), Revision(message.created)))
}
