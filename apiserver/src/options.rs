//! The options of each verb, read from the query (or a DELETE's body) and
//! checked with upstream's texts. Decides nothing about objects.

use crate::negotiate::{Format, PatchType};
use crate::query::{Query, parse_int};
use crate::status::{ApiError, ApiResult};
use kinds::deletion::{self, Propagation};
use kinds::field::{self, BadValue, Path};
use schema::Tree;
use schema::selectors::{SelectorError, fields, labels};
use serde_json::json;

/// What to do about unknown and duplicate fields of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    /// Say nothing.
    Ignore,
    /// A warning each.
    Warn,
    /// Refuse.
    Strict,
}

/// Options of create, update and patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// Do everything but store.
    pub dry_run: bool,
    /// Who is recorded in managedFields; empty takes the user agent.
    pub field_manager: String,
    /// Treatment of unknown fields.
    pub validation: FieldValidation,
}

/// Kind of the options, for their errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteVerb {
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH of a type.
    Patch(PatchType),
}

/// Longest name in managedFields.
const FIELD_MANAGER_MAX: usize = 128;

impl WriteOptions {
    /// Reads and checks the options of a write.
    pub fn parse(query: &Query, verb: WriteVerb) -> ApiResult<Self> {
        let mut errors = Vec::new();
        let kind = match verb {
            WriteVerb::Create => "CreateOptions",
            WriteVerb::Update => "UpdateOptions",
            WriteVerb::Patch(PatchType::Apply) => {
                if query.text("fieldManager").is_empty() {
                    errors.push(field::required(&Path::new("fieldManager"), "is required for apply patch"));
                }
                "PatchOptions"
            }
            WriteVerb::Patch(_) => {
                if query.first("force").is_some() {
                    errors.push(field::forbidden(
                        &Path::new("force"),
                        "may not be specified for non-apply patch",
                    ));
                }
                "PatchOptions"
            }
        };
        let field_manager = query.text("fieldManager").to_owned();
        check_manager(&field_manager, &mut errors);
        let dry: Vec<&str> = query.all("dryRun").collect();
        check_dry_run(&dry, &mut errors);
        let validation = match query.text("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                errors.push(field::not_supported(
                    &Path::new("fieldValidation"),
                    other,
                    &["", "Ignore", "Strict", "Warn"],
                ));
                FieldValidation::Warn
            }
        };
        if errors.is_empty() {
            Ok(Self { dry_run: !dry.is_empty(), field_manager, validation })
        } else {
            Err(ApiError::invalid("meta.k8s.io", kind, "", &errors))
        }
    }
}

fn check_manager(manager: &str, errors: &mut Vec<field::Error>) {
    let path = Path::new("fieldManager");
    if manager.len() > FIELD_MANAGER_MAX {
        errors.push(field::too_long(&path, FIELD_MANAGER_MAX));
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| c.is_control()) {
        errors.push(field::invalid(
            &path,
            manager,
            format!("invalid character U+{:04X} (at position {at})", c as u32),
        ));
    }
}

fn check_dry_run(values: &[&str], errors: &mut Vec<field::Error>) {
    if values.iter().any(|value| *value != "All") {
        errors.push(field::not_supported(&Path::new("dryRun"), BadValue::Json(json!(values)), &["All"]));
    }
}

/// Options of delete and deletecollection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Do everything but store.
    pub dry_run: bool,
    /// Seconds asked for.
    pub grace: Option<i64>,
    /// Wanted uid.
    pub uid: Option<String>,
    /// Wanted resourceVersion.
    pub revision: Option<String>,
    /// Explicit policy.
    pub propagation: Option<Propagation>,
    /// Deprecated form of the policy.
    pub orphan_dependents: Option<bool>,
}

