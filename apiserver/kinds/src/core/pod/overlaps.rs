//! Warnings about files of a volume that hide or contain each other.

use serde_json::Value;

use crate::field::quote;
use crate::tree::{at, list_at, str_at};

/// Warnings about all volumes.
pub(super) fn warnings(volumes: &[Value]) -> Vec<String> {
    volumes.iter().flat_map(volume).collect()
}

/// A file and where it comes from.
#[derive(Debug, Clone, PartialEq)]
struct File {
    path: String,
    source: String,
}

impl File {
    fn text(&self) -> String {
        match self.source.as_str() {
            "" => quote(&self.path),
            source => format!("{} ({source})", quote(&self.path)),
        }
    }
}

fn volume(volume: &Value) -> Vec<String> {
    let name = quote(str_at(volume, "name"));
    let mut warnings = Vec::new();
    for (source, description) in [
        ("configMap", format!("ConfigMap {}", quote(str_at(volume, "configMap.name")))),
        ("secret", format!("Secret {}", quote(str_at(volume, "secret.secretName")))),
        ("downwardAPI", "DownwardAPI".to_owned()),
    ] {
        let files = items(list_at(volume, &format!("{source}.items")), "");
        let clashes = clashes(files, &mut Vec::new());
        warnings.extend(
            clashes
                .into_iter()
                .map(|clash| format!("volume {name} ({description}): overlapping paths: {clash}")),
        );
    }
    let mut seen = Vec::new();
    for source in list_at(volume, "projected.sources") {
        if source.as_object().is_none_or(serde_json::Map::is_empty) {
            warnings.push(format!("volume {name} (Projected) has no sources provided"));
            continue;
        }
        let clashes = clashes(projected(source), &mut seen);
        warnings.extend(
            clashes.into_iter().map(|clash| format!("volume {name} (Projected): overlapping paths: {clash}")),
        );
    }
    warnings
}

fn items(items: &[Value], source: &str) -> Vec<File> {
    items
        .iter()
        .map(|item| File { path: str_at(item, "path").to_owned(), source: source.to_owned() })
        .collect()
}

fn projected(source: &Value) -> Vec<File> {
    let one = |path: &str, source: String| File { path: path.to_owned(), source };
    for (name, title) in [("configMap", "ConfigMap"), ("secret", "Secret")] {
        if let Some(keyed) = at(source, name).filter(|keyed| at(keyed, "items").is_some()) {
            return items(list_at(keyed, "items"), &format!("{title} {}", quote(str_at(keyed, "name"))));
        }
    }
    if at(source, "downwardAPI.items").is_some() {
        return items(list_at(source, "downwardAPI.items"), "DownwardAPI");
    }
    if let Some(token) = at(source, "serviceAccountToken") {
        return vec![one(str_at(token, "path"), "ServiceAccountToken".to_owned())];
    }
    if let Some(bundle) = at(source, "clusterTrustBundle") {
        let name = at(bundle, "name").or(at(bundle, "signerName")).and_then(Value::as_str).unwrap_or("");
        return vec![one(str_at(bundle, "path"), format!("ClusterTrustBundle {}", quote(name)))];
    }
    let Some(certificate) = at(source, "podCertificate") else { return Vec::new() };
    [("certificateChainPath", "chain"), ("keyPath", "key"), ("credentialBundlePath", "credential bundle")]
        .into_iter()
        .filter(|(name, _)| !str_at(certificate, name).is_empty())
        .map(|(name, what)| one(str_at(certificate, name), format!("PodCertificate {what}")))
        .collect()
}

/// Pairs of files where one is the other or lies below it. `seen` grows by the files.
fn clashes(files: Vec<File>, seen: &mut Vec<File>) -> Vec<String> {
    let mut clashes = Vec::new();
    for mut file in files {
        file.path.truncate(file.path.trim_end_matches('/').len());
        let hits = seen.iter().filter(|other| {
            !file.path.is_empty() && !other.path.is_empty() && overlap(&file.path, &other.path)
        });
        clashes.extend(hits.map(|other| format!("{} with {}", file.text(), other.text())));
        seen.push(file);
    }
    clashes
}

fn overlap(left: &str, right: &str) -> bool {
    let (left, right) = (format!("{left}/"), format!("{right}/"));
    left.starts_with(&right) || right.starts_with(&left)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_below_a_file_is_told() {
        let volumes = json!([{"name": "v", "configMap": {"name": "c", "items": [{"path": "a"}, {"path": "a/b"}, {"path": "ab"}]}}]);
        let volumes = volumes.as_array().expect("a list");
        assert_eq!(warnings(volumes), [r#"volume "v" (ConfigMap "c"): overlapping paths: "a/b" with "a""#]);
    }
}
