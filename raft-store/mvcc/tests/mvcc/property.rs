//! Random sequences of transactions, compactions and reads: the store and the model never disagree.

use std::sync::Arc;

use bytes::Bytes;
use mvcc::{
    Applied, Change, Command, CommandBody, Entry, Interest, Key, Object, Operation, Outcome, Precondition,
    ProposalId, Revision, State, Term, Transaction, View, records,
};
use proptest::prelude::*;

use crate::model::{Model, Verdict, Version, matches};

#[derive(Debug, Clone)]
enum Step {
    Transact {
        transaction: Transaction,
        term: u64,
    },
    /// To a share of the history, in 256ths.
    Compact(u8),
    /// Through its records and back.
    Restart,
}

// Few names, so that steps meet.
const RESOURCES: [&str; 2] = ["pods", "deployments.apps"];
const NAMESPACES: [&str; 3] = ["", "a", "b"];
const NAMES: [&str; 3] = ["x", "y", "z"];

fn word(words: &'static [&'static str]) -> impl Strategy<Value = Arc<str>> {
    prop::sample::select(words).prop_map(Arc::from)
}

fn key() -> impl Strategy<Value = Key> {
    (word(&RESOURCES), word(&NAMESPACES), word(&NAMES)).prop_map(|(resource, namespace, name)| Key {
        resource,
        namespace,
        name,
    })
}

fn object() -> impl Strategy<Value = Object> {
    let attributes = prop::collection::btree_map(word(&["node", "phase"]), word(&["1", "2"]), 0..3);
    let owners = prop::collection::btree_set(word(&["o1", "o2"]), 0..3);
    (key(), word(&["u1", "u2"]), attributes, owners, any::<u16>()).prop_map(
        |(key, uid, attributes, owners, content)| Object {
            key,
            uid,
            version: "v1".into(),
            sealing: None,
            labels: vec![("l".into(), "v".into())],
            attributes: attributes.into_iter().collect(),
            owners: owners.into_iter().collect(),
            metadata: 0..1,
            revision_at: 1,
            bytes: Bytes::from(content.to_string()),
        },
    )
}

fn interest() -> impl Strategy<Value = Interest> {
    let attribute = (word(&RESOURCES), word(&["node", "phase"]), word(&["1", "2"]));
    prop_oneof![
        word(&RESOURCES).prop_map(Interest::Resource),
        (word(&RESOURCES), word(&NAMESPACES))
            .prop_map(|(resource, namespace)| Interest::Namespace { resource, namespace }),
        key().prop_map(Interest::Object),
        attribute.prop_map(|(resource, name, value)| Interest::Attribute { resource, name, value }),
        word(&["o1", "o2"]).prop_map(Interest::Owner),
    ]
}

