//! `AuthenticationConfiguration`: which other issuers' tokens are good, and who may be anonymous.
//!
//! The file has upstream's shape (`apiserver.config.k8s.io/v1`); what is wrong with one is said in upstream's words.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Anonymous;
use crate::Tree;
use crate::go::quote;
use crate::user;

const GROUP: &str = "apiserver.config.k8s.io";
const KIND: &str = "AuthenticationConfiguration";
/// Versions of the file; they are alike.
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];
/// Issuers, as upstream.
const ISSUERS_MAX: usize = 64;
const NO_EXPRESSIONS: &str = "this server evaluates no CEL expressions; name a claim instead";
const MATCH_ANY: &str = "MatchAny";

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthenticationConfiguration {
    api_version: String,
    kind: String,
    /// Issuers of tokens.
    #[serde(default)]
    pub jwt: Vec<JwtConfiguration>,
    /// Who may be anonymous; everybody when nothing is said.
    #[serde(default)]
    pub anonymous: Option<Anonymous>,
}

/// One issuer and what its tokens mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtConfiguration {
    /// Whose tokens.
    pub issuer: Issuer,
    /// What must hold of the claims.
    #[serde(default)]
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    /// Which claims make the user.
    pub claim_mappings: ClaimMappings,
    /// What must hold of the user.
    #[serde(default)]
    pub user_validation_rules: Vec<UserValidationRule>,
}

/// An issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` of its tokens, and where its documents are.
    pub url: String,
    /// Where the issuer document is, if not below `url`.
    #[serde(default, rename = "discoveryURL")]
    pub discovery_url: Option<String>,
    /// PEM of the authorities of its HTTPS; the host's own when empty.
    #[serde(default)]
    pub certificate_authority: String,
    /// One of these must be among a token's audiences.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// `MatchAny`; must be said for several audiences.
    #[serde(default)]
    pub audience_match_policy: String,
    /// Of no effect: this server dials directly.
    #[serde(default)]
    pub egress_selector_type: String,
}

/// A claim of a fixed value, or an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimValidationRule {
    /// The claim.
    #[serde(default)]
    pub claim: String,
    /// Its value.
    #[serde(default)]
    pub required_value: String,
    /// Or: what must be true.
    #[serde(default)]
    pub expression: String,
    /// And what is said if it is not.
    #[serde(default)]
    pub message: String,
}

/// Which claims make the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimMappings {
    /// The name.
    pub username: PrefixedClaim,
    /// The groups.
    #[serde(default)]
    pub groups: PrefixedClaim,
    /// The uid.
    #[serde(default)]
    pub uid: Claim,
    /// Further facts.
    #[serde(default)]
    pub extra: Vec<ExtraMapping>,
}

/// A claim with a prefix, or an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrefixedClaim {
    /// The claim.
    #[serde(default)]
    pub claim: String,
    /// Put before its values.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Or: an expression of the claims.
    #[serde(default)]
    pub expression: String,
}

/// A claim, or an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// The claim.
    #[serde(default)]
    pub claim: String,
    /// Or: an expression of the claims.
    #[serde(default)]
    pub expression: String,
}

/// A further fact about the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtraMapping {
    /// `DOMAIN/NAME`.
    pub key: String,
    /// An expression of the claims.
    #[serde(default)]
    pub value_expression: String,
}

/// What must hold of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserValidationRule {
    /// What must be true.
    #[serde(default)]
    pub expression: String,
    /// And what is said if it is not.
    #[serde(default)]
    pub message: String,
}

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// It has another shape.
    #[error("{0}")]
    Shape(String),
    /// Another kind or version.
    #[error("no kind {} is registered for version {} of this file", quote(.kind), quote(.version))]
    Kind {
        /// Its `kind`.
        kind: String,
        /// Its `apiVersion`.
        version: String,
    },
    /// What it says cannot be.
    #[error("{}", list(.0))]
    Invalid(Vec<String>),
}

fn list(errors: &[String]) -> String {
    crate::go::aggregate(errors)
}

