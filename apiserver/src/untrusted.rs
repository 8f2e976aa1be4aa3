//! The readers of what a client says beside its objects, each by itself: text in, a plain outcome out.
//!
//! The chain calls the same readers. They stand here for those who feed them lies: none may panic, and each refusal is one
//! that the client can be told. Objects and patches are read by the schema engine, which is open to everyone.

use crate::negotiate::{self, Offer};
use crate::options::{DeleteOptions, ListOptions, WriteOptions, WriteVerb};
use crate::query::Query;
use crate::registry::Token;
use crate::status::ApiError;
use crate::{request_info, yaml};
use schema::Tree;

/// The pairs of a query string.
pub fn query(raw: &str) -> Vec<(String, String)> {
    Query::parse(raw).pairs().to_vec()
}

/// What a request line asks for: verb, group, version, namespace, resource, name, subresource.
pub fn request(method: &str, path: &str, raw_query: &str) -> [String; 7] {
    let info = request_info::parse(method, path, &Query::parse(raw_query));
    [info.verb, info.group, info.version, info.namespace, info.resource, info.name, info.subresource]
}

/// Reads the options of every verb from a query; each refusal as the Status it becomes.
pub fn options(raw_query: &str, body: &[u8], content_type: &str) -> Vec<Tree> {
    let query = Query::parse(raw_query);
    let format = || negotiate::body_format(content_type);
    let patch = negotiate::patch_type(content_type).map(WriteVerb::Patch);
    let writes = [Some(WriteVerb::Create), Some(WriteVerb::Update), patch.as_ref().ok().copied()];
    let mut refused: Vec<ApiError> = Vec::new();
    refused.extend(writes.into_iter().flatten().filter_map(|verb| WriteOptions::parse(&query, verb).err()));
    refused.extend([true, false].into_iter().filter_map(|watch| ListOptions::parse(&query, watch).err()));
    refused.extend(DeleteOptions::parse(&query, body, format).err());
    refused.extend(patch.err());
    refused.iter().map(ApiError::status).collect()
}

/// Chooses the form of a reply from an Accept header; `None` when nothing acceptable is there.
pub fn accepted(accept: &str) -> Option<&'static str> {
    let offer = Offer { table: true, partial: true, partial_list: true, watch: true };
    negotiate::route_accepts(accept, true).ok()?;
    negotiate::negotiate(accept, offer).ok().map(|accepted| accepted.format.media_type())
}

/// Where a continue token resumes: revision and key.
///
/// # Errors
/// The text for the client.
pub fn continue_token(text: &str) -> Result<(i64, String), String> {
    Token::decode(text).map(|token| (token.revision, token.start))
}

/// The token that resumes there.
pub fn continue_token_of(revision: i64, start: &str) -> String {
    Token { revision, start: start.to_owned(), passed: None }.encode()
}

/// A tree as a YAML document.
pub fn yaml_of(tree: &Tree) -> String {
    yaml::encode(tree)
}
