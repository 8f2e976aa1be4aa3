//! Which volume a claim gets, and what the state of either should be. Trees in, decisions out.
//!
//! A volume and a claim are bound when each names the other; the volume's side is written first, so that a claim never
//! points at a volume that somebody else may take.

use std::collections::BTreeSet;

use kinds::core::claims;
use kinds::tree::{at, carry_over, map_at, remove, set, str_at, strings_at};
use runtime::{LabelSelector, Severity};
use serde_json::{Value, json};

/// On a claim: both sides are written.
const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On either: the controller chose, and not the writer.
const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a claim: the scheduler has chosen a node, so that a volume may be made.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On a claim: who is asked to make the volume.
const PROVISIONERS: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
/// On a volume: who has made it.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Something to say about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) severity: Severity,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

fn note(reason: &'static str, message: impl Into<String>) -> Said {
    Said { severity: Severity::Normal, reason, message: message.into() }
}

fn warn(reason: &'static str, message: impl Into<String>) -> Said {
    Said { severity: Severity::Warning, reason, message: message.into() }
}

/// What to do about a claim.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ClaimStep {
    /// Bind it to the volume of this name.
    Bind(String),
    /// Store the claim: it gets a class, or names who is to make its volume.
    Write(Value, Option<Said>),
    /// It waits; its status says so.
    Wait(Option<Said>),
    /// Its volume is gone or somebody else's.
    Lost(Said),
}

/// What is known when a claim is looked at.
pub(super) struct Around<'a> {
    pub(super) volumes: &'a [&'a Value],
    pub(super) classes: &'a [Value],
}

impl Around<'_> {
    fn volume(&self, name: &str) -> Option<&Value> {
        self.volumes.iter().copied().find(|volume| str_at(volume, "metadata.name") == name)
    }

    fn class(&self, name: &str) -> Option<&Value> {
        self.classes.iter().find(|class| str_at(class, "metadata.name") == name)
    }
}

pub(super) fn claim_step(claim: &Value, around: &Around<'_>) -> ClaimStep {
    let name = str_at(claim, "spec.volumeName");
    match (annotation(claim, COMPLETED).is_some(), name.is_empty()) {
        (true, _) => bound_claim(claim, around),
        (false, true) => free_claim(claim, around),
        (false, false) => claim_for(claim, around.volume(name)),
    }
}

