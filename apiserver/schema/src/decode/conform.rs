//! Makes a tree what Go's typed round trip would print.
//!
//! Unknown fields go, `null` becomes the type's zero, empty values are kept or left out as the field's tag says, and hand
//! encoded values (quantities, times, base64) take their canonical form. Struct fields and object keys are both sorted, so
//! the common case is one walk in step without a lookup.

use super::TypeError;
use super::leaf;
use super::scan::Step;
use crate::node::{Field, Schema, Shape, Struct};
use crate::{Object, Tree};

/// Unknown fields beyond this number are not listed; upstream stops there too.
pub(super) const PROBLEMS_MAX: usize = 100;

/// Where a value stands: its path, and the struct and fields that Go's decode errors name.
#[derive(Clone, Copy)]
pub(super) struct Position<'a> {
    pub(super) parent: Option<&'a Position<'a>>,
    pub(super) step: Step<'a>,
    /// The struct whose field this is; `None` for list items and map values.
    pub(super) owner: Option<&'a Schema>,
}

impl Position<'_> {
    pub(super) fn path(&self) -> String {
        fn write(position: &Position<'_>, steps: &mut Vec<String>) {
            if let Some(parent) = position.parent {
                write(parent, steps);
            }
            match position.step {
                Step::Key(key) if steps.is_empty() => steps.push(key.to_owned()),
                Step::Key(key) => steps.push(format!(".{key}")),
                Step::Index(index) => steps.push(format!("[{index}]")),
            }
        }
        let mut steps = Vec::new();
        write(self, &mut steps);
        steps.concat()
    }

    /// `EnvVar.spec.containers.env.value`: the innermost struct, then all fields from the root. Go names the structs that
    /// others embed, `NFSVolumeSource.spec.volumes.VolumeSource.nfs.path`.
    pub(super) fn go_place(position: Option<&Self>) -> String {
        let mut names = Vec::new();
        let mut innermost = None;
        let mut next = position.copied();
        while let Some(here) = next {
            if let (Some(owner), Step::Key(name)) = (here.owner, here.step) {
                innermost = innermost.or(Some(owner.go_name()));
                names.push(name);
                names.extend(k8s::tables::embedded_in(&owner.name, name).into_iter().rev());
            }
            next = here.parent.copied();
        }
        let Some(innermost) = innermost else { return String::new() };
        names.push(innermost);
        names.reverse();
        names.join(".")
    }
}

/// Collects what is wrong with a tree while it is put in form.
#[derive(Default)]
pub(super) struct Conformer {
    pub(super) unknown: Vec<String>,
    pub(super) error: Option<TypeError>,
}

