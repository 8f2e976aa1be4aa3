//! Several members are one store: whatever one acknowledges is read on all, and a minority acknowledges nothing.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mvcc::{Interest, Outcome, Revision};

use super::fixture::{Computer, applied, content, create, delete, key, put};
use super::wires::{Trio, Wires};
use crate::peers::{Begin, PeerReply, PeerRequest, message};
use crate::{MemberId, MembershipError, ProposeError, ReadError, Store};

async fn read(store: &Store, name: &str) -> Option<String> {
    store.linearizable().await.expect("a leader");
    content(store, name)
}

#[tokio::test(start_paused = true)]
async fn a_write_on_any_member_is_read_on_any_other() {
    let trio = Trio::new().await;
    for (round, writer) in trio.stores.iter().enumerate() {
        applied(writer, put("c", &format!("round {round}"))).await;
        for reader in &trio.stores {
            assert_eq!(read(reader, "c").await, Some(format!("round {round}")));
        }
    }
    let hashes = trio.stores.each_ref().map(Store::hash);
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    assert!(trio.stores[0].members().iter().all(|member| member.is_voter));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_to_a_follower_too() {
    let trio = Trio::new().await;
    applied(&trio.stores[1], create("c", "first")).await;
    let outcome = trio.stores[2].propose(create("c", "second")).await.expect("an answer");
    assert!(matches!(outcome, Outcome::Refused { precondition: 0, current: Some(_) }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_proposal_that_arrives_twice_is_applied_once() {
    let trio = Trio::new().await;
    let before = trio.stores[0].view().revision();
    trio.wires.twice.store(true, Ordering::Relaxed);
    for round in 0..10 {
        applied(&trio.stores[1 + round % 2], put("c", &round.to_string())).await;
    }
    trio.wires.twice.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(trio.stores[0].linearizable().await.expect("it leads").revision(), Revision(before.0 + 10));
}

#[tokio::test(start_paused = true)]
async fn without_the_leader_the_others_go_on_and_it_catches_up() {
    let trio = Trio::new().await;
    applied(&trio.stores[0], put("c", "before")).await;
    let old = trio.leader(&[0, 1, 2]).await;
    let others: Vec<usize> = (0..3).filter(|index| *index != old).collect();
    trio.wires.cut(MemberId(old as u64 + 1));

    applied(&trio.stores[others[0]], put("c", "after")).await;
    assert_eq!(read(&trio.stores[others[1]], "c").await.as_deref(), Some("after"));

    // The one that is cut off acknowledges nothing and reads nothing that may be old.
    assert_eq!(content(&trio.stores[old], "c").as_deref(), Some("before"));
    assert_eq!(trio.stores[old].linearizable().await.err(), Some(ReadError::NoLeader));
    let written = trio.stores[old].propose(put("d", "lost")).await;
    assert!(matches!(written, Err(ProposeError::NotLeader { .. } | ProposeError::Unknown)), "{written:?}");
    assert!(!trio.stores[old].in_contact(Duration::from_secs(5)));

    trio.wires.mend(MemberId(old as u64 + 1));
    assert_eq!(read(&trio.stores[old], "c").await.as_deref(), Some("after"));
    assert!(trio.stores[old].in_contact(Duration::from_secs(5)));
    assert!(trio.stores[old].term().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_minority_acknowledges_nothing() {
    let trio = Trio::new().await;
    let leader = trio.leader(&[0, 1, 2]).await;
    for other in (0..3).filter(|index| *index != leader) {
        trio.wires.cut(MemberId(other as u64 + 1));
    }
    let written = trio.stores[leader].propose(put("c", "alone")).await;
    assert_eq!(written, Err(ProposeError::Unknown));
    assert_eq!(content(&trio.stores[leader], "c"), None, "it is visible before it is committed");
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_at_another_member_without_a_gap() {
    let trio = Trio::new().await;
    let begin = trio.stores[2].linearizable().await.expect("a leader").revision();
    for round in 0..5 {
        applied(&trio.stores[round % 3], put("c", &round.to_string())).await;
    }
    let interest = || Interest::Resource("configmaps".into());
    let mut seen = Vec::new();
    let mut after = begin;
    // One event at each member, then on at the next.
    for index in [2, 0, 1, 2, 0] {
        trio.stores[index].linearizable().await.expect("a leader");
        let mut watcher = trio.stores[index].watch(interest(), after).expect("history is there");
        let changes = watcher.next().await.expect("there is more");
        let change = changes.first().expect("a batch is not empty").clone();
        after = change.revision;
        seen.push(super::fixture::text(&change.entry));
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4"]);
}

/// Fifty objects that one of three has not heard of: the leader, and who is gone.
async fn written_without_one(trio: &Trio) -> (usize, usize, MemberId) {
    let leader = trio.leader(&[0, 1, 2]).await;
    let away = (leader + 1) % 3;
    let id = MemberId(away as u64 + 1);
    trio.wires.kill(&trio.stores[away], id).await;
    for round in 0..50 {
        applied(&trio.stores[leader], put(&format!("c{round}"), "v")).await;
    }
    (leader, away, id)
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_away_is_sent_what_is_no_longer_in_memory() {
    let mut trio = Trio::new().await;
    let (leader, away, id) = written_without_one(&trio).await;
    assert_eq!(trio.computers[leader].disk.reads(), 0, "who keeps up is sent what is in memory");

    trio.stores[away] = trio.wires.boot(&trio.computers[away], id.0, Begin::Join).await;

    assert_eq!(read(&trio.stores[away], "c49").await.as_deref(), Some("v"));
    assert_eq!(trio.stores[away].hash(), trio.stores[leader].hash());
    assert!(trio.computers[leader].disk.reads() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_away_gets_a_snapshot() {
    let mut trio = Trio::new().await;
    let (leader, away, id) = written_without_one(&trio).await;
    applied(&trio.stores[leader], delete("c0")).await;
    trio.stores[leader].snapshot().await.expect("it runs");

    trio.stores[away] = trio.wires.boot(&trio.computers[away], id.0, Begin::Join).await;

    assert_eq!(read(&trio.stores[away], "c49").await.as_deref(), Some("v"));
    assert_eq!(content(&trio.stores[away], "c0"), None);
    assert_eq!(trio.stores[away].hash(), trio.stores[leader].hash());
    // History came along: a watch from before the snapshot misses nothing.
    let interest = Interest::Object(key("c7"));
    let mut watcher = trio.stores[away].watch(interest, Revision(0)).expect("history is there");
    assert_eq!(watcher.next().await.expect("a change").len(), 1);
}

/// The engine takes a snapshot that cannot be installed for a failed disk: the member was out for seconds each time.
#[tokio::test(start_paused = true)]
async fn a_damaged_snapshot_is_refused_before_it_replaces_anything() {
    let trio = Trio::new().await;
    let leader = trio.stores[trio.leader(&[0, 1, 2]).await].clone();
    applied(&leader, put("c", "v")).await;
    leader.snapshot().await.expect("it runs");
    trio.wires.garbled.store(true, Ordering::Relaxed);
    let computer = Computer::default();
    let newcomer = trio.wires.boot(&computer, 4, Begin::Join).await;
    let admitting = tokio::spawn(async move { leader.admit(MemberId(4), "member-4").await });
    let refusing = async {
        while trio.wires.damaged.load(Ordering::Relaxed) < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(newcomer.runs(), "a damaged snapshot stopped the engine");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refusing).await.expect("it is sent again and again");
    assert_eq!(content(&newcomer, "c"), None, "nothing whole has come");

    trio.wires.garbled.store(false, Ordering::Relaxed);

    assert_eq!(admitting.await.expect("no panic"), Ok(()));
    assert_eq!(read(&newcomer, "c").await.as_deref(), Some("v"));
}

/// The engine's assertion ended a member that installed a snapshot which ends before the member's own log.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_brings_nothing_is_not_installed() {
    let trio = Trio::new().await;
    let leader = trio.stores[trio.leader(&[0, 1, 2]).await].clone();
    applied(&leader, put("c", "before")).await;
    leader.snapshot().await.expect("it runs");
    let _newcomer = trio.wires.boot(&Computer::default(), 4, Begin::Join).await;
    leader.admit(MemberId(4), "member-4").await.expect("it catches up");
    applied(&leader, put("c", "after")).await;
    let (append, offer, body) = {
        let sent = trio.wires.sent.lock().expect("not poisoned");
        let (offer, body) = sent.snapshot.clone().expect("the newcomer got one");
        (sent.append.clone(), offer, body)
    };
    let envelope = append.envelope.clone().map(|envelope| message::Envelope { to: 5, ..envelope });
    let append = message::AppendRequest { envelope: envelope.clone(), ..append };
    let end = append.entries.last().expect("there was a write").position;
    assert!(offer.last.map(|last| last.index) < end.map(|end| end.index), "{:?} {end:?}", offer.last);

    // Somebody who has the whole log and does not know how much of it is committed.
    let follower = trio.wires.boot(&Computer::default(), 5, Begin::Join).await;
    let whole = message::AppendRequest { previous: None, committed: None, ..append.clone() };
    follower.answer(PeerRequest::Append(whole)).await.expect("it fits");
    let offer = message::SnapshotOffer { envelope, vote: append.vote, ..offer };
    let answer = follower.answer(PeerRequest::Snapshot(offer, body)).await.expect("it is of use or not");

    let PeerReply::Snapshot(message::SnapshotReply { vote }) = answer else { panic!("{answer:?}") };
    assert_eq!(vote, append.vote);
    assert!(follower.runs());
    // What stands behind the snapshot's end is there still.
    let nothing = message::AppendRequest { previous: end, committed: end, entries: Vec::new(), ..append };
    follower.answer(PeerRequest::Append(nothing)).await.expect("it runs");
    follower.at_least(leader.revision()).await.expect("it runs");
    assert_eq!(content(&follower, "c").as_deref(), Some("after"));
}

/// Ticks were off for every sole voter: a learner that came later than the leader's start heard nothing until somebody
/// wrote.
#[tokio::test(start_paused = true)]
async fn a_learner_of_a_sole_voter_catches_up_while_nothing_is_written() {
    let (wires, computers) = (Wires::default(), <[Computer; 2]>::default());
    let voter = wires.boot(&computers[0], 1, Begin::Found).await;
    applied(&voter, put("c", "v")).await;
    // It is admitted and does not come, so it stays a learner.
    let admitted = voter.admit(MemberId(2), "member-2").await;
    assert_eq!(admitted, Err(MembershipError::Behind { member: MemberId(2) }));
    wires.kill(&voter, MemberId(1)).await;
    let voter = wires.boot(&computers[0], 1, Begin::Found).await;
    tokio::time::sleep(Duration::from_secs(60)).await;

    let learner = wires.boot(&computers[1], 2, Begin::Join).await;

    let caught_up = learner.at_least(voter.view().revision());
    tokio::time::timeout(Duration::from_secs(30), caught_up).await.expect("it hears of it").expect("it runs");
    assert_eq!(content(&learner, "c").as_deref(), Some("v"));
    assert!(learner.in_contact(Duration::from_secs(5)));
    // It is still alone with its vote: reads need no round trip.
    assert_eq!(voter.members().iter().filter(|member| member.is_voter).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_restart_and_nothing_is_lost() {
    let mut trio = Trio::new().await;
    applied(&trio.stores[1], put("c", "kept")).await;
    for index in 0..3 {
        trio.wires.kill(&trio.stores[index], MemberId(index as u64 + 1)).await;
    }
    for index in 0..3 {
        trio.stores[index] = trio.wires.boot(&trio.computers[index], index as u64 + 1, Begin::Join).await;
    }
    for store in &trio.stores {
        assert_eq!(read(store, "c").await.as_deref(), Some("kept"));
    }
}

#[tokio::test(start_paused = true)]
async fn leadership_is_handed_over_and_a_removed_member_is_gone() {
    let trio = Trio::new().await;
    let old = trio.leader(&[0, 1, 2]).await;
    assert!(trio.stores[old].hand_over().await);
    assert!(trio.stores[old].term().is_none());
    let new = trio.leader(&[0, 1, 2]).await;
    assert_ne!(new, old);

    let removed = MemberId(old as u64 + 1);
    let third = 3 - old - new;
    trio.stores[third].remove(removed).await.expect("any member may be asked");
    assert_eq!(trio.stores[new].members().len(), 2);
    applied(&trio.stores[new], put("c", "two")).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_removed_hands_over_first() {
    let trio = Trio::new().await;
    let leader = trio.leader(&[0, 1, 2]).await;
    let others: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
    trio.stores[leader].remove(MemberId(leader as u64 + 1)).await.expect("two are left");
    let new = trio.leader(&others).await;
    assert_eq!(trio.stores[new].members().len(), 2);
    applied(&trio.stores[new], put("c", "two")).await;
}

/// A change of members needs a quorum of those that are left; without one it could not even be taken back.
#[tokio::test(start_paused = true)]
async fn who_is_needed_is_not_removed() {
    let trio = Trio::new().await;
    let leader = trio.leader(&[0, 1, 2]).await;
    let [away, needed] = [(leader + 1) % 3, (leader + 2) % 3].map(|index| MemberId(index as u64 + 1));
    trio.wires.cut(away);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let refused = trio.stores[leader].remove(needed).await;
    assert_eq!(refused, Err(MembershipError::Unsafe { member: needed, live: 1, voters: 2 }));
    let silent: Vec<MemberId> = trio.stores[leader]
        .answered()
        .into_iter()
        .filter(|(_, since)| since.is_none_or(|since| since > Duration::from_secs(2)))
        .map(|(member, _)| member)
        .collect();
    assert_eq!(silent, [away]);
    trio.stores[leader].remove(away).await.expect("both that are left answer");
    applied(&trio.stores[leader], put("c", "two")).await;
}

#[tokio::test(start_paused = true)]
async fn an_address_belongs_to_one_member() {
    let trio = Trio::new().await;
    let leader = trio.leader(&[0, 1, 2]).await;
    let taken = trio.stores[leader].admit(MemberId(9), "member-2").await;
    let expected = MembershipError::Taken { member: MemberId(2), address: "member-2".into() };
    assert_eq!(taken, Err(expected));
}

/// A follower whose write is on its way to a leader that is gone hears what became of it soon after the next election,
/// and not when the way's own patience ends.
#[tokio::test(start_paused = true)]
async fn a_write_on_its_way_to_a_lost_leader_does_not_wait_for_it() {
    let trio = Trio::new().await;
    let leader = trio.leader(&[0, 1, 2]).await;
    let follower = (leader + 1) % 3;
    applied(&trio.stores[follower], put("c", "before")).await;
    let began = tokio::time::Instant::now();
    let proposing = trio.stores[follower].propose(put("c", "on its way"));
    let cutting = async {
        // After the request has left and before its reply comes.
        tokio::time::sleep(Duration::from_micros(1500)).await;
        trio.wires.silence(MemberId(leader as u64 + 1));
    };
    let (outcome, ()) = tokio::join!(proposing, cutting);
    assert!(matches!(outcome, Ok(Outcome::Applied { .. }) | Err(ProposeError::Unknown)), "{outcome:?}");
    // Virtual time: an election of at most two seconds and the wait for an outcome after it.
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    applied(&trio.stores[follower], put("c", "after")).await;
}

/// Found by cutting off real servers: who read just after the cable was plugged in again heard that there was no leader,
/// because an earlier read's patience had ended.
#[tokio::test(start_paused = true)]
async fn a_read_has_its_own_patience() {
    let trio = Trio::new().await;
    let leader = trio.leader(&[0, 1, 2]).await;
    let cut = MemberId(leader as u64 + 1);
    trio.wires.cut(cut);
    let early = tokio::spawn({
        let store = trio.stores[leader].clone();
        async move { store.linearizable().await.map(drop) }
    });
    tokio::time::sleep(Duration::from_millis(4900)).await;
    let late = tokio::spawn({
        let store = trio.stores[leader].clone();
        async move { store.linearizable().await.map(drop) }
    });
    assert_eq!(early.await.expect("no panic"), Err(ReadError::NoLeader));
    trio.wires.mend(cut);
    assert_eq!(late.await.expect("no panic"), Ok(()));
}

/// A leader that ends between the two entries of a change leaves the members half changed: the old voters' quorum is needed
/// besides the new one's, and a disk that is lost may be one too many. The simulator found a cluster that ended so.
#[tokio::test(start_paused = true)]
async fn a_change_that_was_left_half_done_is_ended_by_who_leads() {
    let trio = Trio::new().await;
    let leader = trio.leader(&[0, 1, 2]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(trio.stores.iter().all(Store::members_are_settled));
    let voters: Vec<BTreeSet<u64>> = vec![[1, 2].into(), [1, 2, 3].into()];
    trio.stores[leader].half_change(voters).await;
    assert!(!trio.stores[leader].members_are_settled());

    tokio::time::sleep(Duration::from_secs(4)).await;

    assert!(trio.stores.iter().all(Store::members_are_settled));
    assert!(trio.stores[0].members().iter().all(|member| member.is_voter));
}

#[tokio::test(start_paused = true)]
async fn who_is_admitted_half_is_not_told_that_it_is_a_member() {
    let trio = Trio::new().await;
    let leader = trio.leader(&[0, 1, 2]).await;
    let voters: Vec<BTreeSet<u64>> = vec![[1, 2].into(), [1, 2, 3].into()];
    trio.stores[leader].half_change(voters).await;
    let third = trio.stores[2].own_member().expect("it has peers");

    trio.stores[leader].admit(third.id, third.address).await.expect("the change is ended");

    assert!(trio.stores[leader].members_are_settled());
}