impl AuthenticationConfiguration {
    /// Reads and checks a file. `own_issuers` are this server's own, whose tokens nobody else may describe.
    pub fn read(
        tree: &Tree,
        own_issuers: &[&str],
    ) -> Result<AuthenticationConfiguration, ConfigurationError> {
        check_kind(tree, KIND)?;
        let read = AuthenticationConfiguration::deserialize(tree);
        let configuration = read.map_err(|error| ConfigurationError::Shape(error.to_string()))?;
        let errors = configuration.errors(own_issuers);
        if errors.is_empty() { Ok(configuration) } else { Err(ConfigurationError::Invalid(errors)) }
    }

    fn errors(&self, own_issuers: &[&str]) -> Vec<String> {
        if self.jwt.len() > ISSUERS_MAX {
            return vec![format!("jwt: Too many: {}: must have at most {ISSUERS_MAX} items", self.jwt.len())];
        }
        let mut errors = Vec::new();
        let (mut urls, mut discovery_urls) = (BTreeSet::new(), BTreeSet::new());
        for (at, jwt) in self.jwt.iter().enumerate() {
            let path = format!("jwt[{at}]");
            jwt.check(&path, own_issuers, &mut errors);
            let issuer = &jwt.issuer;
            if !urls.insert(&issuer.url) {
                errors.push(duplicate(&format!("{path}.issuer.url"), &issuer.url));
            }
            if let Some(url) = issuer.discovery_url.as_ref().filter(|url| !url.is_empty())
                && !discovery_urls.insert(url)
            {
                errors.push(duplicate(&format!("{path}.issuer.discoveryURL"), url));
            }
        }
        if let Some(anonymous) = self.anonymous.as_ref().filter(|anonymous| !anonymous.enabled)
            && !anonymous.conditions.is_empty()
        {
            let paths: Vec<Tree> =
                anonymous.conditions.iter().map(|one| serde_json::json!({"Path": one.path})).collect();
            errors.push(format!(
                "anonymous.conditions: Invalid value: {}: enabled should be set to true when conditions are defined",
                Tree::from(paths)
            ));
        }
        errors
    }
}

/// Whether the tree is a file of this kind.
pub(crate) fn check_kind(tree: &Tree, kind: &str) -> Result<(), ConfigurationError> {
    if !tree.is_object() {
        return Err(ConfigurationError::Shape("empty config data".to_owned()));
    }
    let text = |key: &str| tree[key].as_str().unwrap_or_default();
    let version = text("apiVersion").split_once('/').filter(|(group, _)| *group == GROUP);
    if text("kind") == kind && version.is_some_and(|(_, version)| VERSIONS.contains(&version)) {
        return Ok(());
    }
    Err(ConfigurationError::Kind { kind: text("kind").to_owned(), version: text("apiVersion").to_owned() })
}

impl JwtConfiguration {
    fn check(&self, path: &str, own_issuers: &[&str], errors: &mut Vec<String>) {
        self.issuer.check(&format!("{path}.issuer"), own_issuers, errors);
        self.check_claim_rules(&format!("{path}.claimValidationRules"), errors);
        self.claim_mappings.check(&format!("{path}.claimMappings"), errors);
        for (path, expression) in self.expressions(path) {
            errors.push(invalid(&path, expression, NO_EXPRESSIONS));
        }
        let mut seen = BTreeSet::new();
        for (at, rule) in self.user_validation_rules.iter().enumerate() {
            let path = format!("{path}.userValidationRules[{at}].expression");
            if rule.expression.is_empty() {
                errors.push(required(&path, ""));
            } else if !seen.insert(&rule.expression) {
                errors.push(duplicate(&path, &rule.expression));
            }
        }
    }

    /// Every expression with its place.
    fn expressions(&self, path: &str) -> Vec<(String, &str)> {
        let mappings = &self.claim_mappings;
        let mut all = vec![
            (format!("{path}.claimMappings.username.expression"), mappings.username.expression.as_str()),
            (format!("{path}.claimMappings.groups.expression"), &mappings.groups.expression),
            (format!("{path}.claimMappings.uid.expression"), &mappings.uid.expression),
        ];
        let mut add = |list: &str, field: &str, at: usize, expression| {
            all.push((format!("{path}.{list}[{at}].{field}"), expression));
        };
        for (at, mapping) in mappings.extra.iter().enumerate() {
            add("claimMappings.extra", "valueExpression", at, mapping.value_expression.as_str());
        }
        for (at, rule) in self.claim_validation_rules.iter().enumerate() {
            add("claimValidationRules", "expression", at, &rule.expression);
        }
        for (at, rule) in self.user_validation_rules.iter().enumerate() {
            add("userValidationRules", "expression", at, &rule.expression);
        }
        all.retain(|(_, expression)| !expression.is_empty());
        all
    }

