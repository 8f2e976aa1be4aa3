//! What does the state machine itself cost: one committed command applied, and a walk over 5,000 objects?

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use mvcc::{
    Command, CommandBody, Key, Object, Operation, Precondition, ProposalId, State, Term, Transaction,
};

const OBJECTS: usize = 5000;
const TERM: Term = Term(1);

fn object(index: usize, filler: &str) -> Object {
    let prefix = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":"#;
    let metadata = format!(r#"{{"name":"cm-{index:05}","namespace":"bench","labels":{{"app":"bench"}}}}"#);
    let start = u32::try_from(prefix.len()).expect("a short prefix");
    let end = start + u32::try_from(metadata.len()).expect("short metadata");
    Object {
        key: Key::new("configmaps", "bench", format!("cm-{index:05}")),
        uid: format!("00000000-0000-0000-0000-{index:012}").into(),
        version: "v1".into(),
        sealing: None,
        labels: vec![("app".into(), "bench".into())],
        attributes: Vec::new(),
        owners: Vec::new(),
        metadata: start..end,
        revision_at: start + 1,
        bytes: format!(r#"{prefix}{metadata},"data":{{"key":"{filler}"}}}}"#).into(),
    }
}

fn put(object: Object, preconditions: Vec<Precondition>) -> Command {
    let transaction = Transaction { preconditions, operations: vec![Operation::Put(object)], fence: None };
    Command { proposal: ProposalId(1), feature_level: 0, body: CommandBody::Transact(transaction) }
}

fn loaded(filler: &str) -> State {
    let mut state = State::default();
    for index in 0..OBJECTS {
        black_box(state.apply(&put(object(index, filler), Vec::new()), TERM));
    }
    state
}

fn store(criterion: &mut Criterion) {
    let filler = "x".repeat(1024);
    let state = loaded(&filler);
    criterion.bench_function("apply: create among 5,000", |bencher| {
        let new = object(OBJECTS, &filler);
        let command = put(new.clone(), vec![Precondition::Absent(new.key)]);
        bencher.iter_batched(
            || state.clone(),
            |mut state| black_box(state.apply(&command, TERM)),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("apply: replace among 5,000", |bencher| {
        let new = object(7, &filler);
        let revision = state.view().get(&new.key).expect("loaded above").revision;
        let command = put(new.clone(), vec![Precondition::AtRevision(new.key, revision)]);
        bencher.iter_batched(
            || state.clone(),
            |mut state| black_box(state.apply(&command, TERM)),
            BatchSize::SmallInput,
        );
    });
    let mut walk = criterion.benchmark_group("walk");
    walk.throughput(Throughput::Elements(OBJECTS as u64));
    walk.bench_function("5,000 objects of a namespace", |bencher| {
        let resource: Arc<str> = "configmaps".into();
        bencher.iter(|| {
            state
                .view()
                .list(&resource, Some("bench"), None)
                .map(|entry| entry.object.bytes.len())
                .sum::<usize>()
        });
    });
    walk.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    store(&mut criterion);
    criterion.final_summary();
}
