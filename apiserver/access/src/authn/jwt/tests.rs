//! Tokens of an issuer, signed in every accepted way.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::authn::configuration::AuthenticationConfiguration;

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The one RSA key of these tests; making one takes long.
fn rsa() -> &'static RsaKeyPair {
    static KEY: std::sync::OnceLock<RsaKeyPair> = std::sync::OnceLock::new();
    KEY.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
}

fn rsa_set(id: &str) -> KeySet {
    let public = rsa().public_key();
    let n = encode(public.modulus().big_endian_without_leading_zero());
    let e = encode(public.exponent().big_endian_without_leading_zero());
    let set = json!({"keys": [{"kty": "oct", "kid": id}, {"kty": "RSA", "kid": id, "n": n, "e": e}]});
    KeySet::parse(set.to_string().as_bytes()).expect("a key set")
}

fn token(algorithm: &str, claims: &Tree, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = json!({"alg": algorithm, "kid": "k", "typ": "JWT"}).to_string();
    let input = format!("{}.{}", encode(header.as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = sign(input.as_bytes());
    format!("{input}.{}", encode(&signature))
}

fn rsa_token(claims: &Tree) -> String {
    token("RS256", claims, |input| {
        let mut out = vec![0; rsa().public_modulus_len()];
        rsa().sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), input, &mut out).expect("signed");
        out
    })
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

/// An issuer as most are configured, changed by a merge of `more` into its entry.
fn authenticator(more: Tree) -> JwtAuthenticator {
    let mut entry = json!({
        "issuer": {"url": "https://issuer.example", "audiences": ["me"]},
        "claimMappings": {
            "username": {"claim": "sub", "prefix": "oidc:"},
            "groups": {"claim": "groups", "prefix": "g:"},
        },
    });
    for (field, value) in more.as_object().expect("an object") {
        match (entry[field].as_object_mut(), value.as_object()) {
            (Some(into), Some(from)) => into.extend(from.clone()),
            _ => entry[field] = value.clone(),
        }
    }
    let file = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [entry],
    });
    let configuration = AuthenticationConfiguration::read(&file, &[]).expect("a good file");
    JwtAuthenticator::new(configuration.jwt[0].clone())
}

fn claims(more: Tree) -> Tree {
    let mut claims =
        json!({"iss": "https://issuer.example", "aud": "me", "sub": "jane", "exp": 1_800_000_010});
    claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    claims
}

/// A user as `NAME[/UID] GROUP…`, or the error.
fn check(more: Tree, configured: Tree, want: &str) {
    let token = rsa_token(&claims(more.clone()));
    let got = match authenticator(configured.clone()).user(&token, &rsa_set("k"), now()) {
        Ok(user) if user.uid.is_empty() => format!("{} {}", user.name, user.groups.join(" ")),
        Ok(user) => format!("{}/{} {}", user.name, user.uid, user.groups.join(" ")),
        Err(error) => error.to_string(),
    };
    assert_eq!(got, want, "{more} {configured}");
}

