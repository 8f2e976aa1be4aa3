//! What the store promises, each file one kind of promise. Names follow docs/guarantees.md.

mod durability;
pub(crate) mod fixture;
mod killed;
mod members;
mod outcomes;
mod sound;
mod watching;
mod wires;
