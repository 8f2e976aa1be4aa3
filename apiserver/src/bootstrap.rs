//! What every cluster has from its first minute: system namespaces, bootstrap
//! roles, the range of service addresses, the `kubernetes` Service with its
//! endpoints, the objects of priority and fairness. Creates what is absent and
//! puts back what a shipped role or binding has lost; never takes away or
//! changes what somebody added.

use crate::admission::service_addresses;
use crate::catalog::{self, Kind};
use crate::context::{Context, Warnings};
use crate::empties::SentEmpty;
use crate::flow_objects;
use crate::options::{FieldValidation, WriteOptions};
use crate::query::Query;
use crate::registry;
use crate::request_info::RequestInfo;
use crate::server::Inner;
use crate::status::{ApiError, ApiResult};
use access::bootstrap::{Reconciled, reconcile};
use access::{UserInfo, groups, users};
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Method};
use kinds::flowcontrol::bootstrap as flow;
use kinds::networking::service_cidr;
use kinds::tree;
use mvcc::{Entry, Key, Operation, Outcome, Precondition, Revision, Transaction};
use schema::Tree;
use serde_json::json;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Objects created at the same time: enough to share the log's flushes, few enough to leave room for requests.
const CONCURRENT_MAX: usize = 64;
/// Milliseconds between tries while no leader takes proposals.
const RETRY_MS: u64 = 50;
/// The Service that leads to the servers, and its endpoints.
const SERVICE: &str = "kubernetes";
/// The ConfigMap that tells since when the use of kept tokens is noted.
const TOKEN_TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";

/// Creates everything: namespaces first, then what lives in them.
pub(crate) async fn run(server: &Arc<Inner>) {
    let mut first = access::bootstrap::namespaces();
    first.extend(service_range(server));
    let mut objects = access::bootstrap::objects();
    objects.push(authentication_config(server));
    objects.push(token_tracking(server));
    objects.extend(kubernetes_service(server));
    objects.extend(server.config.bootstrap_objects.iter().cloned());
    objects.extend(kinds::scheduling::priorityclass::system_objects());
    objects.extend(flow_objects::shipped());
    let addresses = missing_addresses(server).await;
    for stage in [first, addresses, objects] {
        futures::stream::iter(stage)
            .for_each_concurrent(CONCURRENT_MAX, |object| ensure(server, object))
            .await;
    }
}

/// The servers' own endpoints, as they were when they were brought up to date: who looks again and sees the same has
/// nothing to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Endpoints {
    advertised: Vec<IpAddr>,
    revisions: [Option<Revision>; 3],
}

impl Endpoints {
    fn now(server: &Inner) -> Self {
        let view = server.store.view();
        let stored = |resource: &str| view.find(resource, "default", SERVICE).map(|entry| entry.revision);
        Self {
            advertised: (server.config.advertised)(),
            revisions: ["services", "endpoints", "endpointslices.discovery.k8s.io"].map(stored),
        }
    }
}

/// Brings the servers' own endpoints up to date, unless nothing has changed since they were `seen`.
pub(crate) async fn advertise(server: &Arc<Inner>, seen: &mut Option<Endpoints>) {
    let now = Endpoints::now(server);
    if seen.as_ref() == Some(&now) {
        return;
    }
    for object in kubernetes_service(server) {
        ensure(server, object).await;
    }
    // What was written meanwhile, here or by others, is looked at next time.
    *seen = Some(now);
}

/// Services of an older data folder have addresses without an object.
async fn missing_addresses(server: &Inner) -> Vec<Tree> {
    while !server.stopping.is_cancelled() {
        match server.store.linearizable().await {
            Ok(view) => return service_addresses::missing(&server.codec, &view),
            Err(_) => tokio::time::sleep(Duration::from_millis(RETRY_MS)).await,
        }
    }
    Vec::new()
}

