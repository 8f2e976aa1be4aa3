//! Stored objects as the access rules ask for them, out of one pinned view.

use crate::catalog;
use crate::codec::Codec;
use crate::permissions::Snapshot;
use access::UserInfo;
use access::node::restriction;
use access::rbac::{Attributes, Decision};
use access::tokens::kept::SecretObjects;
use access::tokens::{BoundObjects, Stored, request::Bindable};
use mvcc::View;
use schema::Tree;

/// Reads objects of one view.
pub(crate) struct Objects<'a> {
    /// Opens stored bytes.
    pub(crate) codec: &'a Codec,
    /// The view.
    pub(crate) view: &'a View,
}

impl Objects<'_> {
    /// An object of the core group, resourceVersion included.
    pub(crate) fn core(&self, plural: &str, namespace: &str, name: &str) -> Option<Tree> {
        self.get("", plural, namespace, name)
    }

    /// An object of any group, resourceVersion included.
    pub(crate) fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Tree> {
        let kind = catalog::find(group, "v1", plural)?;
        let entry = self.view.find(&kind.stored_as, namespace, name)?;
        self.codec.tree(kind, entry, entry.revision).ok()
    }

    /// The objects of a resource in a namespace, by name.
    pub(crate) fn in_namespace(&self, group: &str, plural: &str, namespace: &str) -> Vec<Tree> {
        let Some(kind) = catalog::find(group, "v1", plural) else { return Vec::new() };
        let entries = self.view.list(&kind.stored_as, Some(namespace), None);
        entries.filter_map(|entry| self.codec.tree(kind, entry, entry.revision).ok()).collect()
    }

    /// The objects of a resource whose indexed attribute has a value.
    pub(crate) fn by_attribute(&self, group: &str, plural: &str, name: &str, value: &str) -> Vec<Tree> {
        let Some(kind) = catalog::find(group, "v1", plural) else { return Vec::new() };
        let entries = self.view.by_attribute(&kind.stored_as, name, value);
        entries.filter_map(|entry| self.codec.tree(kind, entry, entry.revision).ok()).collect()
    }

    /// Every object of a resource. For kinds of which a cluster has few.
    pub(crate) fn all(&self, group: &str, plural: &str) -> Vec<Tree> {
        let Some(kind) = catalog::find(group, "v1", plural) else { return Vec::new() };
        let entries = self.view.list(&kind.stored_as, None, None);
        entries.filter_map(|entry| self.codec.tree(kind, entry, entry.revision).ok()).collect()
    }

    /// The storage driver of a volume of a pod: its own, or that of the claim's volume.
    fn driver(&self, pod: &Tree, volume: &Tree) -> Option<String> {
        let text = |tree: &Tree| tree.as_str().map(str::to_owned);
        if let Some(driver) = text(&volume["csi"]["driver"]) {
            return Some(driver);
        }
        let (namespace, pod_name) = (text(&pod["metadata"]["namespace"])?, text(&pod["metadata"]["name"])?);
        let own = || {
            let name = volume["ephemeral"].is_object().then(|| text(&volume["name"])).flatten();
            name.map(|name| format!("{pod_name}-{name}"))
        };
        let claim = text(&volume["persistentVolumeClaim"]["claimName"]).or_else(own)?;
        let claim = self.core("persistentvolumeclaims", &namespace, &claim)?;
        let volume = self.core("persistentvolumes", "", claim["spec"]["volumeName"].as_str()?)?;
        text(&volume["spec"]["csi"]["driver"])
    }

    fn stored(&self, plural: &str, namespace: &str, name: &str) -> Option<Stored> {
        let kind = catalog::find("", "v1", plural)?;
        let entry = self.view.find(&kind.stored_as, namespace, name)?;
        let deleted = self.codec.deleted(&entry.object).ok()?;
        Some(Stored { uid: entry.object.uid.as_ref().to_owned(), deleted })
    }
}

impl BoundObjects for Objects<'_> {
    fn service_account(&self, namespace: &str, name: &str) -> Option<Stored> {
        self.stored("serviceaccounts", namespace, name)
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<Stored> {
        self.stored("pods", namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Stored> {
        self.stored("secrets", namespace, name)
    }

    fn node(&self, name: &str) -> Option<Stored> {
        self.stored("nodes", "", name)
    }
}

impl SecretObjects for Objects<'_> {
    fn whole_secret(&self, namespace: &str, name: &str) -> Option<Tree> {
        self.core("secrets", namespace, name)
    }

    fn whole_account(&self, namespace: &str, name: &str) -> Option<Tree> {
        self.core("serviceaccounts", namespace, name)
    }
}

impl Bindable for Objects<'_> {
    fn pod(&self, namespace: &str, name: &str) -> Option<Tree> {
        self.core("pods", namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Tree> {
        self.core("secrets", namespace, name)
    }

    fn node(&self, name: &str) -> Option<Tree> {
        self.core("nodes", "", name)
    }
}

/// The same, with the permissions of the moment, for what nodes may write.
pub(crate) struct Restricted<'a> {
    /// The objects.
    pub(crate) objects: Objects<'a>,
    /// The permissions.
    pub(crate) permissions: &'a Snapshot,
}

impl restriction::Objects for Restricted<'_> {
    fn pod(&self, namespace: &str, name: &str) -> Option<Tree> {
        self.objects.core("pods", namespace, name)
    }

    fn node(&self, name: &str) -> Option<Tree> {
        self.objects.core("nodes", "", name)
    }

    fn driver_audiences(&self, pod: &Tree) -> Vec<String> {
        let volumes = pod["spec"]["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let drivers = volumes.iter().filter_map(|volume| self.objects.driver(pod, volume));
        let wanted = drivers.filter_map(|name| {
            let driver = self.objects.get("storage.k8s.io", "csidrivers", "", &name)?;
            driver["spec"]["tokenRequests"].as_array().cloned()
        });
        let audience = |request: Tree| request["audience"].as_str().map(str::to_owned);
        wanted.flatten().filter_map(audience).collect()
    }

    fn authorize(&self, user: &UserInfo, attributes: &Attributes) -> Decision {
        self.permissions.authorizer().authorize(user, attributes)
    }
}
