//! PATCH with an apply configuration: the object is made to have what the
//! configuration states, or created with it. Decides when an apply creates and
//! what its failures mean to a client; merging and ownership are the schema's.

use super::body::Expected;
use super::update::{self, Wanted};
use super::{Written, create, managed, owners, patch};
use crate::catalog::{self, Kind};
use crate::clock;
use crate::context::Context;
use crate::options::{FieldValidation, WriteOptions};
use crate::registry::propose::ATTEMPTS_MAX;
use crate::status::{ApiError, ApiResult, Cause};
use kinds::{Subresource, tree};
use schema::fields::Set;
use schema::fields::apply::{self, Applied, Apply, ApplyError};
use schema::{Schema, Tree, decode};

/// What errors about two meanings of one key begin with.
const YAML: &str = "error converting YAML to JSON: ";

/// Applies the body to the object the path names.
pub(super) async fn apply(
    context: &Context,
    kind: &'static Kind,
    sub: Subresource,
    options: &WriteOptions,
    bytes: &[u8],
) -> ApiResult<Written> {
    let config = Config::read(bytes)?;
    let creates = sub == Subresource::None || kind.strategy.create_on_update();
    for _ in 0..ATTEMPTS_MAX {
        let outcome = update::apply(context, kind, sub, options, |old| {
            let mut tree = config.applied(context, kind, sub, options, old)?;
            create::check_namespace(context, kind, &mut tree)?;
            update::check_name(context, &tree)?;
            owners::deduplicate(context, &mut tree);
            Ok(Wanted { booked: true, ..patch::mark(tree, old) })
        })
        .await;
        match outcome {
            Err(ApiError::NotFound { name, resource })
                if name == context.info.path_name && resource == kind.group_resource => {}
            outcome => return outcome,
        }
        let tree = config.created(context, kind, sub, options)?;
        if !creates {
            return Err(ApiError::not_found(&kind.group_resource, &context.info.path_name));
        }
        update::check_may_create(context, kind, sub.as_str())?;
        let make = super::used_up(tree, || config.created(context, kind, sub, options));
        match create::create_booked(context, kind, make, options).await {
            // Someone else was faster: then there is something to apply to.
            Err(ApiError::AlreadyExists { .. }) => {}
            outcome => return outcome,
        }
    }
    Err(ApiError::conflict(&kind.group_resource, &context.info.path_name, update::MODIFIED))
}

/// A configuration, read once and applied as often as the object changes meanwhile.
pub(super) struct Config {
    tree: Tree,
    /// Complaint about keys that stand twice.
    duplicates: Option<String>,
}

impl Config {
    /// Reads a body.
    pub(super) fn read(bytes: &[u8]) -> ApiResult<Self> {
        let bad = |why: String| ApiError::BadRequest(format!("error decoding YAML: {why}"));
        let (tree, duplicates) = decode::yaml(bytes).map_err(|error| bad(format!("{YAML}{error}")))?;
        let tree = match tree {
            Tree::Object(_) => tree,
            Tree::Null => Tree::Object(serde_json::Map::new()),
            other => {
                let have = patch::json_type(&other);
                return Err(bad(format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {have} into Go value of type map[string]interface {{}}"
                )));
            }
        };
        Ok(Self { tree, duplicates: duplicates.into_iter().next() })
    }

    /// What applying to a stored object gives, with its defaults.
    fn applied(
        &self,
        context: &Context,
        kind: &Kind,
        sub: Subresource,
        options: &WriteOptions,
        old: &Tree,
    ) -> ApiResult<Tree> {
        let target = Target {
            expected: Expected::of(kind),
            sub,
            reset: managed::reset_fields(kind, sub),
            convert: &|object, from, to| in_version(kind, object, from, to),
        };
        let applied = self.run(context, &target, options, old)?;
        let mut tree = applied.object;
        if applied.changed {
            schema::default::apply(kind.schema, &mut tree);
            kind.strategy.default(&mut tree);
        }
        Ok(tree)
    }

    /// What applying to nothing gives.
    fn created(
        &self,
        context: &Context,
        kind: &Kind,
        sub: Subresource,
        options: &WriteOptions,
    ) -> ApiResult<Tree> {
        let mut tree = self.applied(context, kind, sub, options, &decode::zero(kind.schema))?;
        let uid = tree::str_at(&tree, "metadata.uid");
        if !uid.is_empty() {
            let text = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(ApiError::conflict(&kind.group_resource, &context.info.path_name, text));
        }
        create::check_namespace(context, kind, &mut tree)?;
        update::check_name(context, &tree)?;
        tree::remove(&mut tree, "metadata.resourceVersion");
        owners::deduplicate(context, &mut tree);
        Ok(tree)
    }

    /// What applying to a scale gives.
    pub(super) fn on_scale(
        &self,
        context: &Context,
        expected: Expected<'_>,
        options: &WriteOptions,
        old: &Tree,
    ) -> ApiResult<Tree> {
        let (sub, reset) = (Subresource::Scale, Set::default());
        let target = Target { expected, sub, reset, convert: &|_, _, _| None };
        let applied = self.run(context, &target, options, old)?;
        Ok(applied.object)
    }

    fn run(
        &self,
        context: &Context,
        target: &Target<'_>,
        options: &WriteOptions,
        old: &Tree,
    ) -> ApiResult<Applied> {
        let Target { expected, sub, reset, convert } = target;
        let request = Apply {
            manager: &options.field_manager,
            force: context.query.flag("force"),
            group: expected.group,
            version: expected.version,
            kind: expected.kind,
            subresource: sub.as_str(),
            time: &clock::seconds(context.now),
            reset,
            convert,
        };
        let applied = apply::apply(expected.schema, old, &self.tree, &request).map_err(refused)?;
        self.report(context, options.validation)?;
        Ok(applied)
    }

    /// Says what strict reading has to say about the body.
    fn report(&self, context: &Context, validation: FieldValidation) -> ApiResult<()> {
        let Some(text) = &self.duplicates else { return Ok(()) };
        match validation {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => {
                let lines = text.strip_prefix("yaml: unmarshal errors:\n").unwrap_or(text).lines();
                lines.for_each(|line| context.warnings.add(line.trim()));
            }
            FieldValidation::Strict => {
                return Err(ApiError::BadRequest(format!("error strict decoding YAML: {YAML}{text}")));
            }
        }
        Ok(())
    }
}

/// What a configuration is applied to.
struct Target<'a> {
    expected: Expected<'a>,
    sub: Subresource,
    reset: Set,
    convert: apply::Convert<'a>,
}

/// An object in another version that shares its storage.
fn in_version(kind: &Kind, object: &Tree, from: &str, to: &str) -> Option<(&'static Schema, Tree)> {
    let find = |version: &str| -> Option<&'static Kind> {
        catalog::all().iter().find(|other| other.stored_as == kind.stored_as && other.api_version == version)
    };
    let (from, to) = (find(from)?, find(to)?);
    Some((to.schema, from.in_version(to, object)))
}

fn refused(error: ApplyError) -> ApiError {
    match error {
        ApplyError::Unfit(text) => ApiError::BadRequest(text),
        ApplyError::Malformed(text) => ApiError::Plain(text),
        ApplyError::Conflicts(conflicts) => ApiError::ApplyConflict {
            text: apply::message(&conflicts),
            causes: conflicts
                .iter()
                .map(|conflict| Cause {
                    reason: "FieldManagerConflict".into(),
                    message: conflict.message(),
                    field: conflict.field(),
                })
                .collect(),
        },
    }
}
