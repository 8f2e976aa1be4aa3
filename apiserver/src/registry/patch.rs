//! PATCH: JSON patch, merge patch and strategic merge patch on the stored
//! object, then the same way as PUT. Server-side apply is not served yet.

use super::body::{self, Expected};
use super::update;
use crate::catalog::Kind;
use crate::context::Context;
use crate::negotiate::{self, PatchType};
use crate::options::{FieldValidation, WriteOptions, WriteVerb};
use crate::reply::Reply;
use crate::status::{ApiError, ApiResult, Cause};
use axum::body::Body;
use kinds::{Subresource, tree};
use schema::{Tree, decode};

/// Patches the object the path names.
pub(super) async fn patch(context: &Context, kind: &'static Kind, sub: Subresource, body: Body) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    let patch_type = negotiate::patch_type(context.content_type())?;
    let bytes = body::read(body).await?;
    let options = WriteOptions::parse(&context.query, WriteVerb::Patch(patch_type))?;
    if patch_type == PatchType::Apply {
        return Err(ApiError::UnsupportedPatchType);
    }
    let patch = Patch::read(patch_type, &bytes)?;
    let written = update::apply(context, kind, sub, &options, |old| {
        let mut wanted = patch.apply(context, Expected::of(kind), old, options.validation)?;
        kind.strategy.default(&mut wanted);
        update::check_name(context, &wanted)?;
        if kind.resource.namespaced && tree::str_at(&wanted, "metadata.namespace") != context.namespace() {
            let text = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(ApiError::BadRequest(text.into()));
        }
        Ok(mark(wanted, old))
    })
    .await?;
    context.show_written(kind, accepted, &written)
}

/// Marks a tree whose resourceVersion comes from the stored object and not from the patch.
pub(super) fn mark(mut wanted: Tree, old: &Tree) -> Tree {
    if tree::same_at(&wanted, old, "metadata.resourceVersion") {
        wanted[update::PATCHED] = Tree::Bool(true);
    }
    wanted
}

/// A patch body, read once and applied as often as the object changes meanwhile.
pub(super) struct Patch {
    patch_type: PatchType,
    tree: Tree,
    strict: Vec<String>,
}

impl Patch {
    /// Reads a patch body.
    pub(super) fn read(patch_type: PatchType, bytes: &[u8]) -> ApiResult<Self> {
        let prefix = if patch_type == PatchType::Strategic { "" } else { "error decoding patch: " };
        let bad = |why: &dyn std::fmt::Display| ApiError::BadRequest(format!("{prefix}{why}"));
        let (tree, duplicates) = decode::json(bytes).map_err(|error| bad(&error))?;
        let wanted = if patch_type == PatchType::Json { "[]handlers.jsonPatchOp" } else { "map[string]interface {}" };
        let fits = match patch_type {
            PatchType::Json => tree.is_array() || tree.is_null(),
            _ => tree.is_object() || tree.is_null(),
        };
        if !fits {
            let have = match &tree {
                Tree::Array(_) => "array",
                Tree::Object(_) => "object",
                Tree::String(_) => "string",
                Tree::Bool(_) => "bool",
                _ => "number",
            };
            return Err(bad(&format!("json: cannot unmarshal {have} into Go value of type {wanted}")));
        }
        let strict = duplicates;
        Ok(Self { patch_type, tree, strict })
    }

    /// The patched object, decoded and defaulted as a body would be.
    pub(super) fn apply(&self, context: &Context, expected: Expected<'_>, old: &Tree, validation: FieldValidation) -> ApiResult<Tree> {
        let mut wanted = match self.patch_type {
            PatchType::Merge => merge(old, &self.tree),
            _ => return Err(ApiError::UnsupportedPatchType),
        };
        let unknown = decode::conform(expected.schema, &mut wanted).map_err(|error| self.invalid(&wanted, &error.to_string()))?;
        schema::default::apply(expected.schema, &mut wanted);
        let complaints: Vec<String> = self.strict.iter().cloned().chain(unknown.iter().map(|path| decode::unknown_field(path))).collect();
        match validation {
            FieldValidation::Strict if !complaints.is_empty() => {
                return Err(self.invalid(&wanted, &format!("strict decoding error: {}", complaints.join(", "))));
            }
            FieldValidation::Warn => complaints.into_iter().for_each(|text| context.warnings.add(text)),
            _ => {}
        }
        Ok(wanted)
    }

    /// A patch whose outcome is no object of the kind: 422 about the patch itself.
    fn invalid(&self, wanted: &Tree, why: &str) -> ApiError {
        let shown = match self.patch_type {
            PatchType::Strategic => kinds::field::quote(&go_print(&self.tree)),
            PatchType::Json => kinds::field::quote(&self.tree.to_string()),
            _ => kinds::field::quote(&self.tree.to_string()),
        };
        let _ = wanted;
        let message = format!("Invalid value: {shown}: {why}");
        let cause = Cause { reason: "FieldValueInvalid".into(), message, field: "patch".into() };
        ApiError::Invalid { group: String::new(), kind: String::new(), name: String::new(), causes: vec![cause], joined: None }
    }
}

/// A tree as Go's `%v` prints a map.
fn go_print(tree: &Tree) -> String {
    match tree {
        Tree::Null => "<nil>".to_owned(),
        Tree::String(text) => text.clone(),
        Tree::Array(items) => format!("[{}]", items.iter().map(go_print).collect::<Vec<_>>().join(" ")),
        Tree::Object(map) => {
            let mut pairs: Vec<(&String, &Tree)> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            format!("map[{}]", pairs.iter().map(|(key, value)| format!("{key}:{}", go_print(value))).collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

fn merge(old: &Tree, patch: &Tree) -> Tree {
    let Tree::Object(patch) = patch else { return patch.clone() };
    let mut out = old.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            out.remove(key);
        } else {
            let merged = merge(out.get(key).unwrap_or(&Tree::Null), value);
            out.insert(key.clone(), merged);
        }
    }
    Tree::Object(out)
}
