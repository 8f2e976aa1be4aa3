//! Request bodies: read within the limit, decoded, checked against the kind,
//! defaulted. Decides what is wrong with a body before anything looks at the
//! object.

use crate::catalog::{self, Kind};
use crate::context::Context;
use crate::negotiate::{self, Format};
use crate::options::FieldValidation;
use crate::status::{ApiError, ApiResult};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use schema::{Schema, Tree, decode};
use serde_json::{Map, json};

/// Largest request body, as upstream.
const BYTES_MAX: usize = 3 * 1024 * 1024;

/// Bytes of a body that an error shows.
const SNIPPET: usize = 30;

/// Reads a body within the limit.
pub(crate) async fn read(body: Body) -> ApiResult<Bytes> {
    // Most requests have none.
    if http_body::Body::is_end_stream(&body) {
        return Ok(Bytes::new());
    }
    match Limited::new(body, BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::TooLarge(format!("Request entity too large: limit is {BYTES_MAX}")))
        }
        Err(error) => Err(ApiError::BadRequest(format!("unable to read the request body: {error}"))),
    }
}

/// What a body must be.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// Schema of the kind.
    pub(crate) schema: &'static Schema,
    /// Group of the kind.
    pub(crate) group: &'a str,
    /// Version of the kind.
    pub(crate) version: &'a str,
    /// Kind.
    pub(crate) kind: &'a str,
}

impl<'a> Expected<'a> {
    /// The kind of a resource.
    pub(crate) fn of(kind: &'a Kind) -> Self {
        Self {
            schema: kind.schema,
            group: &kind.resource.group,
            version: &kind.resource.version,
            kind: &kind.resource.kind,
        }
    }

    /// `v1` or `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// A decoded body.
pub(crate) struct Decoded {
    /// The object, complete with kind and apiVersion, with static defaults.
    pub(crate) tree: Tree,
}

/// Decodes a body as a resource's kind, with the kind's defaults.
pub(crate) fn decode(
    context: &Context,
    kind: &Kind,
    body: &[u8],
    validation: FieldValidation,
) -> ApiResult<Tree> {
    let mut decoded = decode_as(context, Expected::of(kind), body, validation)?;
    kind.strategy.default(&mut decoded.tree);
    Ok(decoded.tree)
}

/// Decodes a body as any kind.
pub(crate) fn decode_as(
    context: &Context,
    expected: Expected<'_>,
    body: &[u8],
    validation: FieldValidation,
) -> ApiResult<Decoded> {
    let format = negotiate::body_format(context.content_type())?;
    let (mut tree, duplicates) = match format {
        Format::Protobuf => (
            crate::protobuf::decode(expected.schema, body)
                .map_err(|why| unrecognized(expected.kind, &why, body))?,
            Vec::new(),
        ),
        _ => parse(expected, format, body)?,
    };
    check_identity(expected, &mut tree, body)?;
    let unhandled =
        |why: &dyn std::fmt::Display| unhandled(expected, expected.version, expected.kind, &why.to_string());
    context.empties.note(expected.schema, &tree);
    let strict = match decode::conform(expected.schema, &mut tree) {
        Ok(unknown) if duplicates.is_empty() && unknown.len() < 2 => {
            unknown.iter().map(|path| decode::unknown_field(path)).collect()
        }
        Ok(unknown) if format != Format::Json => {
            duplicates.into_iter().chain(unknown.iter().map(|path| decode::unknown_field(path))).collect()
        }
        // Several findings stand in the order of the text, which only another reading of it tells.
        Ok(_) => {
            decode::typed(expected.schema, decode::Syntax::Json, body)
                .map_err(|error| unhandled(&error))?
                .strict
        }
        Err(error) if format != Format::Json => return Err(unhandled(&error)),
        Err(error) => {
            let first = decode::typed(expected.schema, decode::Syntax::Json, body).err();
            return Err(first.map_or_else(|| unhandled(&error), |error| unhandled(&error)));
        }
    };
    report(context, expected, validation, &strict)?;
    schema::default::apply(expected.schema, &mut tree);
    Ok(Decoded { tree })
}

fn parse(expected: Expected<'_>, format: Format, body: &[u8]) -> ApiResult<(Tree, Vec<String>)> {
    match format {
        Format::Yaml => {
            decode::yaml(body).map_err(|error| unrecognized(expected.kind, &error.to_string(), body))
        }
        _ => decode::json(body).map_err(|error| {
            unrecognized(
                expected.kind,
                &format!("couldn't get version/kind; json parse error: {error}"),
                body,
            )
        }),
    }
}

/// Finds unknown and duplicate fields worth a word, or a refusal.
fn report(
    context: &Context,
    expected: Expected<'_>,
    validation: FieldValidation,
    strict: &[String],
) -> ApiResult<()> {
    match validation {
        _ if strict.is_empty() => Ok(()),
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            let lines = strict
                .iter()
                .flat_map(|text| text.strip_prefix("yaml: unmarshal errors:\n").unwrap_or(text).lines());
            lines.for_each(|line| context.warnings.add(line.trim_start()));
            Ok(())
        }
        FieldValidation::Strict => {
            let text = format!("strict decoding error: {}", strict.join(", "));
            Err(unhandled(expected, expected.version, expected.kind, &text))
        }
    }
}

