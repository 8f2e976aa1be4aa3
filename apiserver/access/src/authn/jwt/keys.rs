//! An issuer's published keys (RFC 7517) and the signatures they verify (RFC 7518).

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, RsaParameters, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Algorithms a token may be signed with.
pub const ALGORITHMS: [&str; 9] =
    ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

/// The keys of one issuer.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: String,
    public: Public,
}

#[derive(Debug)]
enum Public {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point, and its curve's name.
    Point {
        curve: Curve,
        point: Vec<u8>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

#[derive(Deserialize)]
struct WebKeySet {
    #[serde(default)]
    keys: Vec<WebKey>,
}

#[derive(Deserialize)]
struct WebKey {
    kty: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

impl KeySet {
    /// Reads a key set. Keys of kinds we do not know are left out: nothing we accept is signed with them.
    pub fn parse(bytes: &[u8]) -> Result<KeySet, String> {
        let set: WebKeySet = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let keys = set.keys.into_iter().filter_map(|key| Some(Key { public: public(&key)?, id: key.kid }));
        Ok(KeySet { keys: keys.collect() })
    }

    /// Whether one of the keys with this id (any, when it is empty) made the signature.
    pub(super) fn verify(&self, key_id: &str, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let named = self.keys.iter().filter(|key| key_id.is_empty() || key.id == key_id);
        named.into_iter().any(|key| key.public.verify(algorithm, message, signature))
    }
}

fn public(key: &WebKey) -> Option<Public> {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
    match (key.kty.as_str(), key.crv.as_str()) {
        ("RSA", _) => {
            Some(Public::Rsa { modulus: stripped(decode(&key.n)?), exponent: stripped(decode(&key.e)?) })
        }
        ("EC", "P-256") => point(Curve::P256, 32, &decode(&key.x)?, &decode(&key.y)?),
        ("EC", "P-384") => point(Curve::P384, 48, &decode(&key.x)?, &decode(&key.y)?),
        ("EC", "P-521") => point(Curve::P521, 66, &decode(&key.x)?, &decode(&key.y)?),
        _ => None,
    }
}

/// Big-endian numbers without leading zeros, which the verifier refuses.
fn stripped(number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number[zeros..].to_vec()
}

fn point(curve: Curve, bytes: usize, x: &[u8], y: &[u8]) -> Option<Public> {
    if x.len() > bytes || y.len() > bytes {
        return None;
    }
    let mut point = vec![0x04];
    for coordinate in [x, y] {
        point.resize(point.len() + bytes - coordinate.len(), 0);
        point.extend(coordinate);
    }
    Some(Public::Point { curve, point })
}

impl Public {
    fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Public::Rsa { modulus, exponent } => rsa(algorithm).is_some_and(|parameters| {
                let key = PublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, signature).is_ok()
            }),
            Public::Point { curve, point } => ecdsa(algorithm, *curve).is_some_and(|scheme| {
                UnparsedPublicKey::new(scheme, point).verify(message, signature).is_ok()
            }),
        }
    }
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// Each algorithm goes with one curve.
fn ecdsa(algorithm: &str, curve: Curve) -> Option<&'static EcdsaVerificationAlgorithm> {
    Some(match (algorithm, curve) {
        ("ES256", Curve::P256) => &signature::ECDSA_P256_SHA256_FIXED,
        ("ES384", Curve::P384) => &signature::ECDSA_P384_SHA384_FIXED,
        ("ES512", Curve::P521) => &signature::ECDSA_P521_SHA512_FIXED,
        _ => return None,
    })
}
