//! What a request is about, read from its method, path and query alone. Pure:
//! it decides verb, group, version, namespace, resource, name and subresource;
//! it never knows which resources exist.

use crate::query::Query;

/// A request's target in the terms of authorization and dispatch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether the path names a resource (below `/api/VERSION` or `/apis/GROUP/VERSION`).
    pub is_resource: bool,
    /// Decoded path.
    pub path: String,
    /// Kubernetes verb for resources (`get`, `list`, `watch`, ...), else the HTTP method in lower case.
    pub verb: String,
    /// `api` or `apis`.
    pub prefix: String,
    /// API group, empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace, empty for cluster scope. For a Namespace object itself: its own name.
    pub namespace: String,
    /// Whether the path has the `namespaces/NS/` form.
    pub in_namespace: bool,
    /// Plural resource.
    pub resource: String,
    /// Subresource, empty for none.
    pub subresource: String,
    /// Object name, empty for collections (or taken from a `metadata.name` field selector).
    pub name: String,
    /// Name from the path only.
    pub path_name: String,
    /// What follows the subresource (proxy paths).
    pub rest: Vec<String>,
    /// Whether the deprecated `/watch/` prefix was used.
    pub watch_prefix: bool,
}

/// Words after `namespaces/NAME/` that are subresources of the namespace itself.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

/// Reads a request. `path` is already percent-decoded.
pub fn parse(method: &str, path: &str, query: &Query) -> RequestInfo {
    let mut info =
        RequestInfo { path: path.to_owned(), verb: method.to_ascii_lowercase(), ..RequestInfo::default() };
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let rest = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => {
            info.version = (*version).to_owned();
            rest
        }
        ["apis", group, version, rest @ ..] if !rest.is_empty() => {
            info.group = (*group).to_owned();
            info.version = (*version).to_owned();
            rest
        }
        _ => return info,
    };
    info.prefix = parts[0].to_owned();
    info.is_resource = true;
    info.verb = verb_of(method).to_owned();
    let rest = strip_watch(rest, &mut info);
    read_target(rest, &mut info);
    adjust_verb(method, query, &mut info);
    info
}

fn verb_of(method: &str) -> &'static str {
    match method {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

fn strip_watch<'a>(rest: &'a [&'a str], info: &mut RequestInfo) -> &'a [&'a str] {
    if rest[0] == "watch" && rest.len() > 1 {
        info.watch_prefix = true;
        info.verb = "watch".to_owned();
        return &rest[1..];
    }
    rest
}

fn read_target(rest: &[&str], info: &mut RequestInfo) {
    let target = match rest {
        ["namespaces", namespace, tail @ ..] => {
            info.namespace = (*namespace).to_owned();
            match tail {
                [] => rest,
                [word, ..] if NAMESPACE_SUBRESOURCES.contains(word) => rest,
                _ => {
                    info.in_namespace = true;
                    tail
                }
            }
        }
        _ => rest,
    };
    info.resource = target.first().copied().unwrap_or_default().to_owned();
    info.name = target.get(1).copied().unwrap_or_default().to_owned();
    info.path_name = info.name.clone();
    info.subresource = target.get(2).copied().unwrap_or_default().to_owned();
    info.rest = target.iter().skip(3).map(|part| (*part).to_owned()).collect();
}

fn adjust_verb(method: &str, query: &Query, info: &mut RequestInfo) {
    let collection = info.name.is_empty();
    if collection && matches!(info.verb.as_str(), "get") {
        info.verb = if query.flag("watch") { "watch" } else { "list" }.to_owned();
    }
    if collection && method == "DELETE" {
        info.verb = "deletecollection".to_owned();
    }
    if collection
        && matches!(info.verb.as_str(), "list" | "watch" | "deletecollection")
        && let Some(name) = name_in_selector(query.first("fieldSelector").unwrap_or_default())
    {
        info.name = name;
    }
}

/// The name an exact `metadata.name=X` field selector asks for.
fn name_in_selector(selector: &str) -> Option<String> {
    let fields = schema::selectors::fields::Selector::parse(selector).ok()?;
    fields.required("metadata.name").filter(|name| !name.is_empty()).map(str::to_owned)
}

impl RequestInfo {
    /// Whether this request may outlive the ordinary deadline.
    pub fn is_long_running(&self) -> bool {
        matches!(self.verb.as_str(), "watch" | "proxy")
            || matches!(self.subresource.as_str(), "attach" | "exec" | "proxy" | "log" | "portforward")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `METHOD PATH [?QUERY] | verb group/version ns resource/sub name`
    fn check(input: &str, expect: &str) {
        let (method, target) = input.split_once(' ').expect("method and path");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let info = parse(method, path, &Query::parse(query));
        let got = if info.is_resource {
            let join = |left: &str, right: &str| {
                [left, right].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/")
            };
            let (version, resource) =
                (join(&info.group, &info.version), join(&info.resource, &info.subresource));
            format!("{} {version} ns={} {resource} {}", info.verb, info.namespace, info.name)
        } else {
            format!("path {} {}", info.verb, info.path)
        };
        assert_eq!(got.trim_end(), expect, "{input}");
    }

    #[test]
    fn paths_are_read_as_upstream_does() {
        check("GET /api/v1/namespaces/a/pods/p/log", "get v1 ns=a pods/log p");
        check("GET /api/v1/pods", "list v1 ns= pods");
        check("GET /api/v1/pods?watch", "watch v1 ns= pods");
        check("GET /api/v1/pods?watch=maybe", "watch v1 ns= pods");
        check("GET /api/v1/watch/namespaces/a/pods/p", "watch v1 ns=a pods p");
        check("GET /api/v1/namespaces/a", "get v1 ns=a namespaces a");
        check("PUT /api/v1/namespaces/a/finalize", "update v1 ns=a namespaces/finalize a");
        check("DELETE /apis/apps/v1/namespaces/a/deployments", "deletecollection apps/v1 ns=a deployments");
        check("GET /api/v1/pods?fieldSelector=metadata.name%3Dx", "list v1 ns= pods x");
        check("GET /apis/apps/v1", "path get /apis/apps/v1");
        check("POST /healthz", "path post /healthz");
    }
}
