//! How many watches a write concerns, so that it can be charged for them. Counts only, one for each scope that is watched.

use crate::query::Query;
use crate::request_info::RequestInfo;
use schema::selectors::fields;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard};

/// The watches of one server.
#[derive(Clone, Default)]
pub(crate) struct Watches(Arc<Mutex<Counts>>);

/// By the hash of a scope: two that fall together make a write a little dearer.
type Counts = HashMap<u64, u32>;

/// A watch that is counted until this is dropped.
pub(crate) struct Watched {
    watches: Watches,
    scope: u64,
}

impl Watches {
    /// Counts a watch. One that asks for the pods of a node hears of few changes and is nobody's cost.
    pub(crate) fn begin(&self, info: &RequestInfo, query: &Query) -> Option<Watched> {
        if info.resource == "pods" && asks_for_a_node(query) {
            return None;
        }
        let scope = scope(info, &info.namespace, &info.name);
        *self.counts().entry(scope).or_default() += 1;
        Some(Watched { watches: self.clone(), scope })
    }

    /// Watches that hear of what this write does: of all objects, of the namespace's, of this one.
    pub(super) fn of(&self, info: &RequestInfo) -> u32 {
        let counts = self.counts();
        if counts.is_empty() {
            return 0;
        }
        let count =
            |namespace: &str, name: &str| counts.get(&scope(info, namespace, name)).map_or(0, |count| *count);
        let mut sum = count("", "");
        if !info.namespace.is_empty() {
            sum += count(&info.namespace, "");
        }
        if !info.name.is_empty() {
            sum += count(&info.namespace, &info.name);
        }
        sum
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().expect("no panic while the lock is held")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut counts = self.watches.counts();
        if let Some(count) = counts.get_mut(&self.scope) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.scope);
            }
        }
    }
}

fn scope(info: &RequestInfo, namespace: &str, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&info.group, &info.resource, namespace, name).hash(&mut hasher);
    hasher.finish()
}

fn asks_for_a_node(query: &Query) -> bool {
    let selector = fields::Selector::parse(query.text("fieldSelector"));
    selector.is_ok_and(|selector| selector.required("spec.nodeName").is_some_and(|node| !node.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, target: &str) -> (RequestInfo, Query) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = Query::parse(query);
        (crate::request_info::parse(method, path, &query), query)
    }

    #[test]
    fn a_write_concerns_watches_of_its_kind_namespace_and_object() {
        let watches = Watches::default();
        let begin = |target: &str| {
            let (info, query) = read("GET", &format!("{target}watch=1"));
            watches.begin(&info, &query)
        };
        let kept = [
            begin("/api/v1/pods?"),
            begin("/api/v1/namespaces/a/pods?"),
            begin("/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx&"),
            begin("/api/v1/namespaces/b/pods?"),
            begin("/api/v1/namespaces/a/configmaps?"),
        ];
        assert!(begin("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&").is_none());
        let of = |method: &str, target: &str| watches.of(&read(method, target).0);
        assert_eq!(of("POST", "/api/v1/namespaces/a/pods"), 2);
        assert_eq!(of("PUT", "/api/v1/namespaces/a/pods/x"), 3);
        assert_eq!(of("PUT", "/api/v1/namespaces/a/pods/y"), 2);
        assert_eq!(of("PUT", "/api/v1/namespaces/c/pods/y"), 1);
        drop(kept);
        assert_eq!(of("PUT", "/api/v1/namespaces/a/pods/x"), 0);
        assert!(watches.counts().is_empty());
    }
}
