//! Names of container images, as far as the default pull policy needs them.

/// Bytes of a name without its registry.
const PATH_BYTES_MAX: usize = 255;

/// The pull policy of an image whose writer gave none: `Always` for the tag `latest`, given or implied.
pub(super) fn pull_policy(image: &str) -> &'static str {
    if tag(image) == Some("latest") { "Always" } else { "IfNotPresent" }
}

/// The tag of an image: `latest` when it has neither tag nor digest, `None` when it has a digest alone or is no image name.
fn tag(image: &str) -> Option<&str> {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[last..].find(':') {
        Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
        None => (rest, None),
    };
    if !is_name(name)
        || tag.is_some_and(|tag| !is_tag(tag))
        || digest.is_some_and(|digest| !is_digest(digest))
    {
        return None;
    }
    match (tag, digest) {
        (Some(tag), _) => Some(tag),
        (None, Some(_)) => None,
        (None, None) => Some("latest"),
    }
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
            && hex.len() >= 32
            && hex.chars().all(|c| c.is_ascii_hexdigit())
    })
}

fn is_name(name: &str) -> bool {
    // A bare image id could be mistaken for a digest, so it is no name.
    if name.len() == 64 && name.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
        return false;
    }
    let path = match name.split_once('/') {
        Some((domain, path)) if is_domain(domain) => path,
        _ => name,
    };
    path.len() <= PATH_BYTES_MAX && path.split('/').all(is_component)
}

/// Whether the first component is a registry and not a part of the path.
fn is_domain(component: &str) -> bool {
    let looks_like_one =
        component == "localhost" || component.contains(['.', ':']) || component.to_lowercase() != component;
    looks_like_one
        && component.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'))
}

fn is_component(component: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    component.starts_with(plain)
        && component.ends_with(plain)
        && component.split(plain).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.chars().all(|c| c == '-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_is_always_pulled() {
        for (image, policy) in [
            ("img", "Always"),
            ("x:latest", "Always"),
            ("x:1", "IfNotPresent"),
            ("reg.example:5000/x", "Always"),
            ("reg.example:5000/x:2", "IfNotPresent"),
            ("x@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "IfNotPresent"),
            ("x:latest@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Always"),
            ("UPPER", "IfNotPresent"),
            ("", "IfNotPresent"),
            ("a__b-c/d.e", "Always"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
        assert_eq!(pull_policy(&"x".repeat(256)), "IfNotPresent");
    }
}
