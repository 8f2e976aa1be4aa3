//! This server as a member of a cluster: who it is, what members share, and how it becomes one.
//!
//! A server founds a cluster of its own or joins one. To join, it shows its token to any server of the cluster, gets what
//! members share (authorities and keys, over TLS, never through the log), opens its store empty and asks the members to
//! admit it. Started again it goes on where it was.

mod door;
mod join;
mod members;
mod pages;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::pki::{Authority, JoinToken, PeerMaterial};
use apiserver::OwnPages;
use raft_store::peers::grpc::{Grpc, PEER_NAME, serve};
use raft_store::peers::message::{AdmitRequest, Envelope};
use raft_store::peers::{Begin, Member, PeerReply, PeerRequest, Peering, Transport as _};
use raft_store::{MemberId, Seams, Store};
use tokio_util::sync::CancellationToken;

use crate::failure::{Code, Failure, Step};

pub use join::Join;
pub use members::{Listed, Members, Membership, Role};

/// The file with this server's number.
const MEMBER: &str = "member";
/// The member that founds a cluster. Others draw their number.
const FOUNDER: MemberId = MemberId(1);
/// How long a server may look for a leader that admits it.
const ADMISSION_MAX: Duration = Duration::from_secs(60);
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// Catching up is part of one attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(45);

/// How a server meets the other members.
pub struct PeersConfig {
    /// Where members speak to this one, listening already.
    pub listener: std::net::TcpListener,
    /// The address they reach it at.
    pub address: SocketAddr,
    /// The cluster to join; `None` founds one.
    pub join: Option<Join>,
}

/// A server's place among the members.
pub(super) struct Peers {
    dir: PathBuf,
    member: MemberId,
    material: PeerMaterial,
    transport: Arc<Grpc>,
    config: PeersConfig,
}

impl Peers {
    /// Fetches what members share, if this server joins for the first time.
    ///
    /// # Errors
    /// The cluster does not let it in, or the data directory belongs to another one.
    pub(super) async fn prepare(dir: &Path, config: &PeersConfig) -> Result<(), Failure> {
        match &config.join {
            Some(join) => join.prepare(dir).await,
            None => Ok(()),
        }
    }