impl DeleteOptions {
    /// Reads options; a body, when there is one, makes the query void.
    pub fn parse(query: &Query, body: &[u8], format: impl FnOnce() -> ApiResult<Format>) -> ApiResult<Self> {
        if body.is_empty() {
            let policy = query.first("propagationPolicy").map(str::to_owned);
            let dry: Vec<String> = query.all("dryRun").map(str::to_owned).collect();
            let grace = query.integer("gracePeriodSeconds")?;
            return Self::check(
                policy,
                dry,
                Self { grace, orphan_dependents: query.optional_flag("orphanDependents"), ..Self::default() },
            );
        }
        let tree = decode_options(body, format()?)?;
        let text = |tree: &Tree, key: &str| tree.get(key).and_then(Tree::as_str).map(str::to_owned);
        let dry = tree
            .get("dryRun")
            .and_then(Tree::as_array)
            .into_iter()
            .flatten()
            .filter_map(Tree::as_str)
            .map(str::to_owned)
            .collect();
        let preconditions = tree.get("preconditions").cloned().unwrap_or_default();
        let options = Self {
            grace: tree.get("gracePeriodSeconds").and_then(Tree::as_i64),
            uid: text(&preconditions, "uid"),
            revision: text(&preconditions, "resourceVersion"),
            orphan_dependents: tree.get("orphanDependents").and_then(Tree::as_bool),
            ..Self::default()
        };
        Self::check(text(&tree, "propagationPolicy"), dry, options)
    }

    fn check(policy: Option<String>, dry: Vec<String>, mut options: Self) -> ApiResult<Self> {
        let mut errors = Vec::new();
        let path = Path::new("propagationPolicy");
        if let (Some(_), Some(policy)) = (options.orphan_dependents, &policy) {
            errors.push(field::invalid(
                &path,
                policy,
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        options.propagation = match policy.as_deref() {
            None => None,
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Background") => Some(Propagation::Background),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                errors.push(field::not_supported(
                    &path,
                    other,
                    &["Foreground", "Background", "Orphan", "nil"],
                ));
                None
            }
        };
        let dry: Vec<&str> = dry.iter().map(String::as_str).collect();
        check_dry_run(&dry, &mut errors);
        options.dry_run = !dry.is_empty();
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &errors))
        }
    }
}

impl DeleteOptions {
    /// The part of the options that decides what a deletion does.
    pub fn deletion(&self) -> deletion::Options {
        deletion::Options {
            grace_period_seconds: self.grace,
            propagation: self.propagation,
            orphan_dependents: self.orphan_dependents,
        }
    }
}

fn decode_options(body: &[u8], format: Format) -> ApiResult<Tree> {
    let schema = schema::definition("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
    let decoded = match format {
        Format::Json => {
            let read = schema::decode::json(body).map(|(tree, _)| tree);
            return read
                .map_err(|error| {
                    ApiError::BadRequest(format!("couldn't get version/kind; json parse error: {error}"))
                })
                .and_then(|tree| check_options(tree, schema));
        }
        Format::Yaml => schema::decode::yaml(body).map(|(tree, _)| tree),
        Format::Protobuf => match schema {
            Some(schema) => return crate::protobuf::decode(schema, body).map_err(ApiError::BadRequest),
            None => return Err(ApiError::UnsupportedMediaType(crate::negotiate::OBJECT_TYPES.to_owned())),
        },
    };
    decoded
        .map_err(|error| ApiError::BadRequest(error.to_string()))
        .and_then(|tree| check_options(tree, schema))
}

/// Checks that a body is DeleteOptions, of whatever group.
fn check_options(mut tree: Tree, schema: Option<&'static schema::Schema>) -> ApiResult<Tree> {
    let text = |key: &str| tree.get(key).and_then(Tree::as_str).unwrap_or_default().to_owned();
    let (kind, version) = (text("kind"), text("apiVersion"));
    if !kind.is_empty() && kind != "DeleteOptions" {
        let version = if version.is_empty() { "v1" } else { &version };
        return Err(ApiError::BadRequest(format!(
            "no kind {kind:?} is registered for version {version:?} in scheme \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\""
        )));
    }
    if let Some(schema) = schema {
        schema::decode::conform(schema, &mut tree)
            .map_err(|error| ApiError::BadRequest(error.to_string()))?;
    }
    Ok(tree)
}

/// How a list's resourceVersion is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Exactly this revision.
    Exact,
    /// This revision or a newer one.
    NotOlderThan,
}

