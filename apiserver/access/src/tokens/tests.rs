//! Tokens there and back, and what is asked of a TokenRequest.

use std::collections::HashMap;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::request::{Bindable, Terms, check_names, grant, prepare};
use super::*;
use crate::Tree;

/// One key for all tests: making it is slow.
fn key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| Key::generate().expect("a key"))
}

fn signer() -> Signer {
    let pem = key().to_pem().expect("PEM");
    Signer::with_key(Key::from_pem(pem.as_bytes()).expect("our own PEM"))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn api() -> Vec<String> {
    vec![DEFAULT_ISSUER.to_owned()]
}

/// Objects by `kind/name`, with what the store says.
struct Objects(HashMap<&'static str, Stored>);

impl Objects {
    fn all() -> Objects {
        let names = ["sa/default", "pod/p", "secret/s", "node/n"];
        Objects(
            names
                .into_iter()
                .map(|name| (name, Stored { uid: format!("uid-{name}"), deleted: None }))
                .collect(),
        )
    }

    fn get(&self, key: &str) -> Option<Stored> {
        self.0.get(key).cloned()
    }
}

impl BoundObjects for Objects {
    fn service_account(&self, _: &str, name: &str) -> Option<Stored> {
        self.get(&format!("sa/{name}"))
    }
    fn pod(&self, _: &str, name: &str) -> Option<Stored> {
        self.get(&format!("pod/{name}"))
    }
    fn secret(&self, _: &str, name: &str) -> Option<Stored> {
        self.get(&format!("secret/{name}"))
    }
    fn node(&self, name: &str) -> Option<Stored> {
        self.get(&format!("node/{name}"))
    }
}

fn claims(bound: BoundTo) -> Claims {
    Claims {
        audiences: api(),
        expires: at(3600).as_second(),
        issued: at(0).as_second(),
        issuer: DEFAULT_ISSUER.to_owned(),
        id: "3f0c".to_owned(),
        not_before: at(0).as_second(),
        namespace: "ns".to_owned(),
        account: Reference { name: "default".to_owned(), uid: "uid-sa/default".to_owned() },
        bound,
        warn_after: None,
    }
}

fn reference(kind: &str, name: &str) -> Reference {
    Reference { name: name.to_owned(), uid: format!("uid-{kind}/{name}") }
}

#[test]
fn the_payload_has_upstream_s_layout() {
    let bound = BoundTo::Pod {
        pod: reference("pod", "p"),
        node: Some(Reference { name: "n".to_owned(), uid: String::new() }),
    };
    let token = key().sign(&Claims { warn_after: Some(7), ..claims(bound) });
    let parts: Vec<&str> = token.split('.').collect();
    let decode =
        |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("text");
    assert_eq!(decode(parts[0]), format!(r#"{{"alg":"RS256","kid":"{}"}}"#, key().id()));
    assert_eq!(
        decode(parts[1]),
        concat!(
            r#"{"aud":["https://kubernetes.default.svc.cluster.local"],"exp":1800003600,"iat":1800000000,"#,
            r#""iss":"https://kubernetes.default.svc.cluster.local","jti":"3f0c","#,
            r#""kubernetes.io":{"namespace":"ns","node":{"name":"n"},"pod":{"name":"p","uid":"uid-pod/p"},"#,
            r#""serviceaccount":{"name":"default","uid":"uid-sa/default"},"warnafter":7},"#,
            r#""nbf":1800000000,"sub":"system:serviceaccount:ns:default"}"#,
        ),
    );
    assert_eq!(key().id().len(), 43);
}

#[test]
fn a_token_comes_back_as_its_user() {
    let check = |bound: BoundTo, want: Value| {
        let verifier = Verifier::new(signer(), DEFAULT_ISSUER, &api());
        let token = key().sign(&claims(bound));
        let verified = verifier.verify(&token, &[], at(1), &Objects::all()).expect("good");
        assert_eq!(verified.audiences, api());
        let user = verified.claims.user();
        assert_eq!(user.name, "system:serviceaccount:ns:default");
        assert_eq!(user.uid, "uid-sa/default");
        assert_eq!(
            user.groups,
            ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]
        );
        let extra: Vec<(&str, &str)> =
            user.extra.iter().map(|(key, values)| (&key[29..], values[0].as_str())).collect();
        assert_eq!(json!(extra), want);
    };
    check(BoundTo::Account, json!([["credential-id", "JTI=3f0c"]]));
    check(BoundTo::Secret(reference("secret", "s")), json!([["credential-id", "JTI=3f0c"]]));
    check(
        BoundTo::Node(reference("node", "n")),
        json!([["credential-id", "JTI=3f0c"], ["node-name", "n"], ["node-uid", "uid-node/n"]]),
    );
    let unknown_node = Some(Reference { name: "gone".to_owned(), uid: String::new() });
    check(
        BoundTo::Pod { pod: reference("pod", "p"), node: unknown_node },
        json!([
            ["credential-id", "JTI=3f0c"],
            ["node-name", "gone"],
            ["pod-name", "p"],
            ["pod-uid", "uid-pod/p"]
        ]),
    );
}

#[test]
fn a_token_is_refused_for_what_is_wrong_with_it() {
    let verifier = Verifier::new(signer(), DEFAULT_ISSUER, &api());
    let check = |token: &str, now: Timestamp, objects: &Objects, want: &str| {
        let got = verifier.verify(token, &[], now, objects).map(|_| ());
        assert_eq!(got.map_err(|error| error.to_string()).err().unwrap_or_default(), want);
    };
    let all = Objects::all();
    let good = key().sign(&claims(BoundTo::Account));
    check(&good, at(0), &all, "");
    check(&good, at(3660), &all, "");
    check(&good, at(3661), &all, "service account token has expired");
    check(&good, at(-60), &all, "");
    check(&good, at(-61), &all, "service account token is not valid yet");
    check("garbage", at(0), &all, "invalid bearer token");
    check("eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.", at(0), &all, "invalid bearer token");

    let other = key().sign(&Claims { issuer: "https://other".to_owned(), ..claims(BoundTo::Account) });
    check(&other, at(0), &all, "invalid bearer token");
    let audience = key().sign(&Claims {
        audiences: vec!["a.example".into(), "b.example".into()],
        ..claims(BoundTo::Account)
    });
    check(
        &audience,
        at(0),
        &all,
        r#"token audiences ["a.example" "b.example"] is invalid for the target audiences ["https://kubernetes.default.svc.cluster.local"]"#,
    );

    // An unsigned token in our name, and one whose claims were changed after signing.
    let parts: Vec<&str> = good.split('.').collect();
    let none = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), parts[1]);
    check(&none, at(0), &all, "invalid bearer token");
    let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url")).expect("text");
    let forged = URL_SAFE_NO_PAD
        .encode(payload.replace("ns:default", "kube-system:default").replace("\"ns\"", "\"kube-system\""));
    check(
        &format!("{}.{forged}.{}", parts[0], parts[2]),
        at(0),
        &all,
        "go-jose/go-jose: error in cryptographic primitive",
    );
    let stranger = Key::generate().expect("a key").sign(&claims(BoundTo::Account));
    check(&stranger, at(0), &all, "invalid signature, no keys found");
}

#[test]
fn a_token_dies_with_what_it_is_bound_to() {
    let verifier = Verifier::new(signer(), DEFAULT_ISSUER, &api());
    let check = |bound: BoundTo, change: &dyn Fn(&mut Objects), want: &str| {
        let mut objects = Objects::all();
        change(&mut objects);
        let got = verifier.verify(&key().sign(&claims(bound)), &[], at(100), &objects).map(|_| ());
        assert_eq!(got.map_err(|error| error.to_string()).err().unwrap_or_default(), want);
    };
    let pod = || BoundTo::Pod { pod: reference("pod", "p"), node: None };
    let remove = |name: &'static str| move |objects: &mut Objects| drop(objects.0.remove(name));
    let replace = |name: &'static str| {
        move |objects: &mut Objects| objects.0.get_mut(name).expect("there").uid = "new".to_owned()
    };
    let delete = |name: &'static str, when: i64| {
        move |objects: &mut Objects| objects.0.get_mut(name).expect("there").deleted = Some(at(when))
    };
    check(BoundTo::Account, &remove("sa/default"), "serviceaccounts \"default\" not found");
    check(
        BoundTo::Account,
        &replace("sa/default"),
        "service account UID (new) does not match claim (uid-sa/default)",
    );
    check(BoundTo::Account, &delete("sa/default", 39), "service account ns/default has been deleted");
    check(BoundTo::Account, &remove("pod/p"), "");
    check(pod(), &remove("pod/p"), "service account token has been invalidated");
    check(pod(), &replace("pod/p"), "pod UID (new) does not match service account pod ref claim (uid-pod/p)");
    check(pod(), &delete("pod/p", 39), "service account token has been invalidated");
    check(pod(), &delete("pod/p", 41), "");
    check(
        BoundTo::Secret(reference("secret", "s")),
        &remove("secret/s"),
        "service account token has been invalidated",
    );
    check(
        BoundTo::Node(reference("node", "n")),
        &replace("node/n"),
        "node UID (new) does not match service account node ref claim (uid-node/n)",
    );
}

