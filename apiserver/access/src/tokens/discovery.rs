//! What others need to verify our tokens: OpenID's issuer document and the key set.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::signer::Key;

/// Path of the key set.
pub const JWKS_PATH: &str = "/openid/v1/jwks";
/// Content type of the key set; the issuer document is plain JSON.
pub const JWKS_CONTENT_TYPE: &str = "application/jwk-set+json";
/// How long both may be cached.
pub const CACHE_CONTROL: &str = "public, max-age=3600";

#[derive(Serialize)]
struct Configuration<'a> {
    issuer: &'a str,
    jwks_uri: &'a str,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
}

#[derive(Serialize)]
struct KeySet {
    keys: Vec<WebKey>,
}

#[derive(Serialize)]
struct WebKey {
    #[serde(rename = "use")]
    usage: &'static str,
    kty: &'static str,
    kid: String,
    alg: &'static str,
    n: String,
    e: String,
}

/// The issuer document. `host` is the address of the server, with its port.
pub fn configuration(issuer: &str, host: &str) -> Vec<u8> {
    let document = Configuration {
        issuer,
        jwks_uri: &format!("https://{host}{JWKS_PATH}"),
        response_types_supported: ["id_token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["RS256"],
    };
    serde_json::to_vec(&document).expect("plain strings")
}

/// The key set.
pub fn jwks(key: &Key) -> Vec<u8> {
    let (modulus, exponent) = key.public();
    let key = WebKey {
        usage: "sig",
        kty: "RSA",
        kid: key.id().to_owned(),
        alg: "RS256",
        n: URL_SAFE_NO_PAD.encode(modulus),
        e: URL_SAFE_NO_PAD.encode(exponent),
    };
    serde_json::to_vec(&KeySet { keys: vec![key] }).expect("plain strings")
}
