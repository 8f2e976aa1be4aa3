//! Which servers the `kubernetes` Service leads to: those that vote and are not gone.
//!
//! The leader hears from every member several times a second. One that has been silent for fifteen seconds, as long as
//! upstream's lease of a server lives, is left out until it answers again. A new leader waits as long before it leaves
//! anybody out.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use apiserver::{Advertised, ApiServer, until_renewal};
use futures::FutureExt as _;
use jiff::Timestamp;
use raft_store::{MemberId, Store};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a server may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Between two looks. They write only what differs: a server that has just started may have put back one that is gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Where there is one server nobody can be gone, and what others changed is put back when Leases are renewed.
const LOOK_ALONE: Duration = Duration::from_secs(10);

/// What is known of the servers. Clones share it.
#[derive(Clone)]
pub(super) struct Advertising {
    store: Store,
    own: IpAddr,
    gone: Arc<Mutex<BTreeSet<MemberId>>>,
}

impl Advertising {
    /// Knows of nobody who is gone.
    pub(super) fn new(store: &Store, own: IpAddr) -> Self {
        Self { store: store.clone(), own, gone: Arc::default() }
    }

    /// The addresses: members' hosts, for every server serves the API where its members' port is.
    pub(super) fn addresses(&self) -> Advertised {
        let advertising = self.clone();
        Arc::new(move || {
            let gone = advertising.gone();
            let members = advertising.store.members().into_iter();
            let members = members.filter(|member| member.is_voter && !gone.contains(&member.id));
            let mut hosts: Vec<IpAddr> =
                members.filter_map(|member| Some(member.address.parse::<SocketAddr>().ok()?.ip())).collect();
            if hosts.is_empty() {
                hosts.push(advertising.own);
            }
            // Endpoints may not be loopback addresses.
            hosts.retain(|host| !host.is_loopback() && !host.is_unspecified());
            hosts.sort_unstable();
            hosts.dedup();
            hosts
        })
    }

    /// Keeps the endpoints at the servers there are, while this one leads and until `stop`.
    pub(super) fn spawn(self, tasks: &mut JoinSet<()>, api: &ApiServer, stop: &CancellationToken) {
        let (api, stop) = (api.clone(), stop.clone());
        tasks.spawn(stop.run_until_cancelled_owned(self.follow(api)).map(drop));
    }

    async fn follow(self, api: ApiServer) {
        let (mut membership, mut leadership) = (self.store.membership(), self.store.leadership());
        let (mut leads_since, mut seen) = (None, None);
        loop {
            tokio::select! {
                _ = membership.changed() => {}
                _ = leadership.changed() => {}
                () = tokio::time::sleep(self.until_next_look()) => {}
            }
            let Some(_) = self.store.term() else {
                (leads_since, seen) = (None, None);
                self.gone().clear();
                continue;
            };
            let since = *leads_since.get_or_insert_with(Instant::now);
            let gone = silent(&self.store.answered(), since.elapsed());
            let was = std::mem::replace(&mut *self.gone(), gone.clone());
            tell(was.symmetric_difference(&gone), &gone);
            api.advertise(&mut seen).await;
        }
    }

    fn until_next_look(&self) -> Duration {
        let is_alone = self.store.members().len() < 2;
        if is_alone { until_renewal(Timestamp::now(), LOOK_ALONE) } else { LOOK_INTERVAL }
    }

    fn gone(&self) -> MutexGuard<'_, BTreeSet<MemberId>> {
        self.gone.lock().expect("no panic while the lock is held")
    }
}

/// Those who have been silent for too long, under a leader that has led for so long.
fn silent(answered: &[(MemberId, Option<Duration>)], led: Duration) -> BTreeSet<MemberId> {
    let is_silent = |since: Option<Duration>| since.unwrap_or(led).min(led) >= SILENCE_MAX;
    answered.iter().filter(|(_, since)| is_silent(*since)).map(|(member, _)| *member).collect()
}

fn tell<'a>(changed: impl Iterator<Item = &'a MemberId>, gone: &BTreeSet<MemberId>) {
    for member in changed {
        if gone.contains(member) {
            tracing::warn!(%member, "a server does not answer and leaves the kubernetes endpoints");
        } else {
            tracing::info!(%member, "a server answers again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_for_fifteen_seconds_is_gone() {
        let seconds = Duration::from_secs;
        for (since, led, is_gone) in [
            (Some(0), 100, false),
            (Some(14), 100, false),
            (Some(15), 100, true),
            (None, 14, false),
            (None, 15, true),
            // Before this one led, others listened to him.
            (Some(20), 3, false),
        ] {
            let answered = [(MemberId(2), since.map(seconds))];
            assert_eq!(silent(&answered, seconds(led)).contains(&MemberId(2)), is_gone, "{since:?} {led}");
        }
    }
}