#[tokio::test]
async fn a_key_is_made_in_the_background_and_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("sa.key");
    let signer = Signer::load_or_generate(&path).expect("a signer");
    let made = signer.wait().await.expect("a key");
    assert!(signer.ready());
    let again = Signer::load_or_generate(&path).expect("a signer");
    assert!(again.ready(), "a saved key is there at once");
    assert_eq!(again.key().expect("a key").id(), made.id());
    std::fs::write(&path, "nonsense").expect("written");
    assert!(matches!(Signer::load_or_generate(&path), Err(SignerError::Malformed { .. })));
}

#[test]
fn discovery_documents() {
    let text = String::from_utf8(discovery::configuration(DEFAULT_ISSUER, "192.0.2.1:6443")).expect("text");
    assert_eq!(
        text,
        concat!(
            r#"{"issuer":"https://kubernetes.default.svc.cluster.local","jwks_uri":"https://192.0.2.1:6443/openid/v1/jwks","#,
            r#""response_types_supported":["id_token"],"subject_types_supported":["public"],"#,
            r#""id_token_signing_alg_values_supported":["RS256"]}"#,
        ),
    );
    let keys: Value = serde_json::from_slice(&discovery::jwks(key())).expect("JSON");
    let web_key = &keys["keys"][0];
    assert_eq!(web_key["e"], "AQAB");
    assert_eq!(web_key["kid"], key().id());
    assert_eq!(web_key["n"].as_str().map(str::len), Some(342));
}

