//! What ResourceQuotas count: what an object uses of each resource, which quotas it falls under, and whether a write fits.
//!
//! Admission asks [`check`] before a write and stores the new usage with it; the controller counts everything again with
//! [`recount`]. Both measure an object with [`usage()`], so that they agree.

mod pod;
mod scope;
mod usage;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::Subresource;
use crate::core::pod::resource_math::resources_at;
use crate::quantity::{self, Quantity};
use crate::tree::{at, map_at, set, str_at};

pub use usage::{is_counted_alone, measured, tracks, usage};

/// An amount of a resource.
pub type Amount = Quantity;

/// Amounts by name of the resource.
pub type Amounts = BTreeMap<String, Amount>;

/// Resources whose objects no quota counts: questions, and events.
const IGNORED: [&str; 3] = ["bindings", "componentstatuses", "events"];

/// A write as quotas see it.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// API group of the object.
    pub group: &'a str,
    /// Plural of the object's resource.
    pub plural: &'a str,
    /// The part written.
    pub sub: Subresource,
    /// The object to be.
    pub object: &'a Value,
    /// The object that is; absent on create.
    pub old: Option<&'a Value>,
    /// When this happens: pods that should be gone by then use nothing.
    pub now: Timestamp,
}

/// A quota whose usage a write changes: its place among those looked at, and the usage to store.
pub type Change = (usize, Value);

impl Write<'_> {
    /// Whether this kind of write can change what is used.
    pub fn counts(&self) -> bool {
        if IGNORED.contains(&self.plural) {
            return false;
        }
        match (self.group, self.plural, self.sub, self.old) {
            ("", "pods", Subresource::Resize, Some(_)) => true,
            ("", "pods", Subresource::None, Some(old)) => {
                pod::is_terminating(old) != pod::is_terminating(self.object)
            }
            ("", "persistentvolumeclaims", Subresource::Status, Some(_))
            | ("", "services" | "persistentvolumeclaims", Subresource::None, Some(_)) => true,
            (_, _, Subresource::None, None) => true,
            _ => false,
        }
    }

    fn usage(&self, object: &Value) -> Amounts {
        usage(self.group, self.plural, object, self.now)
    }

    fn falls_under(&self, quota: &Value, object: &Value) -> bool {
        let tracked = hard(quota).keys().any(|name| tracks(self.group, self.plural, name));
        tracked && scope::covers(quota, self.group, self.plural, object)
    }
}

/// What becomes of the quotas of a namespace with a write, or why one of them refuses it: the text of a 403 after
/// `pods "name" is forbidden: `.
pub fn check(quotas: &[Value], write: &Write<'_>) -> Result<Vec<Change>, String> {
    if !write.counts() {
        return Ok(Vec::new());
    }
    let mut concerned = Vec::new();
    for (index, quota) in quotas.iter().enumerate() {
        if write.falls_under(quota, write.object) {
            check_ready(quota, write)?;
            concerned.push((index, quota));
        }
    }
    if concerned.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = write.usage(write.object);
    let negative: Vec<&str> =
        wanted.iter().filter(|(_, amount)| amount.sign() < 0).map(|(name, _)| name.as_str()).collect();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    let mut changes = Vec::new();
    for (index, quota) in concerned {
        let before = write.old.filter(|old| write.falls_under(quota, old)).map(|old| write.usage(old));
        if let Some(used) = charge(quota, write, increase(&wanted, before))? {
            changes.push((index, with_usage(quota, used)));
        }
    }
    Ok(changes)
}

/// A quota that was not counted yet can allow nothing, and pods must say what they need of what is counted.
fn check_ready(quota: &Value, write: &Write<'_>) -> Result<(), String> {
    let (name, used) = (str_at(quota, "metadata.name"), used(quota));
    let tracked: Vec<String> =
        hard(quota).into_keys().filter(|name| tracks(write.group, write.plural, name)).collect();
    if let ("", "pods") = (write.group, write.plural) {
        pod::check_stated(write.object, &tracked).map_err(|text| format!("failed quota: {name}: {text}"))?;
    }
    if tracked.iter().any(|resource| !used.contains_key(resource)) {
        return Err(format!("status unknown for quota: {name}, resources: {}", tracked.join(",")));
    }
    Ok(())
}

