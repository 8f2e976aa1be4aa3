//! A member whose state is wrong takes the leader's.
//!
//! Only the state is replaced. The log and the vote stay: the cluster may count on them, and they are not what was
//! compared. A crash on the way leaves the old state or the new one; the old one is found out again.

use openraft::rt::WatchReceiver as _;
use proto::peer as wire;

use super::convert;
use super::member::Member;
use super::network::SNAPSHOT_WAIT_MAX;
use super::snapshot::Contents;
use super::types::LogId;
use crate::peers::{PeerReply, PeerRequest, Refused, SnapshotBody, SnapshotPlace};

impl Member {
    /// The leader's state, saved in the place of this member's snapshots. Asks every other member: this one's engine has
    /// stopped and does not know who leads.
    pub(super) async fn fetch_state(&self) -> Result<Contents, String> {
        let at_least = self.log().purged();
        let mut reason = "there is no other member".to_owned();
        for other in self.members().iter().filter(|other| other.id != self.id()) {
            let client = self.peers().client(other.id, &other.address);
            let request = wire::FetchRequest {
                envelope: client.envelope(),
                at_least: at_least.as_ref().map(convert::position),
            };
            let place = SnapshotPlace(self.snapshots().clone());
            match client.call(PeerRequest::Fetch(request, place), SNAPSHOT_WAIT_MAX).await {
                Ok(PeerReply::Fetch(body)) => return self.take_state(body, at_least).await,
                Ok(_) => "a reply to another question".clone_into(&mut reason),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(reason)
    }

    async fn take_state(&self, body: SnapshotBody, at_least: Option<LogId>) -> Result<Contents, String> {
        let snapshots = self.snapshots().clone();
        let waits = snapshots.waits();
        let take = move || {
            let contents = body.0.load()?;
            if contents.last_applied < at_least {
                return Err(convert::damaged("a snapshot from before the log"));
            }
            snapshots.reset(&body.0, &contents)?;
            Ok(contents)
        };
        let taken = if waits {
            tokio::task::spawn_blocking(take).await.map_err(|error| error.to_string())?
        } else {
            take()
        };
        taken.map_err(|error| error.to_string())
    }

    /// Gives a member whose state is wrong a snapshot, if this one leads and so has the state that clients see.
    pub(super) async fn answer_fetch(&self, request: wire::FetchRequest) -> Result<SnapshotBody, Refused> {
        if self.leads().is_none() || !self.soundness().is_sound() {
            return Err(Refused::NotLeader);
        }
        // A new one, so that as little of the log as can be is applied to it: what made the state wrong may be in there.
        let applied = self.metrics().borrow_watched().last_applied;
        let at_least = request.at_least.map(convert::read_position);
        self.snapshot_of(applied.max(at_least)).await.map_err(|_| Refused::Stopped)?;
        let current = self.snapshots().current().map_err(|_| Refused::Stopped)?;
        current.map(|snapshot| SnapshotBody(snapshot.snapshot)).ok_or(Refused::Stopped)
    }
}
