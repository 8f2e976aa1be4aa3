//! The pure, multi-version state machine of the store.
