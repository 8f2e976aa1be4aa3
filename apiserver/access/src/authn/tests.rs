//! Credentials in headers, and acting as somebody else.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::impersonation::{Impersonation, wanted};
use super::*;
use crate::bootstrap;
use crate::chain::Authorizer;
use crate::node::Relations;
use crate::rbac::{Attributes, Index};
use crate::tokens::{BoundTo, Claims, DEFAULT_ISSUER, Key, Reference, Signer, Stored};

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: HeaderName = name.parse().expect("a name");
        headers.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    headers
}

#[test]
fn tokens_are_found_where_clients_put_them() {
    let check = |pairs: &[(&str, &str)], want: Result<Bearer, MalformedBearer>| {
        assert_eq!(bearer(&headers(pairs)), want, "{pairs:?}");
    };
    let token = |text: &str| Ok(Bearer::Token(text.to_owned()));
    check(&[], Ok(Bearer::None));
    check(&[("authorization", "")], Ok(Bearer::None));
    check(&[("authorization", "Basic eDp5")], Ok(Bearer::None));
    check(&[("authorization", "Bearer abc")], token("abc"));
    check(&[("authorization", " bearer abc more")], token("abc"));
    check(&[("authorization", "Bearer")], Ok(Bearer::None));
    check(&[("authorization", "Bearer  abc")], Ok(Bearer::None));
    let protocol = "base64url.bearer.authorization.k8s.io.YWJj";
    let both = format!("v5.channel.k8s.io, {protocol}");
    check(&[("upgrade", "websocket"), ("sec-websocket-protocol", &both)], token("abc"));
    check(&[("sec-websocket-protocol", &both)], Ok(Bearer::None));
    check(&[("upgrade", "websocket"), ("sec-websocket-protocol", protocol)], Err(MalformedBearer::Alone));
    let twice = format!("{both},{protocol}");
    check(&[("upgrade", "websocket"), ("sec-websocket-protocol", &twice)], Err(MalformedBearer::Multiple));

    let mut stripped = headers(&[("authorization", "Bearer abc"), ("sec-websocket-protocol", &both)]);
    strip(&mut stripped);
    assert_eq!(stripped, headers(&[("sec-websocket-protocol", "v5.channel.k8s.io")]));
}

/// The service account default/a and pod default/p, as long as they are there.
struct Objects {
    pod: bool,
}

impl BoundObjects for Objects {
    fn service_account(&self, _: &str, _: &str) -> Option<Stored> {
        Some(Stored { uid: "1".to_owned(), deleted: None })
    }
    fn pod(&self, _: &str, _: &str) -> Option<Stored> {
        self.pod.then(|| Stored { uid: "2".to_owned(), deleted: None })
    }
    fn secret(&self, _: &str, _: &str) -> Option<Stored> {
        None
    }
    fn node(&self, _: &str) -> Option<Stored> {
        None
    }
}

