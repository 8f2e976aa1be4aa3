//! What a schema is made of.
//!
//! ```text
//! Deployment            Struct
//!   spec                  Struct                 (a named definition, built on first use)
//!     replicas              Integer { bits: 32 }
//!     template.spec         Struct
//!       containers            List { Map(["name"]) } of Struct
//!       nodeSelector          Map { atomic } of String
//! ```

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::OnceLock;

use k8s::tables::Omission;

use crate::Tree;

/// One node: what a value must look like and how it merges.
#[derive(Debug)]
pub struct Schema {
    /// Name of the definition (`io.k8s.api.core.v1.Pod`); empty for a node without one.
    pub name: Cow<'static, str>,
    /// The value's type as Go prints it in decode errors (`v1.ObjectMeta`, `[]v1.Container`).
    pub go: Cow<'static, str>,
    /// The form of the value.
    pub shape: Shape,
}

/// The form of a value.
#[derive(Debug)]
pub enum Shape {
    /// Any JSON, kept as it is.
    Any,
    /// A whole object of some other kind, kept as it is.
    Embedded,
    /// Text.
    String,
    /// Base64 text.
    Bytes,
    /// `true` or `false`.
    Boolean,
    /// A whole number of 32 or 64 bits.
    Integer {
        /// 32 or 64.
        bits: u8,
    },
    /// A double.
    Number,
    /// A 32-bit whole number or a text.
    IntOrString,
    /// A quantity such as `500m`, written in its canonical form.
    Quantity,
    /// A time in whole seconds.
    Time,
    /// A time in microseconds.
    MicroTime,
    /// Known fields.
    Struct(Struct),
    /// Free keys, values of one form.
    Map(Map),
    /// Items of one form.
    List(List),
    /// One form for objects and another for everything else (parts of custom resource schemas).
    Either {
        /// Form of an object.
        object: Child,
        /// Form of anything else.
        other: Child,
    },
}

/// A struct's known fields.
#[derive(Debug, Default)]
pub struct Struct {
    /// The fields in ascending order of name.
    pub fields: Vec<Field>,
    /// Owned and replaced as a whole.
    pub atomic: bool,
    /// Unknown fields are kept (custom resources).
    pub preserve_unknown: bool,
    /// Fields that Go prints even when nobody sets them, as indexes into `fields`.
    pub(crate) always: Vec<usize>,
}

/// One field of a struct.
#[derive(Debug)]
pub struct Field {
    /// JSON name.
    pub name: Box<str>,
    /// What the value looks like.
    pub child: Child,
    /// Whether the published schema requires it.
    pub required: bool,
    /// Static default.
    pub default: Option<Tree>,
    /// What an empty value looks like on the wire.
    pub omission: Omission,
    /// How a strategic merge patch treats it.
    pub strategy: PatchStrategy,
    /// Says otherwise than the definition whether a struct is owned as a whole.
    pub atomic: Option<bool>,
    /// What Go prints for the field when it was never set.
    pub(crate) zero: OnceLock<Option<Tree>>,
}

/// How a strategic merge patch treats a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists merge item by item instead of being replaced.
    pub merge: bool,
    /// The value is replaced as a whole, although it is a map.
    pub replace: bool,
    /// `$retainKeys` applies.
    pub retain_keys: bool,
    /// The key by which list items are the same.
    pub merge_key: Option<Box<str>>,
}

/// Free keys, values of one form.
#[derive(Debug)]
pub struct Map {
    /// Form of the values.
    pub value: Child,
    /// Owned and replaced as a whole.
    pub atomic: bool,
}

/// Items of one form.
#[derive(Debug)]
pub struct List {
    /// Form of the items.
    pub item: Child,
    /// Which items are the same.
    pub kind: ListKind,
}

/// Which items of a list are the same, for field ownership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// None: the list is owned as a whole.
    Atomic,
    /// Equal scalars.
    Set,
    /// Items with the same values of these keys.
    Map(Vec<Box<str>>),
}

/// A node below another: owned, or a definition by name. Definitions may contain themselves, so a name is looked up when
/// it is first needed.
#[derive(Debug)]
pub enum Child {
    /// Belongs to its parent.
    Owned(Box<Schema>),
    /// A definition, looked up on first use.
    Named(&'static str, OnceLock<&'static Schema>),
}

impl Schema {
    /// A node that takes any JSON.
    pub const fn any() -> Self {
        Self { name: Cow::Borrowed(""), go: Cow::Borrowed("interface {}"), shape: Shape::Any }
    }

    /// The struct, if the node is one.
    pub fn as_struct(&self) -> Option<&Struct> {
        match &self.shape {
            Shape::Struct(inner) => Some(inner),
            _ => None,
        }
    }

    /// The node below a field, a map's value or a list's item, following `names`; `[]` stands for an item or a map's value.
    pub fn at(&self, names: &[&str]) -> Option<&Schema> {
        let Some((first, rest)) = names.split_first() else { return Some(self) };
        let child = match &self.shape {
            Shape::Struct(inner) => &inner.field(first)?.child,
            Shape::Map(map) => &map.value,
            Shape::List(list) => &list.item,
            _ => return None,
        };
        child.at(rest)
    }

    /// The name Go gives a struct in decode errors: the part after the package.
    pub(crate) fn go_name(&self) -> &str {
        self.go.rsplit_once('.').map_or(&*self.go, |(_, name)| name)
    }
}

impl Struct {
    /// The field of that name; names are case sensitive.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok().map(|at| &self.fields[at])
    }
}

impl Deref for Child {
    type Target = Schema;

    fn deref(&self) -> &Schema {
        match self {
            Child::Owned(schema) => schema,
            Child::Named(name, cell) => cell.get_or_init(|| {
                crate::definition(name).expect("the table names only definitions that it holds")
            }),
        }
    }
}
