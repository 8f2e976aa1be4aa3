//! Tokens whose signature was checked a moment ago.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};

use crate::tokens::Signed;
use crate::user::UserInfo;

/// How long a signature is remembered: a key that is taken away counts after this.
const AGE_MAX: SignedDuration = SignedDuration::from_secs(10);

/// Tokens remembered at most. At about 500 bytes each this is 2 MiB, enough for every pod of a
/// hundred nodes to ask once in ten seconds.
const TOKENS_MAX: usize = 4096;

/// SHA-256 of a token: a dump of memory shows no credential.
pub(super) type Key = [u8; 32];

/// The key of a token.
pub(super) fn key(token: &str) -> Key {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// A token whose signature is good.
pub(super) struct Checked {
    /// What it says.
    pub(super) signed: Signed,
    /// Whom it names.
    pub(super) user: Arc<UserInfo>,
}

impl From<Signed> for Checked {
    fn from(signed: Signed) -> Self {
        let user = match &signed {
            Signed::Bound(claims) => claims.user(),
            Signed::Kept(claims) => claims.user(),
        };
        Self { signed, user: Arc::new(user) }
    }
}

#[derive(Default)]
pub(super) struct Cache {
    tokens: Mutex<HashMap<Key, (Timestamp, Arc<Checked>)>>,
}

impl Cache {
    pub(super) fn get(&self, key: &Key, now: Timestamp) -> Option<Arc<Checked>> {
        let tokens = self.lock();
        let (at, checked) = tokens.get(key)?;
        is_fresh(*at, now).then(|| checked.clone())
    }

    pub(super) fn put(&self, key: Key, checked: Arc<Checked>, now: Timestamp) {
        let mut tokens = self.lock();
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, (at, _)| is_fresh(*at, now));
        }
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        tokens.insert(key, (now, checked));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (Timestamp, Arc<Checked>)>> {
        // Every entry is whole, whoever panicked while holding the lock.
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that was set back makes an entry stale, too.
fn is_fresh(at: Timestamp, now: Timestamp) -> bool {
    let age = now.duration_since(at);
    age >= SignedDuration::ZERO && age <= AGE_MAX
}