impl SecretObjects for Objects {
    fn whole_account(&self, _: &str, _: &str) -> Option<crate::Tree> {
        None
    }
    fn whole_secret(&self, namespace: &str, name: &str) -> Option<crate::Tree> {
        assert_eq!(namespace, BOOTSTRAP_NAMESPACE);
        let data = json!({
            "token-id": "YWJjZGVm",
            "token-secret": "MDEyMzQ1Njc4OWFiY2RlZg==",
            "usage-bootstrap-authentication": "dHJ1ZQ==",
        });
        let secret =
            json!({"type": "bootstrap.kubernetes.io/token", "metadata": {"name": name}, "data": data});
        (name == "bootstrap-token-abcdef").then_some(secret)
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn token(audience: &str) -> (Authenticator, String) {
    static PEM: OnceLock<String> = OnceLock::new();
    let pem = PEM.get_or_init(|| Key::generate().expect("a key").to_pem().expect("PEM"));
    let key = || Key::from_pem(pem.as_bytes()).expect("our own PEM");
    let reference = |name: &str, uid: &str| Reference { name: name.to_owned(), uid: uid.to_owned() };
    let claims = Claims {
        audiences: vec![audience.to_owned()],
        expires: at(600).as_second(),
        issued: at(0).as_second(),
        issuer: DEFAULT_ISSUER.to_owned(),
        id: "j".to_owned(),
        not_before: at(0).as_second(),
        namespace: "default".to_owned(),
        account: reference("a", "1"),
        bound: BoundTo::Pod { pod: reference("p", "2"), node: None },
        warn_after: None,
    };
    let verifier = Verifier::new(Signer::with_key(key()), DEFAULT_ISSUER, &[DEFAULT_ISSUER.to_owned()]);
    (Authenticator::new(verifier, Anonymous::default()), key().sign(&claims))
}

#[test]
fn a_request_is_somebody_nobody_or_refused() {
    let (authenticator, token) = token(DEFAULT_ISSUER);
    let ask = |authorization: &str, seconds: i64, pod: bool| {
        let headers = headers(&[("authorization", authorization)]);
        let credentials = Credentials { certificate: None, headers: &headers, path: "/api" };
        authenticator
            .authenticate(credentials, at(seconds), &Objects { pod })
            .map(|identified| identified.user.name.clone())
    };
    let bearer = format!("Bearer {token}");
    assert_eq!(ask("", 1, true), Ok("system:anonymous".to_owned()));
    assert_eq!(ask("Basic eDp5", 1, true), Ok("system:anonymous".to_owned()));
    assert_eq!(ask("Bearer garbage", 1, true), Err(VerifyError::NotOurs.into()));
    assert_eq!(ask("Bearer abcdef.0123456789abcdef", 1, true), Ok("system:bootstrap:abcdef".to_owned()));
    assert_eq!(ask("Bearer abcdef.0123456789abcdee", 1, true), Err(VerifyError::NotOurs.into()));
    assert_eq!(ask("Bearer abcdeg.0123456789abcdef", 1, true), Err(VerifyError::NotOurs.into()));
    assert_eq!(ask(&bearer, 1, true), Ok("system:serviceaccount:default:a".to_owned()));
    assert_eq!(ask(&bearer, 2, false), Err(VerifyError::Invalidated.into()), "at once, though remembered");
    assert_eq!(ask(&bearer, 3, true), Ok("system:serviceaccount:default:a".to_owned()));
    assert_eq!(ask(&bearer, 3600, true), Err(VerifyError::Expired.into()));
}

#[test]
fn a_certificate_comes_before_a_token() {
    let (authenticator, _) = token(DEFAULT_ISSUER);
    let authority = crate::pki::Authority::create("kubernetes", at(0)).expect("an authority");
    let ask = |certificate: &[u8]| {
        let headers = headers(&[("authorization", "Bearer garbage")]);
        let credentials = Credentials { certificate: Some(certificate), headers: &headers, path: "/api" };
        authenticator.authenticate(credentials, at(0), &Objects { pod: true })
    };
    let admin = authority.client("kubernetes-admin", Some("system:masters"), at(0)).expect("issued");
    assert!(ask(&admin.certificate).expect("a user").user.is_privileged());
    assert_eq!(ask(b"nonsense"), Err(Unauthorized::Certificate));
}

#[test]
fn a_token_review_says_who_or_why_not() {
    let (authenticator, ours) = token(DEFAULT_ISSUER);
    let (_, other) = token("b.example");
    let review = |token: &str, audiences: &[&str]| {
        let audiences: Vec<String> = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        let identified = authenticator.identify(token, &audiences, at(1), &Objects { pod: true });
        review_status(identified.map_err(|error| vec![error.to_string()]))
    };
    let good = review(&ours, &[]);
    assert_eq!(good["authenticated"], true);
    assert_eq!(good["audiences"], json!([DEFAULT_ISSUER]));
    assert_eq!(good["user"]["username"], "system:serviceaccount:default:a");
    assert_eq!(review(&other, &["b.example", "c.example"])["audiences"], json!(["b.example"]));
    let bootstrapper = review("abcdef.0123456789abcdef", &[]);
    assert_eq!(bootstrapper["audiences"], json!([DEFAULT_ISSUER]));
    assert_eq!(bootstrapper["user"]["groups"], json!(["system:bootstrappers", "system:authenticated"]));
    assert_eq!(review("abcdef.0123456789abcdef", &["b.example"])["authenticated"], json!(null));
    assert_eq!(review("garbage", &[]), json!({"user": {}, "error": "invalid bearer token"}));
    assert_eq!(
        review(&other, &[])["error"],
        r#"[invalid bearer token, token audiences ["b.example"] is invalid for the target audiences ["https://kubernetes.default.svc.cluster.local"]]"#,
    );
}

#[test]
fn a_signature_is_remembered_for_ten_seconds() {
    let cache = super::cache::Cache::default();
    let key = super::cache::key("t");
    let claims = Claims {
        audiences: Vec::new(),
        expires: 0,
        issued: 0,
        issuer: String::new(),
        id: String::new(),
        not_before: 0,
        namespace: String::new(),
        account: Reference::default(),
        bound: BoundTo::Account,
        warn_after: None,
    };
    cache.put(key, Arc::new(Checked::from(Signed::Bound(claims))), at(0));
    assert!(cache.get(&key, at(10)).is_some());
    assert!(cache.get(&key, at(10) + SignedDuration::from_millis(1)).is_none());
    assert!(cache.get(&key, at(-1)).is_none(), "the clock was set back");
    assert!(cache.get(&super::cache::key("u"), at(0)).is_none());
}

#[test]
fn impersonation_headers_name_a_user() {
    let check = |pairs: &[(&str, &str)], want: Result<Option<UserInfo>, &str>| {
        let got = wanted(&headers(pairs)).map_err(|error| error.to_string());
        assert_eq!(got, want.map_err(str::to_owned), "{pairs:?}");
    };
    check(&[], Ok(None));
    check(&[("Impersonate-User", "")], Ok(None));
    check(
        &[("Impersonate-Group", "g")],
        Err(
            r#"requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"g"}, Extra:map[string][]string(nil)} without impersonating a user name"#,
        ),
    );
    check(
        &[("Impersonate-Uid", "g")],
        Err(
            r#"requested &user.DefaultInfo{Name:"", UID:"g", Groups:[]string(nil), Extra:map[string][]string(nil)} without impersonating a user name"#,
        ),
    );
    check(
        &[("Impersonate-Extra-A", "g")],
        Err(
            r#"requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string(nil), Extra:map[string][]string{"a":[]string{"g"}}} without impersonating a user name"#,
        ),
    );
    let mut all = UserInfo::new("u1", &["g1"]);
    all.uid = "uid-1".to_owned();
    all.extra.insert("scopes".to_owned(), vec!["a".to_owned()]);
    all.extra.insert("acme.com/project".to_owned(), vec!["p".to_owned()]);
    let pairs = [
        ("Impersonate-User", "u1"),
        ("Impersonate-Group", "g1"),
        ("Impersonate-Uid", "uid-1"),
        ("Impersonate-Extra-Scopes", "a"),
        ("Impersonate-Extra-acme.com%2Fproject", "p"),
    ];
    check(&pairs, Ok(Some(all)));
    let mut left = headers(&pairs);
    left.append("accept", HeaderValue::from_static("x"));
    impersonation::strip(&mut left);
    assert_eq!(left, headers(&[("accept", "x")]));
}

/// A cluster where service account ns/default may impersonate users, accounts and one scope.
fn roles() -> Index {
    let mut index = Index::of(&bootstrap::objects());
    let rule = |group: &str, resource: &str, names: &[&str]| json!({"verbs": ["impersonate"], "apiGroups": [group], "resources": [resource], "resourceNames": names});
    index.upsert(&json!({
        "kind": "ClusterRole",
        "metadata": {"name": "imp"},
        "rules": [
            rule("", "users", &[]),
            rule("", "serviceaccounts", &[]),
            rule("authentication.k8s.io", "userextras/scopes", &["ok"]),
        ],
    }));
    index.upsert(&json!({
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "imp"},
        "roleRef": {"kind": "ClusterRole", "name": "imp"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "ns", "name": "default"}],
    }));
    index
}

