//! Ours answers every recorded case as upstream did, but for the rows of `accepted.tsv`, each of which still holds.

use fields::peer::Peer;
use fields::{bases, compare, record, round};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_changed_field_is_answered_as_upstream_answers() {
    let bases = bases::all().expect("the bases");
    let peer = Peer::ours().await.expect("a server in memory");
    let ours = round::play(&peer, &bases).await.expect("answers");
    peer.stop().await;
    let accepted = record::accepted().expect("the accepted differences");
    let theirs = record::kept(&|_| true).expect("the recorded answers");
    let outcome = compare::compare(&ours, &theirs, &accepted);
    assert!(outcome.different.is_empty(), "{}", outcome.different.join("\n"));
    let stale: Vec<&str> = accepted
        .iter()
        .zip(&outcome.accepted)
        .filter(|(_, count)| **count == 0)
        .map(|(row, _)| &*row.pattern)
        .collect();
    assert!(stale.is_empty(), "accepted, but equal: {stale:?}");
}