    fn check_claim_rules(&self, path: &str, errors: &mut Vec<String>) {
        let (mut claims, mut expressions) = (BTreeSet::new(), BTreeSet::new());
        for (at, rule) in self.claim_validation_rules.iter().enumerate() {
            let path = format!("{path}[{at}]");
            match (rule.claim.is_empty(), rule.expression.is_empty()) {
                (false, false) => {
                    errors.push(invalid(&path, &rule.claim, "claim and expression can't both be set"));
                }
                (true, true) => errors.push(required(&path, "claim or expression is required")),
                (false, true) => {
                    if !rule.message.is_empty() {
                        let path = format!("{path}.message");
                        errors.push(invalid(&path, &rule.message, "may not be specified when claim is set"));
                    }
                    if !claims.insert(&rule.claim) {
                        errors.push(duplicate(&format!("{path}.claim"), &rule.claim));
                    }
                }
                (true, false) => {
                    if !rule.required_value.is_empty() {
                        let why = "may not be specified when expression is set";
                        errors.push(invalid(&format!("{path}.requiredValue"), &rule.required_value, why));
                    }
                    if !expressions.insert(&rule.expression) {
                        errors.push(duplicate(&format!("{path}.expression"), &rule.expression));
                    }
                }
            }
        }
    }
}

impl Issuer {
    fn check(&self, path: &str, own_issuers: &[&str], errors: &mut Vec<String>) {
        let url_path = format!("{path}.url");
        if self.url.is_empty() {
            errors.push(required(&url_path, ""));
        } else {
            check_url(&self.url, &url_path, own_issuers, errors);
        }
        if let Some(url) = self.discovery_url.as_deref().filter(|url| !url.is_empty()) {
            let path = format!("{path}.discoveryURL");
            if self.url.trim_end_matches('/') == url.trim_end_matches('/') && !self.url.is_empty() {
                errors.push(invalid(&path, url, "discoveryURL must be different from URL"));
            }
            check_url(url, &path, &[], errors);
        }
        self.check_audiences(path, errors);
        if !matches!(self.egress_selector_type.as_str(), "" | "controlplane" | "cluster") {
            let why = "egress selector must be either controlplane or cluster";
            errors.push(invalid(&format!("{path}.egressSelectorType"), &self.egress_selector_type, why));
        }
    }

    fn check_audiences(&self, path: &str, errors: &mut Vec<String>) {
        let audiences = format!("{path}.audiences");
        if self.audiences.is_empty() {
            return errors.push(required(&audiences, &format!("at least one {audiences} is required")));
        }
        let mut seen = BTreeSet::new();
        for (at, audience) in self.audiences.iter().enumerate() {
            let path = format!("{audiences}[{at}]");
            if audience.is_empty() {
                errors.push(required(&path, ""));
            }
            if !seen.insert(audience) {
                errors.push(duplicate(&path, audience));
            }
        }
        let policy = &self.audience_match_policy;
        let why = match (self.audiences.len(), policy.as_str()) {
            (_, MATCH_ANY) | (1, "") => return,
            (1, _) => "audienceMatchPolicy must be empty or MatchAny for single audience",
            _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
        };
        errors.push(invalid(&format!("{path}.audienceMatchPolicy"), policy, why));
    }
}

