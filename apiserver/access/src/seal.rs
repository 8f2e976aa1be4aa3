//! Secrets are sealed before they reach the log.
//!
//! AES-256-GCM with a fresh nonce for each sealing; the object's key and uid are associated
//! data, so that ciphertext moved to another object does not open. The envelope names the key,
//! so that keys can be replaced one by one:
//!
//! ```text
//! kseal1:ID:   nonce (12)   ciphertext   tag (16)
//! ```
//!
//! Random nonces are safe for 2^32 sealings with one key. The keyring's file holds one line
//! a key, `ID BASE64`; the first one seals.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::pki::hex;
use crate::private_file;

const MAGIC: &[u8] = b"kseal1:";
const KEY_LEN: usize = 32;

/// Fills a buffer with random bytes.
pub trait Random {
    /// Fills all of `buffer`.
    fn fill(&mut self, buffer: &mut [u8]);
}

impl<F: FnMut(&mut [u8])> Random for F {
    fn fill(&mut self, buffer: &mut [u8]) {
        self(buffer);
    }
}

/// The system's randomness.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, buffer: &mut [u8]) {
        aws_lc_rs::rand::fill(buffer).expect("the system's random generator does not fail");
    }
}

/// Why something was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file could not be read or written.
    #[error("cannot access {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key file holds something else.
    #[error("{} does not hold encryption keys", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// The bytes are no envelope.
    #[error("not a sealed object")]
    NotSealed,
    /// No key of this id.
    #[error("no encryption key {id}")]
    UnknownKey {
        /// The id in the envelope.
        id: String,
    },
    /// Changed, of another object, or sealed with another key of the same id.
    #[error("the sealed object does not open")]
    Forged,
}

/// What a sealed object belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Bond<'a> {
    /// `secrets`.
    pub resource: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// Uid.
    pub uid: &'a str,
}

impl Bond<'_> {
    /// Lengths before the parts, so that no two bonds are the same bytes.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [self.resource, self.namespace, self.name, self.uid] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

struct Key {
    id: String,
    secret: [u8; KEY_LEN],
    cipher: LessSafeKey,
}

impl Key {
    fn new(id: String, secret: [u8; KEY_LEN]) -> Key {
        let unbound = UnboundKey::new(&AES_256_GCM, &secret).expect("the key has the cipher's length");
        Key { id, secret, cipher: LessSafeKey::new(unbound) }
    }
}

/// The keys objects are sealed with.
pub struct Keyring {
    /// Never empty; the first seals.
    keys: Vec<Key>,
}

impl Keyring {
    /// A ring of one new key.
    pub fn generate(random: &mut dyn Random) -> Keyring {
        Keyring { keys: vec![new_key(random)] }
    }

    /// The ring in `path`, or a new one saved there with mode 0600.
    pub fn load_or_create(path: &Path, random: &mut dyn Random) -> Result<Keyring, SealError> {
        let access = |source| SealError::File { path: path.to_owned(), source };
        match private_file::read(path).map_err(access)? {
            Some(content) => {
                Keyring::parse(&content).ok_or_else(|| SealError::Malformed { path: path.to_owned() })
            }
            None => {
                let keyring = Keyring::generate(random);
                private_file::write(path, keyring.to_text().as_bytes()).map_err(access)?;
                Ok(keyring)
            }
        }
    }

    /// Reads a ring as [`Keyring::to_text`] writes it: what a joining server is given.
    pub fn parse(content: &[u8]) -> Option<Keyring> {
        let text = std::str::from_utf8(content).ok()?;
        let keys: Option<Vec<Key>> =
            text.lines().filter(|line| !line.trim().is_empty()).map(parse_key).collect();
        keys.filter(|keys| !keys.is_empty()).map(|keys| Keyring { keys })
    }

    /// The content of the key file.
    pub fn to_text(&self) -> String {
        self.keys.iter().map(|key| format!("{} {}\n", key.id, STANDARD.encode(key.secret))).collect()
    }

    /// Puts a new key first. Old ones still open what they sealed.
    pub fn rotate(&mut self, random: &mut dyn Random) {
        self.keys.insert(0, new_key(random));
    }

    /// The id of the key that seals; stored beside the object.
    pub fn current(&self) -> &str {
        &self.keys[0].id
    }

