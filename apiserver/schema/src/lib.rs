//! One schema engine over JSON trees: decode, default, patch, field ownership, protobuf, OpenAPI.
