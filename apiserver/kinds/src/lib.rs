//! Strategies of the built-in kinds: defaulting, validation, columns, selectable fields.
