//! Frontends as nftables objects, and changes as one atomic transaction.
//!
//! Packets find their service through a verdict map, so the cost of a first packet does not grow with the number of
//! services; a service's chain picks a backend, a backend's chain rewrites the destination.
//!
//! ```text
//! service-ips        10.96.0.7 . tcp . 80 : goto service/default/web/tcp/http
//! service/…          ip daddr 10.96.0.7 ip saddr != 10.244.0.0/16 jump mark-for-masquerade
//!                    numgen random mod 2 vmap { 0 : goto endpoint/…/10.244.0.5/8080, 1 : … }
//! endpoint/…         ip saddr 10.244.0.5 jump mark-for-masquerade
//!                    meta l4proto tcp dnat to 10.244.0.5:8080
//! ```

mod base;
mod piece;
mod transaction;

pub use base::{MASQUERADE_MARK, Networks, TABLE, Words, base, words};
pub use piece::{Piece, piece, short_cuts};
pub use transaction::transaction;
