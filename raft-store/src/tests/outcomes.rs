//! Every proposal ends applied, refused or unknown, and a caller that goes away changes nothing.

use std::future::Future as _;
use std::task::{Context, Waker};

use mvcc::{Outcome, Precondition, REFUSED_BY_FENCE, Term, Transaction};

use super::fixture::{Computer, applied, content, create, key, names, object, put};
use crate::{Options, ProposeError, ReadError, Seams, Store};

#[tokio::test]
async fn a_refused_transaction_tells_which_precondition_and_what_is_there() {
    let store = Computer::default().boot().await;
    applied(&store, create("c", "first")).await;

    let outcome = store.propose(create("c", "second")).await.expect("an answer");

    let Outcome::Refused { precondition: 0, current: Some(current) } = outcome else { panic!("{outcome:?}") };
    assert_eq!(names(&[current]), ["c"]);
    assert_eq!(content(&store, "c").as_deref(), Some("first"));
}

#[tokio::test]
async fn a_fence_of_another_term_is_refused() {
    let store = Computer::default().boot().await;
    let term = store.term().expect("a sole member leads");
    let fenced = |fence| Transaction { fence: Some(fence), ..put("c", "v") };

    applied(&store, fenced(term)).await;
    let outcome = store.propose(fenced(Term(term.0 - 1))).await.expect("an answer");

    assert_eq!(outcome, Outcome::Refused { precondition: REFUSED_BY_FENCE, current: None });
}

#[tokio::test]
async fn a_dropped_caller_does_not_take_the_proposal_with_it() {
    let store = Computer::default().boot().await;
    let mut proposing = Box::pin(store.propose(put("c", "v")));
    let polled = proposing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    drop(proposing);

    applied(&store, put("later", "v")).await;

    assert_eq!(content(&store, "c").as_deref(), Some("v"));
}

#[tokio::test]
async fn an_oversized_transaction_is_not_appended() {
    let store = Computer::default().boot().await;
    let outcome = store.propose(put("c", &"x".repeat(18 << 20))).await;
    assert!(matches!(outcome, Err(ProposeError::TooLarge { .. })));
    applied(&store, put("c", &"x".repeat(8 << 20))).await;
}

#[tokio::test]
async fn a_stopped_store_says_so() {
    let store = Computer::default().boot().await;
    let leadership = store.leadership();
    assert!(leadership.borrow().is_some());
    store.shutdown().await;
    assert_eq!(*leadership.borrow(), None);
    assert_eq!(store.propose(put("c", "v")).await, Err(ProposeError::Stopped));
    assert_eq!(store.term(), None);
}

/// Counts how often an increment was applied: many writers, each retrying on its own refusals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_are_all_counted_once() {
    const WRITERS: usize = 8;
    const INCREMENTS: usize = 25;
    let store = Computer::default().boot().await;
    applied(&store, create("counter", "0")).await;
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(increment(store.clone(), INCREMENTS))).collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    assert_eq!(content(&store, "counter"), Some((WRITERS * INCREMENTS).to_string()));
}

async fn increment(store: Store, times: usize) {
    let mut done = 0;
    while done < times {
        let read = store.linearizable().await.expect("a leader").get(&key("counter")).expect("created");
        let next = super::fixture::text(&read).parse::<usize>().expect("a number") + 1;
        let transaction = Transaction {
            preconditions: vec![Precondition::AtRevision(key("counter"), read.revision)],
            operations: vec![mvcc::Operation::Put(object("counter", &next.to_string()))],
            fence: None,
        };
        if matches!(store.propose(transaction).await, Ok(Outcome::Applied { .. })) {
            done += 1;
        }
    }
}

/// Found by the simulator. Whoever left while the engine ended, here the caller of `shutdown`, left it
/// half joined: the next call panicked inside of it and took a lock with it.
#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_a_shutdown_leaves_the_store_whole() {
    let store = Store::open(Options::in_memory(), Seams::seeded(1)).await.expect("nothing can fail");
    let replica = store.clone();
    // Polled once, and dropped while it waits.
    tokio::select! {
        biased;
        () = store.shutdown() => panic!("an engine does not end at once"),
        () = std::future::ready(()) => {}
    }
    drop(store);
    // The engine ends meanwhile.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;

    assert_eq!(replica.propose(put("late", "v")).await, Err(ProposeError::Stopped));
    assert_eq!(replica.snapshot().await, Err(ReadError::Stopped));
    replica.shutdown().await;
}
