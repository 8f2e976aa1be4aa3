//! The valid objects that are changed, read from `bases/*.yaml`.
//!
//! A document is an object. A first line `# post: PATH` or `# put: PATH` says that it is sent there and not kept, as
//! reviews and subresources are; every other object is created in the collection of its kind.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kinds::Resource;
use schema::Schema;
use serde_json::Value;

/// The file whose objects the others need.
const SETUP: &str = "setup";

/// An object that is changed.
pub struct Base {
    /// `RESOURCE/NAME`, unique.
    pub id: String,
    /// The object.
    pub tree: Value,
    /// What its fields are.
    pub schema: &'static Schema,
    /// Where it goes.
    pub target: Target,
}

/// Where an object goes.
#[derive(Debug, Clone)]
pub enum Target {
    /// Into a collection, where it can be replaced afterwards.
    Collection {
        /// Path of the collection.
        path: String,
        /// Whether its status is replaced apart.
        has_status: bool,
    },
    /// To be answered and forgotten.
    Post(String),
    /// Over a part of another object.
    Put(String),
}

impl Base {
    /// The object's own name.
    pub fn name(&self) -> &str {
        self.tree["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// The folder of this test.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Objects that must be there before any other.
///
/// # Errors
/// The file is unreadable.
pub fn setup() -> Result<Vec<Base>> {
    read(&folder().join("bases").join(SETUP).with_extension("yaml"))
}

/// Every base, file by file.
///
/// # Errors
/// A file is unreadable, or two bases have one name.
pub fn all() -> Result<Vec<Base>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder().join("bases"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.file_stem().is_some_and(|stem| stem != SETUP));
    files.sort();
    let bases = files.iter().map(|file| read(file)).collect::<Result<Vec<_>>>()?;
    let bases: Vec<Base> = bases.into_iter().flatten().collect();
    for (index, base) in bases.iter().enumerate() {
        if bases[..index].iter().any(|other| other.id == base.id) {
            bail!("{} stands twice", base.id);
        }
    }
    Ok(bases)
}

fn read(file: &Path) -> Result<Vec<Base>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let documents = text.split("\n---\n").map(str::trim).filter(|document| !document.is_empty());
    documents.map(|document| base(document).with_context(|| document.to_owned())).collect()
}

fn base(document: &str) -> Result<Base> {
    let (tree, _) = schema::decode::yaml(document.as_bytes()).map_err(|error| anyhow::anyhow!("{error}"))?;
    let tree: Value = serde_json::from_str(&tree.to_string())?;
    let text = |name: &str| tree[name].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let schema = schema::kind(group, version, text("kind")).context("a kind of the table")?;
    let directive = |word: &str| {
        let lines = document.lines().take_while(|line| line.starts_with('#'));
        lines.filter_map(|line| line.strip_prefix(word)).map(|path| path.trim().to_owned()).next()
    };
    if let Some(path) = directive("# post:") {
        return Ok(Base { id: last_words(&path), tree, schema, target: Target::Post(path) });
    }
    if let Some(path) = directive("# put:") {
        return Ok(Base { id: last_words(&path), tree, schema, target: Target::Put(path) });
    }
    let is_it = |resource: &&Resource| {
        resource.kind == text("kind") && resource.group == group && resource.version == version
    };
    let resource = kinds::resource::catalogue().iter().find(is_it).context("a served kind")?;
    let table = k8s::tables::resource(group, version, &resource.plural).context("a known resource")?;
    let path = collection(resource, tree["metadata"]["namespace"].as_str().unwrap_or_default());
    let has_status = table.subresource("status").is_some() && tree["status"].is_object();
    let name = tree["metadata"]["name"].as_str().unwrap_or_default();
    let id = format!("{}/{name}", resource.qualified());
    Ok(Base { id, tree, schema, target: Target::Collection { path, has_status } })
}

/// `pods/bound/eviction` of the path that ends so.
fn last_words(path: &str) -> String {
    path.rsplit("/fields/").next().map_or(path, |rest| rest.rsplit("/v1/").next().unwrap_or(rest)).to_owned()
}

fn collection(resource: &Resource, namespace: &str) -> String {
    let root = match resource.group.as_str() {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    match resource.namespaced {
        true => format!("{root}/namespaces/{namespace}/{}", resource.plural),
        false => format!("{root}/{}", resource.plural),
    }
}
