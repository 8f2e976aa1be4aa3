//! The life of one object of every served kind: created, read in every encoding, updated, patched in three ways, applied and
//! deleted, each step in JSON, YAML and protobuf where they differ. The objects are those of the recorded requests that
//! upstream accepted, so a kind that comes to be served is lived through without a line here.

use access::tokens::Signer;
use access::{UserInfo, groups};
use apiserver::{ApiServer, Config, Local};
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use kinds::{Resource, Strategy};
use raft_store::{Options, Seams, Store};
use schema::Schema;
use serde_json::{Value, json};
use tests::recorded::{self, Collection, Created};
use tower::ServiceExt;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// Objects of a kind that are tried until one can be created here: some need others that are not there.
const TRIES_MAX: usize = 8;

/// An answer.
struct Reply {
    code: u16,
    media: String,
    bytes: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}

/// One object and where it is served.
struct Specimen<'a> {
    client: &'a Local,
    kind: &'static dyn Strategy,
    schema: &'static Schema,
    collection: String,
    name: String,
}

/// What went wrong, in words.
type Step<T> = Result<T, String>;

impl Specimen<'_> {
    fn resource(&self) -> &'static Resource {
        self.kind.resource()
    }

    fn has(&self, verb: &str) -> bool {
        self.resource().verbs.iter().any(|known| known == verb)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection, self.name)
    }

    async fn ask(&self, method: &str, path: &str, headers: (&str, &str), body: Vec<u8>) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("accept", headers.0)
            .header("content-type", headers.1)
            .body(Body::from(body))
            .expect("a request");
        let reply = self.client.clone().oneshot(request).await.expect("the service never fails");
        let code = reply.status().as_u16();
        let media = reply.headers().get("content-type").and_then(|media| media.to_str().ok());
        let media = media.unwrap_or_default().to_owned();
        let bytes = reply.into_body().collect().await.expect("a whole body").to_bytes();
        Reply { code, media, bytes }
    }

    /// Asks and insists on a code.
    async fn must(
        &self,
        code: u16,
        method: &str,
        path: &str,
        headers: (&str, &str),
        body: Vec<u8>,
    ) -> Step<Reply> {
        let reply = self.ask(method, path, headers, body).await;
        if reply.code == code {
            return Ok(reply);
        }
        let text = String::from_utf8_lossy(&reply.bytes);
        Err(format!("{method} {path} as {}: {} {text}", headers.1, reply.code))
    }

    async fn read(&self) -> Step<Value> {
        Ok(self.must(200, "GET", &self.path(), (JSON, JSON), Vec::new()).await?.json())
    }

    fn as_protobuf(&self, tree: &Value) -> Step<Vec<u8>> {
        let raw = schema::protobuf::encode(&self.schema.name, tree).map_err(|error| error.to_string())?;
        Ok(schema::protobuf::wrap(&self.resource().api_version(), &self.resource().kind, &raw))
    }

    fn read_protobuf(&self, reply: &Reply) -> Step<Value> {
        same("media type", &json!(reply.media), &json!(PROTOBUF))?;
        let envelope = schema::protobuf::unwrap(&reply.bytes).map_err(|error| error.to_string())?;
        let mut tree =
            schema::protobuf::decode(&self.schema.name, envelope.raw).map_err(|error| error.to_string())?;
        tree["apiVersion"] = envelope.api_version.into();
        tree["kind"] = envelope.kind.into();
        // A message says empty texts and zeros that JSON leaves out.
        schema::decode::conform(self.schema, &mut tree).map_err(|error| error.to_string())?;
        Ok(tree)
    }

    async fn live(&self, body: &Value) -> Step<()> {
        self.create(body).await?;
        self.read_in_every_encoding().await?;
        if self.has("update") {
            self.update().await?;
        }
        if self.has("patch") {
            self.patch().await?;
            self.apply().await?;
        }
        if self.has("delete") {
            let reply = self.ask("DELETE", &self.path(), (JSON, JSON), Vec::new()).await;
            if !matches!(reply.code, 200 | 202) {
                return Err(format!("DELETE: {} {}", reply.code, reply.json()));
            }
        }
        Ok(())
    }

    /// In protobuf as a dry run, in JSON for good: both answer with the same object.
    async fn create(&self, body: &Value) -> Step<()> {
        let dry = format!("{}?dryRun=All", self.collection);
        let reply = self.must(201, "POST", &dry, (PROTOBUF, PROTOBUF), self.as_protobuf(body)?).await?;
        let dry = self.read_protobuf(&reply)?;
        let reply = self.must(201, "POST", &self.collection, (JSON, JSON), encoded(body)).await?;
        let mut created = reply.json();
        // What is drawn at random or counted differs.
        let mut dry = dry;
        for tree in [&mut dry, &mut created] {
            let metadata = tree["metadata"].as_object_mut().ok_or("no metadata")?;
            for drawn in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
                metadata.remove(drawn);
            }
            strip_drawn(tree);
        }
        same("protobuf and JSON create", &dry, &created)
    }

    async fn read_in_every_encoding(&self) -> Step<()> {
        let plain = self.read().await?;
        let reply = self.must(200, "GET", &self.path(), (PROTOBUF, JSON), Vec::new()).await?;
        let message = self.read_protobuf(&reply)?;
        same("protobuf", &message, &plain)?;
        let again = self.as_protobuf(&message)?;
        let ours = schema::protobuf::unwrap(&again).map_err(|error| error.to_string())?.raw;
        let theirs = schema::protobuf::unwrap(&reply.bytes).map_err(|error| error.to_string())?.raw;
        if ours != theirs {
            return Err("protobuf is encoded otherwise the second time".to_owned());
        }
        let reply = self.must(200, "GET", &self.path(), (YAML, JSON), Vec::new()).await?;
        let (document, duplicates) = schema::decode::yaml(&reply.bytes).map_err(|error| error.to_string())?;
        same("YAML", &document, &plain)?;
        same("keys that stand twice", &json!(duplicates), &json!([]))?;
        let table = self.must(200, "GET", &self.path(), (TABLE, JSON), Vec::new()).await?.json();
        let (columns, cells) = (&table["columnDefinitions"], &table["rows"][0]["cells"]);
        same("rows", &json!(table["rows"].as_array().map(Vec::len)), &json!(1))?;
        // Upstream prints an age of addresses that no column names.
        let unnamed = usize::from(self.resource().kind == "IPAddress");
        let named = columns.as_array().map(|columns| columns.len() + unnamed);
        same("cells", &json!(cells.as_array().map(Vec::len)), &json!(named))?;
        same("the row's object", &table["rows"][0]["object"]["metadata"], &plain["metadata"])?;
        let partial = self.must(200, "GET", &self.path(), (PARTIAL, JSON), Vec::new()).await?.json();
        let wanted = json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": plain["metadata"],
        });
        same("metadata alone", &partial, &wanted)?;
        self.list(&plain).await
    }

    async fn list(&self, plain: &Value) -> Step<()> {
        if !self.has("list") {
            return Ok(());
        }
        let selected = format!("{}?fieldSelector=metadata.name%3D{}", self.collection, self.name);
        let list = self.must(200, "GET", &selected, (JSON, JSON), Vec::new()).await?.json();
        let mut item = list["items"][0].clone();
        item["kind"] = plain["kind"].clone();
        item["apiVersion"] = plain["apiVersion"].clone();
        same("the list's item", &item, plain)?;
        let reply = self.must(200, "GET", &selected, (PROTOBUF, JSON), Vec::new()).await?;
        let resource = self.resource();
        let name = format!("{}List", resource.kind);
        let definition = schema::kind(&resource.group, &resource.version, &name).ok_or("no list kind")?;
        let raw = schema::protobuf::unwrap(&reply.bytes).map_err(|error| error.to_string())?.raw;
        let mut message =
            schema::protobuf::decode(&definition.name, raw).map_err(|error| error.to_string())?;
        schema::decode::conform(definition, &mut message).map_err(|error| error.to_string())?;
        same("the protobuf list's items", &message["items"], &list["items"])
    }

    /// A label in each encoding; what changes nothing keeps the revision.
    async fn update(&self) -> Step<()> {
        for media in [JSON, YAML, PROTOBUF] {
            let mut tree = self.read().await?;
            tree["metadata"]["labels"]["life/update"] = media.rsplit(['/', '.']).next().into();
            let body = if media == PROTOBUF { self.as_protobuf(&tree)? } else { encoded(&tree) };
            self.must(200, "PUT", &self.path(), (JSON, media), body).await?;
            let changed = self.read().await?;
            same("label", &changed["metadata"]["labels"], &tree["metadata"]["labels"])?;
            let body = if media == PROTOBUF { self.as_protobuf(&changed)? } else { encoded(&changed) };
            let kept = self.must(200, "PUT", &self.path(), (JSON, media), body).await?.json();
            let at = |tree: &Value| tree["metadata"]["resourceVersion"].clone();
            same("revision after no change", &at(&kept), &at(&changed))?;
        }
        Ok(())
    }

    async fn patch(&self) -> Step<()> {
        let annotate = |key: &str| json!({"metadata": {"annotations": {key: "1"}}});
        let patches = [
            ("application/merge-patch+json", "life/merge", annotate("life/merge")),
            ("application/strategic-merge-patch+json", "life/strategic", annotate("life/strategic")),
            (
                "application/json-patch+json",
                "life/json",
                json!([{"op": "add", "path": "/metadata/annotations/life~1json", "value": "1"}]),
            ),
        ];
        for (media, key, patch) in patches {
            self.must(200, "PATCH", &self.path(), (JSON, media), encoded(&patch)).await?;
            let changed = self.read().await?;
            same(media, &changed["metadata"]["annotations"][key], &json!("1"))?;
        }
        Ok(())
    }

    async fn apply(&self) -> Step<()> {
        let path = format!("{}?fieldManager=life", self.path());
        let configuration = json!({
            "apiVersion": self.resource().api_version(),
            "kind": self.resource().kind,
            "metadata": {"name": self.name, "labels": {"life/applied": "1"}},
        });
        let media = "application/apply-patch+yaml";
        self.must(200, "PATCH", &path, (JSON, media), encoded(&configuration)).await?;
        let applied = self.read().await?;
        same("applied label", &applied["metadata"]["labels"]["life/applied"], &json!("1"))?;
        let managers = applied["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let is_owner = |entry: &Value| entry["manager"] == "life" && entry["operation"] == "Apply";
        same("owner by apply", &json!(managers.iter().any(is_owner)), &json!(true))?;
        // Applied again without the label, which nobody else wants.
        let mut less = configuration;
        less["metadata"]["labels"] = json!({});
        self.must(200, "PATCH", &path, (JSON, media), encoded(&less)).await?;
        let given_up = self.read().await?;
        same("label given up", &given_up["metadata"]["labels"]["life/applied"], &Value::Null)
    }
}