impl Conformer {
    pub(super) fn value(&mut self, schema: &Schema, tree: &mut Tree, at: Option<&Position<'_>>) {
        match (&schema.shape, &mut *tree) {
            (Shape::Any | Shape::Embedded, _) => {}
            (_, Tree::Null) => *tree = zero(schema),
            (Shape::Struct(inner), Tree::Object(object)) => self.structure(schema, inner, object, at),
            (Shape::Map(map), Tree::Object(object)) => {
                for (key, value) in object.iter_mut() {
                    self.value(
                        &map.value,
                        value,
                        Some(&Position { parent: at, step: Step::Key(key), owner: None }),
                    );
                }
            }
            (Shape::List(list), Tree::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(
                        &list.item,
                        item,
                        Some(&Position { parent: at, step: Step::Index(index), owner: None }),
                    );
                }
            }
            (Shape::Either { object, .. }, Tree::Object(_)) => self.value(object, tree, at),
            (Shape::Either { other, .. }, _) => self.value(other, tree, at),
            _ => {
                if let Err(error) = leaf::conform(schema, tree, at) {
                    self.report(error);
                }
            }
        }
    }

    /// The first error counts, but one of a hand encoded value stops Go at once and so hides what was found before it.
    fn report(&mut self, error: TypeError) {
        let stops = matches!(error, TypeError::Value(_));
        if self.error.is_none() || (stops && !matches!(self.error, Some(TypeError::Value(_)))) {
            self.error = Some(error);
        }
    }

    fn structure(&mut self, schema: &Schema, inner: &Struct, object: &mut Object, at: Option<&Position<'_>>) {
        let mut fields = inner.fields.iter().peekable();
        object.retain(|key, value| {
            while fields.next_if(|field| *field.name < **key).is_some() {}
            let here = Position { parent: at, step: Step::Key(key), owner: Some(schema) };
            match fields.peek() {
                Some(field) if *field.name == **key => self.field(field, value, &here),
                _ if inner.preserve_unknown => true,
                _ => {
                    if self.unknown.len() < PROBLEMS_MAX {
                        self.unknown.push(here.path());
                    }
                    false
                }
            }
        });
        for &index in &inner.always {
            let field = &inner.fields[index];
            if !object.contains_key(&*field.name) {
                object.insert(String::from(&*field.name), unset(field));
            }
        }
    }

    /// Whether the field stays.
    fn field(&mut self, field: &Field, value: &mut Tree, here: &Position<'_>) -> bool {
        if value.is_null() {
            // A null leaves the field at its zero; those always printed are put back afterwards.
            return false;
        }
        self.value(&field.child, value, Some(here));
        let omission = field.omission;
        if omission.pointer {
            return !value.is_null() || !omission.omit_empty;
        }
        if omission.omit_zero && value.is_null() {
            return false;
        }
        !(omission.omit_empty && is_empty(&field.child, value)) || ends_bookkeeping(here) || says_none(here)
    }
}

/// An empty list of managers at the root says something, although Go prints nothing for it.
fn ends_bookkeeping(here: &Position<'_>) -> bool {
    let is_key = |position: &Position<'_>, name: &str| matches!(position.step, Step::Key(key) if key == name);
    is_key(here, "managedFields")
        && here.parent.is_some_and(|parent| is_key(parent, "metadata") && parent.parent.is_none())
}

/// An empty list that is not defaulted as an absent one is. It stays in the tree, and validation always refuses it.
fn says_none(here: &Position<'_>) -> bool {
    const SCALING: &str = "io.k8s.api.autoscaling.v2.HPAScalingRules";
    here.owner.is_some_and(|owner| owner.name == SCALING) && matches!(here.step, Step::Key("policies"))
}

/// What Go prints for a field that was never set.
pub(super) fn unset(field: &Field) -> Tree {
    let zero = field.zero.get_or_init(|| {
        let zero = if field.omission.pointer { Tree::Null } else { zero(&field.child) };
        (!zero.is_null()).then_some(zero)
    });
    zero.clone().unwrap_or(Tree::Null)
}

/// What Go prints for a type's zero value.
pub(super) fn zero(schema: &Schema) -> Tree {
    match &schema.shape {
        Shape::String => Tree::String(String::new()),
        Shape::Boolean => Tree::Bool(false),
        Shape::Integer { .. } | Shape::Number | Shape::IntOrString => 0.into(),
        Shape::Quantity => Tree::String("0".to_owned()),
        Shape::Struct(inner) => {
            let always = inner.always.iter().map(|&index| &inner.fields[index]);
            Tree::Object(always.map(|field| (String::from(&*field.name), unset(field))).collect())
        }
        _ => Tree::Null,
    }
}

/// Whether Go's encoder calls the value empty. Structs never are.
fn is_empty(schema: &Schema, value: &Tree) -> bool {
    match (&schema.shape, value) {
        (Shape::String | Shape::Bytes, Tree::String(text)) => text.is_empty(),
        (Shape::Boolean, Tree::Bool(flag)) => !flag,
        (Shape::Integer { .. } | Shape::Number, Tree::Number(number)) => number.as_f64() == Some(0.0),
        (Shape::Map(_), Tree::Object(object)) => object.is_empty(),
        (Shape::List(_), Tree::Array(items)) => items.is_empty(),
        (Shape::String | Shape::Bytes | Shape::Map(_) | Shape::List(_) | Shape::Any, Tree::Null) => true,
        _ => false,
    }
}
