//! The compact form of a signed token: `HEADER.PAYLOAD.SIGNATURE`, each base64url.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// A token taken apart; nothing is checked yet.
pub(super) struct Compact<'a> {
    /// What is signed.
    pub(super) signed: &'a [u8],
    /// Algorithm and key.
    pub(super) header: Header,
    /// The claims.
    pub(super) payload: Vec<u8>,
    /// Over `signed`.
    pub(super) signature: Vec<u8>,
}

/// The parts of a header that matter.
#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    #[serde(default)]
    pub(super) kid: String,
    /// Extensions the reader must understand. We understand none.
    #[serde(default)]
    pub(super) crit: Vec<String>,
}

impl Compact<'_> {
    /// `None` when the text is no such token.
    pub(super) fn parse(token: &str) -> Option<Compact<'_>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        Some(Compact {
            signed: signed.as_bytes(),
            header: serde_json::from_slice(&decode(header)?).ok()?,
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }
}

/// `HEADER.PAYLOAD`, to be signed.
pub(super) fn signing_input(key_id: &str, payload: &[u8]) -> String {
    let header = format!("{{\"alg\":\"RS256\",\"kid\":{}}}", serde_json::Value::from(key_id));
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

/// The whole token.
pub(super) fn join(input: String, signature: &[u8]) -> String {
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}