/// Options of list, watch and deletecollection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListOptions {
    /// Label selector.
    pub labels: labels::Selector,
    /// Field selector.
    pub fields: fields::Selector,
    /// Raw resourceVersion, empty when unset.
    pub revision: String,
    /// Meaning of the resourceVersion.
    pub matching: Option<Match>,
    /// Page size; 0 for all.
    pub limit: i64,
    /// Continue token, empty when unset.
    pub resume: String,
    /// Seconds after which a watch ends.
    pub timeout_seconds: Option<i64>,
    /// Whether bookmarks are welcome.
    pub bookmarks: bool,
    /// Whether a watch starts with the state.
    pub initial_events: Option<bool>,
}

impl ListOptions {
    /// Reads and checks the options of a list (or of a watch).
    pub fn parse(query: &Query, watch: bool) -> ApiResult<Self> {
        let refused = |SelectorError(text)| ApiError::BadRequest(text);
        let labels = labels::Selector::parse(query.text("labelSelector")).map_err(refused)?;
        let fields = fields::Selector::parse(query.text("fieldSelector")).map_err(refused)?;
        let integer = |key: &str| query.first(key).map(parse_int).transpose().map_err(ApiError::BadRequest);
        let limit = integer("limit")?.unwrap_or(0).max(0);
        let timeout_seconds = integer("timeoutSeconds")?;
        let mut initial_events = query.optional_flag("sendInitialEvents");
        let (revision, resume) =
            (query.text("resourceVersion").to_owned(), query.text("continue").to_owned());
        let mut raw = query.text("resourceVersionMatch");
        if watch && initial_events.is_none() && raw.is_empty() && matches!(revision.as_str(), "" | "0") {
            // A watch without a position has always meant the state first.
            (initial_events, raw) = (Some(true), "NotOlderThan");
        }
        let errors = if watch {
            watch_errors(raw, initial_events, &resume)
        } else {
            list_errors(raw, &revision, &resume, initial_events)
        };
        if !errors.is_empty() {
            return Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &errors));
        }
        let matching = match raw {
            "Exact" => Some(Match::Exact),
            "NotOlderThan" => Some(Match::NotOlderThan),
            _ => None,
        };
        let bookmarks = query.flag("allowWatchBookmarks");
        Ok(Self {
            labels,
            fields,
            revision,
            matching,
            limit,
            resume,
            timeout_seconds,
            bookmarks,
            initial_events,
        })
    }
}

fn list_errors(
    matching: &str,
    revision: &str,
    resume: &str,
    initial_events: Option<bool>,
) -> Vec<field::Error> {
    let path = Path::new("resourceVersionMatch");
    let mut errors = Vec::new();
    if !matching.is_empty() {
        if revision.is_empty() {
            errors.push(field::forbidden(
                &path,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !resume.is_empty() {
            errors
                .push(field::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            errors.push(field::not_supported(&path, matching, &["Exact", "NotOlderThan", ""]));
        }
        if matching == "Exact" && revision == "0" {
            errors.push(field::forbidden(
                &path,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
    }
    if initial_events.is_some() {
        errors.push(field::forbidden(
            &Path::new("sendInitialEvents"),
            "sendInitialEvents is forbidden for list",
        ));
    }
    errors
}

fn watch_errors(matching: &str, initial_events: Option<bool>, resume: &str) -> Vec<field::Error> {
    let path = Path::new("resourceVersionMatch");
    let mut errors = Vec::new();
    if initial_events.is_some() && matching != "NotOlderThan" {
        errors.push(field::forbidden(
            &path,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    if !matching.is_empty() {
        if initial_events.is_none() {
            errors.push(field::forbidden(
                &path,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if matching != "NotOlderThan" {
            errors.push(field::not_supported(&path, matching, &["NotOlderThan"]));
        }
        if !resume.is_empty() {
            errors
                .push(field::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
        }
    }
    errors
}
