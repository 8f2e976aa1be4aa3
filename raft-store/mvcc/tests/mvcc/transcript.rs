//! Transcripts: what is done and what comes of it, in files one can read. `UPDATE=1` rewrites them.
//!
//! ```text
//! put NAME VALUE [attribute=x] [owner=x] [if ...]     several joined by `;` are one transaction
//! delete NAME
//! get NAME [at=REVISION] · list [at=REVISION] · watch [INTEREST] after=REVISION · compact REVISION
//! ```
//!
//! Conditions: `absent NAME`, `exists NAME`, `revision NAME N`, `uid NAME UID`, `attribute NAME VALUE`,
//! `namespace-empty`, `range-empty`, `unchanged N`, `fence N`. Everything lives in resource `r`,
//! namespace `n`; the term is 5.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use mvcc::{
    Change, ChangeKind, Command, CommandBody, Compacted, Entry, Interest, Key, Object, Operation, Outcome,
    Precondition, ProposalId, REFUSED_BY_FENCE, Revision, State, Term, Transaction,
};

const TERM: Term = Term(5);

#[test]
fn transcripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mvcc/transcripts");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let golden = fs::read_to_string(&path).expect("readable");
        let played = play(&golden);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, played).expect("writable");
        } else {
            assert_eq!(played, golden, "{}", path.display());
        }
    }
}

/// Runs every block's command and puts what happened below its line.
fn play(golden: &str) -> String {
    let mut state = State::default();
    let blocks = golden.trim_end().split("\n\n").map(|block| {
        let comments = block.lines().take_while(|line| line.starts_with('#'));
        let comment: String = comments.flat_map(|line| [line, "\n"]).collect();
        let command = block.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
        if command.is_empty() {
            return comment.trim_end().to_owned();
        }
        format!("{comment}{command}\n----\n{}", run(&mut state, command))
    });
    blocks.collect::<Vec<_>>().join("\n\n") + "\n"
}

fn run(state: &mut State, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let at = option(&words, "at").map(|at| Revision(number(at)));
    match words[0] {
        "put" | "delete" => transact(state, command),
        "compact" => {
            let body = CommandBody::Compact(Revision(number(words[1])));
            state.apply(&Command { proposal: ProposalId(0), feature_level: 0, body }, TERM);
            format!("oldest is {}", state.history().oldest())
        }
        "get" => match view(state, at) {
            Ok(view) => view.entry(&key(words[1])).map_or("none".into(), |entry| show(entry)),
            Err(compacted) => gone(compacted),
        },
        "list" => match view(state, at) {
            Ok(view) => {
                let entries: Vec<_> = view.list("r", Some("n"), None).map(|entry| show(entry)).collect();
                format!("revision {}: {}", view.revision(), entries.join(", "))
            }
            Err(compacted) => gone(compacted),
        },
        "watch" => watch(state, &words),
        other => panic!("unknown command {other}"),
    }
}

fn view(state: &State, at: Option<Revision>) -> Result<mvcc::View, Compacted> {
    at.map_or_else(|| Ok(state.view().clone()), |at| state.view_at(at))
}

fn watch(state: &State, words: &[&str]) -> String {
    let interest = match (option(words, "attribute"), option(words, "owner"), option(words, "name")) {
        (Some(value), ..) => {
            Interest::Attribute { resource: "r".into(), name: "a".into(), value: value.into() }
        }
        (_, Some(owner), _) => Interest::Owner(owner.into()),
        (.., Some(name)) => Interest::Object(key(name)),
        _ => Interest::Resource("r".into()),
    };
    let after = Revision(number(option(words, "after").expect("watch needs after=")));
    match state.history().after(after) {
        Ok(changes) => {
            let told: Vec<_> =
                changes.filter(|change| interest.concerns(change)).map(|change| tell(change)).collect();
            if told.is_empty() { "nothing".into() } else { told.join("\n") }
        }
        Err(compacted) => gone(compacted),
    }
}

fn tell(change: &Change) -> String {
    let kind = match change.kind {
        ChangeKind::Created => "created",
        ChangeKind::Updated => "updated",
        ChangeKind::Deleted => "deleted",
    };
    let before =
        change.previous.as_ref().map_or(String::new(), |before| format!(", before {}", show(before)));
    format!("{} {kind} {}, visible at {}{before}", change.revision, show(&change.entry), change.visible)
}

fn transact(state: &mut State, command: &str) -> String {
    let (operations, conditions) = command.split_once(" if ").unwrap_or((command, ""));
    let mut transaction = Transaction::default();
    for operation in operations.split(';') {
        transaction.operations.push(parse(operation.split_whitespace().collect()));
    }
    for condition in conditions.split(" and ").filter(|condition| !condition.is_empty()) {
        let words: Vec<&str> = condition.split_whitespace().collect();
        match words[0] {
            "fence" => transaction.fence = Some(Term(number(words[1]))),
            _ => transaction.preconditions.push(precondition(&words)),
        }
    }
    let body = CommandBody::Transact(transaction);
    let applied = state.apply(&Command { proposal: ProposalId(0), feature_level: 0, body }, TERM);
    match applied.outcome {
        Outcome::Applied { first, last, .. } if first == last => format!("revision {last}"),
        Outcome::Applied { first, last, .. } => format!("revisions {first}..={last}"),
        Outcome::Refused { precondition: REFUSED_BY_FENCE, .. } => "refused by the fence".into(),
        Outcome::Refused { precondition, current } => {
            format!(
                "refused by {precondition}, there is {}",
                current.map_or("nothing".into(), |entry| show(&entry))
            )
        }
    }
}

fn parse(words: Vec<&str>) -> Operation {
    if words[0] == "delete" {
        return Operation::Delete(key(words[1]));
    }
    Operation::Put(Object {
        key: key(words[1]),
        uid: option(&words, "uid").unwrap_or("u").into(),
        version: "v1".into(),
        sealing: None,
        labels: Vec::new(),
        attributes: option(&words, "attribute").map(|value| ("a".into(), value.into())).into_iter().collect(),
        owners: option(&words, "owner").map(Into::into).into_iter().collect(),
        metadata: 0..0,
        revision_at: 0,
        bytes: Bytes::copy_from_slice(words[2].as_bytes()),
    })
}

fn precondition(words: &[&str]) -> Precondition {
    match words[0] {
        "absent" => Precondition::Absent(key(words[1])),
        "exists" => Precondition::Exists(key(words[1])),
        "revision" => Precondition::AtRevision(key(words[1]), Revision(number(words[2]))),
        "uid" => Precondition::Uid(key(words[1]), words[2].into()),
        "attribute" => {
            Precondition::Attribute { key: key(words[1]), name: "a".into(), value: words[2].into() }
        }
        "namespace-empty" => Precondition::NamespaceEmpty { namespace: "n".into() },
        "range-empty" => Precondition::RangeEmpty { resource: "r".into(), namespace: None },
        "unchanged" => Precondition::Unchanged {
            range: Interest::Resource("r".into()),
            since: Revision(number(words[1])),
        },
        other => panic!("unknown condition {other}"),
    }
}

fn key(name: &str) -> Key {
    Key::new("r", "n", name)
}

fn show(entry: &Entry) -> String {
    let content = String::from_utf8_lossy(&entry.object.bytes);
    format!("{}={content}@{}", entry.object.key.name, entry.revision)
}

fn gone(compacted: Compacted) -> String {
    format!("gone: oldest is {}", compacted.oldest)
}

fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}
