//! What does one create, and one read, of an object of every kind cost? The objects are those of recorded requests, created
//! under many names. What controllers do about them is in the figure, as it is in that of upstream's API server.

use ::tests::recorded::{self, Collection, Created};
use std::net::IpAddr;

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
/// Bytes of the reason why a kind is skipped that are printed.
const WHY_MAX: usize = 160;

/// An object that can be created here, as often as wanted.
struct Specimen {
    /// Path of its collection.
    path: String,
    body: Value,
    names: Names,
    /// Whether it can be read afterwards: reviews are answered and not kept.
    is_kept: bool,
}

/// What objects of a kind are called.
#[derive(Clone, Copy)]
enum Names {
    /// Nothing: reviews must have no name.
    None,
    Words,
    /// IPAddresses are called what they are.
    Addresses,
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
            Err(why) => {
                let why = format!("{why:#}");
                table.skipped(&name, why.get(..WHY_MAX).unwrap_or(&why).trim_end());
            }
        }
    }
    Ok(())
}

/// CPU-ms of a create and of a read.
async fn measure(subject: &Subject, specimen: &Specimen) -> anyhow::Result<(f64, Option<f64>)> {
    let count = subject.scaled(OPERATIONS);
    let cost = async |call: fn(&Specimen, usize) -> Call| {
        let calls = (0..count).map(|index| call(specimen, index)).collect();
        let outcome = closed_loop(&subject.target, &subject.pids, CLIENTS, calls).await?;
        anyhow::Ok(outcome.reading.cpu_ms / f64::from(u32::try_from(count)?))
    };
    let create = cost(Specimen::create).await?;
    if !specimen.is_kept {
        return Ok((create, None));
    }
    subject.settle().await?;
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
        let mut specimen = Specimen::new(collection, created, &namespace)?;
        match try_out(connection, &mut specimen).await {
            Ok(()) => return Ok(specimen),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Two at a time: some bodies ask for what only one object can have. They go afterwards, under names that are not used
/// again, as some take a while to go.
async fn try_out(connection: &mut Connection, specimen: &mut Specimen) -> anyhow::Result<()> {
    const TRIED: [usize; 2] = [OPERATIONS, OPERATIONS + 1];
    let mut tried = Ok(());
    for index in TRIED {
        tried = tried.and(connection.send(&specimen.create(index)).await.map(drop));
    }
    for index in TRIED {
        specimen.is_kept = connection.send(&specimen.get(index)).await.is_ok();
        if specimen.is_kept {
            connection.send(&specimen.delete(index)).await?;
        }
    }
    tried
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
    /// The recorded object in a namespace, wherever it names its own.
    fn new(collection: &Collection, created: &Created, namespace: &str) -> anyhow::Result<Self> {
        let mut text = created.body.to_string();
        if !namespace.is_empty() {
            text = text.replace(&format!("{:?}", created.namespace), &format!("{namespace:?}"));
        }
        let mut body: Value = serde_json::from_str(&text)?;
        let metadata = &mut body["metadata"];
        let names = match metadata["name"].as_str() {
            Some(name) if name.parse::<IpAddr>().is_ok() => Names::Addresses,
            None if metadata["generateName"].is_null() => Names::None,
            _ => Names::Words,
        };
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("generateName");
        }
        Ok(Self { path: collection.path(namespace), body, names, is_kept: true })
    }

    fn name(&self, index: usize) -> String {
        match self.names {
            Names::Addresses => format!("198.18.{}.{}", index / 256, index % 256),
            Names::None | Names::Words => format!("bench-{index}"),
        }
    }

    fn create(&self, index: usize) -> Call {
        let mut body = self.body.clone();
        if !matches!(self.names, Names::None) {
            body["metadata"]["name"] = self.name(index).into();
        }
        Call::with_body(Method::POST, &self.path, JSON, body.to_string())
    }

    fn get(&self, index: usize) -> Call {
        Call::get(format!("{}/{}", self.path, self.name(index)))
    }

    /// At once, without the time a pod would be given.
    fn delete(&self, index: usize) -> Call {
        let path = format!("{}/{}?gracePeriodSeconds=0", self.path, self.name(index));
        Call { method: Method::DELETE, ..Call::get(path) }
    }
}