/// A claim that was bound keeps its volume, or has lost it.
fn bound_claim(claim: &Value, around: &Around<'_>) -> ClaimStep {
    let name = str_at(claim, "spec.volumeName");
    let lost = |what: &str| ClaimStep::Lost(warn("ClaimLost", what));
    if name.is_empty() {
        return lost("Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
    }
    let Some(volume) = around.volume(name) else {
        return lost("Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    };
    let uid = str_at(volume, "spec.claimRef.uid");
    if at(volume, "spec.claimRef").is_none() || uid == str_at(claim, "metadata.uid") {
        return ClaimStep::Bind(name.to_owned());
    }
    let text = "Two claims are bound to the same volume, this one is bound incorrectly";
    ClaimStep::Lost(warn("ClaimMisbound", text))
}

/// A claim whose writer named the volume.
fn claim_for(claim: &Value, volume: Option<&Value>) -> ClaimStep {
    let Some(volume) = volume else { return ClaimStep::Wait(None) };
    let name = str_at(volume, "metadata.name");
    if is_bound_to(volume, claim) {
        return ClaimStep::Bind(name.to_owned());
    }
    if at(volume, "spec.claimRef").is_some() {
        let text = format!("volume {name:?} already bound to a different claim.");
        return ClaimStep::Wait(Some(warn("FailedBinding", text)));
    }
    match misfit(volume, claim) {
        None => ClaimStep::Bind(name.to_owned()),
        Some(why) => {
            let text = format!("Cannot bind to requested volume {name:?}: {why}");
            ClaimStep::Wait(Some(warn("VolumeMismatch", text)))
        }
    }
}

fn misfit(volume: &Value, claim: &Value) -> Option<String> {
    let reasons = [
        (at(volume, "metadata.deletionTimestamp").is_some(), "the volume is marked for deletion"),
        (size(volume) < claims::requested(claim), "requested PV is too small"),
        (class_of(volume) != class_of(claim), "storageClassName does not match"),
        (attributes_class(volume) != attributes_class(claim), "volumeAttributesClassName does not match"),
        (mode(volume) != mode(claim), "incompatible volumeMode"),
        (!allows(volume, claim), "incompatible accessMode"),
    ];
    let (_, text) = reasons.iter().find(|(wrong, _)| *wrong)?;
    let marked = *text == reasons[0].1;
    Some(if marked { format!("{text} {:?}", str_at(volume, "metadata.name")) } else { (*text).to_owned() })
}

/// A claim that takes any volume that fits.
fn free_claim(claim: &Value, around: &Around<'_>) -> ClaimStep {
    let class = around.class(class_of(claim));
    let waits = class.is_some_and(|class| str_at(class, "volumeBindingMode") == "WaitForFirstConsumer");
    if let Some(volume) = best_match(claim, around.volumes, waits) {
        return ClaimStep::Bind(str_at(volume, "metadata.name").to_owned());
    }
    if let (None, Some(default)) =
        (claims::class(claim), kinds::storage::storageclass::choose_default(around.classes))
    {
        let mut claim = claim.clone();
        set(&mut claim, "spec.storageClassName", str_at(default, "metadata.name"));
        return ClaimStep::Write(claim, None);
    }
    if waits && annotation(claim, SELECTED_NODE).is_none() {
        let text = "waiting for first consumer to be created before binding";
        return ClaimStep::Wait(Some(note("WaitForFirstConsumer", text)));
    }
    match class_of(claim) {
        "" => {
            let text = "no persistent volumes available for this claim and no storage class is set";
            ClaimStep::Wait(Some(note("FailedBinding", text)))
        }
        name => provision(claim, name, class),
    }
}

/// Somebody outside makes the volume; the claim says who is asked.
fn provision(claim: &Value, name: &str, class: Option<&Value>) -> ClaimStep {
    let failed = |text: String| ClaimStep::Wait(Some(warn("ProvisioningFailed", text)));
    let Some(class) = class else { return failed(format!("storageclass.storage.k8s.io {name:?} not found")) };
    let provisioner = str_at(class, "provisioner");
    if provisioner.starts_with("kubernetes.io/") {
        return failed(format!("no volume plugin matched name: {provisioner}"));
    }
    let said = note(
        "ExternalProvisioning",
        format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
        ),
    );
    if PROVISIONERS.iter().all(|key| annotation(claim, key) == Some(provisioner)) {
        return ClaimStep::Wait(Some(said));
    }
    let mut claim = claim.clone();
    PROVISIONERS.iter().for_each(|key| annotate(&mut claim, key, provisioner));
    ClaimStep::Write(claim, Some(said))
}

/// The volume that already belongs to the claim, or the smallest free one that fits, of those with the fewest access modes.
fn best_match<'a>(claim: &Value, volumes: &[&'a Value], waits: bool) -> Option<&'a Value> {
    let fits = |volume: &&&Value| {
        size(volume) >= claims::requested(claim)
            && mode(volume) == mode(claim)
            && attributes_class(volume) == attributes_class(claim)
            && at(volume, "metadata.deletionTimestamp").is_none()
            && allows(volume, claim)
    };
    let fitting: Vec<&Value> = volumes.iter().filter(fits).copied().collect();
    if let Some(own) = fitting.iter().find(|volume| is_bound_to(volume, claim)) {
        return Some(own);
    }
    if waits {
        return None;
    }
    let selector: Option<LabelSelector> =
        at(claim, "spec.selector").and_then(|selector| serde_json::from_value(selector.clone()).ok());
    let free = |volume: &&&Value| {
        at(volume, "spec.claimRef").is_none()
            && str_at(volume, "status.phase") == "Available"
            && class_of(volume) == class_of(claim)
            && selector.as_ref().is_none_or(|selector| selector.matches(&labels(volume)))
    };
    let order = |volume: &&&Value| {
        (
            strings_at(volume, "spec.accessModes").len(),
            size(volume),
            str_at(volume, "metadata.name").to_owned(),
        )
    };
    fitting.iter().filter(free).min_by_key(order).copied()
}

