//! From claims to a user. The errors are upstream's, without their `oidc: ` in front.

use crate::Tree;
use crate::authn::configuration::JwtConfiguration;
use crate::user::UserInfo;

const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The user of verified claims, who counts as authenticated.
pub(super) fn user(configuration: &JwtConfiguration, claims: &Tree) -> Result<UserInfo, String> {
    let mappings = &configuration.claim_mappings;
    let mut user = UserInfo { name: username(configuration, claims)?, ..UserInfo::default() };
    if let Some(found) = claims.get(&mappings.groups.claim).filter(|_| !mappings.groups.claim.is_empty()) {
        let groups = strings(found).ok_or_else(|| {
            format!("parse groups claim {}: {}", quoted(&mappings.groups.claim), mismatch(found))
        })?;
        let prefix = mappings.groups.prefix.as_deref().unwrap_or_default();
        user.groups = groups.into_iter().map(|group| format!("{prefix}{group}")).collect();
    }
    check_distributed(&mappings.groups.claim, claims)?;
    if !mappings.uid.claim.is_empty() {
        user.uid = text(claims, &mappings.uid.claim)
            .map_err(|why| format!("parse uid claim {}: {why}", quoted(&mappings.uid.claim)))?;
    }
    if let Some(id) = claims["jti"].as_str().filter(|id| !id.is_empty()) {
        user.extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]);
    }
    check_required(configuration, claims)?;
    user.mark_authenticated();
    Ok(user)
}

/// A claim that is to be fetched from elsewhere must not count as absent.
fn check_distributed(claim: &str, claims: &Tree) -> Result<(), String> {
    let is_elsewhere =
        !claim.is_empty() && claims.get(claim).is_none() && !claims["_claim_names"][claim].is_null();
    if is_elsewhere {
        return Err(format!(
            "could not expand distributed claims: claim {claim} is not fetched by this server"
        ));
    }
    Ok(())
}

fn username(configuration: &JwtConfiguration, claims: &Tree) -> Result<String, String> {
    let mapping = &configuration.claim_mappings.username;
    let name = text(claims, &mapping.claim)
        .map_err(|why| format!("parse username claims {}: {why}", quoted(&mapping.claim)))?;
    if mapping.claim == "email"
        && let Some(verified) = claims.get("email_verified")
    {
        match verified.as_bool() {
            Some(true) => {}
            Some(false) => return Err("email not verified".to_owned()),
            None => return Err(format!("parse 'email_verified' claim: {}", mismatch(verified))),
        }
    }
    Ok(format!("{}{name}", mapping.prefix.as_deref().unwrap_or_default()))
}

fn check_required(configuration: &JwtConfiguration, claims: &Tree) -> Result<(), String> {
    for rule in configuration.claim_validation_rules.iter().filter(|rule| !rule.claim.is_empty()) {
        let (claim, wanted) = (&rule.claim, &rule.required_value);
        if claims.get(claim).is_none() {
            return Err(format!("required claim {claim} not present in ID token"));
        }
        let got = text(claims, claim).map_err(|why| format!("parse claim {claim}: {why}"))?;
        if got != *wanted {
            return Err(format!("required claim {claim} value does not match. Got = {got}, want = {wanted}"));
        }
    }
    Ok(())
}

/// A claim that is a text. Null reads as empty, as Go has it.
fn text(claims: &Tree, name: &str) -> Result<String, String> {
    match claims.get(name) {
        None => Err("claim not present".to_owned()),
        Some(Tree::String(text)) => Ok(text.clone()),
        Some(Tree::Null) => Ok(String::new()),
        Some(other) => Err(mismatch(other)),
    }
}

/// One text or several.
fn strings(value: &Tree) -> Option<Vec<String>> {
    match value {
        Tree::String(one) => Some(vec![one.clone()]),
        Tree::Null => Some(Vec::new()),
        Tree::Array(many) => many.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn mismatch(value: &Tree) -> String {
    let kind = match value {
        Tree::Bool(_) => "bool",
        Tree::Number(_) => "number",
        Tree::Array(_) => "array",
        Tree::Object(_) => "object",
        Tree::String(_) | Tree::Null => "string",
    };
    format!("json: cannot unmarshal {kind} into Go value of type string")
}

fn quoted(text: &str) -> String {
    crate::go::quote(text)
}
