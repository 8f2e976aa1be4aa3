//! The verbs of the API over JSON trees, on a `kube` client given from outside.
//!
//! Controllers write whole trees and small patches of many kinds, so the typed
//! `kube::Api` would cost a decode and an encode for nothing.

use http::Request;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metadata::Metadata;
use crate::resource::{Resource, push_segment};

/// Asks for `PartialObjectMetadata` instead of the object.
pub(crate) const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// Asks for `PartialObjectMetadataList` instead of the list.
pub(crate) const METADATA_ONLY_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// An object of which only the metadata was asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PartialObject {
    /// Its metadata.
    pub metadata: Metadata,
}

/// A list of some view.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    /// Position of the list.
    #[serde(default)]
    pub metadata: ListMetadata,
    /// The objects; Go prints an empty list as null at times.
    #[serde(default = "Option::default")]
    pub items: Option<Vec<T>>,
}

/// `metadata` of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMetadata {
    /// Position of the list.
    pub resource_version: String,
    /// How many objects follow those on this page.
    pub remaining_item_count: u64,
}

/// How a patch document is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 7386.
    Merge,
    /// Kubernetes' own, which knows list keys.
    Strategic,
}

/// Options of a delete.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteOptions {
    /// `Background`, `Foreground` or `Orphan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_policy: Option<&'static str>,
    /// Seconds the object may take to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
    /// What must hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preconditions: Option<Preconditions>,
}

/// What must hold for a delete.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preconditions {
    /// Uid the object must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Resource version the object must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// Deletes only the object with this uid.
    pub fn of(uid: &str) -> DeleteOptions {
        DeleteOptions {
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteOptions::default()
        }
    }
}

/// The API's verbs.
#[derive(Clone)]
pub struct Client {
    inner: kube::Client,
}

impl Client {
    /// Wraps a client; identity and transport are its business.
    pub fn new(inner: kube::Client) -> Client {
        Client { inner }
    }

    pub(crate) fn inner(&self) -> &kube::Client {
        &self.inner
    }

    /// Reads one object.
    pub async fn get<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<T, kube::Error> {
        self.inner.request(request("GET", &resource.path(namespace, name, ""), None, Vec::new())).await
    }

    /// Reads the metadata of one object.
    pub async fn get_metadata(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<PartialObject, kube::Error> {
        let path = resource.path(namespace, name, "");
        self.inner.request(request("GET", &path, Some(METADATA_ONLY), Vec::new())).await
    }

    /// Reads any path, for discovery.
    pub async fn get_path<T: DeserializeOwned>(&self, path: &str) -> Result<T, kube::Error> {
        self.inner.request(request("GET", path, None, Vec::new())).await
    }

    /// Lists the metadata of a collection.
    pub async fn list_metadata(
        &self,
        resource: &Resource,
        namespace: &str,
    ) -> Result<List<PartialObject>, kube::Error> {
        let path = resource.path(namespace, "", "");
        self.inner.request(request("GET", &path, Some(METADATA_ONLY_LIST), Vec::new())).await
    }

    /// Lists a collection.
    pub async fn list<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        query: &[(&str, &str)],
    ) -> Result<List<T>, kube::Error> {
        let path = with_query(resource.path(namespace, "", ""), query);
        self.inner.request(request("GET", &path, None, Vec::new())).await
    }

    /// Creates an object, or a subresource object such as a binding, and reads the metadata it got.
    pub async fn create(
        &self,
        resource: &Resource,
        place: (&str, &str, &str),
        object: &Value,
    ) -> Result<PartialObject, kube::Error> {
        self.send("POST", resource, place, object).await
    }

    /// Creates an object, or asks for a review, and reads all of what it has become.
    pub async fn create_whole(
        &self,
        resource: &Resource,
        place: (&str, &str, &str),
        object: &Value,
    ) -> Result<Value, kube::Error> {
        self.send("POST", resource, place, object).await
    }

