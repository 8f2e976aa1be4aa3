//! Elements of nftables sets: a few hundred bytes for a change, where the tool would first read every set's and
//! chain's name.

use std::io;

use super::super::netlink::{Body, Netlink, Request};
use crate::compile::ipvs::{Command, Element};
use crate::compile::nftables::TABLE;
use crate::model::Family;

const SUBSYSTEM: u16 = 10;
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// Attributes of a list of elements.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
/// A list's entries, an element's key and a key's value all have the first number.
const FIRST: u16 = 1;
/// Create what is not there; no error when it is.
const CREATE: u16 = 0x400;

/// Adds and removes members, all or none.
pub(super) fn change(netfilter: &mut Netlink, commands: &[Command]) -> io::Result<()> {
    let requests: Vec<Request> = commands.iter().map(request).collect();
    netfilter
        .tell_whole(&bound(BEGIN), &requests, &bound(END))
        .map_err(|error| io::Error::new(error.kind(), format!("nftables refused elements: {error}")))
}

fn bound(kind: u16) -> Request {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Request { kind, flags: 0, body: vec![0, 0, high, low] }
}

fn request(command: &Command) -> Request {
    match command {
        Command::AddMember(member) => {
            Request { kind: NEW_ELEMENT, flags: CREATE, body: body(&member.element()) }
        }
        Command::RemoveMember(member) => {
            Request { kind: DELETE_ELEMENT, flags: 0, body: body(&member.element()) }
        }
        other => unreachable!("{other:?} is no element"),
    }
}

fn body(element: &Element) -> Vec<u8> {
    let family = if element.family == Family::V4 { IPV4 } else { IPV6 };
    let key = Body::default().with(FIRST, &element.key);
    let entry = Body::default().nested(FIRST, &key);
    let entries = Body::default().nested(FIRST, &entry);
    Body::new(&[family, 0, 0, 0])
        .text(LIST_TABLE, TABLE)
        .text(LIST_SET, element.set)
        .nested(LIST_ELEMENTS, &entries)
        .0
}
