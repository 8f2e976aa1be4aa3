//! What the stories stand on: a cluster started as a user would, a kubectl of a given version, and masked output.

pub mod api;
pub mod book;
pub mod cluster;
pub mod disk;
pub mod hosts;
pub mod local;
pub mod mask;
pub mod meter;
pub mod random;
pub mod recorded;
pub mod transcript;
pub mod upstream;