/// Checks kind and apiVersion of the body against the URL's and fills in what is missing.
fn check_identity(expected: Expected<'_>, tree: &mut Tree, body: &[u8]) -> ApiResult<()> {
    if tree.is_null() {
        *tree = Tree::Object(Map::new());
    }
    let (version, kind) = decode::type_meta(tree)
        .map(|(version, kind)| (version.to_owned(), kind.to_owned()))
        .map_err(|why| {
            unrecognized(expected.kind, &format!("couldn't get version/kind; json parse error: {why}"), body)
        })?;
    check_version(expected, &version, &kind, body)?;
    tree["apiVersion"] = json!(expected.api_version());
    tree["kind"] = json!(expected.kind);
    Ok(())
}

fn check_version(expected: Expected<'_>, api_version: &str, kind: &str, body: &[u8]) -> ApiResult<()> {
    if api_version.matches('/').count() > 1 {
        return Err(unrecognized(
            expected.kind,
            &format!("unexpected GroupVersion string: {api_version}"),
            body,
        ));
    }
    let wanted = expected.api_version();
    let api_version = if api_version.is_empty() { wanted.as_str() } else { api_version };
    let kind = if kind.is_empty() { expected.kind } else { kind };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if api_version == wanted && kind == expected.kind {
        return Ok(());
    }
    let is_known = schema::kind(group, version, kind).is_some()
        || group == "extensions"
        || kind.ends_with("List")
        || kind == "List";
    if !is_known {
        let why = format!(
            "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        );
        return Err(unhandled(expected, version, kind, &why));
    }
    if kind != expected.kind {
        let internal = format!("{}.{}", catalog::go_package(expected.group), expected.kind);
        let why = format!("converting ({version}.{kind}) to ({internal}): unknown conversion");
        return Err(unhandled(expected, version, kind, &why));
    }
    Err(ApiError::BadRequest(format!(
        "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
    )))
}

fn unhandled(expected: Expected<'_>, version: &str, kind: &str, why: &str) -> ApiError {
    ApiError::BadRequest(format!(
        "{kind} in version {version:?} cannot be handled as a {}: {why}",
        expected.kind
    ))
}

fn unrecognized(kind: &str, why: &str, body: &[u8]) -> ApiError {
    ApiError::BadRequest(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({})",
        snippet(body)
    ))
}

/// The beginning of a body: text when it looks like JSON, else hexadecimal.
fn snippet(body: &[u8]) -> String {
    use std::fmt::Write as _;
    let cut = &body[..body.len().min(SNIPPET)];
    let mut text = match body.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(cut).into_owned(),
        Some(_) => cut.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("strings take every write");
            text
        }),
    };
    if body.len() > SNIPPET {
        text.push_str(" ...");
    }
    text
}