    /// Replaces an object or one of its subresources, and reads the metadata it got.
    pub async fn update(
        &self,
        resource: &Resource,
        place: (&str, &str, &str),
        object: &Value,
    ) -> Result<PartialObject, kube::Error> {
        self.send("PUT", resource, place, object).await
    }

    /// Replaces an object or one of its subresources, and reads all of what it has become.
    pub async fn update_whole(
        &self,
        resource: &Resource,
        place: (&str, &str, &str),
        object: &Value,
    ) -> Result<Value, kube::Error> {
        self.send("PUT", resource, place, object).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        resource: &Resource,
        (namespace, name, subresource): (&str, &str, &str),
        object: &Value,
    ) -> Result<T, kube::Error> {
        let path = resource.path(namespace, name, subresource);
        self.inner.request(request(method, &path, None, encode(object))).await
    }

    /// Patches an object or one of its subresources, and reads the metadata it got.
    pub async fn patch(
        &self,
        resource: &Resource,
        (namespace, name, subresource): (&str, &str, &str),
        kind: PatchKind,
        patch: &Value,
    ) -> Result<PartialObject, kube::Error> {
        let content_type = match kind {
            PatchKind::Merge => "application/merge-patch+json",
            PatchKind::Strategic => "application/strategic-merge-patch+json",
        };
        let path = resource.path(namespace, name, subresource);
        self.send_patch(&path, content_type, patch).await
    }

    /// Applies what `manager` wants of a cluster-scoped or namespaced object, and takes over what another one owns of it.
    pub async fn apply(
        &self,
        resource: &Resource,
        (namespace, name): (&str, &str),
        manager: &str,
        object: &Value,
    ) -> Result<PartialObject, kube::Error> {
        let query = [("fieldManager", manager), ("force", "true")];
        let path = with_query(resource.path(namespace, name, ""), &query);
        self.send_patch(&path, "application/apply-patch+yaml", object).await
    }

    async fn send_patch(
        &self,
        path: &str,
        content_type: &'static str,
        patch: &Value,
    ) -> Result<PartialObject, kube::Error> {
        let mut request = request("PATCH", path, None, encode(patch));
        let value = http::HeaderValue::from_static(content_type);
        request.headers_mut().insert(http::header::CONTENT_TYPE, value);
        self.inner.request(request).await
    }

    /// Deletes one object.
    pub async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Value, kube::Error> {
        let path = resource.path(namespace, name, "");
        self.inner.request(request("DELETE", &path, None, encode(&typed(options)))).await
    }

    /// Deletes every object of a collection.
    pub async fn delete_collection(
        &self,
        resource: &Resource,
        namespace: &str,
        options: &DeleteOptions,
    ) -> Result<Value, kube::Error> {
        let path = resource.path(namespace, "", "");
        self.inner.request(request("DELETE", &path, None, encode(&typed(options)))).await
    }
}

/// A query string behind a path.
pub(crate) fn with_query(mut path: String, query: &[(&str, &str)]) -> String {
    for (index, (name, value)) in query.iter().enumerate() {
        path.push(if index == 0 { '?' } else { '&' });
        path.push_str(name);
        path.push('=');
        push_segment(&mut path, value);
    }
    path
}

pub(crate) fn request(method: &str, path: &str, accept: Option<&str>, body: Vec<u8>) -> Request<Vec<u8>> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::ACCEPT, accept.unwrap_or("application/json"));
    if !body.is_empty() {
        builder = builder.header(http::header::CONTENT_TYPE, "application/json");
    }
    builder.body(body).expect("method, escaped path and headers are well-formed")
}

fn typed(options: &DeleteOptions) -> Value {
    let mut value = serde_json::to_value(options).expect("options are plain data");
    value["apiVersion"] = "v1".into();
    value["kind"] = "DeleteOptions".into();
    value
}

fn encode(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a tree always encodes")
}
