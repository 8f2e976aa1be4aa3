//! Field numbers are for ever: commands and records of every kind in the form they had on the day they
//! were first written. A difference here means that an old log can no longer be read.
//!
//! New fields add new goldens; the old ones stay and must still be read.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use mvcc::{
    Command, CommandBody, Interest, Key, Object, Operation, Precondition, ProposalId, Revision, Term,
    Transaction, wire,
};
use prost::Message as _;

fn key() -> Key {
    Key::new("pods", "default", "web-0")
}

fn object() -> Object {
    Object {
        key: key(),
        uid: "7b1c".into(),
        version: "v1".into(),
        sealing: Some("k1".into()),
        labels: vec![("app".into(), "web".into())],
        attributes: vec![("spec.nodeName".into(), "n1".into())],
        owners: vec!["9f2e".into()],
        metadata: 10..90,
        revision_at: 11,
        bytes: Bytes::from_static(b"{\"kind\":\"Pod\"}"),
    }
}

fn every_precondition() -> Vec<Precondition> {
    let attribute = ("spec.nodeName".into(), "n1".into());
    let unchanged = |range| Precondition::Unchanged { range, since: Revision(300) };
    vec![
        Precondition::Absent(key()),
        Precondition::Exists(key()),
        Precondition::AtRevision(key(), Revision(300)),
        Precondition::Uid(key(), "7b1c".into()),
        Precondition::Attribute { key: key(), name: "status.phase".into(), value: "Active".into() },
        Precondition::NamespaceEmpty { namespace: "default".into() },
        Precondition::RangeEmpty { resource: "pods".into(), namespace: None },
        Precondition::RangeEmpty { resource: "pods".into(), namespace: Some("default".into()) },
        unchanged(Interest::Resource("pods".into())),
        unchanged(Interest::Namespace { resource: "pods".into(), namespace: "default".into() }),
        unchanged(Interest::Object(key())),
        unchanged(Interest::Attribute { resource: "pods".into(), name: attribute.0, value: attribute.1 }),
        unchanged(Interest::Owner("9f2e".into())),
    ]
}

fn command(body: CommandBody) -> Command {
    Command { proposal: ProposalId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), feature_level: 3, body }
}

fn same_as_ever(name: &str, command: &Command) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mvcc/golden").join(name);
    let written = hex(&wire::command(command).encode_to_vec());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &written).expect("writable");
    }
    let golden = fs::read_to_string(&path).expect("readable");
    assert_eq!(written, golden, "{name}");
    let bytes = Bytes::from(unhex(&golden));
    let read = wire::read_command(proto::store::Command::decode(bytes).expect("valid")).expect("valid");
    assert_eq!(read, *command, "{name}");
}

fn hex(bytes: &[u8]) -> String {
    let mut lines = String::new();
    for line in bytes.chunks(40) {
        line.iter().for_each(|byte| write!(lines, "{byte:02x}").expect("a string grows"));
        lines.push('\n');
    }
    lines
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits")).collect()
}

#[test]
fn a_transaction_with_everything() {
    let transaction = Transaction {
        preconditions: every_precondition(),
        operations: vec![Operation::Put(object()), Operation::Delete(key())],
        fence: Some(Term(7)),
    };
    same_as_ever("transaction.hex", &command(CommandBody::Transact(transaction)));
}

#[test]
fn a_compaction() {
    same_as_ever("compaction.hex", &command(CommandBody::Compact(Revision(300))));
}
