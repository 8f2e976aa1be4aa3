//! Everything that is decoded from disk, peers and clients, each as a function that takes any bytes.
//!
//! A target asserts properties: nothing panics, what is accepted survives being written and read again, two ways to the
//! same thing agree. Three drivers run the same functions: the corpus as ordinary tests, a bounded number of seeded
//! mutations, and libFuzzer (`.ci/fuzz TARGET SECONDS`). What they found stands in FOUND.md.

pub mod chain;
pub mod clients;
pub mod dictionary;
mod document;
pub mod grow;
pub mod members;
pub mod mutate;
pub mod nodes;
pub mod objects;
pub mod patches;
pub mod structured;

use std::path::PathBuf;

/// One fuzz target.
#[derive(Debug)]
pub struct Target {
    /// Its name, and the name of its corpus.
    pub name: &'static str,
    /// Fails by panicking.
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// Every target, the most valuable first: what everybody may send comes before what only members and disks say.
pub const TARGETS: &[Target] = &[
    target("chain", chain::chain),
    target("grown_objects", grow::objects),
    target("json", objects::json),
    target("body_json", objects::body_json),
    target("protobuf", objects::protobuf),
    target("patch_strategic", patches::strategic),
    target("apply", patches::apply),
    target("body_yaml", objects::body_yaml),
    target("update", objects::update),
    target("patch_json", patches::json),
    target("patch_merge", patches::merge),
    target("managed_fields", patches::managed_fields),
    target("yaml", objects::yaml),
    target("label_selector", clients::label_selector),
    target("field_selector", clients::field_selector),
    target("options", clients::options),
    target("request_line", clients::request_line),
    target("continue_token", clients::continue_token),
    target("token", clients::token),
    target("certificate", clients::certificate),
    target("certificate_request", clients::certificate_request),
    target("scalars", objects::scalars),
    target("dns", nodes::dns),
    target("spdy", nodes::spdy),
    target("channels", nodes::channels),
    target("log_line", nodes::log_line),
    target("frames", members::frames),
    target("log_entry", members::log_entry),
    target("commands", members::commands),
    target("peer_requests", members::peer_requests),
    target("snapshot", members::snapshot),
    target("snapshot_records", members::snapshot_records),
];

/// The target of a name.
pub fn target_named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Where a target's inputs are kept.
pub fn corpus(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}