#[test]
fn the_old_verb_allows_part_by_part() {
    let (index, graph, modes) = (roles(), Relations::default(), Impersonation::default());
    let requester = UserInfo::service_account("ns", "default", "1");
    let review = Attributes::resource("create", "authentication.k8s.io", "selfsubjectreviews");
    let check = |pairs: &[(&str, &str)], want: Result<&[&str], &str>| {
        let user = wanted(&headers(pairs)).expect("well-formed").expect("a user");
        let got = modes.impersonate(&Authorizer::new(&index, &graph), &requester, &user, &review);
        let got = got.map(|user| user.groups).map_err(|forbidden| forbidden.message);
        assert_eq!(
            got,
            want.map(|groups| groups.iter().map(|group| (*group).to_owned()).collect())
                .map_err(str::to_owned)
        );
    };
    let me = r#"User "system:serviceaccount:ns:default" cannot impersonate resource"#;
    check(&[("Impersonate-User", "u1")], Ok(&["system:authenticated"]));
    check(
        &[("Impersonate-User", "u1"), ("Impersonate-Group", "system:masters")],
        Err(&format!(
            r#"groups "system:masters" is forbidden: {me} "groups" in API group "" at the cluster scope"#
        )),
    );
    check(
        &[("Impersonate-User", "u1"), ("Impersonate-Uid", "7")],
        Err(&format!(
            r#"uids.authentication.k8s.io "7" is forbidden: {me} "uids" in API group "authentication.k8s.io" at the cluster scope"#
        )),
    );
    check(
        &[("Impersonate-User", "u1"), ("Impersonate-Extra-Scopes", "nope")],
        Err(&format!(
            r#"userextras.authentication.k8s.io "nope" is forbidden: {me} "userextras/scopes" in API group "authentication.k8s.io" at the cluster scope"#
        )),
    );
    check(&[("Impersonate-User", "u1"), ("Impersonate-Extra-Scopes", "ok")], Ok(&["system:authenticated"]));
    check(
        &[("Impersonate-User", "system:serviceaccount:x:y")],
        Ok(&["system:serviceaccounts", "system:serviceaccounts:x", "system:authenticated"]),
    );
    check(&[("Impersonate-User", "system:serviceaccount:x")], Ok(&["system:authenticated"]));
    check(&[("Impersonate-User", "system:anonymous")], Ok(&["system:unauthenticated"]));
}