fn encoded(tree: &Value) -> Vec<u8> {
    tree.to_string().into_bytes()
}

/// Addresses, ports, the volume of a pod's token and what carries the uid are another's for every object.
fn strip_drawn(tree: &mut Value) {
    if tree["kind"] == "Service" {
        for drawn in ["clusterIP", "clusterIPs", "healthCheckNodePort"] {
            tree["spec"][drawn].take();
        }
        for port in tree["spec"]["ports"].as_array_mut().into_iter().flatten() {
            port["nodePort"].take();
        }
    }
    let Value::String(text) = tree else {
        match tree {
            Value::Array(items) => items.iter_mut().for_each(strip_drawn),
            Value::Object(fields) => fields.values_mut().for_each(strip_drawn),
            _ => {}
        }
        return;
    };
    let is_volume = text.starts_with("kube-api-access-");
    let is_time = text.parse::<jiff::Timestamp>().is_ok();
    let is_uid = text.len() == 36 && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if is_volume || is_time || is_uid {
        "<drawn>".clone_into(text);
    }
}

/// Equal, when what is empty counts as absent: protobuf knows no empty lists, and Go prints many of them as null.
fn same(what: &str, got: &Value, wanted: &Value) -> Step<()> {
    let (got, wanted) = (bare(got), bare(wanted));
    if got == wanted { Ok(()) } else { Err(format!("{what}: {got}\n  not {wanted}")) }
}