fn labels(object: &Value) -> std::collections::BTreeMap<String, String> {
    let entries = map_at(object, "metadata.labels").into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned())).collect()
}

fn size(volume: &Value) -> kinds::quota::Amount {
    claims::capacity(volume)
}

fn class_of(object: &Value) -> &str {
    claims::class(object).unwrap_or("")
}

fn attributes_class(object: &Value) -> &str {
    str_at(object, "spec.volumeAttributesClassName")
}

fn mode(object: &Value) -> &str {
    at(object, "spec.volumeMode").and_then(Value::as_str).unwrap_or("Filesystem")
}

fn allows(volume: &Value, claim: &Value) -> bool {
    let modes: BTreeSet<&str> = strings_at(volume, "spec.accessModes").into_iter().collect();
    strings_at(claim, "spec.accessModes").iter().all(|mode| modes.contains(mode))
}

/// Whether the volume is kept for this claim, by name or by uid too.
fn is_bound_to(volume: &Value, claim: &Value) -> bool {
    let same = |path: &str| {
        str_at(volume, &format!("spec.claimRef.{path}")) == str_at(claim, &format!("metadata.{path}"))
    };
    at(volume, "spec.claimRef").is_some()
        && same("name")
        && same("namespace")
        && (str_at(volume, "spec.claimRef.uid").is_empty() || same("uid"))
}

/// The volume as it should name the claim; `None` when it does already.
pub(super) fn volume_side(volume: &Value, claim: &Value) -> Option<Value> {
    let mut bound = volume.clone();
    if !is_bound_to(volume, claim) && annotation(volume, BY_CONTROLLER).is_none() {
        annotate(&mut bound, BY_CONTROLLER, "yes");
    }
    if !is_bound_to(volume, claim) || str_at(volume, "spec.claimRef.uid").is_empty() {
        let mut reference = json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1"});
        for name in ["namespace", "name", "uid", "resourceVersion"] {
            reference[name] = json!(str_at(claim, &format!("metadata.{name}")));
        }
        set(&mut bound, "spec.claimRef", reference);
    }
    (bound != *volume).then_some(bound)
}

/// The claim as it should name the volume; `None` when it does already.
pub(super) fn claim_side(claim: &Value, volume: &Value) -> Option<Value> {
    let mut bound = claim.clone();
    let name = str_at(volume, "metadata.name");
    if str_at(claim, "spec.volumeName") != name {
        set(&mut bound, "spec.volumeName", name);
        if annotation(claim, BY_CONTROLLER).is_none() {
            annotate(&mut bound, BY_CONTROLLER, "yes");
        }
    }
    if annotation(claim, COMPLETED).is_none() {
        annotate(&mut bound, COMPLETED, "yes");
    }
    (bound != *claim).then_some(bound)
}

/// The claim with the status that a phase means; `None` when it has it already.
pub(super) fn claim_status(claim: &Value, phase: &str, volume: Option<&Value>) -> Option<Value> {
    let mut wanted = claim.clone();
    let before = str_at(claim, "status.phase");
    set(&mut wanted, "status.phase", phase);
    match volume {
        None => {
            for name in ["accessModes", "capacity", "currentVolumeAttributesClassName"] {
                remove(&mut wanted, &format!("status.{name}"));
            }
        }
        Some(volume) => {
            set(&mut wanted, "status.accessModes", json!(strings_at(volume, "spec.accessModes")));
            // Once bound, the size is what a resize has made of it.
            if before != phase {
                set(&mut wanted, "status.capacity", at(volume, "spec.capacity").cloned().unwrap_or_default());
            }
            if before == "Pending" && phase == "Bound" && !attributes_class(volume).is_empty() {
                set(&mut wanted, "status.currentVolumeAttributesClassName", attributes_class(volume));
            }
        }
    }
    (wanted != *claim).then_some(wanted)
}

/// What to do about a volume.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum VolumeStep {
    /// Its status says so; there may be something to tell.
    Phase(&'static str, Option<Said>),
    /// It belongs to nobody any more, or only to a name.
    Unbind(Value),
    /// Its claim must be looked at.
    WakeClaim,
    Nothing,
}

