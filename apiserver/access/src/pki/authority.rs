//! A certificate authority in memory.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::PkiError;

/// How long ago certificates start to be valid.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const AUTHORITY_DAYS: i32 = 3650;
const LEAF_DAYS: i32 = 365;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Showing who a client is.
    Client,
    /// Serving under the given names.
    Server,
    /// Both: peers that call each other.
    Peer,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key, PKCS #8.
    key: Vec<u8>,
}

impl Issued {
    /// Reads the PEM texts of a certificate and its key; `None` if one is neither.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Option<Issued> {
        let certificate = CertificateDer::from_pem_slice(certificate).ok()?;
        let PrivateKeyDer::Pkcs8(key) = PrivateKeyDer::from_pem_slice(key).ok()? else { return None };
        Some(Issued { certificate, key: key.secret_pkcs8_der().to_vec() })
    }

    /// The certificate as PEM.
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// The key as PEM.
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    /// The key as TLS takes it.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

/// A certificate authority with its key.
pub struct Authority {
    issued: Issued,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one of this name.
    pub fn create(name: &str, now: Timestamp) -> Result<Authority, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(name, None, now, AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        // kubeadm names its authority as a DNS name too.
        params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
        let certificate = params.self_signed(&key)?;
        let issued = Issued { certificate: certificate.der().clone(), key: key.serialize_der() };
        Authority::from_issued(issued)
    }

    /// The authority of a certificate and key made before.
    pub fn from_issued(issued: Issued) -> Result<Authority, PkiError> {
        let der = PrivatePkcs8KeyDer::from(issued.key.clone());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)?;
        let issuer = Issuer::from_ca_cert_der(&issued.certificate, key)?;
        Ok(Authority { issued, issuer })
    }

    /// Certificate and key of the authority itself.
    pub fn issued(&self) -> &Issued {
        &self.issued
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.issued.certificate
    }

    /// The authority's certificate as PEM.
    pub fn certificate_pem(&self) -> String {
        self.issued.certificate_pem()
    }

    /// SHA-256 of the authority's public key, as kubeadm pins it: `sha256:HEX`.
    pub fn pin(&self) -> Result<String, PkiError> {
        let key = PrivatePkcs8KeyDer::from(self.issued.key.clone());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)?;
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki);
        Ok(format!("sha256:{}", hex(digest.as_ref())))
    }

    /// A certificate for a client: the name is the user, the organization is its group.
    pub fn client(&self, name: &str, group: Option<&str>, now: Timestamp) -> Result<Issued, PkiError> {
        self.issue(Purpose::Client, name, group, &[], now)
    }

    /// A certificate to serve under `names`: host names and IP addresses.
    pub fn server(&self, name: &str, names: &[String], now: Timestamp) -> Result<Issued, PkiError> {
        self.issue(Purpose::Server, name, None, names, now)
    }

    /// The client certificate of a node's agent.
    pub fn node_client(&self, node: &str, now: Timestamp) -> Result<Issued, PkiError> {
        self.client(&format!("system:node:{node}"), Some(crate::groups::NODES), now)
    }

    /// The certificate a node's agent serves with.
    pub fn node_server(&self, node: &str, names: &[String], now: Timestamp) -> Result<Issued, PkiError> {
        self.issue(Purpose::Server, &format!("system:node:{node}"), Some(crate::groups::NODES), names, now)
    }

    /// A certificate for any purpose, with at most one organization.
    pub fn issue(
        &self,
        purpose: Purpose,
        name: &str,
        organization: Option<&str>,
        names: &[String],
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(name, organization, now, LEAF_DAYS);
        // Says "no authority" explicitly; only then is the subject key identifier written.
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = match purpose {
            Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Purpose::Peer => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.subject_alt_names = alternative_names(names)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.der().clone(), key: key.serialize_der() })
    }
}

fn params(name: &str, organization: Option<&str>, now: Timestamp, days: i32) -> CertificateParams {
    let mut subject = DistinguishedName::new();
    if let Some(organization) = organization {
        subject.push(DnType::OrganizationName, organization);
    }
    subject.push(DnType::CommonName, name);
    let date = |at: Timestamp| {
        let seconds = u64::try_from(at.as_second()).unwrap_or_default();
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds)
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.not_before = date(now - BACKDATE);
    params.not_after = date(now + DAY * days);
    params
}

fn alternative_names(names: &[String]) -> Result<Vec<SanType>, PkiError> {
    let to_san = |name: &String| match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(name.as_str().try_into()?)),
    };
    names.iter().map(to_san).collect()
}

/// PEM with 64 characters a line.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