/// The range that addresses of Services come from.
fn service_range(server: &Inner) -> Option<Tree> {
    let ranges = &server.config.service_cidrs;
    let cidrs: Vec<String> = ranges.iter().map(|(base, length)| format!("{base}/{length}")).collect();
    (!cidrs.is_empty()).then(|| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
            "metadata": {"name": service_cidr::DEFAULT},
            "spec": {"cidrs": cidrs},
        })
    })
}

/// Creates an object unless it is there, however long the store takes to find its leader.
pub(crate) async fn ensure(server: &Arc<Inner>, object: Tree) {
    while !server.stopping.is_cancelled() {
        match create(server, object.clone()).await {
            Ok(()) => return,
            Err(ApiError::AlreadyExists { .. } | ApiError::BeingDeleted { .. }) => return,
            Err(ApiError::Unavailable(_) | ApiError::Timeout(_)) => {
                tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
            }
            Err(error) => {
                let name = tree::str_at(&object, "metadata.name");
                tracing::error!(%name, %error, "a bootstrap object could not be created");
                return;
            }
        }
    }
}

async fn create(server: &Arc<Inner>, mut object: Tree) -> ApiResult<()> {
    let (group, version) = split(tree::str_at(&object, "apiVersion"));
    let word = tree::str_at(&object, "kind").to_owned();
    let kind = catalog::all().iter().find(|kind| {
        kind.resource.kind == word && kind.resource.group == group && kind.resource.version == version
    });
    let Some(kind) = kind else { return Ok(()) };
    let context = context(server, kind, &object);
    let key = Key::new(
        kind.stored_as.clone(),
        tree::str_at(&object, "metadata.namespace"),
        tree::str_at(&object, "metadata.name"),
    );
    schema::decode::conform(kind.schema, &mut object)
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    schema::default::apply(kind.schema, &mut object);
    kind.strategy.default(&mut object);
    if let Some(entry) = server.store.view().get(&key) {
        let stored = server.codec.tree(kind, &entry, entry.revision)?;
        match completed(kind, stored, &object) {
            Reconciled::Keep => return Ok(()),
            Reconciled::Update(tree) => {
                let operation = Operation::Put(server.codec.object(kind, key, &tree)?);
                return replace(server, &entry, operation).await;
            }
            Reconciled::Recreate(_) => replace(server, &entry, Operation::Delete(key)).await?,
        }
    }
    let field_manager = if group == flow_objects::GROUP { flow::FIELD_MANAGER } else { "" }.to_owned();
    let options = WriteOptions { dry_run: false, field_manager, validation: FieldValidation::Ignore };
    registry::create_tree(&context, kind, object, &options).await.map(drop)
}

/// What to do about an object that is there. The servers' own endpoints follow their addresses, and roles and bindings
/// get back what they lack; everything else stays as somebody left it.
fn completed(kind: &Kind, mut stored: Tree, shipped: &Tree) -> Reconciled {
    let parts: &[&str] = match kind.resource.plural.as_str() {
        "clusterroles" | "clusterrolebindings" | "roles" | "rolebindings" => {
            return reconcile(&stored, shipped);
        }
        "endpoints" => &["subsets"],
        "endpointslices" => &["endpoints", "ports"],
        "configmaps" if tree::str_at(shipped, "metadata.name") == TOKEN_TRACKING => {
            if says_since_when(&stored) {
                return Reconciled::Keep;
            }
            &["data"]
        }
        "flowschemas" | "prioritylevelconfigurations" => {
            let revised = flow::of(shipped).and_then(|shipped| flow::revised(&stored, shipped));
            return revised.map_or(Reconciled::Keep, Reconciled::Update);
        }
        _ => return Reconciled::Keep,
    };
    if parts.iter().all(|part| tree::same_at(&stored, shipped, part)) {
        return Reconciled::Keep;
    }
    parts.iter().for_each(|part| tree::carry_over(&mut stored, shipped, part));
    Reconciled::Update(stored)
}

