//! Continue tokens: `{"v":"meta.k8s.io/v1","rv":R,"start":"ns/name\0"}` in
//! unpadded base64url, and in it how many items came before, which is ours. Decides their form only; what they resume is the list's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Revision of the first page; -1 goes on at the newest.
    pub revision: i64,
    /// Key of the last item seen, relative to the listed prefix.
    pub start: String,
    /// Items on the pages before, when it is known: what remains is then told without walking over it.
    pub passed: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default)]
    v: String,
    #[serde(default)]
    rv: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    start: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passed: Option<usize>,
}

const VERSION: &str = "meta.k8s.io/v1";

impl Token {
    /// As a client gets it.
    pub fn encode(&self) -> String {
        let start = format!("{}\u{0}", self.start);
        let wire = Wire { v: VERSION.into(), rv: self.revision, start, passed: self.passed };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).expect("plain strings and numbers encode"))
    }

    /// Reads a client's token; the error is the text for the client.
    pub fn decode(text: &str) -> Result<Self, String> {
        Self::read(text).map_err(|why| format!("invalid continue token: continue key is not valid: {why}"))
    }

    fn read(text: &str) -> Result<Self, String> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| base64_text(text))?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|_| json_text(&bytes))?;
        if wire.v != VERSION {
            return Err(format!("server does not recognize this encoded version {}", wire.v));
        }
        if wire.rv == 0 {
            return Err(format!("incorrect encoded start resourceVersion (version {VERSION})"));
        }
        if wire.start.is_empty() {
            return Err(format!("encoded start key empty (version {VERSION})"));
        }
        if is_unclean(&wire.start) {
            return Err(wire.start);
        }
        let start = wire.start.strip_suffix('\u{0}').unwrap_or(&wire.start).to_owned();
        Ok(Self { revision: wire.rv, start, passed: wire.passed })
    }
}

/// A key that a path clean-up would change must not be believed.
fn is_unclean(start: &str) -> bool {
    start.starts_with('/') || start.split('/').any(|part| matches!(part, "" | "." | ".."))
}

/// Go names the first byte outside the alphabet; padding is outside of it here.
fn base64_text(text: &str) -> String {
    let outside = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let at = text.find(outside).unwrap_or(text.len());
    format!("illegal base64 data at input byte {at}")
}

fn json_text(bytes: &[u8]) -> String {
    match bytes.first() {
        None => "unexpected end of JSON input".to_owned(),
        Some(&byte) => format!("invalid character '{}' looking for beginning of value", byte as char),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_and_lies_are_refused() {
        for passed in [None, Some(500)] {
            let token = Token { revision: 7, start: "ns/a".into(), passed };
            assert_eq!(Token::decode(&token.encode()), Ok(token));
        }
        let error = |text: &str| {
            Token::decode(text)
                .expect_err("invalid")
                .replace("invalid continue token: continue key is not valid: ", "")
        };
        assert_eq!(error("e30"), "server does not recognize this encoded version ");
        assert_eq!(error("!!"), "illegal base64 data at input byte 0");
        assert_eq!(error("W10="), "illegal base64 data at input byte 3");
        assert_eq!(error("abc"), "invalid character 'i' looking for beginning of value");
    }
}