/// `claim` is the one the volume names, if it is there.
pub(super) fn volume_step(volume: &Value, claim: Option<&Value>) -> VolumeStep {
    let reference = at(volume, "spec.claimRef");
    let uid = str_at(volume, "spec.claimRef.uid");
    if reference.is_none() || uid.is_empty() {
        return VolumeStep::Phase("Available", None);
    }
    let claim = claim.filter(|claim| str_at(claim, "metadata.uid") == uid);
    let name = str_at(volume, "metadata.name");
    match claim.map(|claim| (claim, str_at(claim, "spec.volumeName"))) {
        None => released(volume),
        Some((claim, "")) if mode(claim) != mode(volume) => VolumeStep::Nothing,
        Some((_, "")) => VolumeStep::WakeClaim,
        Some((_, bound)) if bound == name => VolumeStep::Phase("Bound", None),
        Some(_) if annotation(volume, PROVISIONED_BY).is_some() && policy(volume) == "Delete" => {
            released(volume)
        }
        Some(_) => VolumeStep::Unbind(unbound(volume)),
    }
}

fn policy(volume: &Value) -> &str {
    str_at(volume, "spec.persistentVolumeReclaimPolicy")
}

/// The claim is gone. Volumes that somebody outside has made are deleted by that one; the others nobody can delete or
/// empty, which is a failure when their policy asks for it.
fn released(volume: &Value) -> VolumeStep {
    let was = str_at(volume, "status.phase");
    if !matches!(was, "Released" | "Failed") {
        return VolumeStep::Phase("Released", None);
    }
    let said = match policy(volume) {
        "Recycle" => warn("VolumeFailedRecycle", "No recycler plugin found for the volume!"),
        "Delete" if annotation(volume, PROVISIONED_BY).is_none() => {
            let name = str_at(volume, "metadata.name");
            let text =
                format!("error getting deleter volume plugin for volume {name:?}: no volume plugin matched");
            warn("VolumeFailedDelete", text)
        }
        _ => return VolumeStep::Nothing,
    };
    if was == "Failed" { VolumeStep::Nothing } else { VolumeStep::Phase("Failed", Some(said)) }
}

fn unbound(volume: &Value) -> Value {
    let mut free = volume.clone();
    if annotation(volume, BY_CONTROLLER).is_some() {
        remove(&mut free, "spec.claimRef");
        free["metadata"]["annotations"].as_object_mut().map(|map| map.remove(BY_CONTROLLER));
    } else {
        remove(&mut free, "spec.claimRef.uid");
    }
    free
}

/// The volume with a phase and what is said about it; `None` when it has them already.
pub(super) fn volume_status(volume: &Value, phase: &str, said: Option<&Said>) -> Option<Value> {
    if str_at(volume, "status.phase") == phase {
        return None;
    }
    let mut wanted = volume.clone();
    set(&mut wanted, "status.phase", phase);
    // The server stamps the time of the change.
    carry_over(&mut wanted, volume, "status.lastPhaseTransitionTime");
    match said {
        Some(said) => set(&mut wanted, "status.message", said.message.as_str()),
        None => drop(remove(&mut wanted, "status.message")),
    }
    Some(wanted)
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, "metadata.annotations")?.get(key)?.as_str()
}

fn annotate(object: &mut Value, key: &str, value: &str) {
    if at(object, "metadata.annotations").is_none() {
        set(object, "metadata.annotations", json!({}));
    }
    object["metadata"]["annotations"][key] = json!(value);
}

/// Whether a claim of this kind is the volume's, by name only.
pub(super) fn claim_key(volume: &Value) -> Option<(String, String)> {
    let reference = at(volume, "spec.claimRef")?;
    Some((str_at(reference, "namespace").to_owned(), str_at(reference, "name").to_owned()))
}

/// Whether a claim waits for a volume.
pub(super) fn is_waiting(claim: &Value) -> bool {
    annotation(claim, COMPLETED).is_none()
}

#[cfg(test)]
mod tests;