struct Store;

impl Bindable for Store {
    fn pod(&self, _: &str, name: &str) -> Option<Tree> {
        (name == "holder").then(|| {
            json!({
                "metadata": {"name": "holder", "uid": "pod-uid"},
                "spec": {"serviceAccountName": "default", "nodeName": "n1"},
            })
        })
    }
    fn secret(&self, _: &str, _: &str) -> Option<Tree> {
        None
    }
    fn node(&self, _: &str) -> Option<Tree> {
        None
    }
}

/// What a TokenRequest with this spec for the account `name` gets.
fn ask(name: &str, spec: Value) -> Result<request::Grant, String> {
    let audiences = api();
    let terms = Terms { issuer: DEFAULT_ISSUER, audiences: &audiences, now: at(0), id: "j" };
    let account = json!({"metadata": {"namespace": "ns", "name": name, "uid": "sa-uid"}});
    let mut body = json!({"spec": spec});
    prepare(&mut body, &account, &terms).map_err(|error| error.to_string())?;
    assert_eq!(body["metadata"]["uid"], "sa-uid");
    grant(&body, &account, &Store, &terms).map_err(|error| error.to_string())
}

#[test]
fn a_request_gets_what_upstream_gives() {
    let holder = || json!({"kind": "Pod", "apiVersion": "v1", "name": "holder"});
    let check = |spec: Value, expires: i64, told: i64, warn: Option<i64>| {
        let grant = ask("default", spec).expect("granted");
        assert_eq!(grant.claims.expires, at(expires).as_second());
        assert_eq!(grant.expiration, at(0) + SignedDuration::from_secs(told));
        assert_eq!(grant.claims.warn_after, warn.map(|after| at(after).as_second()));
    };
    let year = 365 * 24 * 3600;
    check(json!({}), 3600, 3600, None);
    check(json!({"expirationSeconds": 600, "audiences": ["a"]}), 600, 600, None);
    check(json!({"expirationSeconds": 3607}), 3607, 3607, None);
    check(json!({"expirationSeconds": 3607, "boundObjectRef": holder()}), year, 3607, Some(3607));
    check(
        json!({"expirationSeconds": 3607, "boundObjectRef": holder(), "audiences": ["a"]}),
        3607,
        3607,
        None,
    );
    let bound = ask("default", json!({"boundObjectRef": holder()})).expect("granted").claims.bound;
    let node = Some(Reference { name: "n1".to_owned(), uid: String::new() });
    assert_eq!(
        bound,
        BoundTo::Pod { pod: Reference { name: "holder".to_owned(), uid: "pod-uid".to_owned() }, node }
    );
}

#[test]
fn a_request_is_refused_in_upstream_s_words() {
    let check = |name: &str, spec: Value, want: &str| assert_eq!(ask(name, spec).expect_err("refused"), want);
    let bound = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name, "uid": uid}});
    check(
        "default",
        json!({"expirationSeconds": 599}),
        "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
    );
    check(
        "default",
        json!({"expirationSeconds": 4_294_967_297_i64}),
        "spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
    );
    check("default", bound("ConfigMap", "x", ""), "cannot bind token to object of type /v1, Kind=ConfigMap");
    check("default", bound("Pod", "nope", ""), "pods \"nope\" not found");
    check("default", bound("Secret", "nope", ""), "secrets \"nope\" not found");
    check("default", bound("Node", "nope", ""), "nodes \"nope\" not found");
    check(
        "default",
        bound("Pod", "holder", "1111"),
        "Operation cannot be fulfilled on Pod \"holder\": the UID in the bound object reference (1111) does not match the UID in record. The object might have been deleted and then recreated",
    );
    check(
        "second",
        bound("Pod", "holder", ""),
        "cannot bind token for serviceaccount \"second\" to pod running with different serviceaccount name.",
    );
    let refused = check_names(&json!({"metadata": {"name": "other"}}), "ns", "default").expect_err("refused");
    assert_eq!(
        refused.to_string(),
        "metadata.name: Invalid value: \"other\": must match the service account name if specified"
    );
}

