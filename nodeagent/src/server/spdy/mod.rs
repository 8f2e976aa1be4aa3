//! SPDY/3.1, as far as a client that opens streams needs it.
//!
//! Streaming servers of container runtimes speak it and nothing newer with half-closed streams. They use no
//! flow control and no priorities, and say nothing in headers that a client must read; so header blocks are
//! written without compression (stored blocks need no dictionary) and received ones are skipped.

pub mod frame;
pub mod session;
