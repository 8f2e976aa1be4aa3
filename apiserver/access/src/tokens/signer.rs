//! The key that signs tokens. Making it takes up to seconds, so a thread does that while the
//! server starts; only who needs a token before then waits.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{self, KeyPair as _, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use tokio::sync::watch;

use super::claims::Claims;
use super::jws;
use super::kept::SecretClaims;
use crate::pki::pem;
use crate::private_file;

/// Why there is no signing key.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignerError {
    /// The key could not be made.
    #[error("cannot make an RSA key")]
    Generate,
    /// The file could not be read or written.
    #[error("cannot access {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// The file holds something else.
    #[error("{} does not hold an RSA key in PEM (PKCS #8)", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// The thread that makes the key ended without one.
    #[error("no signing key was made")]
    Abandoned,
}

/// An RSA key with its public parts ready for use.
pub struct Key {
    pair: KeyPair,
    id: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl Key {
    /// A new 2048-bit key. Takes from tens of milliseconds to seconds.
    pub fn generate() -> Result<Key, SignerError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| SignerError::Generate)?;
        Key::of(pair)
    }

    /// Reads a key as [`Key::to_pem`] writes it.
    pub fn from_pem(text: &[u8]) -> Option<Key> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text).ok()?;
        Key::of(KeyPair::from_pkcs8(der.secret_pkcs8_der()).ok()?).ok()
    }

    /// The private key, PKCS #8 in PEM.
    pub fn to_pem(&self) -> Result<String, SignerError> {
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> =
            self.pair.as_der().map_err(|_| SignerError::Generate)?;
        Ok(pem("PRIVATE KEY", der.as_ref()))
    }

    fn of(pair: KeyPair) -> Result<Key, SignerError> {
        let public = pair.public_key();
        let spki: aws_lc_rs::encoding::PublicKeyX509Der<'_> =
            public.as_der().map_err(|_| SignerError::Generate)?;
        let id = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, spki.as_ref()));
        let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
        let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
        Ok(Key { id, modulus, exponent, pair })
    }

    /// SHA-256 of the public key (SubjectPublicKeyInfo), base64url: the `kid` of tokens.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Modulus and exponent, big-endian.
    pub(super) fn public(&self) -> (&[u8], &[u8]) {
        (&self.modulus, &self.exponent)
    }

    /// The signed token of these claims.
    pub fn sign(&self, claims: &Claims) -> String {
        self.sign_payload(&claims.payload())
    }

    /// The signed token of a service account that is kept in a Secret.
    pub fn sign_kept(&self, claims: &SecretClaims) -> String {
        self.sign_payload(&claims.payload())
    }

    fn sign_payload(&self, payload: &[u8]) -> String {
        let input = jws::signing_input(&self.id, payload);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature)
            .expect("a PKCS #1 signature of SHA-256 fits any RSA key of 2048 bits");
        jws::join(input, &signature)
    }

    /// Whether this key signed `message`.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = self.pair.public_key();
        let key = UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, public.as_ref());
        key.verify(message, signature).is_ok()
    }
}

/// The signing key, perhaps still being made. Clones share it.
#[derive(Clone)]
pub struct Signer {
    key: watch::Receiver<Option<Result<Arc<Key>, SignerError>>>,
}

impl Signer {
    /// A signer with a key at hand.
    pub fn with_key(key: Key) -> Signer {
        let (_, receiver) = watch::channel(Some(Ok(Arc::new(key))));
        Signer { key: receiver }
    }

    /// Makes a key on a thread of its own; it is not kept.
    pub fn generate() -> Signer {
        Signer::spawn(Key::generate)
    }

    /// Uses the key in `path`, or makes one on a thread and saves it there (mode 0600) before it is used.
    pub fn load_or_generate(path: &Path) -> Result<Signer, SignerError> {
        let access = |source| SignerError::File { path: path.to_owned(), source: Arc::new(source) };
        if let Some(text) = private_file::read(path).map_err(access)? {
            let key = Key::from_pem(&text).ok_or_else(|| SignerError::Malformed { path: path.to_owned() })?;
            return Ok(Signer::with_key(key));
        }
        let path = path.to_owned();
        Ok(Signer::spawn(move || {
            let key = Key::generate()?;
            private_file::write(&path, key.to_pem()?.as_bytes())
                .map_err(|source| SignerError::File { path, source: Arc::new(source) })?;
            Ok(key)
        }))
    }

    fn spawn(make: impl FnOnce() -> Result<Key, SignerError> + Send + 'static) -> Signer {
        let (sender, key) = watch::channel(None);
        std::thread::Builder::new()
            .name("token-key".to_owned())
            .spawn(move || sender.send_replace(Some(make().map(Arc::new))))
            .expect("a thread can be started");
        Signer { key }
    }

    /// Whether the key is there.
    pub fn ready(&self) -> bool {
        matches!(*self.key.borrow(), Some(Ok(_)))
    }

    /// The key, if it is there.
    pub fn key(&self) -> Option<Arc<Key>> {
        self.key.borrow().as_ref().and_then(|key| key.as_ref().ok()).cloned()
    }

    /// The key, waiting for it.
    pub async fn wait(&self) -> Result<Arc<Key>, SignerError> {
        let mut receiver = self.key.clone();
        let found = receiver.wait_for(Option::is_some).await.map_err(|_| SignerError::Abandoned)?;
        found.clone().expect("waited for")
    }
}