/// The Secret `ns/s` and the account `ns/a`, as a test changes them.
struct Kept {
    secret: Value,
    account: Value,
}

impl kept::SecretObjects for Kept {
    fn whole_secret(&self, namespace: &str, name: &str) -> Option<Tree> {
        ((namespace, name) == ("ns", "s") && !self.secret.is_null()).then(|| self.secret.clone())
    }
    fn whole_account(&self, namespace: &str, name: &str) -> Option<Tree> {
        ((namespace, name) == ("ns", "a") && !self.account.is_null()).then(|| self.account.clone())
    }
}

#[test]
fn a_kept_token_has_upstream_s_layout() {
    let account = Reference { name: "a".to_owned(), uid: "1".to_owned() };
    let payload = String::from_utf8(kept::SecretClaims::new("ns", &account, "s").payload()).expect("text");
    assert_eq!(
        payload,
        concat!(
            r#"{"iss":"kubernetes/serviceaccount","kubernetes.io/serviceaccount/namespace":"ns","#,
            r#""kubernetes.io/serviceaccount/secret.name":"s","#,
            r#""kubernetes.io/serviceaccount/service-account.name":"a","#,
            r#""kubernetes.io/serviceaccount/service-account.uid":"1","sub":"system:serviceaccount:ns:a"}"#,
        )
    );
}

#[test]
fn a_kept_token_is_good_while_its_secret_holds_it() {
    let account = Reference { name: "a".to_owned(), uid: "1".to_owned() };
    let token = key().sign_kept(&kept::SecretClaims::new("ns", &account, "s"));
    let check = |change: fn(&mut Kept), want: Result<bool, &str>| {
        let data = base64::engine::general_purpose::STANDARD.encode(&token);
        let mut objects = Kept {
            secret: json!({"metadata": {"labels": {kept::LAST_USED: "2026-01-01"}}, "data": {"token": data}}),
            account: json!({"metadata": {"uid": "1"}}),
        };
        change(&mut objects);
        let Ok(Signed::Kept(claims)) =
            Verifier::new(signer(), DEFAULT_ISSUER, &api()).check_signature(&token)
        else {
            panic!("one of ours")
        };
        let checked = claims.check(&token, &objects).map(|kept| kept.auto_generated);
        assert_eq!(checked.map_err(|error| error.to_string()), want.map_err(str::to_owned));
    };
    check(|_| {}, Ok(false));
    check(|objects| objects.account["secrets"] = json!([{"name": "s"}]), Ok(true));
    check(|objects| objects.secret = Value::Null, Err("Token has been invalidated"));
    check(
        |objects| objects.secret["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into(),
        Err("Token has been invalidated"),
    );
    check(
        |objects| objects.secret["data"]["token"] = "eA==".into(),
        Err("Token does not match server's copy"),
    );
    check(|objects| objects.account = Value::Null, Err("serviceaccounts \"a\" not found"));
    check(
        |objects| objects.account["metadata"]["uid"] = "2".into(),
        Err("ServiceAccount UID (2) does not match claim (1)"),
    );
    check(
        |objects| objects.account["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into(),
        Err("ServiceAccount ns/a has been deleted"),
    );
    check(
        |objects| objects.secret["metadata"]["labels"][kept::INVALID_SINCE] = "2025-01-01".into(),
        Err(
            "the token in secret ns/s for service account ns/a has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the 'kubernetes.io/legacy-token-invalid-since' label from the secret to temporarily allow use of this token",
        ),
    );
}

#[test]
fn a_kept_token_s_use_is_noted_once_a_day() {
    let kept = |last_used: &str| kept::Kept {
        namespace: "ns".to_owned(),
        name: "s".to_owned(),
        auto_generated: false,
        last_used: last_used.to_owned(),
    };
    let now: Timestamp = "2026-03-31T23:59:59Z".parse().expect("a time");
    assert_eq!(kept("").day_to_note(now).as_deref(), Some("2026-03-31"));
    assert_eq!(kept("2026-03-30").day_to_note(now).as_deref(), Some("2026-03-31"));
    assert_eq!(kept("2026-03-31").day_to_note(now), None);
    assert_eq!(kept("2026-04-01").day_to_note(now), None);
}