fn precondition() -> impl Strategy<Value = Precondition> {
    let attribute = (key(), word(&["node", "phase"]), word(&["1", "2"]));
    let empty = (word(&RESOURCES), prop::option::of(word(&NAMESPACES)));
    prop_oneof![
        3 => key().prop_map(Precondition::Absent),
        3 => key().prop_map(Precondition::Exists),
        1 => (key(), 0_u64..60).prop_map(|(key, at)| Precondition::AtRevision(key, Revision(at))),
        1 => (key(), word(&["u1", "u2"])).prop_map(|(key, uid)| Precondition::Uid(key, uid)),
        1 => attribute.prop_map(|(key, name, value)| Precondition::Attribute { key, name, value }),
        1 => word(&NAMESPACES).prop_map(|namespace| Precondition::NamespaceEmpty { namespace }),
        1 => empty.prop_map(|(resource, namespace)| Precondition::RangeEmpty { resource, namespace }),
        2 => (interest(), 0_u64..60)
            .prop_map(|(range, since)| Precondition::Unchanged { range, since: Revision(since) }),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let operation = prop_oneof![
        3 => object().prop_map(Operation::Put),
        1 => key().prop_map(Operation::Delete),
    ];
    let preconditions = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(precondition(), 1..3),
    ];
    (preconditions, prop::collection::vec(operation, 0..4), prop::option::weighted(0.1, 0_u64..3)).prop_map(
        |(preconditions, operations, fence)| Transaction {
            preconditions,
            operations,
            fence: fence.map(Term),
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (transaction(), 1_u64..3).prop_map(|(transaction, term)| Step::Transact { transaction, term }),
        1 => any::<u8>().prop_map(Step::Compact),
        1 => Just(Step::Restart),
    ]
}

fn command(body: CommandBody) -> Command {
    Command { proposal: ProposalId(7), feature_level: 0, body }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_agrees_with_the_model(
        steps in prop::collection::vec(step(), 1..40),
        interest in interest(),
    ) {
        let (mut state, mut model) = (State::default(), Model::new());
        for step in &steps {
            match step {
                Step::Transact { transaction, term } => transact(&mut state, &mut model, transaction, *term)?,
                Step::Compact(share) => {
                    let at = model.revision() * u64::from(*share) / 256;
                    state.apply(&command(CommandBody::Compact(Revision(at))), Term(1));
                    model.compact(at);
                }
                Step::Restart => state = restarted(&state),
            }
            prop_assert_eq!(state.history().oldest().0, model.compacted());
            same_objects(state.view(), &model, model.revision())?;
        }
        same_past(&state, &model)?;
        same_changes(&state, &model, &interest)?;
    }

    /// What a command does follows from the state and the command alone, whatever way it travelled.
    #[test]
    fn a_command_survives_its_wire_form(transaction in transaction()) {
        let command = command(CommandBody::Transact(transaction));
        let read = mvcc::wire::read_command(mvcc::wire::command(&command)).expect("what was written is valid");
        prop_assert_eq!(read, command);
    }

    /// The hash follows from what is stored and not from the way there.
    #[test]
    fn equal_states_have_equal_hashes(steps in prop::collection::vec(step(), 1..30)) {
        let mut state = State::default();
        let mut views = vec![state.view().clone()];
        for step in &steps {
            if let Step::Transact { transaction, term } = step {
                state.apply(&command(CommandBody::Transact(transaction.clone())), Term(*term));
                views.push(state.view().clone());
            }
        }
        for view in &views {
            let past = state.view_at(view.revision()).expect("nothing is compacted");
            prop_assert_eq!(past.hash(), view.hash());
        }
        prop_assert_eq!(restarted(&state).hash(), state.hash());
    }
}

fn transact(
    state: &mut State,
    model: &mut Model,
    transaction: &Transaction,
    term: u64,
) -> Result<(), TestCaseError> {
    let before = state.view().clone();
    let verdict = model.transact(transaction, Term(term));
    let Applied { outcome, changes } =
        state.apply(&command(CommandBody::Transact(transaction.clone())), Term(term));
    match outcome {
        Outcome::Applied { first, last, entries } => {
            prop_assert_eq!(verdict, Verdict::Applied { first: first.0, last: last.0 });
            prop_assert_eq!(entries.len(), transaction.operations.len());
            prop_assert!(changes.iter().all(|change| change.visible == last));
        }
        Outcome::Refused { precondition, .. } => {
            prop_assert_eq!(verdict, Verdict::Refused { precondition });
            prop_assert!(changes.is_empty());
            prop_assert_eq!(before.hash(), state.hash());
        }
    }
    Ok(())
}

fn restarted(state: &State) -> State {
    let mut restorer = records::Restorer::default();
    for entry in records::entries(state) {
        restorer.entry(entry).expect("what was written is valid");
    }
    for change in records::changes(state) {
        restorer.change(change).expect("what was written is valid");
    }
    restorer.finish(state.revision(), state.history().oldest()).expect("the records belong together")
}

fn version(entry: &Entry) -> Version {
    (entry.object.clone(), entry.revision.0, entry.created.0)
}

/// Every way of reading a view gives what the model holds at the revision.
fn same_objects(view: &View, model: &Model, at: u64) -> Result<(), TestCaseError> {
    let objects = model.at(at).expect("not compacted");
    let held: Vec<Version> = view.entries().map(|entry| version(entry)).collect();
    prop_assert_eq!(&held, &objects.values().cloned().collect::<Vec<_>>());
    prop_assert_eq!(view.len(), objects.len());
    let found = |interest: &Interest| -> Vec<Version> {
        objects.values().filter(|(object, ..)| matches(interest, object)).cloned().collect()
    };
    for resource in RESOURCES.map(Arc::<str>::from) {
        let all = found(&Interest::Resource(resource.clone()));
        prop_assert_eq!(view.count(&resource, None), all.len());
        prop_assert_eq!(&versions(view.list(&resource, None, None)), &all);
        for (skipped, (object, ..)) in all.iter().enumerate() {
            let rest = view.list(&resource, None, Some((&object.key.namespace, &object.key.name)));
            prop_assert_eq!(&versions(rest)[..], &all[skipped + 1..]);
        }
        for namespace in NAMESPACES.map(Arc::<str>::from) {
            let (resource, namespace) = (resource.clone(), namespace.clone());
            let listed = versions(view.list(&resource, Some(&namespace), None));
            prop_assert_eq!(view.count(&resource, Some(&namespace)), listed.len());
            prop_assert_eq!(listed, found(&Interest::Namespace { resource, namespace }));
        }
        for (name, value) in [("node", "1"), ("node", "2"), ("phase", "1"), ("phase", "2")] {
            let (name, value): (Arc<str>, Arc<str>) = (name.into(), value.into());
            let listed = versions(view.by_attribute(&resource, &name, &value));
            prop_assert_eq!(listed, found(&Interest::Attribute { resource: resource.clone(), name, value }));
        }
    }
    for owner in ["o1", "o2"] {
        prop_assert_eq!(versions(view.by_owner(owner)), found(&Interest::Owner(owner.into())));
    }
    Ok(())
}

fn versions<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>) -> Vec<Version> {
    entries.map(|entry| version(entry)).collect()
}

fn same_past(state: &State, model: &Model) -> Result<(), TestCaseError> {
    for at in 0..=model.revision() {
        match state.view_at(Revision(at)) {
            Ok(view) => {
                prop_assert!(view.revision().0 >= at);
                same_objects(&view, model, at)?;
            }
            Err(compacted) => {
                prop_assert!(model.at(at).is_none());
                prop_assert_eq!(compacted.oldest.0, model.compacted());
            }
        }
    }
    Ok(())
}

fn same_changes(state: &State, model: &Model, interest: &Interest) -> Result<(), TestCaseError> {
    for after in 0..=model.revision() {
        let told = state.history().after(Revision(after)).ok().map(|changes| {
            changes.filter(|change| interest.concerns(change)).map(|change| event(change)).collect::<Vec<_>>()
        });
        let expected = model.after(after, interest);
        prop_assert_eq!(told, expected.map(|events| events.into_iter().cloned().collect()));
    }
    Ok(())
}

fn event(change: &Change) -> crate::model::Event {
    let before = change.previous.as_deref().map(version);
    (change.revision.0, change.kind, version(&change.entry), before)
}