fn check_url(url: &str, path: &str, own_issuers: &[&str], errors: &mut Vec<String>) {
    let mut refuse = |why: &str| errors.push(invalid(path, url, why));
    if own_issuers.contains(&url) {
        refuse(&format!("URL must not overlap with disallowed issuers: [{}]", own_issuers.join(" ")));
    }
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", rest));
    let authority = rest.split('/').next().unwrap_or_default();
    if scheme != "https" {
        refuse("URL scheme must be https");
    }
    if authority.contains('@') {
        refuse("URL must not contain a username or password");
    }
    if !query.is_empty() {
        refuse("URL must not contain a query");
    }
    if !fragment.is_empty() {
        refuse("URL must not contain a fragment");
    }
    if url.parse::<http::Uri>().is_err() {
        refuse("not a URL");
    }
}

impl ClaimMappings {
    fn check(&self, path: &str, errors: &mut Vec<String>) {
        self.username.check(&format!("{path}.username"), errors);
        if self.username.claim.is_empty() && self.username.expression.is_empty() {
            errors.push(required(&format!("{path}.username"), "claim or expression is required"));
        }
        self.groups.check(&format!("{path}.groups"), errors);
        if !self.uid.claim.is_empty() && !self.uid.expression.is_empty() {
            errors.push(invalid(&format!("{path}.uid"), "", "claim and expression can't both be set"));
        }
        let mut seen = BTreeSet::new();
        for (at, mapping) in self.extra.iter().enumerate() {
            let path = format!("{path}.extra[{at}]");
            mapping.check(&path, errors);
            if !seen.insert(&mapping.key) {
                errors.push(duplicate(&format!("{path}.key"), &mapping.key));
            } else if mapping.value_expression.is_empty() {
                errors.push(required(&format!("{path}.valueExpression"), ""));
            }
        }
    }
}

impl PrefixedClaim {
    fn check(&self, path: &str, errors: &mut Vec<String>) {
        match (self.claim.is_empty(), self.expression.is_empty(), &self.prefix) {
            (false, false, _) => {
                errors.push(invalid(path, "", "claim and expression can't both be set"));
            }
            (true, false, Some(prefix)) => {
                let why = "may not be specified when expression is set";
                errors.push(invalid(&format!("{path}.prefix"), prefix, why));
            }
            (false, true, None) => {
                let why = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
                errors.push(required(&format!("{path}.prefix"), why));
            }
            _ => {}
        }
    }
}

impl ExtraMapping {
    fn check(&self, path: &str, errors: &mut Vec<String>) {
        let path = format!("{path}.key");
        let (domain, name) = self.key.split_once('/').unwrap_or((&self.key, ""));
        if self.key.is_empty() {
            errors.push(required(&path, ""));
        } else if !user::is_dns_subdomain(domain) || name.is_empty() {
            errors.push(invalid(
                &path,
                &self.key,
                "must be a domain-prefixed path (such as \"acme.io/foo\")",
            ));
        }
        if self.key.to_lowercase() != self.key {
            errors.push(invalid(&path, &self.key, "must be lowercase"));
        }
        let reserved = |suffix: &str| domain == suffix || domain.ends_with(&format!(".{suffix}"));
        if self.key.contains('/') && (reserved("kubernetes.io") || reserved("k8s.io")) {
            let why = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
            errors.push(invalid(&path, &self.key, why));
        }
    }
}

/// `PATH: Invalid value: "VALUE": WHY`.
pub(crate) fn invalid(path: &str, value: &str, why: &str) -> String {
    format!("{path}: Invalid value: {}: {why}", quote(value))
}

/// `PATH: Required value: WHY`.
pub(crate) fn required(path: &str, why: &str) -> String {
    if why.is_empty() { format!("{path}: Required value") } else { format!("{path}: Required value: {why}") }
}

