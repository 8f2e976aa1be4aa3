//! What the controllers keep of each kind: only the fields they read.

mod core;
mod whole;

pub(crate) use self::core::{ConfigMap, Named, Namespace, Ownership};
pub(crate) use self::whole::Whole;
