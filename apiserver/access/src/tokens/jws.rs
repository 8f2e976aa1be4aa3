//! The compact form of a signed token: `HEADER.PAYLOAD.SIGNATURE`, each base64url.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// A token taken apart; nothing is checked yet.
pub(crate) struct Compact<'a> {
    /// What is signed.
    pub(crate) signed: &'a [u8],
    /// Algorithm and key.
    pub(crate) header: Header,
    /// The claims.
    pub(crate) payload: Vec<u8>,
    /// Over `signed`.
    pub(crate) signature: Vec<u8>,
}

/// The parts of a header that matter.
#[derive(Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    #[serde(default)]
    pub(crate) kid: String,
    /// Extensions the reader must understand. We understand none.
    #[serde(default)]
    pub(crate) crit: Vec<String>,
}

impl Compact<'_> {
    /// `None` when the text is no such token.
    pub(crate) fn parse(token: &str) -> Option<Compact<'_>> {
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
