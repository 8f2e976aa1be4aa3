//! The token in a request's headers.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};

/// Browsers cannot set Authorization on a WebSocket; they name the token as a subprotocol.
const PROTOCOL_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// What the headers hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// A token.
    Token(String),
    /// None; another scheme counts as none.
    None,
}

/// A subprotocol that should be a token is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedBearer {
    /// Two tokens.
    #[error("multiple base64.bearer.authorization tokens specified")]
    Multiple,
    /// No base64url.
    #[error("invalid base64.bearer.authorization token encoding")]
    Encoding,
    /// No UTF-8.
    #[error("invalid base64.bearer.authorization token")]
    Text,
    /// Nothing is left to answer with.
    #[error("missing additional subprotocol")]
    Alone,
}

/// Finds the token of a request.
pub fn bearer(headers: &HeaderMap) -> Result<Bearer, MalformedBearer> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    let mut parts = header.splitn(3, ' ');
    let (scheme, token) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        return Ok(Bearer::Token(token.to_owned()));
    }
    let is_websocket =
        headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if is_websocket { websocket_bearer(headers) } else { Ok(Bearer::None) }
}

fn websocket_bearer(headers: &HeaderMap) -> Result<Bearer, MalformedBearer> {
    let protocols = protocols(headers);
    let (tokens, others): (Vec<_>, Vec<_>) =
        protocols.iter().partition(|name| name.starts_with(PROTOCOL_PREFIX));
    let [encoded] = tokens.as_slice() else {
        return if tokens.is_empty() { Ok(Bearer::None) } else { Err(MalformedBearer::Multiple) };
    };
    let decoded =
        URL_SAFE_NO_PAD.decode(&encoded[PROTOCOL_PREFIX.len()..]).map_err(|_| MalformedBearer::Encoding)?;
    let token = String::from_utf8(decoded).map_err(|_| MalformedBearer::Text)?;
    match (token.is_empty(), others.is_empty()) {
        (true, _) => Ok(Bearer::None),
        (false, true) => Err(MalformedBearer::Alone),
        (false, false) => Ok(Bearer::Token(token)),
    }
}

/// Removes the token, so that nothing behind authentication can use or log it.
pub fn strip(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    let all = protocols(headers);
    let rest: Vec<&str> =
        all.iter().map(String::as_str).filter(|name| !name.starts_with(PROTOCOL_PREFIX)).collect();
    if rest.len() == all.len() {
        return;
    }
    match HeaderValue::from_str(&rest.join(",")) {
        Ok(value) if !rest.is_empty() => drop(headers.insert(SEC_WEBSOCKET_PROTOCOL, value)),
        _ => drop(headers.remove(SEC_WEBSOCKET_PROTOCOL)),
    }
}

fn protocols(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_owned()).collect()
}