/// What a write adds: the new usage, less that of the object before if the quota counted that too. Never negative, because
/// what is given back is found by counting again.
fn increase(wanted: &Amounts, before: Option<Amounts>) -> Amounts {
    let before = before.unwrap_or_default();
    let more = |(name, amount): (&String, &Quantity)| {
        let amount = before.get(name).map_or_else(|| amount.clone(), |old| amount.plus(&old.times(-1)));
        (amount.sign() > 0).then(|| (name.clone(), amount))
    };
    wanted.iter().filter_map(more).collect()
}

/// The usage after adding `more`, or `None` when nothing changes.
fn charge(quota: &Value, write: &Write<'_>, more: Amounts) -> Result<Option<Amounts>, String> {
    let (hard, mut used) = (hard(quota), used(quota));
    let asked: Amounts = more.into_iter().filter(|(name, _)| hard.contains_key(name)).collect();
    if asked.is_empty() {
        return Ok(None);
    }
    let was = used.clone();
    for (name, amount) in &asked {
        let sum = used.get(name).map_or_else(|| amount.clone(), |used| used.plus(amount));
        used.insert(name.clone(), sum);
    }
    let exceeded: Vec<&String> = asked.keys().filter(|name| used[*name] > hard[*name]).collect();
    // A controller that tells what happened already is not refused.
    if exceeded.is_empty() || write.sub == Subresource::Status {
        return Ok(Some(used));
    }
    let print = |amounts: &Amounts| {
        let amount = |name: &&String| amounts.get(*name).cloned().unwrap_or(Quantity::ZERO);
        exceeded.iter().map(|name| format!("{name}={}", amount(name))).collect::<Vec<_>>().join(",")
    };
    Err(format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        str_at(quota, "metadata.name"),
        print(&asked),
        print(&was),
        print(&hard)
    ))
}

fn hard(quota: &Value) -> Amounts {
    resources_at(quota, "status.hard")
}

fn used(quota: &Value) -> Amounts {
    resources_at(quota, "status.used")
}

fn with_usage(quota: &Value, used: Amounts) -> Value {
    let mut quota = quota.clone();
    set(&mut quota, "status.used", printed(&used));
    quota
}

fn printed(amounts: &Amounts) -> Map<String, Value> {
    amounts.iter().map(|(name, amount)| (name.clone(), json!(amount.to_string()))).collect()
}

/// Objects that are counted for a quota.
pub trait Counted {
    /// The objects of a resource in the quota's namespace.
    fn objects(&self, group: &str, plural: &str) -> Vec<&Value>;

    /// How many objects of a resource the namespace has, or `None` when there is no such resource.
    fn count(&self, group: &str, plural: &str) -> Option<u64>;
}

/// The status a quota should have, all counted anew. Of what nobody knows nothing is said.
pub fn recount(quota: &Value, counted: &dyn Counted, now: Timestamp) -> Value {
    let hard = resources_at(quota, "spec.hard");
    let mut used: Amounts = hard.keys().map(|name| (name.clone(), Quantity::ZERO)).collect();
    for (group, plural) in usage::measured() {
        if !hard.keys().any(|name| tracks(group, plural, name)) {
            continue;
        }
        for object in counted.objects(group, plural) {
            if scope::covers(quota, group, plural, object) {
                add_tracked(&mut used, &usage(group, plural, object, now));
            }
        }
    }
    let scoped = at(quota, "spec.scopes").is_some() || at(quota, "spec.scopeSelector").is_some();
    for name in hard.keys() {
        let Some((group, plural)) = is_counted_alone(name) else { continue };
        // Scopes are about pods and claims; nothing else falls under a scoped quota.
        match counted.count(&group, &plural) {
            None => drop(used.remove(name)),
            Some(_) if scoped => {}
            Some(count) => {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                used.insert(name.clone(), Quantity::new(count, quantity::DECIMAL));
            }
        }
    }
    let hard = map_at(quota, "spec.hard").cloned().unwrap_or_default();
    json!({"hard": hard, "used": printed(&used)})
}

fn add_tracked(used: &mut Amounts, more: &Amounts) {
    for (name, sum) in used.iter_mut() {
        if let Some(amount) = more.get(name) {
            *sum = sum.plus(amount);
        }
    }
}

#[cfg(test)]
mod tests;
