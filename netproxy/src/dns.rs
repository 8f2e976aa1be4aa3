//! Cluster DNS on the node: `zone` knows the answers (pure), `message` speaks the wire format, `server` listens and
//! forwards what is not the cluster's.

mod input;
mod message;
mod server;
mod zone;

pub use input::{records_of_service, records_of_slice};
pub use message::{Outcome, answer};
pub use server::{Resolver, serve};
pub use zone::{Answer, Data, EndpointRecord, Question, ServiceRecords, Zone};
