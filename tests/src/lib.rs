//! Stories in kubectl, client compatibility and the house rules.
