//! From path and method to what is to be done, or to 404 and 405. Pure over
//! the request info and the catalogue.

use crate::catalog::{Kind, Sub};
use crate::context::Context;
use crate::negotiate;
use crate::request_info::RequestInfo;
use crate::status::{ApiError, ApiResult};
use http::Method;
use kinds::Subresource;

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Get,
    List,
    Watch,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

/// A request on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// What is done.
    pub(crate) verb: Verb,
    /// To which part.
    pub(crate) sub: Subresource,
}

/// A stream through to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Exec,
    Attach,
    PortForward,
    Log,
    NodeProxy,
    PodProxy,
    ServiceProxy,
}

/// Who serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Resource(Target),
    Connect(Stream),
    Review,
}

/// Finds the route and makes the checks that come before any handler: path, method, patch type, `Accept`.
pub(crate) fn find(kind: &Kind, context: &Context) -> ApiResult<Route> {
    let route = route(kind, &context.info, &context.method, context.query.flag("watch"))?;
    if let Route::Resource(Target { verb: Verb::Patch, .. }) = route {
        negotiate::patch_type(context.content_type())?;
    }
    if !matches!(route, Route::Connect(_)) {
        let listable = matches!(route, Route::Resource(Target { verb: Verb::List | Verb::Watch, .. }));
        negotiate::route_accepts(context.accept(), listable)?;
    }
    Ok(route)
}

fn route(kind: &Kind, info: &RequestInfo, method: &Method, watch: bool) -> ApiResult<Route> {
    if kind.resource.namespaced != info.in_namespace {
        return across_namespaces(kind, info, method, watch);
    }
    let empty = |part: &String| part.is_empty();
    if info.rest.iter().any(empty) && info.subresource != "proxy" {
        return Err(ApiError::NoSuchResource);
    }
    if !info.subresource.is_empty() {
        let sub = kind.subresource(&info.subresource).ok_or(ApiError::NoSuchResource)?;
        return subresource(sub, info, method);
    }
    if !info.rest.is_empty() || (info.in_namespace && info.namespace.is_empty()) {
        return Err(ApiError::NoSuchResource);
    }
    if info.path_name.is_empty() { collection(kind, info, method, watch) } else { item(kind, info, method) }
}

/// A namespaced collection seen from the cluster: list and watch only.
fn across_namespaces(kind: &Kind, info: &RequestInfo, method: &Method, watch: bool) -> ApiResult<Route> {
    let listable = kind.resource.namespaced && kind.has_verb("list");
    if !listable || !info.path_name.is_empty() || !info.subresource.is_empty() {
        return Err(ApiError::NoSuchResource);
    }
    if *method == Method::GET {
        collection(kind, info, method, watch)
    } else {
        Err(ApiError::MethodNotAllowed)
    }
}

fn collection(kind: &Kind, info: &RequestInfo, method: &Method, watch: bool) -> ApiResult<Route> {
    let verb = match *method {
        Method::POST if kind.has_verb("create") && !info.watch_prefix => Verb::Create,
        Method::GET if kind.has_verb("list") => {
            if watch || info.watch_prefix {
                may(kind, "watch")?;
                Verb::Watch
            } else {
                Verb::List
            }
        }
        Method::DELETE if kind.has_verb("deletecollection") && !info.watch_prefix => Verb::DeleteCollection,
        _ => return Err(ApiError::MethodNotAllowed),
    };
    if kind.is_stored() {
        return Ok(Route::Resource(Target { verb, sub: Subresource::None }));
    }
    Ok(if kind.resource.plural == "bindings" {
        Route::Resource(Target { verb, sub: Subresource::Binding })
    } else {
        Route::Review
    })
}

fn item(kind: &Kind, info: &RequestInfo, method: &Method) -> ApiResult<Route> {
    if !kind.is_stored() {
        return Err(ApiError::NoSuchResource);
    }
    let (verb, word) = match *method {
        Method::GET if info.watch_prefix => (Verb::Watch, "watch"),
        _ if info.watch_prefix => return Err(ApiError::MethodNotAllowed),
        Method::GET => (Verb::Get, "get"),
        Method::PUT => (Verb::Update, "update"),
        Method::PATCH => (Verb::Patch, "patch"),
        Method::DELETE => (Verb::Delete, "delete"),
        _ => return Err(ApiError::MethodNotAllowed),
    };
    may(kind, word)?;
    Ok(Route::Resource(Target { verb, sub: Subresource::None }))
}

fn may(kind: &Kind, word: &str) -> ApiResult<()> {
    if kind.has_verb(word) { Ok(()) } else { Err(ApiError::MethodNotAllowed) }
}

fn subresource(sub: &Sub, info: &RequestInfo, method: &Method) -> ApiResult<Route> {
    let word = match *method {
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    };
    if !info.rest.is_empty() && sub.name != "proxy" {
        return Err(ApiError::NoSuchResource);
    }
    if !sub.verbs.contains(&word) {
        return Err(ApiError::MethodNotAllowed);
    }
    let stream = match (sub.plural, sub.name) {
        (_, "exec") => Some(Stream::Exec),
        (_, "attach") => Some(Stream::Attach),
        (_, "portforward") => Some(Stream::PortForward),
        (_, "log") => Some(Stream::Log),
        ("nodes", "proxy") => Some(Stream::NodeProxy),
        ("pods", "proxy") => Some(Stream::PodProxy),
        ("services", "proxy") => Some(Stream::ServiceProxy),
        _ => None,
    };
    if let Some(stream) = stream {
        return Ok(Route::Connect(stream));
    }
    let part = Subresource::parse(sub.name).ok_or(ApiError::NoSuchResource)?;
    let verb = match word {
        "get" => Verb::Get,
        "create" => Verb::Create,
        "update" => Verb::Update,
        _ => Verb::Patch,
    };
    Ok(Route::Resource(Target { verb, sub: part }))
}
