//! Who uses a claim, a volume or a class, and what that means for its finalizer.

use serde_json::{Value, json};

pub(super) const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
pub(super) const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";
pub(super) const CLASS_FINALIZER: &str = "kubernetes.io/vac-protection";

/// What an object needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    /// It stays and has no finalizer.
    Hold,
    /// It is to go and waits for the finalizer.
    Release,
}

pub(super) fn need(object: &Value, finalizer: &str) -> Need {
    let deleting = !object["metadata"]["deletionTimestamp"].is_null();
    let held = finalizers(object).any(|have| have == finalizer);
    match (deleting, held) {
        (true, true) => Need::Release,
        (false, false) => Need::Hold,
        _ => Need::Nothing,
    }
}

pub(super) fn held(object: &Value, finalizer: &str) -> Value {
    let mut object = object.clone();
    let all: Vec<String> = finalizers(&object).chain([finalizer]).map(str::to_owned).collect();
    object["metadata"]["finalizers"] = json!(all);
    object
}

pub(super) fn released(object: &Value, finalizer: &str) -> Value {
    let mut object = object.clone();
    let rest: Vec<String> =
        finalizers(&object).filter(|have| *have != finalizer).map(str::to_owned).collect();
    object["metadata"]["finalizers"] = json!(rest);
    object
}

fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Whether a pod has the claim mounted or may yet mount it. Pods without a node cannot: a claim that is to go starts none.
pub(super) fn pod_uses(pod: &Value, claim: &Value) -> bool {
    if pod["spec"]["nodeName"].as_str().unwrap_or("").is_empty() {
        return false;
    }
    let name = &claim["metadata"]["name"];
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.into_iter().any(|volume| {
        volume["persistentVolumeClaim"]["claimName"] == *name
            || (!volume["ephemeral"].is_null() && !is_shut_down(pod) && is_made_for(pod, volume, claim))
    })
}

/// Whether the claim was made for this volume of this pod.
fn is_made_for(pod: &Value, volume: &Value, claim: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let name = format!("{}-{}", text(&pod["metadata"]["name"]), text(&volume["name"]));
    let owners = claim["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    claim["metadata"]["name"] == name
        && owners
            .into_iter()
            .any(|owner| owner["controller"] == true && owner["uid"] == pod["metadata"]["uid"])
}

/// Whether nothing of the pod runs any more, and it only waits to be removed.
fn is_shut_down(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null() && pod["metadata"]["deletionGracePeriodSeconds"] == 0
}

pub(super) fn is_bound(volume: &Value) -> bool {
    volume["status"]["phase"] == "Bound"
}

/// Whether a claim or volume has, had or is changing to a class.
pub(super) fn has_class(user: &Value, class: &str) -> bool {
    let status = &user["status"];
    [
        &user["spec"]["volumeAttributesClassName"],
        &status["currentVolumeAttributesClassName"],
        &status["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
    ]
    .into_iter()
    .any(|name| name == class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finalizer_holds_what_stays_and_is_taken_from_what_goes() {
        let object = |deleting: bool, finalizers: Value| {
            let mut object = json!({"metadata": {"finalizers": finalizers}});
            if deleting {
                object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            object
        };
        for (deleting, finalizers, wanted) in [
            (false, json!([]), Need::Hold),
            (false, json!(["f"]), Need::Nothing),
            (true, json!(["other", "f"]), Need::Release),
            (true, json!(["other"]), Need::Nothing),
        ] {
            assert_eq!(need(&object(deleting, finalizers.clone()), "f"), wanted, "{deleting} {finalizers}");
        }
        assert_eq!(
            released(&object(true, json!(["other", "f"])), "f")["metadata"]["finalizers"],
            json!(["other"])
        );
        assert_eq!(
            held(&object(false, json!(["other"])), "f")["metadata"]["finalizers"],
            json!(["other", "f"])
        );
    }

    #[test]
    fn only_pods_on_a_node_use_a_claim() {
        let claim = json!({"metadata": {"name": "c"}});
        let pod = |node: &str, claim: &str| json!({"spec": {"nodeName": node, "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]}});
        assert!(pod_uses(&pod("n", "c"), &claim));
        assert!(!pod_uses(&pod("", "c"), &claim));
        assert!(!pod_uses(&pod("n", "d"), &claim));
    }

    #[test]
    fn a_claim_made_for_a_pod_is_used_until_the_pod_is_shut_down() {
        let claim =
            json!({"metadata": {"name": "p-v", "ownerReferences": [{"uid": "u", "controller": true}]}});
        let mut pod = json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"nodeName": "n", "volumes": [{"name": "v", "ephemeral": {}}]}});
        assert!(pod_uses(&pod, &claim));
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        assert!(!pod_uses(&pod, &claim));
        let other =
            json!({"metadata": {"name": "p-v", "ownerReferences": [{"uid": "x", "controller": true}]}});
        assert!(!pod_uses(&pod, &other));
    }

    #[test]
    fn a_class_is_used_by_who_has_it_or_changes_to_it() {
        let check = |user: Value, used: bool| assert_eq!(has_class(&user, "c"), used, "{user}");
        check(json!({}), false);
        check(json!({"spec": {"volumeAttributesClassName": "c"}}), true);
        check(json!({"status": {"currentVolumeAttributesClassName": "c"}}), true);
        check(json!({"status": {"modifyVolumeStatus": {"targetVolumeAttributesClassName": "c"}}}), true);
    }
}
