//! Syntax of IP addresses and CIDRs, as the API reads them.
//!
//! Fields older than the strict rules take addresses in any spelling and, on update, whatever was stored before; newer
//! fields want the canonical spelling.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::field::{self, Error, Path};

const IP_TEXT: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const CIDR_TEXT: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// An address in any spelling, leading zeros included. IPv4-mapped addresses are IPv4.
pub fn parse_ip_sloppy(text: &str) -> Option<IpAddr> {
    if !text.contains(':') {
        return parse_ipv4_sloppy(text).map(IpAddr::V4);
    }
    if text.contains('%') {
        return None;
    }
    let address = match text.parse::<Ipv6Addr>() {
        Ok(address) => address,
        // An embedded IPv4 part may have leading zeros.
        Err(_) => {
            let (head, tail) = text.rsplit_once(':')?;
            format!("{head}:{}", parse_ipv4_sloppy(tail)?).parse::<Ipv6Addr>().ok()?
        }
    };
    Some(match address.to_ipv4_mapped() {
        Some(mapped) => IpAddr::V4(mapped),
        None => IpAddr::V6(address),
    })
}

fn parse_ipv4_sloppy(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = part.trim_start_matches('0');
        *octet = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

/// A CIDR in any spelling: the address as written and the prefix length.
pub fn parse_cidr_sloppy(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let ip = parse_ip_sloppy(address)?;
    if length.is_empty() || length.len() > 5 || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let length: u16 = length.parse().ok()?;
    // The length of a mapped address counts IPv6 bits.
    let max = if address.contains(':') { 128 } else { 32 };
    let mapped = address.contains(':') && ip.is_ipv4();
    if length > max || (mapped && length < 96) {
        return None;
    }
    u8::try_from(if mapped { length - 96 } else { length }).ok().map(|length| (ip, length))
}

/// The address with the bits beyond the prefix cleared.
pub fn masked(ip: IpAddr, length: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
    }
}

/// Whether the text is an IPv4 address in any spelling.
pub fn is_ipv4(text: &str) -> bool {
    parse_ip_sloppy(text).is_some_and(|ip| ip.is_ipv4())
}

/// Whether the text is an IPv6 address in any spelling.
pub fn is_ipv6(text: &str) -> bool {
    parse_ip_sloppy(text).is_some_and(|ip| ip.is_ipv6())
}

/// How strictly a field reads an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Leading zeros and IPv4-mapped addresses pass.
    Sloppy,
    /// They do not.
    Strict,
}

fn parse_ip(path: &Path, value: &str, strictness: Strictness) -> (Option<IpAddr>, Vec<Error>) {
    let Some(ip) = parse_ip_sloppy(value) else {
        return (None, vec![field::invalid(path, value, IP_TEXT)]);
    };
    let mut errors = Vec::new();
    if strictness == Strictness::Strict {
        match value.parse::<IpAddr>() {
            Err(_) => errors.push(field::invalid(path, value, "must not have leading 0s")),
            Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
                errors.push(field::invalid(path, value, "must not be an IPv4-mapped IPv6 address"));
            }
            Ok(_) => {}
        }
    }
    (Some(ip), errors)
}

/// Everything wrong with an address in a field older than the strict rules. Values in `stored` pass.
pub fn validate_legacy_ip(path: &Path, value: &str, strictness: Strictness, stored: &[&str]) -> Vec<Error> {
    if stored.contains(&value) { Vec::new() } else { parse_ip(path, value, strictness).1 }
}

/// Everything wrong with an address in a newer field: it must be canonical.
pub fn validate_ip(path: &Path, value: &str) -> Vec<Error> {
    let (ip, mut errors) = parse_ip(path, value, Strictness::Strict);
    if let (Some(ip), true) = (ip, errors.is_empty())
        && ip.to_string() != value
    {
        errors.push(field::invalid(path, value, format!("must be in canonical form (\"{ip}\")")));
    }
    errors
}

fn parse_cidr(path: &Path, value: &str, strictness: Strictness) -> (Option<(IpAddr, u8)>, Vec<Error>) {
    let Some((ip, length)) = parse_cidr_sloppy(value) else {
        return (None, vec![field::invalid(path, value, CIDR_TEXT)]);
    };
    let cidr = Some((masked(ip, length), length));
    if strictness == Strictness::Sloppy {
        return (cidr, Vec::new());
    }
    let (address, digits) = value.split_once('/').expect("parsed above");
    let text = match address.parse::<IpAddr>() {
        Ok(_) if digits.len() > 1 && digits.starts_with('0') => {
            "must not have leading 0s in IP or prefix length"
        }
        Err(_) => "must not have leading 0s in IP or prefix length",
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            "must not have an IPv4-mapped IPv6 address"
        }
        Ok(_) if masked(ip, length) != ip => "must not have bits set beyond the prefix length",
        Ok(_) => return (cidr, Vec::new()),
    };
    (cidr, vec![field::invalid(path, value, text)])
}

