//! Servers outside that are asked or told something: a kubeconfig tells where one is, by its current context's cluster and
//! user.

mod https;

pub(crate) use https::{Https, HttpsError};

use crate::files::{FileError, read as read_file, read_yaml};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schema::Tree;
use std::path::Path;

/// Where a webhook is, and how it is spoken to.
pub(crate) struct Remote {
    pub(crate) url: String,
    pub(crate) https: Https,
}

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<Remote, FileError> {
    let content = |why: String| FileError::Content { path: path.to_owned(), why };
    let tree = read_yaml(path)?;
    let context = match text(&tree, "current-context") {
        "" => return Err(content("no current-context".to_owned())),
        name => named(&tree, "contexts", name, "context")
            .ok_or_else(|| content(format!("context {name:?} does not exist")))?,
    };
    let cluster = named(&tree, "clusters", text(context, "cluster"), "cluster")
        .ok_or_else(|| content(format!("cluster {:?} does not exist", text(context, "cluster"))))?;
    let nobody = Tree::Null;
    let user = named(&tree, "users", text(context, "user"), "user").unwrap_or(&nobody);
    if cluster["insecure-skip-tls-verify"] == true {
        return Err(content("insecure-skip-tls-verify is not supported".to_owned()));
    }
    let field = |tree: &Tree, name: &str| material(path, tree, name);
    let roots = field(cluster, "certificate-authority")?;
    let (chain, key) = (field(user, "client-certificate")?, field(user, "client-key")?);
    let client = (!chain.is_empty()).then_some((chain.as_str(), key.as_str()));
    let wrong = |error: HttpsError| content(error.to_string());
    let mut https = Https::new(&roots, client).map_err(wrong)?;
    let token = match text(user, "tokenFile") {
        "" => text(user, "token").to_owned(),
        file => text_of(path, file)?.trim().to_owned(),
    };
    if !token.is_empty() {
        https = https.with_bearer(&token).map_err(wrong)?;
    }
    Ok(Remote { url: text(cluster, "server").to_owned(), https })
}

fn named<'a>(tree: &'a Tree, list: &str, name: &str, field: &str) -> Option<&'a Tree> {
    let entry = tree[list].as_array()?.iter().find(|entry| text(entry, "name") == name)?;
    entry.get(field)
}

/// PEM that stands in the file (`NAME-data`) or in another one (`NAME`, relative to this one).
fn material(path: &Path, tree: &Tree, name: &str) -> Result<String, FileError> {
    let inline = text(tree, &format!("{name}-data"));
    if !inline.is_empty() {
        let decoded = STANDARD.decode(inline).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let why = format!("{name}-data is no PEM in base64");
        return decoded.ok_or(FileError::Content { path: path.to_owned(), why });
    }
    match text(tree, name) {
        "" => Ok(String::new()),
        file => text_of(path, file),
    }
}

fn text_of(path: &Path, file: &str) -> Result<String, FileError> {
    let file = path.parent().unwrap_or(Path::new(".")).join(file);
    String::from_utf8(read_file(&file)?)
        .map_err(|error| FileError::Content { path: file, why: error.to_string() })
}

fn text<'a>(tree: &'a Tree, name: &str) -> &'a str {
    tree[name].as_str().unwrap_or_default()
}
