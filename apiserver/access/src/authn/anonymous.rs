//! Whether a request may come without a credential.

use serde::Deserialize;

/// Who may be anonymous. Everybody, unless configured otherwise: what nobody in particular may do is the roles' matter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anonymous {
    /// Whether anybody may.
    pub enabled: bool,
    /// If there are any, only for these paths.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// One path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// The whole path, without query.
    pub path: String,
}

impl Default for Anonymous {
    fn default() -> Anonymous {
        Anonymous { enabled: true, conditions: Vec::new() }
    }
}

impl Anonymous {
    /// Whether a request for `path` may be anonymous.
    pub fn allows(&self, path: &str) -> bool {
        let named = self.conditions.iter().any(|condition| condition.path == path);
        self.enabled && (self.conditions.is_empty() || named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_narrow_it() {
        let check = |enabled: bool, paths: &[&str], path: &str, want: bool| {
            let conditions = paths.iter().map(|path| Condition { path: (*path).to_owned() }).collect();
            assert_eq!(Anonymous { enabled, conditions }.allows(path), want, "{enabled} {paths:?} {path}");
        };
        check(true, &[], "/api", true);
        check(false, &[], "/livez", false);
        check(true, &["/livez", "/readyz"], "/readyz", true);
        check(true, &["/livez"], "/livez/ping", false);
        check(true, &["/livez"], "/api", false);
    }
}
