//! What the policy group asks of pods: eviction. Disruption budgets are weighed by the caller.

pub mod eviction;
