//! Content negotiation: which representation a client gets, and in which form
//! its body came. Pure over header texts; it never encodes anything.

use crate::status::{ApiError, ApiResult};

/// Serialization of an answer or a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// The form of object asked for with `as=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// The object itself.
    Full,
    /// A Table; true for `v1beta1`.
    Table(bool),
    /// PartialObjectMetadata; true for `v1beta1`.
    Partial(bool),
    /// PartialObjectMetadataList; true for `v1beta1`.
    PartialList(bool),
}

/// What an answer will look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Accepted {
    /// Serialization.
    pub format: Format,
    /// Form.
    pub shape: Shape,
    /// Indented JSON.
    pub pretty: bool,
}

/// JSON as it is: what errors fall back to.
pub const PLAIN: Accepted = Accepted { format: Format::Json, shape: Shape::Full, pretty: false };

/// Media types of objects, in the order errors list them.
pub const OBJECT_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// Media types of watches, in the order errors list them.
pub const STREAM_TYPES: &str =
    "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// What the endpoint can do.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Whether `as=Table` is possible.
    pub table: bool,
    /// Whether `as=PartialObjectMetadata` is possible.
    pub partial: bool,
    /// Whether `as=PartialObjectMetadataList` is possible.
    pub partial_list: bool,
    /// Whether this very request is a watch.
    pub watch: bool,
}

impl Offer {
    /// What a failure can be shown as.
    pub const STATUS: Self = Self { table: false, partial: false, partial_list: false, watch: false };
}

impl Format {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    fn from_media_type(text: &str) -> Option<Self> {
        let known = [Self::Json, Self::Protobuf, Self::Yaml];
        known.into_iter().find(|format| format.media_type().eq_ignore_ascii_case(text))
    }
}

/// The first check of an `Accept` header, which ignores parameters: upstream's
/// router refuses with its own text what matches no produced type literally.
pub fn route_accepts(accept: &str, listable: bool) -> ApiResult<()> {
    if accept.is_empty() {
        return Ok(());
    }
    let known = |clause: &str| {
        let media = clause.split(';').next().unwrap_or_default().trim();
        media == "*/*" || Format::from_media_type(media).is_some_and(|format| format.media_type() == media)
    };
    if accept.split(',').any(known) {
        return Ok(());
    }
    let types = if listable { format!("{OBJECT_TYPES}, {STREAM_TYPES}") } else { OBJECT_TYPES.to_owned() };
    Err(ApiError::NoRepresentation(types))
}

struct Clause<'a> {
    media: &'a str,
    quality: f32,
    parameters: Vec<(&'a str, &'a str)>,
}

/// Clauses of an `Accept` header in the order they are tried: by quality, then by how specific they are.
fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut list: Vec<Clause<'_>> = accept
        .split(',')
        .filter_map(|text| {
            let mut parts = text.split(';').map(str::trim);
            let media = parts.next().filter(|media| !media.is_empty())?;
            let parameters: Vec<(&str, &str)> = parts
                .filter_map(|part| part.split_once('='))
                .map(|(k, v)| (k.trim(), v.trim().trim_matches('"')))
                .collect();
            let quality =
                parameters.iter().find(|(k, _)| *k == "q").and_then(|(_, v)| v.parse().ok()).unwrap_or(1.0);
            Some(Clause { media, quality, parameters })
        })
        .collect();
    let specific = |clause: &Clause<'_>| match clause.media {
        "*/*" => 0,
        media if media.ends_with("/*") => 1,
        _ => 2,
    };
    list.sort_by(|a, b| b.quality.total_cmp(&a.quality).then_with(|| specific(b).cmp(&specific(a))));
    list
}

/// The media ranges of an `Accept` header in the order they are tried, for answers that are no objects.
pub fn ranges(accept: &str) -> Vec<&str> {
    clauses(accept).into_iter().map(|clause| clause.media).collect()
}

/// Chooses the representation of an answer.
pub fn negotiate(accept: &str, offer: Offer) -> ApiResult<Accepted> {
    if accept.trim().is_empty() {
        return Ok(PLAIN);
    }
    clauses(accept).iter().find_map(|clause| accept_clause(clause, offer)).ok_or_else(|| {
        let types = if offer.watch { STREAM_TYPES } else { OBJECT_TYPES };
        ApiError::NotAcceptable(types.to_owned())
    })
}

fn accept_clause(clause: &Clause<'_>, offer: Offer) -> Option<Accepted> {
    let format = match clause.media {
        "*/*" | "application/*" => Format::Json,
        media => Format::from_media_type(media)?,
    };
    let parameter =
        |name: &str| clause.parameters.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| *value);
    if offer.watch && format == Format::Yaml {
        return None;
    }
    let shape = shape_of(parameter("as"), parameter("g"), parameter("v"), offer)?;
    if matches!(shape, Shape::Table(_)) && format == Format::Protobuf {
        return None;
    }
    Some(Accepted { format, shape, pretty: parameter("pretty") == "1" })
}

fn shape_of(kind: &str, group: &str, version: &str, offer: Offer) -> Option<Shape> {
    if kind.is_empty() {
        return Some(Shape::Full);
    }
    let beta = match version {
        "v1" => false,
        "v1beta1" => true,
        _ => return None,
    };
    match (kind, group) {
        ("Table", "meta.k8s.io") if offer.table => Some(Shape::Table(beta)),
        ("PartialObjectMetadata", "meta.k8s.io") if offer.partial => Some(Shape::Partial(beta)),
        ("PartialObjectMetadataList", "meta.k8s.io") if offer.partial_list => Some(Shape::PartialList(beta)),
        _ => None,
    }
}

/// The form of a request body from its `Content-Type`; absent means JSON.
pub fn body_format(content_type: &str) -> ApiResult<Format> {
    if content_type.is_empty() {
        return Ok(Format::Json);
    }
    let media = content_type.split(';').next().unwrap_or_default().trim();
    Format::from_media_type(media).ok_or_else(|| ApiError::UnsupportedMediaType(OBJECT_TYPES.to_owned()))
}

/// How a PATCH body is to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Strategic merge.
    Strategic,
    /// Server-side apply.
    Apply,
}

/// The patch type of a `Content-Type`.
pub fn patch_type(content_type: &str) -> ApiResult<PatchType> {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(PatchType::Json),
        "application/merge-patch+json" => Ok(PatchType::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchType::Strategic),
        "application/apply-patch+yaml" => Ok(PatchType::Apply),
        _ => Err(ApiError::UnsupportedPatchType),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offer = Offer { table: true, partial: true, partial_list: true, watch: false };

    fn check(accept: &str, expect: &str) {
        let got = match negotiate(accept, ALL) {
            Ok(accepted) => format!("{:?} {:?}", accepted.format, accepted.shape),
            Err(error) => error.code().to_string(),
        };
        assert_eq!(got, expect, "{accept}");
    }

    #[test]
    fn clauses_are_a_fallback_chain() {
        check("", "Json Full");
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "Json Table(false)");
        check("application/json;as=Foo;g=meta.k8s.io;v=v1,application/json", "Json Full");
        check("application/json;as=Table;g=meta.k8s.io;v=v9", "406");
        check("application/json;q=0.1,application/yaml", "Yaml Full");
        check("application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1", "406");
        check("text/html,application/json;q=0.5", "Json Full");
    }
}
