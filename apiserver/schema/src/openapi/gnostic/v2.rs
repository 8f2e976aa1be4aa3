//! The messages of `openapi.v2` that our documents use.

use super::Shape::{Any, Choice, Each, Flag, Text, Within};
use super::{Message, Shape, map};
use crate::Tree;

pub(super) static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Text),
        ("info", 2, Shape::Message(&INFO)),
        ("paths", 8, Shape::Message(&PATHS)),
        ("definitions", 9, Shape::Message(&SCHEMAS)),
        ("security", 12, Each(&Shape::Message(&REQUIREMENT))),
        ("securityDefinitions", 13, Shape::Message(&SECURITY)),
    ],
    others: None,
    extensions: Some(16),
};

static INFO: Message =
    Message { fields: &[("title", 1, Text), ("version", 2, Text)], others: None, extensions: Some(7) };

static REQUIREMENT: Message = map(Within(1, &Each(&Text)));

static SECURITY: Message = map(Within(2, &Shape::Message(&API_KEY)));

static API_KEY: Message = Message {
    fields: &[("type", 1, Text), ("name", 2, Text), ("in", 3, Text), ("description", 4, Text)],
    others: None,
    extensions: Some(5),
};

static PATHS: Message =
    Message { fields: &[], others: Some((2, Shape::Message(&PATH_ITEM))), extensions: Some(1) };

static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, Shape::Message(&OPERATION)),
        ("put", 3, Shape::Message(&OPERATION)),
        ("post", 4, Shape::Message(&OPERATION)),
        ("delete", 5, Shape::Message(&OPERATION)),
        ("options", 6, Shape::Message(&OPERATION)),
        ("head", 7, Shape::Message(&OPERATION)),
        ("patch", 8, Shape::Message(&OPERATION)),
        ("parameters", 9, Each(&PARAMETER)),
    ],
    others: None,
    extensions: Some(10),
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Each(&Text)),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("produces", 6, Each(&Text)),
        ("consumes", 7, Each(&Text)),
        ("parameters", 8, Each(&PARAMETER)),
        ("responses", 9, Shape::Message(&RESPONSES)),
        ("schemes", 10, Each(&Text)),
        ("deprecated", 11, Flag),
    ],
    others: None,
    extensions: Some(13),
};

static PARAMETER: Shape = Within(1, &Choice(parameter));

/// A parameter is a body, or else of the query or the path.
fn parameter(tree: &Tree) -> &'static Shape {
    static OF_BODY: Shape = Within(1, &Shape::Message(&BODY));
    static OF_PATH: Shape = Within(2, &Within(4, &Shape::Message(&IN_PATH)));
    static OF_QUERY: Shape = Within(2, &Within(3, &Shape::Message(&IN_QUERY)));
    match tree["in"].as_str() {
        Some("body") => &OF_BODY,
        Some("path") => &OF_PATH,
        _ => &OF_QUERY,
    }
}

static BODY: Message = Message {
    fields: &[
        ("description", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("required", 4, Flag),
        ("schema", 5, Shape::Message(&SCHEMA)),
    ],
    others: None,
    extensions: Some(6),
};

static IN_PATH: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 5, Text),
        ("format", 6, Text),
        ("uniqueItems", 19, Flag),
    ],
    others: None,
    extensions: Some(22),
};

static IN_QUERY: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 6, Text),
        ("format", 7, Text),
        ("uniqueItems", 20, Flag),
    ],
    others: None,
    extensions: Some(23),
};

static RESPONSES: Message =
    Message { fields: &[], others: Some((1, Within(1, &Shape::Message(&RESPONSE)))), extensions: Some(2) };

static RESPONSE: Message = Message {
    fields: &[("description", 1, Text), ("schema", 2, Within(1, &Shape::Message(&SCHEMA)))],
    others: None,
    extensions: Some(5),
};

/// Definitions and properties.
static SCHEMAS: Message = map(Shape::Message(&SCHEMA));

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("format", 2, Text),
        ("description", 4, Text),
        ("default", 5, Any),
        ("required", 19, Each(&Text)),
        ("enum", 20, Each(&Any)),
        ("additionalProperties", 21, Within(1, &Shape::Message(&SCHEMA))),
        ("type", 22, Within(1, &Text)),
        ("items", 23, Within(1, &Shape::Message(&SCHEMA))),
        ("allOf", 24, Each(&Shape::Message(&SCHEMA))),
        ("properties", 25, Shape::Message(&SCHEMAS)),
    ],
    others: None,
    extensions: Some(31),
};