    /// Seals `plain`.
    pub fn seal(&self, bond: Bond<'_>, plain: &[u8], random: &mut dyn Random) -> Vec<u8> {
        let key = &self.keys[0];
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        let mut sealed = plain.to_vec();
        key.cipher
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bond.bytes()),
                &mut sealed,
            )
            .expect("an object is far below the cipher's 64 GiB");
        [MAGIC, key.id.as_bytes(), b":", &nonce, &sealed].concat()
    }

    /// Opens what was sealed for the same bond.
    pub fn open(&self, bond: Bond<'_>, envelope: &[u8]) -> Result<Vec<u8>, SealError> {
        let rest = envelope.strip_prefix(MAGIC).ok_or(SealError::NotSealed)?;
        let colon = rest.iter().position(|byte| *byte == b':').ok_or(SealError::NotSealed)?;
        let (id, rest) = (&rest[..colon], &rest[colon + 1..]);
        let id = std::str::from_utf8(id).map_err(|_| SealError::NotSealed)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::NotSealed)?;
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| SealError::UnknownKey { id: id.to_owned() })?;
        let mut plain = sealed.to_vec();
        let opened = key
            .cipher
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(bond.bytes()), &mut plain)
            .map_err(|_| SealError::Forged)?
            .len();
        plain.truncate(opened);
        Ok(plain)
    }
}

fn new_key(random: &mut dyn Random) -> Key {
    let (mut id, mut secret) = ([0; 8], [0; KEY_LEN]);
    random.fill(&mut id);
    random.fill(&mut secret);
    Key::new(hex(&id), secret)
}

fn parse_key(line: &str) -> Option<Key> {
    let (id, secret) = line.trim().split_once(' ')?;
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let secret = STANDARD.decode(secret).ok()?.try_into().ok()?;
    is_id.then(|| Key::new(id.to_owned(), secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOND: Bond<'_> = Bond { resource: "secrets", namespace: "default", name: "a", uid: "1" };

    /// Counts up: enough to see that nonces are taken from it.
    fn counter() -> impl FnMut(&mut [u8]) {
        let mut next = 0_u8;
        move |buffer| {
            for byte in buffer {
                *byte = next;
                next = next.wrapping_add(1);
            }
        }
    }

    #[test]
    fn what_is_sealed_opens_only_for_the_same_object() {
        let mut random = counter();
        let keyring = Keyring::generate(&mut random);
        let sealed = keyring.seal(BOND, b"canary", &mut random);
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_eq!(keyring.open(BOND, &sealed).expect("opens"), b"canary");
        assert_ne!(keyring.seal(BOND, b"canary", &mut random), sealed, "another nonce");

        for other in [
            Bond { uid: "2", ..BOND },
            Bond { name: "b", ..BOND },
            Bond { namespace: "defaul", name: "ta", ..BOND },
            Bond { resource: "configmaps", ..BOND },
        ] {
            assert!(matches!(keyring.open(other, &sealed), Err(SealError::Forged)), "{other:?}");
        }
        let mut changed = sealed.clone();
        *changed.last_mut().expect("not empty") ^= 1;
        assert!(matches!(keyring.open(BOND, &changed), Err(SealError::Forged)));
        assert!(matches!(keyring.open(BOND, b"{\"kind\":\"Secret\"}"), Err(SealError::NotSealed)));
        assert!(matches!(keyring.open(BOND, &sealed[..30]), Err(SealError::NotSealed | SealError::Forged)));
    }

    #[test]
    fn a_ring_keeps_its_keys_on_disk_and_through_rotation() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("encryption.key");
        let mut random = counter();
        let first = Keyring::load_or_create(&path, &mut random).expect("made");
        let sealed = first.seal(BOND, b"x", &mut random);
        let mut again = Keyring::load_or_create(&path, &mut random).expect("read");
        assert_eq!(again.current(), first.current());
        again.rotate(&mut random);
        assert_ne!(again.current(), first.current());
        assert_eq!(again.open(BOND, &sealed).expect("opens"), b"x");
        let other = Keyring::generate(&mut random);
        assert!(matches!(other.open(BOND, &sealed), Err(SealError::UnknownKey { .. })));

        std::fs::write(&path, "nonsense").expect("written");
        assert!(matches!(Keyring::load_or_create(&path, &mut random), Err(SealError::Malformed { .. })));
    }
}