/// `PATH: Duplicate value: "VALUE"`.
pub(crate) fn duplicate(path: &str, value: &str) -> String {
    format!("{path}: Duplicate value: {}", quote(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What is wrong with a file of one issuer, `PATH=VALUE` (JSON) set in it; nothing when it is good.
    fn check(changes: &[(&str, Tree)], want: &str) {
        let mut file = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [{
                "issuer": {"url": "https://a.example", "audiences": ["me"]},
                "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
            }],
        });
        for (path, value) in changes {
            let (parent, field) = path.rsplit_once('/').expect("a pointer");
            file.pointer_mut(parent).expect("a parent")[field] = value.clone();
        }
        let read = AuthenticationConfiguration::read(&file, &["https://own.example"]);
        assert_eq!(read.map_or_else(|error| error.to_string(), |_| String::new()), want, "{changes:?}");
    }

    #[test]
    fn a_good_file_is_read() {
        check(&[], "");
        check(&[("/jwt", json!([]))], "");
        check(&[("/anonymous", json!({"enabled": true, "conditions": [{"path": "/livez"}]}))], "");
        check(&[("/jwt/0/issuer/egressSelectorType", "cluster".into())], "");
    }

    #[test]
    fn other_shapes_are_refused() {
        check(
            &[("/more", json!(1))],
            "unknown field `more`, expected one of `apiVersion`, `kind`, `jwt`, `anonymous`",
        );
        check(
            &[("/kind", "Other".into())],
            r#"no kind "Other" is registered for version "apiserver.config.k8s.io/v1" of this file"#,
        );
        let twice = json!({"enabled": false, "conditions": [{"path": "/livez"}]});
        check(
            &[("/anonymous", twice)],
            r#"anonymous.conditions: Invalid value: [{"Path":"/livez"}]: enabled should be set to true when conditions are defined"#,
        );
    }

    #[test]
    fn an_issuer_is_checked() {
        let url = "/jwt/0/issuer/url";
        let wrong = |url: &str, why: &str| format!("jwt[0].issuer.url: Invalid value: {}: {why}", quote(url));
        check(&[(url, "".into())], "jwt[0].issuer.url: Required value");
        check(&[(url, "http://a".into())], &wrong("http://a", "URL scheme must be https"));
        check(
            &[(url, "https://u@a".into())],
            &wrong("https://u@a", "URL must not contain a username or password"),
        );
        check(&[(url, "https://a?b".into())], &wrong("https://a?b", "URL must not contain a query"));
        check(&[(url, "https://a#b".into())], &wrong("https://a#b", "URL must not contain a fragment"));
        check(
            &[(url, "https://own.example".into())],
            &wrong(
                "https://own.example",
                "URL must not overlap with disallowed issuers: [https://own.example]",
            ),
        );
        let discovery = "jwt[0].issuer.discoveryURL: Invalid value: \"https://a.example/\": discoveryURL must be different from URL";
        check(&[("/jwt/0/issuer/discoveryURL", "https://a.example/".into())], discovery);
        let audiences = "/jwt/0/issuer/audiences";
        check(
            &[(audiences, json!([]))],
            "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
        );
        check(
            &[(audiences, json!(["a", "b"]))],
            r#"jwt[0].issuer.audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be MatchAny for multiple audiences"#,
        );
        check(
            &[(audiences, json!(["a", "b"])), ("/jwt/0/issuer/audienceMatchPolicy", "MatchAny".into())],
            "",
        );
    }

    #[test]
    fn mappings_are_checked() {
        let name = "/jwt/0/claimMappings/username";
        check(
            &[(name, json!({}))],
            "jwt[0].claimMappings.username: Required value: claim or expression is required",
        );
        check(
            &[(name, json!({"claim": "sub"}))],
            "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing",
        );
        let rules = "/jwt/0/claimValidationRules";
        check(
            &[(rules, json!([{"claim": "a"}, {"claim": "a"}]))],
            r#"jwt[0].claimValidationRules[1].claim: Duplicate value: "a""#,
        );
        check(
            &[(rules, json!([{}]))],
            "jwt[0].claimValidationRules[0]: Required value: claim or expression is required",
        );
        let extra = "/jwt/0/claimMappings/extra";
        check(
            &[(extra, json!([{"key": "a.k8s.io/b", "valueExpression": ""}]))],
            r#"[jwt[0].claimMappings.extra[0].key: Invalid value: "a.k8s.io/b": k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use, jwt[0].claimMappings.extra[0].valueExpression: Required value]"#,
        );
    }

    #[test]
    fn expressions_are_refused() {
        check(
            &[("/jwt/0/claimMappings/groups", json!({"expression": "claims.roles"}))],
            r#"jwt[0].claimMappings.groups.expression: Invalid value: "claims.roles": this server evaluates no CEL expressions; name a claim instead"#,
        );
    }
}