#[test]
fn an_administrator_acts_as_anybody() {
    let (index, graph, modes) = (roles(), Relations::default(), Impersonation::default());
    let admin = UserInfo::authenticated("kubernetes-admin", &["system:masters"]);
    let check = |pairs: &[(&str, &str)], want: &[&str]| {
        let user = wanted(&headers(pairs)).expect("well-formed").expect("a user");
        let request = Attributes::path("get", "/api");
        let got =
            modes.impersonate(&Authorizer::new(&index, &graph), &admin, &user, &request).expect("allowed");
        assert_eq!(got.groups, want, "{pairs:?}");
    };
    check(&[("Impersonate-User", "u1"), ("Impersonate-Group", "g1")], &["g1", "system:authenticated"]);
    check(
        &[("Impersonate-User", "u1"), ("Impersonate-Group", "system:unauthenticated")],
        &["system:unauthenticated"],
    );
    check(
        &[("Impersonate-User", "u1"), ("Impersonate-Group", "system:masters")],
        &["system:masters", "system:authenticated"],
    );
    check(
        &[("Impersonate-User", "system:node:n1"), ("Impersonate-Group", "system:nodes")],
        &["system:nodes", "system:authenticated"],
    );
}

#[test]
fn a_narrow_right_holds_for_one_kind_of_request() {
    let mut index = Index::of(&bootstrap::objects());
    index.upsert(&json!({
        "kind": "ClusterRole",
        "metadata": {"name": "narrow"},
        "rules": [
            {"verbs": ["impersonate:arbitrary-node"], "apiGroups": ["authentication.k8s.io"], "resources": ["nodes"]},
            {"verbs": ["impersonate-on:arbitrary-node:list"], "apiGroups": [""], "resources": ["pods"]},
        ],
    }));
    index.upsert(&json!({
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "narrow"},
        "roleRef": {"kind": "ClusterRole", "name": "narrow"},
        "subjects": [{"kind": "User", "name": "alice"}],
    }));
    let (graph, modes) = (Relations::default(), Impersonation::default());
    let alice = UserInfo::authenticated("alice", &[]);
    let ask = |verb: &str| {
        let request = Attributes::resource(verb, "", "pods");
        let node = UserInfo::new("system:node:n1", &[]);
        modes.impersonate(&Authorizer::new(&index, &graph), &alice, &node, &request)
    };
    assert_eq!(ask("list").expect("allowed").groups, ["system:nodes", "system:authenticated"]);
    assert_eq!(
        ask("delete").expect_err("refused").message,
        r#"pods is forbidden: User "alice" cannot impersonate-on:arbitrary-node:delete resource "pods" in API group "" at the cluster scope"#,
    );
}