/// Everything wrong with a CIDR in a field older than the strict rules. Values in `stored` pass.
pub fn validate_legacy_cidr(path: &Path, value: &str, strictness: Strictness, stored: &[&str]) -> Vec<Error> {
    if stored.contains(&value) { Vec::new() } else { parse_cidr(path, value, strictness).1 }
}

/// Everything wrong with a CIDR in a newer field: it must be canonical.
pub fn validate_cidr(path: &Path, value: &str) -> Vec<Error> {
    let (cidr, mut errors) = parse_cidr(path, value, Strictness::Strict);
    if let (Some((ip, length)), true) = (cidr, errors.is_empty())
        && format!("{ip}/{length}") != value
    {
        let text = format!("must be in canonical form (\"{ip}/{length}\")");
        errors.push(field::invalid(path, value, text));
    }
    errors
}

/// Everything wrong with an address traffic is sent to: it must lead somewhere in the network.
pub fn validate_endpoint_ip(path: &Path, value: &str) -> Vec<Error> {
    let Some(ip) = parse_ip_sloppy(value) else {
        return vec![field::invalid(path, value, "must be a valid IP address")];
    };
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    let rules = [
        (ip.is_unspecified(), format!("may not be unspecified ({value})")),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (
            link_local_multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned(),
        ),
    ];
    rules
        .into_iter()
        .filter(|(broken, _)| *broken)
        .map(|(_, text)| field::invalid(path, value, text))
        .collect()
}

/// What to tell the writer of an address in an odd spelling.
pub fn ip_warning(path: &Path, value: &str) -> Option<String> {
    let ip = parse_ip_sloppy(value)?;
    match value.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => None,
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => {
            (address.to_string() != value).then(|| {
                format!(
                    "{path}: IPv6 address \"{value}\" should be in RFC 5952 canonical format (\"{address}\")"
                )
            })
        }
        _ => Some(format!("{path}: non-standard IP address \"{value}\" is invalid: use \"{ip}\"")),
    }
}

/// What to tell the writer of a CIDR in an odd spelling.
pub fn cidr_warnings(path: &Path, value: &str) -> Vec<String> {
    let Some((ip, length)) = parse_cidr_sloppy(value) else { return Vec::new() };
    let network = masked(ip, length);
    let mut warnings = Vec::new();
    if network != ip {
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        warnings.push(format!(
            "{path}: CIDR value \"{value}\" is ambiguous in this context (should be \"{network}/{length}\" or \"{ip}/{bits}\"?)"
        ));
    }
    let (address, digits) = value.split_once('/').expect("parsed above");
    let standard = match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => address.to_ipv4_mapped().is_none(),
        Ok(IpAddr::V4(_)) => true,
        Err(_) => false,
    } && !(digits.len() > 1 && digits.starts_with('0'));
    if !standard {
        warnings.push(format!(
            "{path}: non-standard CIDR value \"{value}\" is invalid: use \"{network}/{length}\""
        ));
    }
    if warnings.is_empty() && ip.is_ipv6() && format!("{ip}/{length}") != value {
        warnings.push(format!(
            "{path}: IPv6 CIDR value \"{value}\" should be in RFC 5952 canonical format (\"{ip}/{length}\")"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: Vec<Error>) -> Vec<String> {
        errors.into_iter().map(|error| error.detail).collect()
    }

    #[test]
    fn addresses() {
        let path = Path::new("ip");
        assert!(validate_ip(&path, "10.0.0.1").is_empty());
        assert_eq!(texts(validate_ip(&path, "10.0.0")), [IP_TEXT]);
        assert_eq!(texts(validate_ip(&path, "010.0.0.1")), ["must not have leading 0s"]);
        assert_eq!(texts(validate_ip(&path, "::ffff:1.2.3.4")), ["must not be an IPv4-mapped IPv6 address"]);
        assert_eq!(texts(validate_ip(&path, "FE80::1")), ["must be in canonical form (\"fe80::1\")"]);
        assert!(validate_legacy_ip(&path, "010.0.0.1", Strictness::Sloppy, &[]).is_empty());
        assert!(validate_legacy_ip(&path, "rubbish", Strictness::Strict, &["rubbish"]).is_empty());
    }

    #[test]
    fn networks() {
        let path = Path::new("cidr");
        assert!(validate_legacy_cidr(&path, "10.0.0.1/8", Strictness::Sloppy, &[]).is_empty());
        assert_eq!(
            cidr_warnings(&path, "10.0.0.1/8"),
            [
                "cidr: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)"
            ]
        );
    }
}
