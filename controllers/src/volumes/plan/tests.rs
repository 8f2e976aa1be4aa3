//! Which volume a claim gets, and what becomes of either, as tables.

use super::*;

/// `NAME SIZE [WORD=VALUE]...`; the words are `class`, `phase`, `modes`, `ref` (a claim's `namespace/name` or
/// `namespace/name/uid`), `mode` and `policy`.
fn volume(text: &str) -> Value {
    let mut words = text.split_whitespace();
    let (name, size) = (words.next().expect("a name"), words.next().expect("a size"));
    let mut volume = json!({
        "metadata": {"name": name},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"]},
        "status": {"phase": "Available"},
    });
    for word in words {
        match word.split_once('=').expect("a word with a value") {
            ("class", class) => set(&mut volume, "spec.storageClassName", class),
            ("phase", phase) => set(&mut volume, "status.phase", phase),
            ("mode", mode) => set(&mut volume, "spec.volumeMode", mode),
            ("policy", policy) => set(&mut volume, "spec.persistentVolumeReclaimPolicy", policy),
            ("modes", modes) => {
                set(&mut volume, "spec.accessModes", json!(modes.split(',').collect::<Vec<_>>()));
            }
            ("ref", reference) => {
                let parts: Vec<&str> = reference.split('/').collect();
                let uid = parts.get(2).copied().unwrap_or("");
                let reference = json!({"namespace": parts[0], "name": parts[1], "uid": uid});
                set(&mut volume, "spec.claimRef", reference);
            }
            (word, _) => panic!("{word} is no word"),
        }
    }
    volume
}

fn claim(size: &str, class: &str) -> Value {
    json!({
        "metadata": {"namespace": "n", "name": "c", "uid": "u", "resourceVersion": "5"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": class},
        "status": {"phase": "Pending"},
    })
}

fn step(claim: &Value, volumes: &[&str], classes: &[Value]) -> String {
    let volumes: Vec<Value> = volumes.iter().map(|text| volume(text)).collect();
    let trees: Vec<&Value> = volumes.iter().collect();
    match claim_step(claim, &Around { volumes: &trees, classes }) {
        ClaimStep::Bind(name) => format!("bind {name}"),
        ClaimStep::Write(..) => "write".to_owned(),
        ClaimStep::Wait(None) => "wait".to_owned(),
        ClaimStep::Wait(Some(said)) => format!("wait {}", said.reason),
        ClaimStep::Lost(said) => format!("lost {}", said.reason),
    }
}

#[test]
fn a_claim_gets_the_smallest_volume_that_fits() {
    let check = |volumes: &[&str], expected: &str| {
        assert_eq!(step(&claim("2Gi", ""), volumes, &[]), expected, "{volumes:?}");
    };
    check(&[], "wait FailedBinding");
    check(&["a 1Gi"], "wait FailedBinding");
    check(&["a 5Gi", "b 3Gi", "c 4Gi"], "bind b");
    check(&["a 2Gi modes=ReadOnlyMany"], "wait FailedBinding");
    check(&["a 2Gi modes=ReadWriteOnce,ReadOnlyMany", "b 3Gi"], "bind b");
    check(&["a 2Gi class=x"], "wait FailedBinding");
    check(&["a 2Gi phase=Released"], "wait FailedBinding");
    check(&["a 2Gi mode=Block"], "wait FailedBinding");
    check(&["a 2Gi ref=n/other", "b 9Gi ref=n/c", "c 2Gi"], "bind b");
    check(&["a 2Gi ref=n/c/other-uid"], "wait FailedBinding");
}

#[test]
fn a_claim_that_names_its_volume_waits_for_that_one() {
    let mut claim = claim("2Gi", "");
    set(&mut claim, "spec.volumeName", "v");
    let check = |volume: &str, expected: &str| assert_eq!(step(&claim, &[volume], &[]), expected, "{volume}");
    check("w 5Gi", "wait");
    check("v 5Gi", "bind v");
    check("v 5Gi ref=n/c", "bind v");
    check("v 5Gi ref=n/c/u", "bind v");
    check("v 5Gi ref=n/d", "wait FailedBinding");
    check("v 1Gi", "wait VolumeMismatch");
    check("v 5Gi class=x", "wait VolumeMismatch");
}

#[test]
fn a_bound_claim_keeps_its_volume_or_has_lost_it() {
    let mut claim = claim("1Gi", "");
    annotate(&mut claim, COMPLETED, "yes");
    assert_eq!(step(&claim, &[], &[]), "lost ClaimLost");
    set(&mut claim, "spec.volumeName", "v");
    assert_eq!(step(&claim, &[], &[]), "lost ClaimLost");
    assert_eq!(step(&claim, &["v 1Gi ref=n/c/u"], &[]), "bind v");
    assert_eq!(step(&claim, &["v 1Gi ref=n/d/x"], &[]), "lost ClaimMisbound");
}

#[test]
fn classes_say_who_makes_a_volume_and_when() {
    let class = |provisioner: &str, mode: &str| json!({"metadata": {"name": "x"}, "provisioner": provisioner, "volumeBindingMode": mode});
    let check = |class: Value, expected: &str| {
        assert_eq!(step(&claim("1Gi", "x"), &[], std::slice::from_ref(&class)), expected, "{class}");
    };
    assert_eq!(step(&claim("1Gi", "x"), &[], &[]), "wait ProvisioningFailed");
    check(class("example.com/p", "Immediate"), "write");
    check(class("example.com/p", "WaitForFirstConsumer"), "wait WaitForFirstConsumer");
    check(class("kubernetes.io/no-provisioner", "Immediate"), "wait ProvisioningFailed");
    let late = class("kubernetes.io/no-provisioner", "WaitForFirstConsumer");
    assert_eq!(step(&claim("1Gi", "x"), &["v 1Gi class=x"], &[late]), "wait WaitForFirstConsumer");
}

#[test]
fn a_claim_without_a_class_gets_the_default_one_late() {
    let mut claim = claim("1Gi", "");
    remove(&mut claim, "spec.storageClassName");
    let class = json!({"metadata": {"name": "d", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}});
    assert_eq!(step(&claim, &[], &[class]), "write");
}

#[test]
fn both_sides_name_each_other_and_say_who_chose() {
    let (claim, volume) = (claim("1Gi", ""), volume("v 1Gi"));
    let bound = volume_side(&volume, &claim).expect("a change");
    assert_eq!(
        bound["spec"]["claimRef"],
        json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": "n", "name": "c", "uid": "u", "resourceVersion": "5"})
    );
    assert_eq!(bound["metadata"]["annotations"], json!({BY_CONTROLLER: "yes"}));
    assert_eq!(volume_side(&bound, &claim), None);
    let bound = claim_side(&claim, &volume).expect("a change");
    assert_eq!(bound["metadata"]["annotations"], json!({BY_CONTROLLER: "yes", COMPLETED: "yes"}));
    assert_eq!(claim_side(&bound, &volume), None);
    let status = claim_status(&bound, "Bound", Some(&volume)).expect("a change");
    assert_eq!(
        status["status"],
        json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}})
    );
    assert_eq!(claim_status(&status, "Bound", Some(&volume)), None);
}

