//! Label and field selectors: parsing with the wire's error texts, and
//! matching against what the store keeps beside an object's bytes.

pub mod field;
pub mod label;
