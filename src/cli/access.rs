//! Flags of who may come in and who decides what they may do. Names and files are upstream's.

use std::path::PathBuf;
use std::time::Duration;

use ::access::Mode;
use ::access::authn::Anonymous;
use apiserver::{Remotes, TokenWebhook, go_duration, read_authentication, read_authorizers, read_token_file};
use clap::Args;

use crate::compose::Access;
use crate::failure::{Code, Failure};

/// The flags.
#[derive(Debug, Args)]
pub(super) struct AccessFlags {
    /// AuthenticationConfiguration: issuers of tokens (OpenID Connect), and who may be anonymous.
    #[arg(long)]
    authentication_config: Option<PathBuf>,
    /// AuthorizationConfiguration: the authorizers and their order; Node and RBAC if not given.
    #[arg(long)]
    authorization_config: Option<PathBuf>,
    /// Whether requests without a credential are those of system:anonymous, or refused.
    #[arg(long, action = clap::ArgAction::Set)]
    anonymous_auth: Option<bool>,
    /// A file of tokens, TOKEN,USER,UID,"GROUPS" a line; read at the start.
    #[arg(long)]
    token_auth_file: Option<PathBuf>,
    /// A kubeconfig of a webhook that reviews tokens nobody else knows.
    #[arg(long)]
    authentication_token_webhook_config_file: Option<PathBuf>,
    /// How long the webhook's answers hold.
    #[arg(long, default_value = "2m0s", value_parser = duration)]
    authentication_token_webhook_cache_ttl: Duration,
    /// The version of authentication.k8s.io the webhook is asked in.
    #[arg(long, default_value = "v1beta1", value_parser = ["v1", "v1beta1"])]
    authentication_token_webhook_version: String,
}

impl AccessFlags {
    /// Reads the files.
    pub(super) fn read(&self) -> Result<Access, Failure> {
        let refused = |what: &str, why: &dyn std::error::Error| {
            Failure::new(Code::Usage, format!("{what} cannot be used")).why(said(why))
        };
        let mut issuers = Vec::new();
        let mut anonymous = self.anonymous_auth.map(|enabled| Anonymous { enabled, ..Anonymous::default() });
        if let Some(path) = &self.authentication_config {
            let read =
                read_authentication(path).map_err(|error| refused("--authentication-config", &error))?;
            if read.anonymous.is_some() && anonymous.is_some() {
                return Err(Failure::new(
                    Code::Usage,
                    "--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file",
                ));
            }
            anonymous = anonymous.or(read.anonymous);
            issuers = read.jwt;
        }
        let webhook = self.authentication_token_webhook_config_file.as_ref().map(|path| TokenWebhook {
            kubeconfig: path.clone(),
            version: self.authentication_token_webhook_version.clone(),
            cache_ttl: self.authentication_token_webhook_cache_ttl,
        });
        let mut remotes = Remotes::new(&issuers, webhook.as_ref())
            .map_err(|error| refused("an issuer or webhook of tokens", &error))?;
        if let Some(path) = &self.token_auth_file {
            let file = read_token_file(path).map_err(|error| refused("--token-auth-file", &error))?;
            remotes = remotes.with_file(file);
        }
        let authorizers = match &self.authorization_config {
            None => Mode::DEFAULT.to_vec(),
            Some(path) => {
                read_authorizers(path).map_err(|error| refused("--authorization-config", &error))?
            }
        };
        Ok(Access { anonymous: anonymous.unwrap_or_default(), remotes, authorizers })
    }
}

/// An error with its causes.
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn duration(text: &str) -> Result<Duration, String> {
    go_duration(text).ok_or_else(|| format!("{text:?} is no duration such as 2m0s"))
}
