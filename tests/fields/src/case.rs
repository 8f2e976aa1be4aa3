//! Requests: one change sent in one way.

use serde_json::Value;

use crate::bases::{Base, Target};
use crate::mutation::{self, Mutation};
use crate::place::Place;

/// How every request is sent: nothing of it stays.
const DRY: &str = "dryRun=All&fieldManager=fields";

/// What is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A create with strict validation of fields.
    Create,
    /// A create that says nothing of it.
    Lax,
    /// Replacing the object.
    Update,
    /// Replacing the object's status.
    Status,
    /// A merge patch of the object.
    Patch,
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Act::Create => "create",
            Act::Lax => "lax",
            Act::Update => "update",
            Act::Status => "status",
            Act::Patch => "patch",
        }
    }

    /// Whether the object must be stored before.
    pub fn needs_stored(self) -> bool {
        matches!(self, Act::Update | Act::Status | Act::Patch)
    }
}

/// One change of one base sent in one way.
pub struct Case<'a> {
    /// What is changed.
    pub base: &'a Base,
    /// How it is sent.
    pub act: Act,
    /// The change.
    pub mutation: Mutation,
}

/// A request, but for who asks.
pub struct Ask {
    /// The verb.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// The body's type.
    pub media: &'static str,
    /// The body.
    pub body: Value,
}

impl Case<'_> {
    /// `BASE ACT PLACE WAY`, unique.
    pub fn id(&self) -> String {
        format!("{} {} {} {}", self.base.id, self.act.name(), self.mutation.place, self.mutation.way)
    }

    /// The request, given what is stored; nothing where the stored object has no such place.
    pub fn ask(&self, stored: &Value) -> Option<Ask> {
        let Mutation { place, value, .. } = &self.mutation;
        let base = self.base;
        let object = |collection: &str| format!("{collection}/{}", base.name());
        let strict = format!("{DRY}&fieldValidation=Strict");
        let put = |path: String, body: Value| Ask { method: "PUT", path, media: "application/json", body };
        Some(match (&base.target, self.act) {
            (Target::Collection { path, .. } | Target::Post(path), Act::Create | Act::Lax) => {
                let query = if self.act == Act::Lax { DRY } else { &strict };
                let body = place.changed(&base.tree, value.as_ref())?;
                Ask { method: "POST", path: format!("{path}?{query}"), media: "application/json", body }
            }
            (Target::Put(path), _) => {
                put(format!("{path}?{strict}"), place.changed(&base.tree, value.as_ref())?)
            }
            (Target::Collection { path, .. }, Act::Update) => {
                put(format!("{}?{strict}", object(path)), changed(place, stored, value.as_ref())?)
            }
            (Target::Collection { path, .. }, Act::Status) => {
                put(format!("{}/status?{strict}", object(path)), changed(place, stored, value.as_ref())?)
            }
            (Target::Collection { path, .. }, Act::Patch) => Ask {
                method: "PATCH",
                path: format!("{}?{strict}", object(path)),
                media: "application/merge-patch+json",
                body: place.merge_patch(value.as_ref()),
            },
            (Target::Post(_), _) => return None,
        })
    }
}

/// What is stored, changed; nothing when that is the same.
fn changed(place: &Place, stored: &Value, value: Option<&Value>) -> Option<Value> {
    place.changed(stored, value).filter(|changed| changed != stored)
}

/// Every case of a base.
pub fn all(base: &Base) -> Vec<Case<'_>> {
    let mutations = mutation::all(base.schema, &base.tree).into_iter();
    let mutations = mutations.filter(|mutation| !is_asked_elsewhere(base, mutation));
    mutations
        .flat_map(|mutation| {
            let acts = acts(base, &mutation).into_iter();
            acts.map(move |act| Case { base, act, mutation: mutation.clone() })
        })
        .collect()
}

/// What a pod's spec could have is the same in every template: Deployments are asked for all.
fn is_asked_elsewhere(base: &Base, mutation: &Mutation) -> bool {
    const WHOLE: &str = "deployments.apps/deployment";
    mutation.is_new && base.id != WHOLE && mutation.place.form().contains(".template.spec.")
}

fn acts(base: &Base, mutation: &Mutation) -> Vec<Act> {
    let Target::Collection { has_status, .. } = base.target else {
        return match base.target {
            Target::Put(_) => vec![Act::Update],
            _ => vec![Act::Create],
        };
    };
    if mutation.place.first() == "status" {
        return if has_status { vec![Act::Status] } else { Vec::new() };
    }
    let mut acts = vec![Act::Create];
    if mutation.way == mutation::UNKNOWN {
        acts.push(Act::Lax);
    }
    if mutation::OF_UPDATES.contains(&mutation.way) {
        acts.push(Act::Update);
    }
    if mutation::OF_PATCHES.contains(&mutation.way) && mutation.place.is_mergeable() {
        acts.push(Act::Patch);
    }
    acts
}
