//! What a node reads from the network and from a container runtime: DNS, streams, logs.

use std::net::IpAddr;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use netproxy::dns::{self, Outcome, ServiceRecords, Zone};
use netproxy::model::{Protocol, ServiceId};
use nodeagent::logs::line;
use nodeagent::server::channels::{self, Protocol as Channels, Word};
use nodeagent::server::spdy::frame::{Encoder, Frame};
use tokio_tungstenite::tungstenite::Message;

/// A DNS query.
pub fn dns(data: &[u8]) {
    static ZONE: LazyLock<Zone> = LazyLock::new(|| {
        let mut zone = Zone::new("cluster.local");
        let records = ServiceRecords {
            addresses: vec![IpAddr::from([10, 96, 0, 1])],
            ports: vec![("http".into(), Protocol::Tcp, 80)],
            ..ServiceRecords::default()
        };
        zone.set_service(&ServiceId { namespace: "ns".into(), name: "web".into() }, Some(records));
        let external =
            ServiceRecords { external_name: Some("example.com".into()), ..ServiceRecords::default() };
        zone.set_service(&ServiceId { namespace: "ns".into(), name: "far".into() }, Some(external));
        zone
    });
    for (datagram, bytes_max) in [(true, 1232), (false, 65_535)] {
        if let Outcome::Reply(reply) = dns::answer(&ZONE, data, datagram) {
            assert!(reply.len() <= bytes_max, "{} bytes", reply.len());
            assert_eq!(reply[..2], data[..2], "the query's id");
            assert_ne!(reply[2] & 0x80, 0, "it is a reply");
        }
    }
}

/// A SPDY connection's bytes, at once and byte by byte.
pub fn spdy(data: &[u8]) {
    let at_once = frames(&mut BytesMut::from(data));
    let mut input = BytesMut::new();
    let mut one_by_one = Vec::new();
    for byte in data {
        input.extend_from_slice(&[*byte]);
        match Frame::decode(&mut input) {
            Ok(Some(frame)) => one_by_one.push(frame),
            Ok(None) => {}
            Err(_) => break,
        }
    }
    // A frame that announces too much ends the connection, whatever came with it.
    let common = at_once.len().min(one_by_one.len());
    assert_eq!(at_once[..common], one_by_one[..common]);
    for frame in at_once {
        if matches!(frame, Frame::Data { .. } | Frame::Reset { .. } | Frame::Ping(_) | Frame::GoAway) {
            let mut out = BytesMut::new();
            Encoder::default().encode(&frame, &mut out);
            assert_eq!(frames(&mut out), [frame]);
        }
    }
}

fn frames(input: &mut BytesMut) -> Vec<Frame> {
    std::iter::from_fn(|| Frame::decode(input).ok().flatten()).collect()
}

/// A message of every channel protocol.
pub fn channels(data: &[u8]) {
    for name in channels::KNOWN {
        let protocol = Channels::named(name);
        protocol.read(Message::Binary(Bytes::copy_from_slice(data)));
        if let Ok(text) = std::str::from_utf8(data) {
            protocol.read(Message::Text(text.into()));
        }
        for channel in 0..5 {
            let read = protocol.read(protocol.write(channel, data));
            assert_eq!(read, Word::Data(channel, Bytes::copy_from_slice(data)), "{name}");
        }
    }
    channels::status_text(data);
}

/// A line of a container's log.
pub fn log_line(data: &[u8]) {
    if let Some(read) = line::parse(data) {
        let stream = if read.stream == line::Stream::Stdout { "stdout" } else { "stderr" };
        let mut again =
            format!("{} {stream} {} ", read.time, if read.partial { "P" } else { "F" }).into_bytes();
        again.extend_from_slice(read.text);
        again.push(b'\n');
        assert_eq!(line::parse(&again), Some(read));
    }
}
