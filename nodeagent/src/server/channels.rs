//! Messages of channel protocols: a channel number, then bytes. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;

/// How channel and bytes are put into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A byte, then bytes, in a binary message.
    Binary,
    /// A digit, then base64, in a text message.
    Base64,
}

/// A protocol of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// How messages look.
    pub form: Form,
    /// The error channel carries a Status and not a text.
    pub status: bool,
    /// A client can close its side of a channel.
    pub half_close: bool,
}

/// Channel protocols that are known, the best first.
pub const KNOWN: [&str; 5] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
];

/// The channel number that closes another channel.
const CLOSE: u8 = 255;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Bytes of a channel.
    Data(u8, Bytes),
    /// No more bytes of a channel.
    Close(u8),
    /// Nothing of interest.
    Nothing,
    /// Good-bye.
    End,
}

impl Protocol {
    /// The protocol of a name; a client that gives none means the oldest.
    pub fn named(name: &str) -> Self {
        Protocol {
            form: if name.contains("base64") { Form::Base64 } else { Form::Binary },
            status: name.starts_with("v4") || name.starts_with("v5"),
            half_close: name.starts_with("v5"),
        }
    }

    /// Reads a message.
    pub fn read(self, message: Message) -> Word {
        let payload = match message {
            Message::Binary(payload) => payload,
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) => return Word::End,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Word::Nothing,
        };
        let Some(&first) = payload.first() else { return Word::Nothing };
        match self.form {
            Form::Binary if first == CLOSE && self.half_close => {
                payload.get(1).map_or(Word::Nothing, |channel| Word::Close(*channel))
            }
            Form::Binary => Word::Data(first, payload.slice(1..)),
            Form::Base64 => match STANDARD.decode(&payload[1..]) {
                Ok(bytes) => Word::Data(first.wrapping_sub(b'0'), bytes.into()),
                Err(_) => Word::Nothing,
            },
        }
    }

    /// Writes a message.
    pub fn write(self, channel: u8, bytes: &[u8]) -> Message {
        match self.form {
            Form::Binary => {
                let mut payload = Vec::with_capacity(bytes.len() + 1);
                payload.push(channel);
                payload.extend_from_slice(bytes);
                Message::Binary(payload.into())
            }
            Form::Base64 => {
                let digit = char::from(b'0' + channel);
                Message::Text(format!("{digit}{}", STANDARD.encode(bytes)).into())
            }
        }
    }
}

/// The text of a Status as protocols before the fourth carried it: nothing for success.
pub fn status_text(status: &[u8]) -> String {
    let tree: serde_json::Value = serde_json::from_slice(status).unwrap_or_default();
    match tree["status"].as_str() {
        Some("Failure") => tree["message"].as_str().unwrap_or_default().to_owned(),
        Some(_) => String::new(),
        None => String::from_utf8_lossy(status).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_both_ways() {
        let v5 = Protocol::named("v5.channel.k8s.io");
        assert_eq!(
            v5.read(Message::Binary(Bytes::from_static(b"\x00hi"))),
            Word::Data(0, Bytes::from_static(b"hi"))
        );
        assert_eq!(v5.read(Message::Binary(Bytes::from_static(b"\xff\x00"))), Word::Close(0));
        assert_eq!(v5.read(Message::Binary(Bytes::new())), Word::Nothing);
        assert_eq!(v5.write(1, b"x"), Message::Binary(Bytes::from_static(b"\x01x")));
        let v4 = Protocol::named("v4.channel.k8s.io");
        assert_eq!(
            v4.read(Message::Binary(Bytes::from_static(b"\xff\x00"))),
            Word::Data(255, Bytes::from_static(b"\0"))
        );
        let base64 = Protocol::named("base64.channel.k8s.io");
        assert_eq!(base64.read(Message::Text("0aGk=".into())), Word::Data(0, Bytes::from_static(b"hi")));
        assert_eq!(base64.write(2, b"hi"), Message::Text("2aGk=".into()));
        assert!(!base64.status && v4.status && !v4.half_close);
    }

    #[test]
    fn old_clients_get_a_text() {
        assert_eq!(status_text(br#"{"status":"Success"}"#), "");
        assert_eq!(status_text(br#"{"status":"Failure","message":"no"}"#), "no");
    }
}