    /// Reads or makes the keys of a member. The cluster's own authority is there already.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(super) fn load(dir: &Path, config: PeersConfig) -> Result<Self, Failure> {
        let now = jiff::Timestamp::now();
        let material = PeerMaterial::load_or_create(&dir.join("pki"), PEER_NAME, now)
            .step("cannot prepare the certificates of members")?;
        let transport =
            Arc::new(Grpc::new(material.client().step("cannot use the certificate of a member")?));
        let member = member_id(dir, config.join.is_some())?;
        Ok(Self { dir: dir.to_owned(), member, material, transport, config })
    }

    pub(super) fn member(&self) -> MemberId {
        self.member
    }

    /// Keeps this server's number, now that there is a log that goes with it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep(&self) -> Result<(), Failure> {
        let path = self.dir.join(MEMBER);
        if path.exists() {
            return Ok(());
        }
        super::write_private(&path, &format!("{}\n", self.member))
    }

    /// What the store needs to be one of several.
    pub(super) fn peering(&self) -> Peering {
        Peering {
            cluster: self.material.cluster().into(),
            address: self.config.address.to_string().into(),
            transport: self.transport.clone(),
            begin: if self.config.join.is_some() { Begin::Join } else { Begin::Found },
        }
    }

    /// Answers the other members until `stop`.
    ///
    /// # Errors
    /// The socket or the certificates cannot be used.
    pub(super) fn serve(&self, store: &Store, stop: &CancellationToken) -> Result<(), Failure> {
        let listener = self.config.listener.try_clone().step("cannot listen for members")?;
        listener.set_nonblocking(true).step("cannot prepare a socket")?;
        let listener = tokio::net::TcpListener::from_std(listener).step("cannot listen for members")?;
        let tls = self.material.server().step("cannot use the certificate of a member")?;
        let serving = serve(store.clone(), listener, tls, stop.clone());
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "members are not answered");
            }
        });
        Ok(())
    }

    /// Returns once this server is a voter; at once if it is one already.
    ///
    /// # Errors
    /// Nobody admits it within a minute.
    pub(super) async fn admitted(&self, store: &Store) -> Result<(), Failure> {
        let Some(join) = &self.config.join else { return Ok(()) };
        let is_voter = || store.members().iter().any(|member| member.id == self.member && member.is_voter);
        if is_voter() {
            return Ok(());
        }
        let mut known = join.members().await?;
        let deadline = tokio::time::Instant::now() + ADMISSION_MAX;
        let mut reason = "the cluster names no member".to_owned();
        while tokio::time::Instant::now() < deadline {
            for index in 0..known.len() {
                match self.ask(&known[index]).await {
                    Asked::Admitted => return Ok(()),
                    Asked::Never(why) => return Err(not_admitted(Code::Conflict, &why)),
                    Asked::Elsewhere(leader) => {
                        if !known.iter().any(|member| member.address == leader.address) {
                            known.push(leader);
                        }
                        "no leader is known yet".clone_into(&mut reason);
                    }
                    Asked::Unanswered(why) => reason = why,
                }
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Err(not_admitted(Code::TimedOut, &reason).fix("look at the log of the server that is joined"))
    }

    async fn ask(&self, member: &Member) -> Asked {
        let envelope = Envelope { cluster: self.material.cluster(), from: self.member.0, to: member.id };
        let newcomer = Member { id: self.member.0, address: self.config.address.to_string() };
        let request = AdmitRequest { envelope: Some(envelope), member: Some(newcomer) };
        let calling = self.transport.call(MemberId(member.id), &member.address, PeerRequest::Admit(request));
        match tokio::time::timeout(ATTEMPT_MAX, calling).await {
            Ok(Ok(PeerReply::Admit(reply))) if reply.admitted => Asked::Admitted,
            Ok(Ok(PeerReply::Admit(reply))) if !reply.refused.is_empty() => Asked::Never(reply.refused),
            Ok(Ok(PeerReply::Admit(reply))) => match reply.leader {
                Some(leader) => Asked::Elsewhere(leader),
                None => Asked::Unanswered("no leader is known".into()),
            },
            Ok(Ok(_)) => Asked::Unanswered("an answer to another question".into()),
            Ok(Err(error)) => Asked::Unanswered(error.to_string()),
            Err(_) => Asked::Unanswered(format!("no answer in {ATTEMPT_MAX:?}")),
        }
    }

    /// The page where servers ask for what members share.
    ///
    /// # Errors
    /// The token cannot be read or written.
    pub(super) fn pages(&self, authority: &Authority, store: &Store) -> Result<OwnPages, Failure> {
        let token = JoinToken::load_or_create(&self.dir.join("join-token"), authority)
            .step("cannot prepare the token for joining servers")?;
        Ok(pages::pages(token, self.dir.clone(), store.clone()))
    }
}

enum Asked {
    Admitted,
    Never(String),
    Elsewhere(Member),
    Unanswered(String),
}

fn not_admitted(code: Code, why: &str) -> Failure {
    Failure::new(code, "the cluster does not admit this server").why(why)
}

/// Who this server is, drawn once. A number without a log is a member that has forgotten its votes: started again it
/// could found its cluster a second time, or vote twice.
fn member_id(dir: &Path, joins: bool) -> Result<MemberId, Failure> {
    let path = dir.join(MEMBER);
    match std::fs::read_to_string(&path) {
        Ok(_) if is_empty(&dir.join("raft")) => Err(Failure::new(
            Code::Conflict,
            format!("{} has lost its log", dir.display()),
        )
        .why("the folder raft is gone, and with it what this server has promised the others")
        .fix("remove the whole directory and join as a new server; a sole server is restored from a copy")),
        Ok(text) => match text.trim().parse() {
            Ok(id) => Ok(MemberId(id)),
            Err(error) => {
                Err(Failure::new(Code::Other, format!("{} holds no number", path.display())).why(error))
            }
        },
        // An even number is never the founder's.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(if joins { MemberId((Seams::system().random.next() >> 1) << 1) } else { FOUNDER })
        }
        Err(error) => Err(error).step("cannot read this server's number"),
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_its_log_is_not_started() {
        let dir = std::env::temp_dir().join(format!("kontiki-member-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("raft")).expect("a temporary folder");
        assert_eq!(member_id(&dir, false).ok(), Some(FOUNDER), "nothing is there yet");
        std::fs::write(dir.join(MEMBER), "8\n").expect("a writable folder");
        let refused = member_id(&dir, true).map(|member| member.0).map_err(|failure| failure.code());
        assert_eq!(refused, Err(Code::Conflict as u8));
        std::fs::write(dir.join("raft/db"), "").expect("a writable folder");
        assert_eq!(member_id(&dir, true).ok(), Some(MemberId(8)));
        std::fs::remove_dir_all(&dir).expect("our own folder");
    }
}