#[test]
fn a_volume_follows_its_claim() {
    let check = |text: &str, claim: Option<(&str, &str)>, expected: &str| {
        let claim =
            claim.map(|(uid, volume)| json!({"metadata": {"uid": uid}, "spec": {"volumeName": volume}}));
        let step = match volume_step(&volume(text), claim.as_ref()) {
            VolumeStep::Phase(phase, said) => {
                format!("{phase} {}", said.map_or("", |said| said.reason)).trim().to_owned()
            }
            VolumeStep::Unbind(volume) => format!("unbind {}", volume["spec"]["claimRef"]["uid"]),
            VolumeStep::WakeClaim => "wake".to_owned(),
            VolumeStep::Nothing => "nothing".to_owned(),
        };
        assert_eq!(step, expected, "{text} {claim:?}");
    };
    check("v 1Gi", None, "Available");
    check("v 1Gi ref=n/c", None, "Available");
    check("v 1Gi ref=n/c/u", Some(("u", "v")), "Bound");
    check("v 1Gi ref=n/c/u", Some(("u", "")), "wake");
    check("v 1Gi ref=n/c/u phase=Bound", None, "Released");
    check("v 1Gi ref=n/c/u phase=Bound", Some(("newer", "v")), "Released");
    check("v 1Gi ref=n/c/u phase=Released policy=Retain", None, "nothing");
    check("v 1Gi ref=n/c/u phase=Released policy=Delete", None, "Failed VolumeFailedDelete");
    check("v 1Gi ref=n/c/u phase=Failed policy=Delete", None, "nothing");
    check("v 1Gi ref=n/c/u phase=Released policy=Recycle", None, "Failed VolumeFailedRecycle");
    check("v 1Gi ref=n/c/u", Some(("u", "w")), "unbind null");
}
