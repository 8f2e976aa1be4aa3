//! `AuthorizationConfiguration`: who decides what users may do, in which order. The file has upstream's shape
//! (`apiserver.config.k8s.io/v1`); what is wrong with one is said in upstream's words.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::Tree;
use crate::authn::configuration::{ConfigurationError, check_kind, duplicate, invalid, required};
use crate::chain::Mode;
use crate::go::quote;
use crate::user::is_dns_subdomain;

/// What may stand as `type`, sorted.
const TYPES: [(&str, Option<Mode>); 6] = [
    ("ABAC", None),
    ("AlwaysAllow", Some(Mode::AlwaysAllow)),
    ("AlwaysDeny", Some(Mode::AlwaysDeny)),
    ("Node", Some(Mode::Node)),
    ("RBAC", Some(Mode::Rbac)),
    ("Webhook", None),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AuthorizationConfiguration {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    authorizers: Vec<AuthorizerConfiguration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AuthorizerConfiguration {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    webhook: Tree,
}

/// The authorizers a file names, in its order.
pub fn authorizers(tree: &Tree) -> Result<Vec<Mode>, ConfigurationError> {
    check_kind(tree, "AuthorizationConfiguration")?;
    let read = AuthorizationConfiguration::deserialize(tree);
    let configuration = read.map_err(|error| ConfigurationError::Shape(error.to_string()))?;
    let (mut modes, mut errors) = (Vec::new(), Vec::new());
    if configuration.authorizers.is_empty() {
        errors.push(required("authorizers", "at least one authorization mode must be defined"));
    }
    let (mut types, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (at, authorizer) in configuration.authorizers.iter().enumerate() {
        let path = format!("authorizers[{at}]");
        match mode(authorizer, &format!("{path}.type"), &mut types) {
            Err(error) => errors.push(error),
            Ok(mode) => {
                modes.push(mode);
                errors.extend(name_error(&authorizer.name, &format!("{path}.name"), &mut names));
                if !authorizer.webhook.is_null() {
                    let why = "may only be specified when type=Webhook";
                    errors.push(invalid(&format!("{path}.webhook"), "non-null", why));
                }
            }
        }
    }
    if errors.is_empty() { Ok(modes) } else { Err(ConfigurationError::Invalid(errors)) }
}

fn mode<'a>(
    authorizer: &'a AuthorizerConfiguration,
    path: &str,
    seen: &mut BTreeSet<&'a str>,
) -> Result<Mode, String> {
    let kind = authorizer.kind.as_str();
    if kind.is_empty() {
        return Err(required(path, ""));
    }
    let Some((_, mode)) = TYPES.iter().find(|(name, _)| *name == kind) else {
        let all: Vec<String> = TYPES.iter().map(|(name, _)| quote(name)).collect();
        return Err(format!(
            "{path}: Unsupported value: {}: supported values: {}",
            quote(kind),
            all.join(", ")
        ));
    };
    if !seen.insert(kind) {
        return Err(duplicate(path, kind));
    }
    mode.ok_or_else(|| invalid(path, kind, "this server has no such authorizer"))
}

fn name_error<'a>(name: &'a str, path: &str, seen: &mut BTreeSet<&'a str>) -> Option<String> {
    if name.is_empty() {
        return Some(required(path, ""));
    }
    if !seen.insert(name) {
        return Some(duplicate(path, name));
    }
    (!is_dns_subdomain(name)).then(|| {
        let why = "authorizer name is invalid: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        invalid(path, name, why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `TYPE=NAME …` is the list of authorizers.
    fn check(list: &str, want: Result<&[Mode], &str>) {
        let authorizers: Vec<Tree> = list
            .split_whitespace()
            .map(|one| one.split_once('=').expect("TYPE=NAME"))
            .map(|(kind, name)| json!({"type": kind, "name": name}))
            .collect();
        let tree = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthorizationConfiguration",
            "authorizers": authorizers,
        });
        let got = super::authorizers(&tree).map_err(|error| error.to_string());
        assert_eq!(got, want.map(<[Mode]>::to_vec).map_err(str::to_owned), "{list}");
    }

    #[test]
    fn a_file_names_the_chain() {
        check("Node=node RBAC=rbac", Ok(&[Mode::Node, Mode::Rbac]));
        check("AlwaysAllow=a AlwaysDeny=b", Ok(&[Mode::AlwaysAllow, Mode::AlwaysDeny]));
        check("", Err("authorizers: Required value: at least one authorization mode must be defined"));
        check("RBAC=a RBAC=b", Err(r#"authorizers[1].type: Duplicate value: "RBAC""#));
        check("Node=a RBAC=a", Err(r#"authorizers[1].name: Duplicate value: "a""#));
        check("Node=", Err("authorizers[0].name: Required value"));
        check("=a", Err("authorizers[0].type: Required value"));
        check(
            "Magic=a",
            Err(
                r#"authorizers[0].type: Unsupported value: "Magic": supported values: "ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook""#,
            ),
        );
        check(
            "Webhook=a",
            Err(r#"authorizers[0].type: Invalid value: "Webhook": this server has no such authorizer"#),
        );
    }

    #[test]
    fn other_files_are_refused() {
        let check = |tree: Tree, want: &str| {
            assert_eq!(super::authorizers(&tree).expect_err("refused").to_string(), want);
        };
        check(Tree::Null, "empty config data");
        check(
            json!({"apiVersion": "v1", "kind": "Pod"}),
            r#"no kind "Pod" is registered for version "v1" of this file"#,
        );
    }
}
