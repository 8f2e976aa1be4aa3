//! Certificates for keys that others keep: what a request asks for, signed by the cluster's authority.
//!
//! The certificate is written here byte by byte, because subject and key are taken over as the request has them, whatever
//! attributes a subject has. Nothing is decided about whether to sign.

use std::net::IpAddr;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use jiff::{SignedDuration, Timestamp};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::{Authority, PkiError, pem};

/// How long certificates for others are valid at most.
const VALID_MAX: SignedDuration = SignedDuration::from_hours(24 * 365);
/// And at least.
const VALID_MIN: SignedDuration = SignedDuration::from_mins(10);
/// How long ago they start to be valid.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// What is valid for less than this is so for as long as was asked, the backdating not taken off.
const SHORT: SignedDuration = SignedDuration::from_hours(8);
const SERIAL_BYTES: usize = 16;

/// Usages by the bit of the key usage extension they stand for.
const KEY_USAGES: [(&str, u8); 10] = [
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];

/// Usages by the object identifier they stand for.
const EXTENDED_USAGES: [(&str, &[u8]); 13] = [
    ("any", &[0x55, 0x1d, 0x25, 0x00]),
    ("server auth", &[0x2b, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[0x2b, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[0x2b, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[0x2b, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[0x2b, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[0x2b, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[0x2b, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[0x2b, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[0x2b, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[0x2b, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 10, 3, 3]),
    ("netscape sgc", &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1]),
];

const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 0x23];
const EXTENDED_USAGE: &[u8] = &[0x55, 0x1d, 0x25];

const VERSION_3: &[u8] = &[0xa0, 3, INTEGER, 1, 2];
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const GENERALIZED_TIME: u8 = 0x18;
const UTC_TIME: u8 = 0x17;

impl Authority {
    /// Signs a request (DER) for these usages, for as long as is asked within bounds; gives PEM.
    pub fn sign_request(
        &self,
        request: &[u8],
        usages: &[&str],
        seconds: Option<i64>,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let (_, request) = X509CertificationRequest::from_der(request).map_err(|_| PkiError::Request)?;
        let (_, own) =
            x509_parser::parse_x509_certificate(self.certificate()).map_err(|_| PkiError::Request)?;
        let authority_end =
            Timestamp::from_second(own.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX);
        let (from, until) = validity(seconds, now, authority_end);
        if now >= authority_end {
            return Err(PkiError::Request);
        }
        let info = &request.certification_request_info;
        let algorithm = tagged(SEQUENCE, &[&tagged(OBJECT_ID, &[ECDSA_WITH_SHA256])]);
        let extensions = extensions(&request, usages, subject_key(&own)).concat();
        let parts: [&[u8]; 8] = [
            VERSION_3,
            &serial()?,
            &algorithm,
            own.subject().as_raw(),
            &tagged(SEQUENCE, &[&time(from), &time(until)]),
            info.subject.as_raw(),
            info.subject_pki.raw,
            &tagged(0xa3, &[&tagged(SEQUENCE, &[&extensions])]),
        ];
        let body = tagged(SEQUENCE, &parts);
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, self.issued().key().secret_der())
            .map_err(|_| PkiError::Request)?;
        let signature = key.sign(&SystemRandom::new(), &body).map_err(|_| PkiError::Request)?;
        let certificate =
            tagged(SEQUENCE, &[&body, &algorithm, &tagged(BIT_STRING, &[&[0], signature.as_ref()])]);
        Ok(pem("CERTIFICATE", &certificate))
    }
}

/// When a certificate begins and ends. It never outlives its authority.
fn validity(seconds: Option<i64>, now: Timestamp, authority_end: Timestamp) -> (Timestamp, Timestamp) {
    let asked = seconds.map_or(VALID_MAX, SignedDuration::from_secs);
    let valid = asked.clamp(VALID_MIN, VALID_MAX);
    let valid = if valid < SHORT { valid } else { valid - BACKDATE };
    (now - BACKDATE, (now + valid).min(authority_end))
}

fn serial() -> Result<Vec<u8>, PkiError> {
    let mut bytes = [0u8; SERIAL_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| PkiError::Request)?;
    // Positive, and without a leading zero that would have to go.
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(tagged(INTEGER, &[&bytes]))
}

/// DER of a value: tag, length, content.
fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut der = vec![tag];
    if length < 0x80 {
        der.push(u8::try_from(length).expect("below 128"));
    } else {
        let bytes = length.to_be_bytes();
        let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        der.push(0x80 | u8::try_from(significant.len()).expect("eight at most"));
        der.extend_from_slice(significant);
    }
    parts.iter().for_each(|part| der.extend_from_slice(part));
    der
}

/// Years with two digits until 2049, with four from then on.
fn time(at: Timestamp) -> Vec<u8> {
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    let (tag, format) =
        if at.year() < 2050 { (UTC_TIME, "%y%m%d%H%M%SZ") } else { (GENERALIZED_TIME, "%Y%m%d%H%M%SZ") };
    tagged(tag, &[at.strftime(format).to_string().as_bytes()])
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[0x01, 1, 0xff] } else { &[] };
    tagged(SEQUENCE, &[&tagged(OBJECT_ID, &[id]), flag, &tagged(OCTET_STRING, &[value])])
}

fn extensions(
    request: &X509CertificationRequest<'_>,
    usages: &[&str],
    authority_key: Option<Vec<u8>>,
) -> Vec<Vec<u8>> {
    let mut extensions = Vec::new();
    extensions.extend(key_usage(usages).map(|bits| extension(KEY_USAGE, true, &bits)));
    extensions.extend(extended_usage(usages).map(|list| extension(EXTENDED_USAGE, false, &list)));
    extensions.push(extension(BASIC_CONSTRAINTS, true, &tagged(SEQUENCE, &[])));
    extensions.extend(
        authority_key
            .map(|key| extension(AUTHORITY_KEY, false, &tagged(SEQUENCE, &[&tagged(0x80, &[&key])]))),
    );
    let names = alternative_names(request);
    if !names.is_empty() {
        // A certificate without a subject is known by these names alone.
        let nameless = request.certification_request_info.subject.iter().next().is_none();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        extensions.push(extension(ALTERNATIVE_NAMES, nameless, &tagged(SEQUENCE, &names)));
    }
    extensions
}

/// A bit string, as short as it can be.
fn key_usage(usages: &[&str]) -> Option<Vec<u8>> {
    let known = KEY_USAGES.iter().filter(|(name, _)| usages.contains(name));
    let mut bytes = [0u8; 2];
    let mut last = None;
    for (_, bit) in known {
        bytes[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
        last = last.max(Some(*bit));
    }
    let last = last?;
    let used = &bytes[..=usize::from(last / 8)];
    Some(tagged(BIT_STRING, &[&[7 - last % 8], used]))
}

fn extended_usage(usages: &[&str]) -> Option<Vec<u8>> {
    let known = EXTENDED_USAGES.iter().filter(|(name, _)| usages.contains(name));
    let mut ids: Vec<Vec<u8>> = known.map(|(_, id)| tagged(OBJECT_ID, &[id])).collect();
    ids.dedup();
    let ids: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
    (!ids.is_empty()).then(|| tagged(SEQUENCE, &ids))
}

fn alternative_names(request: &X509CertificationRequest<'_>) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(list) = extension else { continue };
        names.extend(list.general_names.iter().filter_map(|name| match name {
            GeneralName::RFC822Name(text) => Some(tagged(0x81, &[text.as_bytes()])),
            GeneralName::DNSName(text) => Some(tagged(0x82, &[text.as_bytes()])),
            GeneralName::URI(text) => Some(tagged(0x86, &[text.as_bytes()])),
            GeneralName::IPAddress(bytes) => address(bytes).map(|_| tagged(0x87, &[bytes])),
            _ => None,
        }));
    }
    names
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn subject_key(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0.to_vec()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().expect("a time")
    }

    fn request() -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "system:node:a");
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.subject_alt_names = vec![
            SanType::DnsName("a.b".try_into().expect("a name")),
            SanType::IpAddress([10, 0, 0, 1].into()),
        ];
        let key = KeyPair::generate().expect("a key");
        params.serialize_request(&key).expect("a request").der().to_vec()
    }

    #[test]
    fn what_is_signed_says_what_the_request_asked_and_verifies() {
        let authority = Authority::create("kubernetes", now()).expect("an authority");
        let usages = ["digital signature", "key encipherment", "server auth"];
        let pem = authority.sign_request(&request(), &usages, Some(3600), now()).expect("a certificate");
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        let (rest, certificate) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
        assert!(rest.is_empty());
        let (_, own) = x509_parser::parse_x509_certificate(authority.certificate()).expect("its own");
        certificate.verify_signature(Some(own.public_key())).expect("the authority's signature");
        assert_eq!(certificate.subject().to_string(), "CN=system:node:a, O=system:nodes");
        assert_eq!(certificate.issuer(), own.subject());
        let usage = certificate.key_usage().expect("parses").expect("is there");
        assert_eq!(usage.value.to_string(), "Digital Signature, Key Encipherment");
        let extended = certificate.extended_key_usage().expect("parses").expect("is there");
        assert!(extended.value.server_auth && !extended.value.client_auth);
        let names = certificate.subject_alternative_name().expect("parses").expect("is there");
        assert_eq!(names.value.general_names.len(), 2);
        assert!(!certificate.is_ca());
        let validity = certificate.validity();
        assert_eq!(validity.not_after.timestamp(), now().as_second() + 3600);
        assert_eq!(validity.not_before.timestamp(), now().as_second() - 300);
    }

    #[test]
    fn validity_is_bounded() {
        let end = now() + SignedDuration::from_hours(24 * 3650);
        let until = |seconds| validity(seconds, now(), end).1.duration_since(now()).as_secs();
        assert_eq!(until(Some(1)), 600);
        assert_eq!(until(Some(3600 * 9)), 3600 * 9 - 300);
        assert_eq!(until(None), 3600 * 24 * 365 - 300);
        assert_eq!(until(Some(i64::from(i32::MAX))), 3600 * 24 * 365 - 300);
        let soon = now() + SignedDuration::from_hours(1);
        assert_eq!(validity(None, now(), soon).1, soon);
    }

    #[test]
    fn a_bit_string_is_as_short_as_it_can_be() {
        assert_eq!(key_usage(&["client auth"]), None);
        assert_eq!(key_usage(&["digital signature"]), Some(vec![BIT_STRING, 2, 7, 0x80]));
        assert_eq!(key_usage(&["decipher only"]), Some(vec![BIT_STRING, 3, 7, 0, 0x80]));
    }
}
