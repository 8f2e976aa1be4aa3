//! Asking a cluster for what its members share, and giving it to those who show the token.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use access::pki::{Authority, Issued};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use raft_store::Store;
use raft_store::peers::Member;
use serde::{Deserialize, Serialize};

use super::door::Door;
use crate::failure::{Code, Failure, Step};

pub(super) const PATH: &str = "/kontiki/v1/join";
/// What all members have, under a server's folder. Whoever has these is the cluster.
const SHARED: [&str; 7] = [
    "pki/ca.crt",
    "pki/ca.key",
    "pki/peer-ca.crt",
    "pki/peer-ca.key",
    "pki/service-account.key",
    "encryption.key",
    "join-token",
];
/// How long a cluster may take to answer; it may be starting.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// The cluster to join.
pub struct Join {
    door: Door,
}

/// What a joining server is given.
#[derive(Serialize, Deserialize)]
struct Bundle {
    /// Files under the server's folder, base64.
    files: BTreeMap<String, String>,
    members: Vec<Known>,
}

#[derive(Serialize, Deserialize)]
struct Known {
    id: u64,
    address: String,
}

impl Join {
    /// Reads the URL of a server and a token.
    ///
    /// # Errors
    /// One of them is none.
    pub fn new(url: &str, token: &str) -> Result<Self, Failure> {
        Ok(Self { door: Door::new(url, token)? })
    }

    /// Puts what members share into an empty folder. One that has it already must be of this cluster.
    pub(super) async fn prepare(&self, dir: &Path) -> Result<(), Failure> {
        if dir.join("pki/ca.crt").exists() {
            return self.check_belongs(dir);
        }
        let bundle = self.fetch().await?;
        for name in SHARED {
            let content = bundle.files.get(name).and_then(|text| STANDARD.decode(text).ok());
            let text = content.and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| {
                Failure::new(Code::Other, "the cluster's answer is not complete")
                    .why(format!("{name} is missing"))
            })?;
            // The authority's certificate comes last: what it stands beside is complete.
            if name != SHARED[0] {
                crate::compose::write_private(&dir.join(name), &text)?;
            }
        }
        let authority =
            bundle.files.get(SHARED[0]).and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        crate::compose::write_private(&dir.join(SHARED[0]), &String::from_utf8_lossy(&authority))
    }

    /// The members, as a server of the cluster knows them.
    pub(super) async fn members(&self) -> Result<Vec<Member>, Failure> {
        let members = self.fetch().await?.members;
        Ok(members.into_iter().map(|known| Member { id: known.id, address: known.address }).collect())
    }

    fn check_belongs(&self, dir: &Path) -> Result<(), Failure> {
        let read = |name: &str| std::fs::read(dir.join(name)).step("cannot read the cluster's authority");
        let issued = Issued::from_pem(&read(SHARED[0])?, &read(SHARED[1])?);
        let authority = issued.and_then(|issued| Authority::from_issued(issued).ok());
        let ours = authority.is_some_and(|authority| self.door.token().is_for(&authority));
        if ours {
            return Ok(());
        }
        Err(Failure::new(Code::Conflict, format!("{} belongs to another cluster", dir.display()))
            .why("its authority is not the one the token names")
            .fix("choose another --data-dir, or remove this one if nothing in it is needed"))
    }

    async fn fetch(&self) -> Result<Bundle, Failure> {
        let body = self.door.ask(&Method::POST, PATH, ANSWER_MAX).await?;
        serde_json::from_slice(&body).step("cannot read the cluster's answer")
    }
}

/// What members share, for one who has shown the token.
pub(super) fn page(dir: &Path, store: &Store) -> (u16, String) {
    match bundle(dir, store) {
        Ok(bundle) => (200, serde_json::to_string(&bundle).expect("texts and numbers")),
        // The tokens' key is made while the server starts.
        Err(error) => (503, format!("not ready yet: {error}\n")),
    }
}

fn bundle(dir: &Path, store: &Store) -> std::io::Result<Bundle> {
    let mut files = BTreeMap::new();
    for name in SHARED {
        files.insert(name.to_owned(), STANDARD.encode(std::fs::read(dir.join(name))?));
    }
    let members = store.members().into_iter().filter(|member| member.is_voter && !member.address.is_empty());
    let mut members: Vec<Known> =
        members.map(|member| Known { id: member.id.0, address: member.address }).collect();
    if members.is_empty() {
        // A founder that was alone so far has told its address to nobody.
        members.extend(store.own_member().map(|member| Known { id: member.id.0, address: member.address }));
    }
    Ok(Bundle { files, members })
}
