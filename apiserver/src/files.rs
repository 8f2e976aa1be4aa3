//! Files a server is configured with, in upstream's shapes: read here, judged in the access crate.

use access::Mode;
use access::authn::TokenFile;
use access::authn::configuration::{AuthenticationConfiguration, ConfigurationError};
use access::tokens::DEFAULT_ISSUER;
use schema::Tree;
use std::path::{Path, PathBuf};

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("{} is unusable: {why}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What it says is refused.
    #[error("{} is refused", path.display())]
    Refused {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ConfigurationError,
    },
}

/// Reads an `AuthenticationConfiguration`.
pub fn read_authentication(path: &Path) -> Result<AuthenticationConfiguration, FileError> {
    AuthenticationConfiguration::read(&read_yaml(path)?, &[DEFAULT_ISSUER])
        .map_err(|source| FileError::Refused { path: path.to_owned(), source })
}

/// Reads a file of tokens.
pub fn read_token_file(path: &Path) -> Result<TokenFile, FileError> {
    let content = |why: String| FileError::Content { path: path.to_owned(), why };
    let text = String::from_utf8(read(path)?).map_err(|error| content(error.to_string()))?;
    TokenFile::read(&text).map_err(content)
}

/// Reads an `AuthorizationConfiguration`.
pub fn read_authorizers(path: &Path) -> Result<Vec<Mode>, FileError> {
    access::authorizers(&read_yaml(path)?)
        .map_err(|source| FileError::Refused { path: path.to_owned(), source })
}

/// One YAML (or JSON) document. A key that stands twice is a mistake.
pub(crate) fn read_yaml(path: &Path) -> Result<Tree, FileError> {
    let content = |why: String| FileError::Content { path: path.to_owned(), why };
    let (tree, duplicates) =
        schema::decode::yaml(&read(path)?).map_err(|error| content(error.to_string()))?;
    match duplicates.is_empty() {
        true => Ok(tree),
        false => Err(content(duplicates.join(", "))),
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError::Unreadable { path: path.to_owned(), source })
}
