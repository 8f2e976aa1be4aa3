//! PATCH: JSON patch, merge patch and strategic merge patch on the stored
//! object, then the same way as PUT. Server-side apply has a file of its own.

use super::body::Expected;
use super::update::{self, Wanted};
use super::{apply, create};
use crate::catalog::Kind;
use crate::context::Context;
use crate::negotiate::{self, PatchType};
use crate::options::{FieldValidation, WriteOptions, WriteVerb};
use crate::reply::Reply;
use crate::status::{ApiError, ApiResult, Cause};
use bytes::Bytes;
use kinds::{Subresource, tree};
use schema::patch::{self, PatchError};
use schema::{Tree, decode};

/// Patches the object the path names.
pub(super) async fn patch(
    context: &Context,
    kind: &'static Kind,
    sub: Subresource,
    bytes: Bytes,
) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    let patch_type = negotiate::patch_type(context.content_type())?;
    let options = WriteOptions::parse(&context.query, WriteVerb::Patch(patch_type))?;
    if patch_type == PatchType::Apply {
        let written = apply::apply(context, kind, sub, &options, &bytes).await?;
        return context.show_written(kind, accepted, &written);
    }
    let patch = Patch::read(patch_type, &bytes)?;
    let written = update::apply(context, kind, sub, &options, |old| {
        let mut wanted = patch.apply(context, Expected::of(kind), old, options.validation)?;
        kind.strategy.default(&mut wanted);
        update::check_name(context, &wanted)?;
        create::check_namespace(context, kind, &mut wanted)?;
        Ok(mark(wanted, old))
    })
    .await?;
    context.show_written(kind, accepted, &written)
}

/// A patched tree; its resourceVersion may come from the stored object or from the patch.
pub(super) fn mark(tree: Tree, old: &Tree) -> Wanted {
    let patched = tree::str_at(&tree, "metadata.resourceVersion").is_empty()
        || tree::same_at(&tree, old, "metadata.resourceVersion");
    Wanted { patched, ..Wanted::from(tree) }
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
        let strict = match (&tree, patch_type) {
            (Tree::Array(operations), PatchType::Json) => {
                if operations.len() > patch::OPERATIONS_MAX {
                    let text = format!(
                        "The allowed maximum operations in a JSON patch is {}, got {}",
                        patch::OPERATIONS_MAX,
                        operations.len()
                    );
                    return Err(ApiError::TooLarge(format!("Request entity too large: {text}")));
                }
                let read = decode::typed(patch::operations_schema(), decode::Syntax::Json, bytes)
                    .map_err(|error| bad(&error))?;
                read.strict.into_iter().map(|text| format!("json patch {text}")).collect()
            }
            (Tree::Null, PatchType::Json | PatchType::Strategic) => Vec::new(),
            (Tree::Null, PatchType::Merge) => return Err(ApiError::BadRequest("Invalid JSON Patch".into())),
            (Tree::Object(_), PatchType::Merge | PatchType::Strategic) => {
                duplicates.iter().map(|path| decode::duplicate_field(path)).collect()
            }
            (other, _) => return Err(bad(&mismatch(other, patch_type))),
        };
        let tree = match (tree, patch_type) {
            (Tree::Null, PatchType::Json) => Tree::Array(Vec::new()),
            (Tree::Null, _) => Tree::Object(serde_json::Map::new()),
            (tree, _) => tree,
        };
        Ok(Self { patch_type, tree, strict })
    }

    /// The patched object, decoded and defaulted as a body would be.
    pub(super) fn apply(
        &self,
        context: &Context,
        expected: Expected<'_>,
        old: &Tree,
        validation: FieldValidation,
    ) -> ApiResult<Tree> {
        let patched = match self.patch_type {
            PatchType::Json => patch::json(old, &self.tree),
            PatchType::Merge => patch::merge(old, &self.tree),
            _ => patch::strategic(expected.schema, old, &self.tree),
        };
        let mut wanted = patched.map_err(patch_error)?;
        // Conforming changes the tree, and an error shows it as it was; only what is no strategic patch shows the object.
        let raw = (self.patch_type != PatchType::Strategic).then(|| wanted.clone());
        let shown = || match &raw {
            None => patch::go_text(&self.tree),
            Some(raw) => raw.to_string(),
        };
        context.empties.note(expected.schema, &wanted);
        let unknown = self.conform(expected, &mut wanted).map_err(|why| invalid(&shown(), &why))?;
        schema::default::apply(expected.schema, &mut wanted);
        let complaints: Vec<String> = self
            .strict
            .iter()
            .cloned()
            .chain(unknown.iter().map(|path| decode::unknown_field(path)))
            .collect();
        match validation {
            FieldValidation::Strict if !complaints.is_empty() => {
                return Err(invalid(&shown(), &format!("strict decoding error: {}", complaints.join(", "))));
            }
            FieldValidation::Warn => complaints.into_iter().for_each(|text| context.warnings.add(text)),
            _ => {}
        }
        Ok(wanted)
    }

    fn conform(&self, expected: Expected<'_>, wanted: &mut Tree) -> Result<Vec<String>, String> {
        if self.patch_type == PatchType::Strategic {
            return patch::restore(expected.schema, wanted);
        }
        let (version, kind) = decode::type_meta(wanted).map_err(|error| error.to_string())?;
        if !kind.is_empty() && (kind != expected.kind || version != expected.api_version()) {
            let (_, short) = version.split_once('/').unwrap_or(("", version));
            return Err(format!("unable to decode {short}, Kind={kind} into {}", expected.kind));
        }
        decode::conform(expected.schema, wanted).map_err(|error| error.to_string())
    }
}

/// How Go's errors call a value.
pub(super) fn json_type(tree: &Tree) -> &'static str {
    match tree {
        Tree::Array(_) => "array",
        Tree::Object(_) => "object",
        Tree::String(_) => "string",
        Tree::Bool(_) => "bool",
        _ => "number",
    }
}

fn mismatch(tree: &Tree, patch_type: PatchType) -> String {
    let have = json_type(tree);
    let wanted =
        if patch_type == PatchType::Json { "[]handlers.jsonPatchOp" } else { "map[string]interface {}" };
    format!("json: cannot unmarshal {have} into Go value of type {wanted}")
}

/// A patch whose outcome is no object of the kind: 422 about the patch itself.
fn invalid(shown: &str, why: &str) -> ApiError {
    let message = format!("Invalid value: {}: {why}", kinds::field::quote(shown));
    let cause = Cause { reason: "FieldValueInvalid".into(), message, field: "patch".into() };
    ApiError::Invalid {
        group: String::new(),
        kind: String::new(),
        name: String::new(),
        causes: vec![cause],
        joined: None,
    }
}

fn patch_error(error: PatchError) -> ApiError {
    match error {
        PatchError::Malformed(text) => ApiError::BadRequest(text),
        PatchError::Broken(text) => ApiError::Plain(text),
        refused => ApiError::Unprocessable(refused.to_string()),
    }
}
