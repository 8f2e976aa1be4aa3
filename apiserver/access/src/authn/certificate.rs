//! The user a client certificate names.

use x509_parser::der_parser::oid;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::pki::hex;
use crate::user::UserInfo;

/// The user of a verified certificate: the common name is the user, the organizations are its groups.
/// `None` when the bytes are no certificate; a user without name when it names nobody.
pub fn user_of_certificate(der: &[u8]) -> Option<UserInfo> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().last().and_then(|name| name.as_str().ok()).unwrap_or_default();
    if name.is_empty() {
        return Some(UserInfo::default());
    }

    let organizations = subject.iter_organization().filter_map(|group| group.as_str().ok());
    let uid = subject.iter_by_oid(&oid!(1.3.6.1.4.1.57683.2)).next().and_then(|uid| uid.as_str().ok());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    let mut user = UserInfo {
        name: name.to_owned(),
        uid: uid.unwrap_or_default().to_owned(),
        groups: organizations.map(str::to_owned).collect(),
        ..UserInfo::default()
    };
    let credential = format!("X509SHA256={}", hex(digest.as_ref()));
    user.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), vec![credential]);
    user.mark_authenticated();
    Some(user)
}
