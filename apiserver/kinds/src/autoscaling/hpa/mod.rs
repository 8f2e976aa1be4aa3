//! HorizontalPodAutoscalers. Stored is version 2; version 1 is a narrower view of it, and what does not fit there stands in
//! annotations of version 1 objects.

mod behavior;
mod cells;
mod legacy;
mod metrics;
mod ordered;
pub(super) mod v1;
pub(super) mod v2;

#[cfg(test)]
mod tests;