#[test]
fn claims_make_a_user() {
    check(json!({}), json!({}), "oidc:jane system:authenticated");
    check(json!({"groups": ["a", "b"]}), json!({}), "oidc:jane g:a g:b system:authenticated");
    check(json!({"groups": "a"}), json!({}), "oidc:jane g:a system:authenticated");
    let uid = json!({"claimMappings": {"uid": {"claim": "oid"}}});
    check(json!({"oid": "7"}), uid.clone(), "oidc:jane/7 system:authenticated");
    check(json!({}), uid, r#"oidc: parse uid claim "oid": claim not present"#);
    check(json!({"aud": ["you", "me"]}), json!({}), "oidc:jane system:authenticated");
    let email = json!({"claimMappings": {"username": {"claim": "email", "prefix": ""}}});
    check(json!({"email": "j@x"}), email.clone(), "j@x system:authenticated");
    check(json!({"email": "j@x", "email_verified": true}), email.clone(), "j@x system:authenticated");
    check(json!({"email": "j@x", "email_verified": false}), email.clone(), "oidc: email not verified");
    check(json!({}), email, r#"oidc: parse username claims "email": claim not present"#);
    check(
        json!({"sub": 7}),
        json!({}),
        r#"oidc: parse username claims "sub": json: cannot unmarshal number into Go value of type string"#,
    );
    let elsewhere = json!({"_claim_names": {"groups": "src"}});
    check(
        elsewhere,
        json!({}),
        "oidc: could not expand distributed claims: claim groups is not fetched by this server",
    );
}

#[test]
fn what_is_required_must_be_there() {
    let rule = json!({"claimValidationRules": [{"claim": "hd", "requiredValue": "example.com"}]});
    check(json!({"hd": "example.com"}), rule.clone(), "oidc:jane system:authenticated");
    check(json!({}), rule.clone(), "oidc: required claim hd not present in ID token");
    check(
        json!({"hd": "x"}),
        rule,
        "oidc: required claim hd value does not match. Got = x, want = example.com",
    );
}

#[test]
fn a_token_is_for_us_and_of_now() {
    let verify = |rest: &str| format!("oidc: verify token: oidc: {rest}");
    check(json!({"aud": "you"}), json!({}), &verify(r#"expected audience "me" got ["you"]"#));
    let several = json!({"issuer": {"audiences": ["b", "a"], "audienceMatchPolicy": "MatchAny"}});
    check(json!({"aud": "you"}), several, &verify(r#"expected audience in ["a" "b"] got ["you"]"#));
    check(json!({"exp": 1_800_000_000}), json!({}), "oidc:jane system:authenticated");
    check(
        json!({"exp": 1_799_999_999}),
        json!({}),
        &verify("token is expired (Token Expiry: 2027-01-15 07:59:59 +0000 UTC)"),
    );
    check(json!({"nbf": 1_800_000_060}), json!({}), "oidc:jane system:authenticated");
    check(
        json!({"nbf": 1_800_000_061}),
        json!({}),
        &verify(
            "current time 2027-01-15 08:00:00 +0000 UTC before the nbf (not before) time: 2027-01-15 08:01:01 +0000 UTC",
        ),
    );
    check(
        json!({"exp": null}),
        json!({}),
        &verify("token is expired (Token Expiry: 1970-01-01 00:00:00 +0000 UTC)"),
    );
}

#[test]
fn only_the_issuers_keys_are_good() {
    let jwt = authenticator(json!({}));
    let good = rsa_token(&claims(json!({})));
    assert!(jwt.is_named_by(&good));
    assert!(!jwt.is_named_by(&rsa_token(&claims(json!({"iss": "https://other.example"})))));
    assert!(!jwt.is_named_by("abcdef.0123456789abcdef"));
    assert_eq!(jwt.user(&good, &rsa_set("other"), now()), Err(JwtError::Signature), "another kid");
    assert_eq!(jwt.user(&good, &KeySet::default(), now()), Err(JwtError::Signature));
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    let forged = format!("{signed}.{}", encode(&[7; 256]));
    assert_eq!(jwt.user(&forged, &rsa_set("k"), now()), Err(JwtError::Signature));
    let unsigned = token("none", &claims(json!({})), |_| Vec::new());
    assert_eq!(jwt.user(&unsigned, &rsa_set("k"), now()), Err(JwtError::Algorithm("none".to_owned())));
    let symmetric = token("HS256", &claims(json!({})), |_| vec![0; 32]);
    assert_eq!(jwt.user(&symmetric, &rsa_set("k"), now()), Err(JwtError::Algorithm("HS256".to_owned())));
}

#[test]
fn every_curve_and_padding_is_known() {
    let jwt = authenticator(json!({}));
    for (algorithm, padding) in [("PS256", &signature::RSA_PSS_SHA256), ("PS512", &signature::RSA_PSS_SHA512)]
    {
        let token = token(algorithm, &claims(json!({})), |input| {
            let mut out = vec![0; rsa().public_modulus_len()];
            rsa().sign(padding, &SystemRandom::new(), input, &mut out).expect("signed");
            out
        });
        assert!(jwt.user(&token, &rsa_set("k"), now()).is_ok(), "{algorithm}");
    }
    for (algorithm, curve, scheme, bytes) in [
        ("ES256", "P-256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING, 32),
        ("ES384", "P-384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING, 48),
        ("ES512", "P-521", &signature::ECDSA_P521_SHA512_FIXED_SIGNING, 66),
    ] {
        let pair = EcdsaKeyPair::generate(scheme).expect("a key");
        let point = pair.public_key().as_ref();
        let (x, y) = (encode(&point[1..=bytes]), encode(&point[1 + bytes..]));
        let set = json!({"keys": [{"kty": "EC", "crv": curve, "kid": "k", "x": x, "y": y}]});
        let keys = KeySet::parse(set.to_string().as_bytes()).expect("a key set");
        let sign = |input: &[u8]| pair.sign(&SystemRandom::new(), input).expect("signed").as_ref().to_vec();
        let good = token(algorithm, &claims(json!({})), sign);
        assert!(jwt.user(&good, &keys, now()).is_ok(), "{algorithm}");
        let other = if algorithm == "ES256" { "ES384" } else { "ES256" };
        let crossed = token(other, &claims(json!({})), sign);
        assert_eq!(jwt.user(&crossed, &keys, now()), Err(JwtError::Signature), "{other} with {curve}");
    }
}
