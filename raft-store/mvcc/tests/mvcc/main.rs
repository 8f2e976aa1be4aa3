//! The state machine against a naive model and against transcripts that read as a specification.

mod model;
mod property;
mod transcript;
mod wire;
