//! What does one create, and one read, of an object of every kind cost? The objects are those of recorded requests, created
//! under many names. What controllers do about them is in the figure, as it is in that of upstream's API server.

use ::tests::recorded::{self, Collection, Created};
use http::Method;
use serde_json::Value;

use super::{Subject, account};
use crate::client::{Call, Connection};
use crate::load::closed_loop;
use crate::objects;
use crate::table::Table;

const CLIENTS: usize = 16;
/// Objects of a kind.
const OPERATIONS: usize = 200;
/// Recorded objects of a kind that are tried until one can be created: some need others that are not there.
const TRIES_MAX: usize = 8;
const JSON: &str = "application/json";

/// An object that can be created here, under any name.
struct Specimen {
    /// Path of its collection.
    path: String,
    body: Value,
    /// Whether it can be read afterwards: reviews are answered and not kept.
    is_kept: bool,
}

/// Creates and reads objects of every kind that was recorded, and deletes them again.
pub(super) async fn kinds(subject: &Subject, table: &mut Table) -> anyhow::Result<()> {
    let mut connection = subject.target.connect().await?;
    for (collection, bodies) in recorded::created() {
        let Collection { group, version, plural } = &collection;
        let name = format!("{plural} {group}{}{version}", if group.is_empty() { "" } else { "/" });
        match specimen(&mut connection, &collection, &bodies).await {
            Ok(specimen) => match measure(subject, &specimen).await {
                Ok((create, read)) => table.kind(&name, create, read),
                Err(error) => table.failed(&name, &error),
            },
            Err(why) => table.skipped(&name, &format!("{why:#}")),
        }
    }
    Ok(())
}

/// CPU-ms of a create and of a read.
async fn measure(subject: &Subject, specimen: &Specimen) -> anyhow::Result<(f64, Option<f64>)> {
    let count = subject.scaled(OPERATIONS);
    let cost = async |call: fn(&Specimen, &str) -> Call| {
        let calls = (0..count).map(|index| call(specimen, &format!("bench-{index}"))).collect();
        let outcome = closed_loop(&subject.target, &subject.pids, CLIENTS, calls).await?;
        anyhow::Ok(outcome.reading.cpu_ms / f64::from(u32::try_from(count)?))
    };
    let create = cost(Specimen::create).await?;
    if !specimen.is_kept {
        return Ok((create, None));
    }
    let read = cost(Specimen::get).await?;
    cost(Specimen::delete).await?;
    Ok((create, Some(read)))
}

/// The first of the recorded objects that can be created under another name, in a namespace of its kind's own: quotas and
/// limits of one kind must not meet the objects of the next.
async fn specimen(
    connection: &mut Connection,
    collection: &Collection,
    bodies: &[Created],
) -> anyhow::Result<Specimen> {
    let mut last = anyhow::anyhow!("nothing was recorded");
    for created in bodies.iter().take(TRIES_MAX) {
        let namespace = match created.namespace.as_str() {
            "" => String::new(),
            _ => own_namespace(connection, collection).await?,
        };
        let mut specimen =
            Specimen { path: collection.path(&namespace), body: created.body.clone(), is_kept: true };
        specimen.set("namespace", Some(&namespace).filter(|namespace| !namespace.is_empty()));
        specimen.set("generateName", None);
        match try_out(connection, &mut specimen).await {
            Ok(()) => return Ok(specimen),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Two at a time: some bodies ask for what only one object can have.
async fn try_out(connection: &mut Connection, specimen: &mut Specimen) -> anyhow::Result<()> {
    const NAMES: [&str; 2] = ["bench-a", "bench-b"];
    for name in NAMES {
        connection.send(&specimen.create(name)).await?;
    }
    for name in NAMES {
        specimen.is_kept = connection.send(&specimen.get(name)).await.is_ok();
        if specimen.is_kept {
            connection.send(&specimen.delete(name)).await?;
        }
    }
    Ok(())
}

async fn own_namespace(connection: &mut Connection, collection: &Collection) -> anyhow::Result<String> {
    let name = format!("bench-{}-{}", collection.plural, collection.group.replace('.', "-"));
    let name = name.trim_end_matches('-').to_owned();
    let path = format!("/api/v1/namespaces/{name}");
    if connection.send(&Call::get(path)).await.is_err() {
        let body = objects::namespace(&name);
        connection.send(&Call::with_body(Method::POST, "/api/v1/namespaces", JSON, body)).await?;
        account(connection, &name).await?;
    }
    Ok(name)
}

impl Specimen {
    fn set(&mut self, field: &str, value: Option<&String>) {
        let metadata = &mut self.body["metadata"];
        match (value, metadata.as_object_mut()) {
            (Some(value), _) => metadata[field] = value.as_str().into(),
            (None, Some(metadata)) => drop(metadata.remove(field)),
            (None, None) => {}
        }
    }

    fn create(&self, name: &str) -> Call {
        let mut body = self.body.clone();
        body["metadata"]["name"] = name.into();
        Call::with_body(Method::POST, &self.path, JSON, body.to_string())
    }

    fn get(&self, name: &str) -> Call {
        Call::get(format!("{}/{name}", self.path))
    }

    /// At once, without the time a pod would be given.
    fn delete(&self, name: &str) -> Call {
        let path = format!("{}/{name}?gracePeriodSeconds=0", self.path);
        Call { method: Method::DELETE, ..Call::get(path) }
    }
}
