//! Objects of every kind: the bodies of recorded requests from which upstream created one. What a test or a bench needs of
//! each kind comes from here, so that a kind that comes to be served needs no line there.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// Where objects of a kind are created.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Collection {
    /// Empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural.
    pub plural: String,
}

/// A body from which upstream created an object.
#[derive(Debug, Clone)]
pub struct Created {
    /// Empty for cluster-wide kinds.
    pub namespace: String,
    /// As it was sent.
    pub body: Value,
}

impl Collection {
    /// The path of the collection in a namespace; an empty one is the cluster.
    pub fn path(&self, namespace: &str) -> String {
        let Self { group, version, plural } = self;
        let root = match group.as_str() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        match namespace {
            "" => format!("{root}/{plural}"),
            namespace => format!("{root}/namespaces/{namespace}/{plural}"),
        }
    }

    /// `/apis/apps/v1/namespaces/x/deployments` is that of `apps/v1` in `x`; a path below an object is none.
    fn read(path: &str) -> Option<(Self, String)> {
        let path = path.split('?').next()?;
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if parts.first() == Some(&"api") {
            parts.insert(1, "");
        }
        let mut namespace = "";
        if parts.len() > 5 && parts[3] == "namespaces" {
            namespace = parts.drain(3..5).nth(1)?;
        }
        let [_, group, version, plural] = parts.as_slice() else { return None };
        let [group, version, plural] = [group, version, plural].map(|part| (*part).to_owned());
        Some((Self { group, version, plural }, namespace.to_owned()))
    }
}

/// All that were recorded; of each kind the largest come first.
pub fn created() -> BTreeMap<Collection, Vec<Created>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("diff-upstream/scenarios");
    let mut found: BTreeMap<Collection, Vec<Created>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the recorded requests").flatten() {
        let path = entry.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(stem) = name.strip_suffix(".jsonl").filter(|stem| !stem.ends_with(".answers")) else {
            continue;
        };
        let answers = lines(&path.with_file_name(format!("{stem}.answers.jsonl")));
        let accepted: Vec<&Value> =
            answers.iter().filter(|answer| answer["status"] == 201).map(|answer| &answer["id"]).collect();
        for step in
            lines(&path).into_iter().filter(|step| step["m"] == "POST" && accepted.contains(&&step["id"]))
        {
            let is_whole = step["b"].is_object() && !step["b"].to_string().contains("${");
            let read = Collection::read(step["p"].as_str().unwrap_or_default()).filter(|_| is_whole);
            if let Some((collection, namespace)) = read {
                found.entry(collection).or_default().push(Created { namespace, body: step["b"].clone() });
            }
        }
    }
    for bodies in found.values_mut() {
        bodies.sort_by_key(|created| Reverse(created.body.to_string().len()));
    }
    found
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("a recorded file");
    let steps = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    steps.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_and_its_path_are_one() {
        for (path, namespace) in [
            ("/api/v1/nodes", ""),
            ("/api/v1/namespaces", ""),
            ("/api/v1/namespaces/x/pods", "x"),
            ("/apis/apps/v1/namespaces/x/deployments", "x"),
            ("/apis/storage.k8s.io/v1/storageclasses", ""),
        ] {
            let (collection, read) = Collection::read(path).expect("a collection");
            assert_eq!((collection.path(&read).as_str(), read.as_str()), (path, namespace));
        }
        assert_eq!(Collection::read("/api/v1/namespaces/x/pods/p/binding"), None);
    }
}
