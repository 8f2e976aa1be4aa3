//! A pod, or a pod template, as the checks look at it.

use serde_json::Value;

use crate::tree::{at, bool_at, entries_at, list_at, str_at};

/// What is checked: metadata and spec of a pod or of a template.
pub struct Subject<'a> {
    owner: &'a Value,
}

impl<'a> Subject<'a> {
    /// A pod, or a template, which has the same two parts.
    pub fn of(pod: &'a Value) -> Self {
        Self { owner: pod }
    }

    pub(super) fn spec(&self) -> &'a Value {
        &self.owner["spec"]
    }

    pub(super) fn annotations(&self) -> Vec<(&'a str, &'a str)> {
        entries_at(self.owner, "metadata.annotations")
    }

    pub(super) fn is_for_windows(&self) -> bool {
        str_at(self.owner, "spec.os.name") == "windows"
    }

    /// Root in a user namespace of its own is nobody outside.
    pub(super) fn has_own_users(&self) -> bool {
        bool_at(self.owner, "spec.hostUsers") == Some(false)
    }

    pub(super) fn volumes(&self) -> &'a [Value] {
        list_at(self.owner, "spec.volumes")
    }

    /// All containers: init containers, containers, ephemeral containers.
    pub(super) fn containers(&self) -> impl Iterator<Item = &'a Value> {
        ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"]
            .into_iter()
            .flat_map(|path| list_at(self.owner, path))
    }

    /// A setting of the pod's security context.
    pub(super) fn setting(&self, path: &str) -> Option<&'a Value> {
        at(self.owner, "spec.securityContext").and_then(|context| at(context, path))
    }

    /// Names of the containers that a test finds bad.
    pub(super) fn bad_containers(&self, is_bad: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
        let mut is_bad = is_bad;
        self.containers()
            .filter(|container| is_bad(container))
            .map(|container| str_at(container, "name"))
            .collect()
    }

    /// Who has a setting that a test finds bad: `pod`, `container "c"`, in this order, as texts.
    pub(super) fn bad_setters(&self, path: &str, is_bad: impl FnMut(&'a Value) -> bool) -> Vec<String> {
        let mut is_bad = is_bad;
        let mut setters = Vec::new();
        if self.setting(path).is_some_and(&mut is_bad) {
            setters.push("pod".to_owned());
        }
        let names = self.bad_containers(|container| own_setting(container, path).is_some_and(&mut is_bad));
        if !names.is_empty() {
            setters.push(counted("container", &names));
        }
        setters
    }
}

/// A setting of a container's security context.
pub(super) fn own_setting<'a>(container: &'a Value, path: &str) -> Option<&'a Value> {
    at(container, "securityContext").and_then(|context| at(context, path))
}

/// `container "a"` or `containers "a", "b"`.
pub(super) fn counted(what: &str, names: &[&str]) -> String {
    format!("{} {}", plural(what, names.len()), quoted(names))
}

/// The word, with an s unless there is one of it.
pub(super) fn plural(what: &str, count: usize) -> String {
    if count == 1 { what.to_owned() } else { format!("{what}s") }
}

/// `"a", "b"`.
pub(super) fn quoted<T: AsRef<str>>(texts: &[T]) -> String {
    texts.iter().map(|text| format!("\"{}\"", text.as_ref())).collect::<Vec<_>>().join(", ")
}

/// Distinct texts in order.
pub(super) fn sorted<T: Ord>(mut texts: Vec<T>) -> Vec<T> {
    texts.sort();
    texts.dedup();
    texts
}
