//! Publishes the certificates that verify the API server, as a ConfigMap in every namespace.

use std::collections::BTreeMap;
use std::sync::Arc;

use runtime::{Cache, Client, Key, Next, Queue, Reconcile, Source, View as _, failure};
use serde_json::{Value, json};

use crate::views::{ConfigMap, Namespace, Whole};
use crate::{House, resources};

const NAME: &str = "kube-root-ca.crt";
const DATA_KEY: &str = "ca.crt";
const ANNOTATION: &str = "kubernetes.io/description";
/// Text of the annotation; clients see it, so it is upstream's.
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

struct RootCa {
    client: Client,
    namespaces: Cache<Namespace>,
    published: Cache<Whole<ConfigMap>>,
    pem: String,
}

/// What to do about one namespace.
#[derive(Debug, PartialEq)]
enum Action {
    Nothing,
    Create(Value),
    Update(Value),
}

fn plan(namespace: &Namespace, published: Option<&Whole<ConfigMap>>, pem: &str) -> Action {
    if !namespace.active() {
        return Action::Nothing;
    }
    let Some(published) = published else {
        return Action::Create(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": NAME, "annotations": { ANNOTATION: DESCRIPTION } },
            "data": { DATA_KEY: pem },
        }));
    };
    let data = BTreeMap::from([(DATA_KEY.to_owned(), pem.to_owned())]);
    let described = published.metadata.annotations.get(ANNOTATION).is_some_and(|text| !text.is_empty());
    if published.data == data && described {
        return Action::Nothing;
    }
    let mut tree = published.tree.clone();
    tree["data"] = json!(data);
    tree["metadata"]["annotations"][ANNOTATION] = DESCRIPTION.into();
    Action::Update(tree)
}

pub(crate) fn start(house: &mut House<'_>, namespaces: &Cache<Namespace>, pem: String) {
    let queue = Queue::<Key>::new();
    let published = Cache::<Whole<ConfigMap>>::new();
    let added = queue.clone();
    namespaces.on_change(move |change| {
        if let Some(namespace) = change.new {
            added.add(namespace.metadata().key());
        }
    });
    let touched = queue.clone();
    published.on_change(move |change| {
        touched.add(Key::new("", change.latest().metadata.namespace.clone()));
    });
    house.follow(&published, Source::selected(&resources::CONFIG_MAPS, "metadata.name=kube-root-ca.crt"));
    let controller = Arc::new(RootCa {
        client: house.client("root-ca-cert-publisher"),
        namespaces: namespaces.clone(),
        published: published.clone(),
        pem,
    });
    let namespaces = namespaces.clone();
    house.work(controller, queue, 1, async move {
        namespaces.synced().await;
        published.synced().await;
    });
}

impl Reconcile for RootCa {
    type Key = Key;

    fn name(&self) -> &'static str {
        "root-ca-cert-publisher"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let Some(namespace) = self.namespaces.get(key) else { return Ok(Next::Change) };
        let published = self.published.get(&Key::new(key.name.clone(), NAME));
        let maps = &resources::CONFIG_MAPS;
        let answer = match plan(&namespace, published.as_deref(), &self.pem) {
            Action::Nothing => return Ok(Next::Change),
            Action::Create(tree) => self.client.create(maps, (&key.name, "", ""), &tree).await,
            Action::Update(tree) => self.client.update(maps, (&key.name, NAME, ""), &tree).await,
        };
        match answer {
            Err(error) if !failure::is_overtaken(&error) => Err(error),
            _ => Ok(Next::Change),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(phase: &str) -> Namespace {
        serde_json::from_value(json!({ "metadata": { "name": "a" }, "status": { "phase": phase } })).unwrap()
    }

    fn published(data: Value, annotations: Value) -> Whole<ConfigMap> {
        let tree = json!({ "metadata": { "name": NAME, "namespace": "a", "annotations": annotations }, "data": data });
        serde_json::from_value(tree).unwrap()
    }

    #[test]
    fn missing_is_created_only_while_active() {
        assert!(matches!(plan(&namespace("Active"), None, "PEM"), Action::Create(_)));
        assert_eq!(plan(&namespace("Terminating"), None, "PEM"), Action::Nothing);
    }

    #[test]
    fn edits_are_undone_but_another_description_stays() {
        let fine = published(json!({ "ca.crt": "PEM" }), json!({ ANNOTATION: "mine" }));
        assert_eq!(plan(&namespace("Active"), Some(&fine), "PEM"), Action::Nothing);
        let extra = published(json!({ "ca.crt": "PEM", "x": "y" }), json!({ ANNOTATION: "mine" }));
        let Action::Update(tree) = plan(&namespace("Active"), Some(&extra), "PEM") else {
            panic!("no update")
        };
        assert_eq!(tree["data"], json!({ "ca.crt": "PEM" }));
        let bare = published(json!({ "ca.crt": "PEM" }), json!({}));
        let Action::Update(tree) = plan(&namespace("Active"), Some(&bare), "PEM") else {
            panic!("no update")
        };
        assert_eq!(tree["metadata"]["annotations"][ANNOTATION], DESCRIPTION);
    }
}
