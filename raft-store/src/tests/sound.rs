//! A member whose state is wrong is found out by the others, answers nothing from it and takes the leader's; a part that
//! panics is told.

use std::time::Duration;

use mvcc::{Command, CommandBody, Interest, ProposalId, Revision, State, Term};

use super::fixture::{Computer, applied, content, put};
use super::wires::Trio;
use crate::machine::Machine;
use crate::{MemberId, ReadError, Store, WatchEnd};

/// An object appears that no log knows of.
fn appear(machine: &mut Machine) {
    machine.spoil(|state: &mut State| {
        let body = CommandBody::Transact(put("from nowhere", "v"));
        state.apply(&Command { proposal: ProposalId(7), feature_level: 0, body }, Term(0));
    });
}

async fn alike(trio: &Trio) {
    loop {
        let hashes = trio.stores.each_ref().map(Store::hash);
        if hashes.iter().all(|hash| *hash == hashes[0]) && trio.stores.iter().all(Store::is_sound) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Spoils one member of three and waits until it is like the others again.
async fn spoiled(trio: &Trio, which: usize) {
    applied(&trio.stores[0], put("c", "before")).await;
    for store in &trio.stores {
        store.linearizable().await.expect("a leader");
    }
    let mut watcher = trio.stores[which]
        .watch(Interest::Resource("configmaps".into()), trio.stores[which].view().revision())
        .expect("history is there");
    trio.stores[which].spoil(appear);
    // While nothing is written the newest index is compared, which only the spoiled one has to reach again.
    applied(&trio.stores[(which + 1) % 3], put("c", "after")).await;
    while trio.stores[which].is_sound() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(trio.stores[which].linearizable().await.err(), Some(ReadError::Wrong));
    assert!(!trio.stores[which].in_contact(Duration::from_secs(60)));
    // The others are not disturbed.
    let other = (which + 1) % 3;
    assert!(trio.stores[other].is_sound());
    applied(&trio.stores[other], put("c", "meanwhile")).await;

    tokio::time::timeout(Duration::from_secs(60), alike(trio)).await.expect("it takes the others' state");

    assert_eq!(content(&trio.stores[which], "from nowhere"), None);
    assert_eq!(content(&trio.stores[which], "c").as_deref(), Some("meanwhile"));
    trio.stores[which].linearizable().await.expect("it answers again");
    applied(&trio.stores[which], put("c", "through it")).await;
    while watcher.next().await.is_ok() {}
    assert!(matches!(watcher.next().await, Err(WatchEnd::Gone { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_state_is_wrong_is_found_and_mended() {
    let trio = Trio::new().await;
    let leader = trio.leader(&[0, 1, 2]).await;
    spoiled(&trio, (leader + 1) % 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_state_is_wrong_is_found_and_mended() {
    let trio = Trio::new().await;
    let leader = trio.leader(&[0, 1, 2]).await;
    spoiled(&trio, leader).await;
}

/// It must not come back with the snapshot that it made of the wrong state.
#[tokio::test(start_paused = true)]
async fn a_wrong_state_does_not_survive_in_a_snapshot() {
    let trio = Trio::new().await;
    let leader = trio.leader(&[0, 1, 2]).await;
    let which = (leader + 1) % 3;
    applied(&trio.stores[leader], put("c", "before")).await;
    trio.stores[which].linearizable().await.expect("a leader");
    trio.stores[which].spoil(appear);
    trio.stores[which].snapshot().await.expect("it runs");
    applied(&trio.stores[leader], put("c", "after")).await;
    tokio::time::timeout(Duration::from_secs(60), async {
        while trio.stores[which].is_sound() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        alike(&trio).await;
    })
    .await
    .expect("it takes the others' state");
    let id = MemberId(which as u64 + 1);
    trio.wires.kill(&trio.stores[which], id).await;
    let again = trio.wires.boot(&trio.computers[which], id.0, crate::peers::Begin::Join).await;
    again.linearizable().await.expect("a leader");
    assert_eq!(content(&again, "from nowhere"), None);
    assert_eq!(again.hash(), trio.stores[leader].hash());
}

/// Nobody can be outvoted by one other.
#[tokio::test(start_paused = true)]
async fn a_sole_voter_is_right() {
    let store = Computer::default().boot().await;
    applied(&store, put("c", "v")).await;
    store.spoil(appear);
    applied(&store, put("c", "w")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(store.is_sound());
    assert_eq!(store.view().revision(), Revision(3));
}

/// A part that has panicked would leave others waiting for it for ever.
#[tokio::test(start_paused = true)]
async fn a_panic_in_apply_is_told() {
    let store = Computer::default().boot().await;
    applied(&store, put("c", "v")).await;
    store.spoil(|machine| {
        machine.spoil(|state| *state = State::restored(Revision(5), Revision::ZERO, [], []))
    });
    // History does not reach up to the state: the next change has no place in it. Nobody answers: the task is gone.
    let proposing = tokio::spawn({
        let store = store.clone();
        async move { store.propose(put("c", "w")).await }
    });
    let failed = tokio::time::timeout(Duration::from_secs(5), store.failed()).await;
    assert_eq!(failed.expect("it is told").part, "apply");
    proposing.abort();
}