/// Writes over, or deletes, what was read.
pub(crate) async fn replace(server: &Inner, entry: &Entry, operation: Operation) -> ApiResult<()> {
    let transaction = Transaction {
        preconditions: vec![Precondition::AtRevision(entry.object.key.clone(), entry.revision)],
        operations: vec![operation],
        fence: None,
    };
    match server.store.propose(transaction).await {
        Ok(Outcome::Applied { .. }) => Ok(()),
        Ok(Outcome::Refused { .. }) => {
            Err(ApiError::Unavailable("written by another server meanwhile".into()))
        }
        Err(error) => Err(ApiError::Unavailable(error.to_string())),
    }
}

fn split(api_version: &str) -> (String, String) {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    (group.to_owned(), version.to_owned())
}

/// A request of the server to itself.
fn context(server: &Arc<Inner>, kind: &Kind, object: &Tree) -> Context {
    let namespace = tree::str_at(object, "metadata.namespace").to_owned();
    let info = RequestInfo {
        is_resource: true,
        verb: "create".into(),
        group: kind.resource.group.clone(),
        version: kind.resource.version.clone(),
        in_namespace: !namespace.is_empty(),
        namespace,
        resource: kind.resource.plural.clone(),
        ..RequestInfo::default()
    };
    let mut headers = HeaderMap::new();
    headers.insert(http::header::USER_AGENT, HeaderValue::from_static("kube-apiserver"));
    Context {
        server: server.clone(),
        method: Method::POST,
        info: Arc::new(info),
        query: Query::default(),
        accept: crate::context::accept(&headers),
        headers,
        user: Arc::new(UserInfo::authenticated(users::APISERVER, &[groups::MASTERS])),
        fence: None,
        upgrade: None,
        beginning: None,
        warnings: Warnings::default(),
        empties: SentEmpty::default(),
        sent: OnceLock::new(),
        now: crate::clock::now(&server.seams),
    }
}

/// Where extension servers learn whom to trust.
fn authentication_config(server: &Inner) -> Tree {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {"client-ca-file": server.config.authority_pem},
    })
}

/// From which day on it is noted when a token that is kept in a Secret is used.
fn token_tracking(server: &Inner) -> Tree {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": TOKEN_TRACKING, "namespace": "kube-system"},
        "data": {"since": crate::clock::now(&server.seams).strftime("%Y-%m-%d").to_string()},
    })
}

/// Whether the tracking's day is one.
fn says_since_when(stored: &Tree) -> bool {
    jiff::civil::Date::strptime("%Y-%m-%d", tree::str_at(stored, "data.since")).is_ok()
}

/// The Service under which the cluster reaches its servers, its Endpoints and its EndpointSlice.
fn kubernetes_service(server: &Inner) -> Vec<Tree> {
    let config = &server.config;
    let Some(address) = config.service_cidrs.first().and_then(|(base, _)| first_address(*base)) else {
        return Vec::new();
    };
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": "default", "labels": labels},
        "spec": {
            "clusterIP": address, "clusterIPs": [address], "type": "ClusterIP", "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": config.port}],
        },
    })];
    let advertised = (config.advertised)();
    if advertised.is_empty() {
        return objects;
    }
    let mirror = "endpointslice.kubernetes.io/skip-mirror";
    let addresses: Vec<String> = advertised.iter().map(ToString::to_string).collect();
    let list: Vec<Tree> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    objects.push(json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": SERVICE, "namespace": "default", "labels": {mirror: "true"}},
        "subsets": [{"addresses": list, "ports": [{"name": "https", "port": config.port, "protocol": "TCP"}]}],
    }));
    let family = if advertised[0].is_ipv4() { "IPv4" } else { "IPv6" };
    objects.push(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": SERVICE, "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": family,
        "endpoints": [{"addresses": addresses, "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": config.port, "protocol": "TCP"}],
    }));
    objects
}

/// The first address of a range after its base.
fn first_address(base: IpAddr) -> Option<String> {
    Some(match base {
        IpAddr::V4(ip) => IpAddr::from(u32::from(ip).checked_add(1)?.to_be_bytes()).to_string(),
        IpAddr::V6(ip) => IpAddr::from(u128::from(ip).checked_add(1)?.to_be_bytes()).to_string(),
    })
}
