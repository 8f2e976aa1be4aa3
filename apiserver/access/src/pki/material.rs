//! The certificates of a server, kept in a directory or in memory.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::{Authority, Issued, PkiError, Purpose};
use crate::private_file;
use crate::user::{groups, users};

/// A certificate is replaced when it is valid for less than this. Servers restart more often
/// than that, and a client that started with the old one has time to notice.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(24 * 90);

/// Everything a server needs to be reached and to reach others.
pub struct Material {
    /// Signs all of the others.
    pub authority: Authority,
    /// What the API server serves with.
    pub serving: Issued,
    /// The administrator.
    pub admin: Issued,
    /// The controllers.
    pub controller_manager: Issued,
    /// The scheduler.
    pub scheduler: Issued,
    /// The API server, when it calls a node's agent.
    pub kubelet_client: Issued,
}

/// Who the material is made for.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Names the API server is reached under; see [`serving_names`].
    pub serving_names: Vec<String>,
    /// Group of the administrator.
    pub admin_group: &'static str,
}

impl Identity {
    /// An administrator who may do everything: `dev` and `local`.
    pub fn privileged(serving_names: Vec<String>) -> Identity {
        Identity { serving_names, admin_group: groups::MASTERS }
    }

    /// An administrator by role: an installed server.
    pub fn installed(serving_names: Vec<String>) -> Identity {
        Identity { serving_names, admin_group: groups::CLUSTER_ADMINS }
    }
}

/// The names a serving certificate carries in every cluster, with the node's own name and addresses.
pub fn serving_names(service_address: IpAddr, domain: &str, own: &[String]) -> Vec<String> {
    let mut names: Vec<String> =
        ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(String::from).into();
    names.push(format!("kubernetes.default.svc.{domain}"));
    names.extend(["localhost", "127.0.0.1", "::1"].map(String::from));
    names.push(service_address.to_string());
    for name in own {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

impl Material {
    /// New material that no file knows of.
    pub fn in_memory(identity: &Identity, now: Timestamp) -> Result<Material, PkiError> {
        let authority = Authority::create("kubernetes", now)?;
        Material::complete(authority, identity, now, &mut |_, issue| issue())
    }

    /// The material of `directory`. What is missing, expires soon or lacks a name is made anew; the
    /// authority is never replaced.
    pub fn load_or_create(
        directory: &Path,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<Material, PkiError> {
        let authority = match load(directory, "ca")? {
            Some(issued) => Authority::from_issued(issued)?,
            None => {
                let authority = Authority::create("kubernetes", now)?;
                save(directory, "ca", authority.issued())?;
                authority
            }
        };
        Material::complete(authority, identity, now, &mut |wanted, issue| {
            if let Some(issued) = load(directory, wanted.file)?.filter(|issued| wanted.is_met_by(issued, now))
            {
                return Ok(issued);
            }
            let issued = issue()?;
            save(directory, wanted.file, &issued)?;
            Ok(issued)
        })
    }

    fn complete(
        authority: Authority,
        identity: &Identity,
        now: Timestamp,
        obtain: &mut Obtain<'_>,
    ) -> Result<Material, PkiError> {
        let mut get = |file, purpose, name: &str, group: Option<&str>, names: &[String]| {
            let wanted = Wanted { file, authority: authority.certificate(), name, group, names };
            obtain(&wanted, &mut || authority.issue(purpose, name, group, names, now))
        };
        let serving = get("apiserver", Purpose::Server, "kube-apiserver", None, &identity.serving_names)?;
        let admin = get("admin", Purpose::Client, users::ADMIN, Some(identity.admin_group), &[])?;
        let controller_manager =
            get("controller-manager", Purpose::Client, users::CONTROLLER_MANAGER, None, &[])?;
        let scheduler = get("scheduler", Purpose::Client, users::SCHEDULER, None, &[])?;
        let kubelet_client = get(
            "apiserver-kubelet-client",
            Purpose::Client,
            users::KUBELET_CLIENT,
            Some(groups::MASTERS),
            &[],
        )?;
        Ok(Material { authority, serving, admin, controller_manager, scheduler, kubelet_client })
    }
}

type Obtain<'a> =
    dyn FnMut(&Wanted<'_>, &mut dyn FnMut() -> Result<Issued, PkiError>) -> Result<Issued, PkiError> + 'a;

/// What a stored certificate must say to be used again.
pub(super) struct Wanted<'a> {
    pub(super) file: &'static str,
    pub(super) authority: &'a [u8],
    pub(super) name: &'a str,
    pub(super) group: Option<&'a str>,
    pub(super) names: &'a [String],
}

impl Wanted<'_> {
    pub(super) fn is_met_by(&self, issued: &Issued, now: Timestamp) -> bool {
        let parsed = x509_parser::parse_x509_certificate(&issued.certificate);
        let authority = x509_parser::parse_x509_certificate(self.authority);
        let (Ok((_, certificate)), Ok((_, authority))) = (parsed, authority) else { return false };
        let subject = certificate.subject();
        let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        let groups: Vec<&str> = subject.iter_organization().filter_map(|group| group.as_str().ok()).collect();
        let fresh = certificate.validity().not_after.timestamp() > (now + RENEW_BEFORE).as_second();
        fresh
            && common_name == Some(self.name)
            && groups == self.group.as_slice()
            && certificate.issuer() == authority.subject()
            && authority_key(&certificate).is_some_and(|key| Some(key) == subject_key(&authority))
            && self.has_names(&certificate)
    }

    fn has_names(&self, certificate: &X509Certificate<'_>) -> bool {
        let extension = certificate.subject_alternative_name().ok().flatten();
        let general = extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        self.names.iter().all(|name| match name.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => general.contains(&GeneralName::IPAddress(&address.octets())),
            Ok(IpAddr::V6(address)) => general.contains(&GeneralName::IPAddress(&address.octets())),
            Err(_) => general.contains(&GeneralName::DNSName(name)),
        })
    }
}

/// Which key signed the certificate. The directory is private, so the signature itself is not checked.
fn authority_key<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => {
            identifier.key_identifier.as_ref().map(|key| key.0)
        }
        _ => None,
    })
}

fn subject_key<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0),
        _ => None,
    })
}

fn paths(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")))
}

pub(super) fn load(directory: &Path, name: &str) -> Result<Option<Issued>, PkiError> {
    let (certificate_path, key_path) = paths(directory, name);
    let read = |path: &PathBuf| {
        private_file::read(path).map_err(|source| PkiError::File { path: path.clone(), source })
    };
    match (read(&certificate_path)?, read(&key_path)?) {
        (Some(certificate), Some(key)) => {
            Issued::from_pem(&certificate, &key).map(Some).ok_or(PkiError::Malformed {
                path: certificate_path,
                expected: "certificate with its PKCS #8 key",
            })
        }
        (None, None) => Ok(None),
        // The key is written first: alone it is what a crash left, and is of no use.
        (None, Some(_)) => Ok(None),
        (Some(_), None) => Err(PkiError::Unpaired { path: certificate_path }),
    }
}

pub(super) fn save(directory: &Path, name: &str, issued: &Issued) -> Result<(), PkiError> {
    let (certificate_path, key_path) = paths(directory, name);
    for (path, content) in [(key_path, issued.key_pem()), (certificate_path, issued.certificate_pem())] {
        private_file::write(&path, content.as_bytes()).map_err(|source| PkiError::File { path, source })?;
    }
    Ok(())
}
