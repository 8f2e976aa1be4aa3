//! The servers of a cluster, as one of them tells them and as an administrator asks for them.

use std::path::Path;
use std::time::Duration;

use http::Method;
use raft_store::Store;
use serde::{Deserialize, Serialize};

use super::door::Door;
use crate::failure::{Code, Failure, Step};

pub(super) const PATH: &str = "/kontiki/v1/members";
/// An election and a change of members fit.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const POLL_PAUSE: Duration = Duration::from_millis(500);

/// What a member is to its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Leads.
    Leader,
    /// Votes.
    Voter,
    /// Listens, and votes once it has caught up.
    Learner,
}

/// A server of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its number, as text: not every reader of JSON keeps all its digits.
    pub id: String,
    /// `HOST:PORT` where servers reach it.
    pub address: String,
    /// What it is.
    pub role: Role,
    /// Seconds since it last answered the leader. Only the leader knows; none of a server that has never answered.
    pub silent_seconds: Option<u64>,
}

/// All servers, and the one that told of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// In order of their numbers.
    pub members: Vec<Listed>,
}

impl Membership {
    /// The member of a number, an address or a host.
    pub fn find(&self, name: &str) -> Option<&Listed> {
        let host = |address: &str| {
            address.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']).to_owned())
        };
        let is_it = |member: &&Listed| {
            member.id == name || member.address == name || host(&member.address).as_deref() == Some(name)
        };
        self.members.iter().find(is_it)
    }

    /// Voters, the leader among them.
    pub fn voters(&self) -> usize {
        self.members.iter().filter(|member| member.role != Role::Learner).count()
    }
}

/// What a server knows of the members.
pub(super) fn page(store: &Store) -> (u16, String) {
    let (leader, answered) = (store.leader(), store.answered());
    let listed = |member: raft_store::MemberInfo| Listed {
        role: match member.is_voter {
            _ if leader == Some(member.id) => Role::Leader,
            true => Role::Voter,
            false => Role::Learner,
        },
        silent_seconds: answered
            .iter()
            .find(|(id, _)| *id == member.id)
            .and_then(|(_, since)| since.map(|since| since.as_secs())),
        id: member.id.to_string(),
        address: member.address,
    };
    let membership = Membership { members: store.members().into_iter().map(listed).collect() };
    (200, serde_json::to_string(&membership).expect("texts and numbers"))
}

/// The way to a cluster for its administrator: any of its servers, and the token that servers join with.
pub struct Members(Door);

impl Members {
    /// Reads the URL of a server, and the token in a server's data directory.
    ///
    /// # Errors
    /// The URL is none, or there is no token.
    pub fn at(url: &str, token_file: &Path) -> Result<Self, Failure> {
        let token = std::fs::read_to_string(token_file).map_err(|error| {
            let code = match error.kind() {
                std::io::ErrorKind::PermissionDenied => Code::Permission,
                std::io::ErrorKind::NotFound => Code::NotFound,
                _ => Code::Other,
            };
            Failure::new(code, "cannot read the token that servers join with")
                .why(format!("{}: {error}", token_file.display()))
                .fix("run it as root on a server, or name a copy with --token-file")
        })?;
        Ok(Self(Door::new(url, &token)?))
    }

    /// The servers.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn list(&self) -> Result<Membership, Failure> {
        let body = self.0.ask(&Method::GET, PATH, ANSWER_MAX).await?;
        serde_json::from_slice(&body).step("cannot read the cluster's answer")
    }

    /// Takes a server out of the cluster.
    ///
    /// # Errors
    /// The cluster refuses, or does not answer.
    pub async fn remove(&self, member: &Listed) -> Result<(), Failure> {
        let path = format!("{PATH}/{}", member.id);
        self.0.ask(&Method::DELETE, &path, ANSWER_MAX).await.map(drop)
    }

    /// Waits until a server has joined and votes.
    ///
    /// # Errors
    /// It does not within that time.
    pub async fn joined(&self, name: &str, within: Duration) -> Result<Listed, Failure> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let membership = self.list().await?;
            let found = membership.find(name);
            if let Some(voter) = found.filter(|member| member.role != Role::Learner) {
                return Ok(voter.clone());
            }
            if tokio::time::Instant::now() >= deadline {
                let state = if found.is_some() { "has not caught up" } else { "has not joined" };
                return Err(Failure::new(Code::TimedOut, format!("{name} {state} after {within:?}"))
                    .fix("start it with: kontiki server --join URL --token-file FILE"));
            }
            tokio::time::sleep(POLL_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_by_number_address_or_host() {
        let listed = |id: &str, address: &str, role| Listed {
            id: id.into(),
            address: address.into(),
            role,
            silent_seconds: None,
        };
        let membership = Membership {
            members: vec![
                listed("1", "10.0.0.11:6444", Role::Leader),
                listed("18", "[fd00::1]:6444", Role::Voter),
                listed("20", "10.0.0.13:6444", Role::Learner),
            ],
        };
        for (name, id) in [
            ("1", Some("1")),
            ("10.0.0.11:6444", Some("1")),
            ("10.0.0.11", Some("1")),
            ("fd00::1", Some("18")),
            ("20", Some("20")),
            ("10.0.0.1", None),
            ("", None),
        ] {
            assert_eq!(membership.find(name).map(|member| &*member.id), id, "{name}");
        }
        assert_eq!(membership.voters(), 2);
    }
}
