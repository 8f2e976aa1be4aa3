//! Signs the kubeconfig in `kube-public/cluster-info` with every token that may sign, so that whoever knows a token can
//! read the ConfigMap as anybody and still know that it is the cluster's.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use runtime::{Cache, Client, Key, Next, Queue, Reconcile, failure};
use serde_json::json;

use super::secret::{NAMESPACE, TokenSecret};
use crate::views::{ConfigMap, Whole};
use crate::{House, resources};

const PUBLIC: &str = "kube-public";
const NAME: &str = "cluster-info";
const CONTENT: &str = "kubeconfig";
const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

struct Signer {
    client: Client,
    secrets: Cache<TokenSecret>,
    maps: Cache<Whole<ConfigMap>>,
}

pub(super) fn start(house: &mut House<'_>, secrets: &Cache<TokenSecret>, maps: &Cache<Whole<ConfigMap>>) {
    let queue = Queue::<Key>::new();
    let map_key = || Key::new(PUBLIC, NAME);
    let (by_map, by_secret) = (queue.clone(), queue.clone());
    maps.on_change(move |change| {
        if change.new.is_some_and(|map| map.metadata.key() == map_key()) {
            by_map.add(map_key());
        }
    });
    secrets.on_change(move |_| by_secret.add(map_key()));
    let controller = Arc::new(Signer {
        client: house.client("bootstrap-signer"),
        secrets: secrets.clone(),
        maps: maps.clone(),
    });
    let (secrets, maps) = (secrets.clone(), maps.clone());
    house.work(controller, queue, 1, async move {
        secrets.synced().await;
        maps.synced().await;
    });
}

impl Reconcile for Signer {
    type Key = Key;

    fn name(&self) -> &'static str {
        "bootstrap-signer"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let Some(map) = self.maps.get(key) else { return Ok(Next::Change) };
        let secrets = self.secrets.in_namespace(NAMESPACE);
        let Some(data) = plan(&map.data, &secrets, Timestamp::now()) else { return Ok(Next::Change) };
        let mut tree = map.tree.clone();
        tree["data"] = json!(data);
        match self.client.update(&resources::CONFIG_MAPS, (PUBLIC, NAME, ""), &tree).await {
            Err(error) if !failure::is_overtaken(&error) => Err(error),
            _ => Ok(Next::Change),
        }
    }
}

/// The data with the signatures it should have; `None` when it has them, or nothing to sign.
fn plan(
    data: &BTreeMap<String, String>,
    secrets: &[Arc<TokenSecret>],
    now: Timestamp,
) -> Option<BTreeMap<String, String>> {
    let content = data.get(CONTENT)?;
    let mut wanted: BTreeMap<String, String> = data
        .iter()
        .filter(|(key, _)| !key.starts_with(SIGNATURE_PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for (id, secret) in secrets.iter().filter_map(|secret| secret.signing(now)) {
        wanted.insert(format!("{SIGNATURE_PREFIX}{id}"), signature(content, &id, &secret));
    }
    (wanted != *data).then_some(wanted)
}

/// A JWS without its payload, which stands beside it (RFC 7515, appendix F).
fn signature(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"HS256\",\"kid\":{}}}", json!(id)));
    let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, input.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::super::secret::tests::{now, secret};
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// Computed by another implementation of RFC 7515.
    #[test]
    fn a_signature_has_no_payload() {
        assert_eq!(
            signature("apiVersion: v1\nkind: Config\n", "abcdef", "0123456789abcdef"),
            "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..vH_kT4yiol-nrAWgjfCYqvum5wsKETXe0S7OOp1VgnE",
        );
    }

    #[test]
    fn signatures_come_and_go_with_their_tokens() {
        let token = "token-secret=0123456789abcdef usage-bootstrap-signing=true";
        let good = Arc::new(secret(&format!("bootstrap-token-abcdef token-id=abcdef {token}")));
        let unsigned = map(&[("kubeconfig", "x"), ("other", "y")]);
        let signed = plan(&unsigned, std::slice::from_ref(&good), now()).expect("a signature is missing");
        assert_eq!(signed.keys().collect::<Vec<_>>(), ["jws-kubeconfig-abcdef", "kubeconfig", "other"]);
        assert_eq!(plan(&signed, std::slice::from_ref(&good), now()), None);
        assert_eq!(plan(&signed, &[], now()), Some(unsigned.clone()), "its token is gone");
        assert_eq!(plan(&unsigned, &[], now()), None);
        assert_eq!(
            plan(&map(&[("other", "y")]), std::slice::from_ref(&good), now()),
            None,
            "nothing to sign"
        );
        let mut changed = signed.clone();
        changed.insert("kubeconfig".to_owned(), "z".to_owned());
        let again = plan(&changed, &[good], now()).expect("another content");
        assert_ne!(again["jws-kubeconfig-abcdef"], signed["jws-kubeconfig-abcdef"]);
    }
}