fn bare(tree: &Value) -> Value {
    let is_empty = |tree: &Value| match tree {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    match tree {
        Value::Array(items) => items.iter().map(bare).collect(),
        Value::Object(fields) => {
            let kept = fields.iter().map(|(key, value)| (key.clone(), bare(value)));
            kept.filter(|(_, value)| !is_empty(value)).collect::<serde_json::Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// Lives one of the bodies through. The last failure when none can be created.
async fn live(
    client: &Local,
    kind: &'static dyn Strategy,
    collection: &Collection,
    bodies: &[Created],
) -> Step<()> {
    let resource = kind.resource();
    let schema = schema::kind(&resource.group, &resource.version, &resource.kind).ok_or("no schema")?;
    let mut last = "no recorded request creates one".to_owned();
    for Created { namespace, body } in bodies.iter().take(TRIES_MAX) {
        let collection = collection.path(if resource.namespaced { namespace } else { "" });
        let mut body = body.clone();
        body["apiVersion"] = resource.api_version().into();
        body["kind"] = resource.kind.as_str().into();
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let specimen = Specimen { client, kind, schema, collection, name };
        if resource.namespaced {
            settle(&specimen, namespace).await;
        }
        let dry = format!("{}?dryRun=All", specimen.collection);
        match specimen.must(201, "POST", &dry, (JSON, JSON), encoded(&body)).await {
            Err(why) => last = why,
            Ok(_) if specimen.name.is_empty() => "its name is generated".clone_into(&mut last),
            Ok(_) => return specimen.live(&body).await,
        }
    }
    Err(format!("nothing of this kind can be created: {last}"))
}

/// A namespace with what the controllers would make in it, unless another kind made them.
async fn settle(specimen: &Specimen<'_>, namespace: &str) {
    let body = json!({"metadata": {"name": namespace}});
    specimen.ask("POST", "/api/v1/namespaces", (JSON, JSON), encoded(&body)).await;
    let account = json!({"metadata": {"name": "default"}});
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    specimen.ask("POST", &path, (JSON, JSON), encoded(&account)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_lives_in_every_encoding() {
    let store = Store::open(Options::in_memory(), Seams::system()).await.expect("a memory store opens");
    let api = ApiServer::new(Config::new(Signer::generate()), store.clone());
    api.bootstrap().await;
    let client = api.local(UserInfo::authenticated("admin", &[groups::MASTERS]), "life/1");
    let corpus = recorded::created();
    let mut faults = Vec::new();
    let mut lived = 0;
    let has = |kind: &&dyn Strategy, verb: &str| kind.resource().verbs.iter().any(|known| known == verb);
    // Reviews are answered and not kept, ComponentStatuses are only read.
    let kept = kinds::all().iter().copied().filter(|kind| has(kind, "create") && has(kind, "get"));
    for kind in kept {
        let resource = kind.resource();
        let (group, version) = (resource.group.clone(), resource.version.clone());
        let collection = Collection { group, version, plural: resource.plural.clone() };
        let bodies = corpus.get(&collection).map(Vec::as_slice).unwrap_or_default();
        match live(&client, kind, &collection, bodies).await {
            Ok(()) => lived += 1,
            Err(fault) => faults.push(format!("{} {}: {fault}", resource.api_version(), resource.kind)),
        }
    }
    println!("{lived} kinds");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    api.stop();
    store.shutdown().await;
}
