//! What a server answers to those who show the cluster's token. Whoever has it could join and hold every key, so there is
//! nothing to be kept from him.

use std::path::PathBuf;
use std::sync::Arc;

use access::pki::JoinToken;
use apiserver::OwnPages;
use futures::FutureExt as _;
use http::{Method, header};
use raft_store::{MemberId, MembershipError, Store};

use super::{join, members};

/// The pages.
pub(super) fn pages(token: JoinToken, dir: PathBuf, store: Store) -> OwnPages {
    Arc::new(move |parts| {
        let page = Page::of(&parts.method, parts.uri.path())?;
        let shown = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let is_known =
            shown.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|shown| token.is(shown));
        let (dir, store) = (dir.clone(), store.clone());
        let answer = async move {
            match page {
                _ if !is_known => (401, "the token is not this cluster's\n".to_owned()),
                Page::Join => join::page(&dir, &store),
                Page::Members => members::page(&store),
                Page::Remove(member) => removed(&store, member).await,
            }
        };
        Some(answer.boxed())
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Page {
    Join,
    Members,
    Remove(MemberId),
}

impl Page {
    fn of(method: &Method, path: &str) -> Option<Self> {
        let member = path.strip_prefix(members::PATH).map(|rest| rest.strip_prefix('/'));
        match (method, path, member) {
            (&Method::POST, join::PATH, _) => Some(Self::Join),
            (&Method::GET, members::PATH, _) => Some(Self::Members),
            (&Method::DELETE, _, Some(Some(id))) => Some(Self::Remove(MemberId(id.parse().ok()?))),
            _ => None,
        }
    }
}

async fn removed(store: &Store, member: MemberId) -> (u16, String) {
    match store.remove(member).await {
        Ok(()) => (200, "{}\n".to_owned()),
        // Asked again it says more, or finds nothing to do.
        Err(error @ (MembershipError::NotLeader { .. } | MembershipError::Unknown { .. })) => {
            (503, format!("{error}\n"))
        }
        Err(error) => (409, format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_method() {
        for (method, path, page) in [
            (Method::POST, "/kontiki/v1/join", Some(Page::Join)),
            (Method::GET, "/kontiki/v1/join", None),
            (Method::GET, "/kontiki/v1/members", Some(Page::Members)),
            (Method::DELETE, "/kontiki/v1/members", None),
            (Method::DELETE, "/kontiki/v1/members/", None),
            (Method::DELETE, "/kontiki/v1/members/x", None),
            (Method::DELETE, "/kontiki/v1/members/8", Some(Page::Remove(MemberId(8)))),
            (Method::POST, "/kontiki/v1/members/8", None),
            (Method::GET, "/kontiki/v1/other", None),
        ] {
            assert_eq!(Page::of(&method, path), page, "{method} {path}");
        }
    }
}
