//! Whether the certificate and the key of a TLS secret belong together, in the words of Go's TLS library.
//!
//! A certificate that cannot be read, or a key whose public half is not stored beside the private one, is not judged: the
//! answer is a warning to the writer, not a decision.

use x509_parser::prelude::{FromDer, Pem, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Says what is wrong with a certificate and key in PEM.
pub(super) fn check(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let leaf = leaf_certificate(certificate)?;
    let key = private_key(key)?;
    let Ok((_, leaf)) = X509Certificate::from_der(&leaf) else { return Ok(()) };
    let Ok(public) = leaf.public_key().parsed() else { return Ok(()) };
    match (public, key_numbers(&key)) {
        (PublicKey::RSA(rsa), KeyNumbers::Rsa { modulus }) => {
            let same = trimmed(rsa.modulus) == trimmed(&modulus);
            if same { Ok(()) } else { Err("tls: private key does not match public key".to_owned()) }
        }
        (PublicKey::EC(point), KeyNumbers::Ec { point: stored }) => {
            if point.data() == stored {
                Ok(())
            } else {
                Err("tls: private key does not match public key".to_owned())
            }
        }
        (PublicKey::RSA(_), KeyNumbers::Ec { .. }) | (PublicKey::EC(_), KeyNumbers::Rsa { .. }) => {
            Err("tls: private key type does not match public key type".to_owned())
        }
        _ => Ok(()),
    }
}

fn blocks(pem: &[u8]) -> Vec<Pem> {
    Pem::iter_from_buffer(pem).filter_map(Result::ok).collect()
}

fn leaf_certificate(pem: &[u8]) -> Result<Vec<u8>, String> {
    let blocks = blocks(pem);
    if let Some(block) = blocks.iter().find(|block| block.label == "CERTIFICATE") {
        return Ok(block.contents.clone());
    }
    let skipped: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
    Err(match skipped.as_slice() {
        [] => "tls: failed to find any PEM data in certificate input".to_owned(),
        [single] if single.ends_with("PRIVATE KEY") => {
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".to_owned()
        }
        several => format!(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
            several.join(" ")
        ),
    })
}

fn private_key(pem: &[u8]) -> Result<Vec<u8>, String> {
    let blocks = blocks(pem);
    let is_key = |label: &str| label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY");
    if let Some(block) = blocks.iter().find(|block| is_key(&block.label)) {
        return Ok(block.contents.clone());
    }
    let skipped: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
    Err(match skipped.as_slice() {
        [] => "tls: failed to find any PEM data in key input".to_owned(),
        ["CERTIFICATE"] => {
            "tls: found a certificate rather than a key in the PEM for the private key".to_owned()
        }
        several => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
            several.join(" ")
        ),
    })
}

/// The public half of a private key, as far as it is stored beside it.
enum KeyNumbers {
    Rsa { modulus: Vec<u8> },
    Ec { point: Vec<u8> },
    Unknown,
}

/// Reads PKCS#8, PKCS#1 and SEC 1 keys.
fn key_numbers(der: &[u8]) -> KeyNumbers {
    let Some((0x30, fields, _)) = element(der) else { return KeyNumbers::Unknown };
    let fields = elements(fields);
    match fields.as_slice() {
        // PKCS#8 wraps one of the others.
        [(0x02, _), (0x30, _), (0x04, wrapped), ..] => key_numbers(wrapped),
        // PKCS#1 begins with a version, the modulus and the exponent.
        [(0x02, _), (0x02, modulus), (0x02, _), ..] => KeyNumbers::Rsa { modulus: modulus.to_vec() },
        // SEC 1 may end with the public point.
        [(0x02, _), (0x04, _), rest @ ..] => {
            let point = rest.iter().find(|(tag, _)| *tag == 0xa1).and_then(|(_, bits)| element(bits));
            match point {
                Some((0x03, bits, _)) if bits.len() > 1 => KeyNumbers::Ec { point: bits[1..].to_vec() },
                _ => KeyNumbers::Unknown,
            }
        }
        _ => KeyNumbers::Unknown,
    }
}

fn elements(mut der: &[u8]) -> Vec<(u8, &[u8])> {
    let mut elements = Vec::new();
    while let Some((tag, content, rest)) = element(der) {
        elements.push((tag, content));
        der = rest;
    }
    elements
}

/// The first DER element: its tag, its content and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let digits = usize::from(first & 0x7f);
        if digits > size_of::<u32>() || rest.len() < digits {
            return None;
        }
        let length = rest[..digits].iter().fold(0usize, |length, digit| length << 8 | usize::from(*digit));
        (length, &rest[digits..])
    };
    (rest.len() >= length).then(|| (tag, &rest[..length], &rest[length..]))
}

fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_what_is_missing() {
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let error = |certificate: &str, key: &str| {
            check(certificate.as_bytes(), key.as_bytes()).err().unwrap_or_default()
        };
        assert_eq!(error("", key), "tls: failed to find any PEM data in certificate input");
        assert!(error(key, certificate).ends_with("PEM inputs may have been switched"));
        assert_eq!(error(certificate, ""), "tls: failed to find any PEM data in key input");
        assert_eq!(
            error(certificate, certificate),
            "tls: found a certificate rather than a key in the PEM for the private key"
        );
        assert_eq!(error(certificate, key), "");
    }

    #[test]
    fn a_pair_is_told_from_strangers() {
        let pair = |name: &str| {
            let made =
                rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate can be made");
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let ((certificate, key), (_, other)) = (pair("a"), pair("b"));
        assert_eq!(check(certificate.as_bytes(), key.as_bytes()), Ok(()));
        assert_eq!(
            check(certificate.as_bytes(), other.as_bytes()),
            Err("tls: private key does not match public key".to_owned())
        );
    }
}
