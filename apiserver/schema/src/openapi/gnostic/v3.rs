//! The messages of `openapi.v3` that our documents use.

use super::Shape::{Any, Choice, Each, Flag, Number, Text, Within};
use super::{Message, Shape, map};
use crate::Tree;

pub(super) static DOCUMENT: Message = Message {
    fields: &[
        ("openapi", 1, Text),
        ("info", 2, Shape::Message(&INFO)),
        ("paths", 4, Shape::Message(&PATHS)),
        ("components", 5, Shape::Message(&COMPONENTS)),
    ],
    others: None,
    extensions: Some(9),
};

static INFO: Message =
    Message { fields: &[("title", 1, Text), ("version", 6, Text)], others: None, extensions: Some(7) };

static COMPONENTS: Message = Message {
    fields: &[("schemas", 1, Shape::Message(&SCHEMAS)), ("securitySchemes", 7, Shape::Message(&SECURITY))],
    others: None,
    extensions: Some(10),
};

static SECURITY: Message = map(Within(1, &Shape::Message(&SECURITY_SCHEME)));

static SECURITY_SCHEME: Message = Message {
    fields: &[("type", 1, Text), ("description", 2, Text), ("name", 3, Text), ("in", 4, Text)],
    others: None,
    extensions: Some(9),
};

static PATHS: Message =
    Message { fields: &[], others: Some((1, Shape::Message(&PATH_ITEM))), extensions: Some(2) };

static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 4, Shape::Message(&OPERATION)),
        ("put", 5, Shape::Message(&OPERATION)),
        ("post", 6, Shape::Message(&OPERATION)),
        ("delete", 7, Shape::Message(&OPERATION)),
        ("options", 8, Shape::Message(&OPERATION)),
        ("head", 9, Shape::Message(&OPERATION)),
        ("patch", 10, Shape::Message(&OPERATION)),
        ("parameters", 13, Each(&Within(1, &Shape::Message(&PARAMETER)))),
    ],
    others: None,
    extensions: Some(14),
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Each(&Text)),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("parameters", 6, Each(&Within(1, &Shape::Message(&PARAMETER)))),
        ("requestBody", 7, Within(1, &Shape::Message(&BODY))),
        ("responses", 8, Shape::Message(&RESPONSES)),
        ("deprecated", 10, Flag),
    ],
    others: None,
    extensions: Some(13),
};

static PARAMETER: Message = Message {
    fields: &[
        ("name", 1, Text),
        ("in", 2, Text),
        ("description", 3, Text),
        ("required", 4, Flag),
        ("schema", 10, Choice(schema)),
    ],
    others: None,
    extensions: Some(14),
};

static BODY: Message = Message {
    fields: &[("description", 1, Text), ("content", 2, Shape::Message(&MEDIA_TYPES)), ("required", 3, Flag)],
    others: None,
    extensions: Some(4),
};

static MEDIA_TYPES: Message = map(Shape::Message(&MEDIA_TYPE));

static MEDIA_TYPE: Message =
    Message { fields: &[("schema", 1, Choice(schema))], others: None, extensions: Some(5) };

static RESPONSES: Message =
    Message { fields: &[], others: Some((2, Within(1, &Shape::Message(&RESPONSE)))), extensions: Some(3) };

static RESPONSE: Message = Message {
    fields: &[("description", 1, Text), ("content", 3, Shape::Message(&MEDIA_TYPES))],
    others: None,
    extensions: Some(5),
};

/// Component schemas and properties.
static SCHEMAS: Message = map(Choice(schema));

/// A schema is one itself or a reference.
fn schema(tree: &Tree) -> &'static Shape {
    static ITSELF: Shape = Within(1, &Shape::Message(&SCHEMA));
    static ELSEWHERE: Shape = Within(2, &Shape::Message(&REFERENCE));
    if tree.get("$ref").is_some() { &ELSEWHERE } else { &ITSELF }
}

static REFERENCE: Message =
    Message { fields: &[("$ref", 1, Text), ("description", 3, Text)], others: None, extensions: None };

static SCHEMA: Message = Message {
    fields: &[
        ("uniqueItems", 20, Flag),
        ("required", 23, Each(&Text)),
        ("enum", 24, Each(&Any)),
        ("type", 25, Text),
        ("allOf", 26, Each(&Choice(schema))),
        ("oneOf", 27, Each(&Choice(schema))),
        ("anyOf", 28, Each(&Choice(schema))),
        ("items", 30, Within(1, &Choice(schema))),
        ("properties", 31, Shape::Message(&SCHEMAS)),
        ("additionalProperties", 32, Within(1, &Choice(schema))),
        ("default", 33, Choice(default)),
        ("description", 34, Text),
        ("format", 35, Text),
    ],
    others: None,
    extensions: Some(36),
};

/// The layout has room for scalars only; an object as default stands as an empty message.
fn default(tree: &Tree) -> &'static Shape {
    static NUMBER: Shape = Within(1, &Number);
    static FLAG: Shape = Within(2, &Flag);
    static TEXT: Shape = Within(3, &Text);
    static NOTHING: Shape = Shape::Message(&Message { fields: &[], others: None, extensions: None });
    match tree {
        Tree::Number(_) => &NUMBER,
        Tree::Bool(_) => &FLAG,
        Tree::String(_) => &TEXT,
        _ => &NOTHING,
    }
}
