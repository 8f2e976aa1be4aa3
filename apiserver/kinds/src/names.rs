//! Syntax of names: labels, subdomains, qualified names, label values, path segments, ports.
//!
//! Every check returns what is wrong in words, one text per broken rule, and nothing when the value is fine. They tell
//! nothing about where the value stands; callers pair the texts with a [`crate::field::Path`].

/// Label keys and label values, as selectors read them too.
pub use schema::selectors::names::{key_problems as qualified_name, value_problems as label_value};

/// A check of an object's name. The second argument says that a suffix will be appended (`generateName`).
pub type NameRule = fn(&str, bool) -> Vec<String>;

/// Bytes of a subdomain.
const SUBDOMAIN_BYTES_MAX: usize = 253;
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const WILDCARD_TEXT: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
const RFC1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const RFC1035_TEXT: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
const CONFIG_KEY: &str = "[-._a-zA-Z0-9]+";
const CONFIG_KEY_TEXT: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";

/// An RFC 1123 label, at most 63 characters.
pub fn dns_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > 63 {
        errors.push(max_characters(63));
    }
    if !is_label(value) {
        errors.push(if is_subdomain(value) {
            "must not contain dots".to_owned()
        } else {
            pattern(LABEL_TEXT, LABEL, &["my-name", "123-abc"])
        });
    }
    errors
}

/// An RFC 1123 subdomain, at most 253 characters.
pub fn dns_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_BYTES_MAX {
        errors.push(max_characters(SUBDOMAIN_BYTES_MAX));
    }
    if !is_subdomain(value) {
        errors.push(pattern(SUBDOMAIN_TEXT, SUBDOMAIN, &["example.com"]));
    }
    errors
}

/// A subdomain whose first label is `*`.
pub fn wildcard_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > 253 {
        errors.push(max_characters(253));
    }
    if !value.strip_prefix("*.").is_some_and(is_subdomain) {
        errors.push(pattern(WILDCARD_TEXT, &format!(r"\*\.{SUBDOMAIN}"), &["*.example.com"]));
    }
    errors
}

/// An RFC 1035 label, at most 63 characters.
pub fn dns_1035_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > 63 {
        errors.push(max_characters(63));
    }
    if !(is_label(value) && value.starts_with(|first: char| first.is_ascii_lowercase())) {
        errors.push(pattern(RFC1035_TEXT, RFC1035, &["my-name", "abc-123"]));
    }
    errors
}

/// A key of a ConfigMap or Secret.
pub fn config_key(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > 253 {
        errors.push(max_characters(253));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if value.is_empty() || !value.bytes().all(allowed) {
        errors.push(pattern(CONFIG_KEY_TEXT, CONFIG_KEY, &["key.name", "KEY_NAME", "key-name"]));
    }
    errors.extend(parent_directory(value));
    errors
}

/// A value that must not climb out of a directory it is joined to.
pub fn parent_directory(value: &str) -> Option<String> {
    match value {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        _ if value.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// An environment variable's name: printable ASCII other than `=`.
pub fn environment_variable(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=') {
        return Vec::new();
    }
    vec![
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
            .to_owned(),
    ]
}

/// A port number.
pub fn port_number(port: i64) -> Option<String> {
    (!(1..=65535).contains(&port)).then(|| inclusive_range(1, 65535))
}

/// A port name (IANA service name).
pub fn port_name(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > 15 {
        errors.push(max_characters(15));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || !name.bytes().all(allowed) {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// A percentage such as `25%`.
pub fn percent(value: &str) -> Vec<String> {
    let digits = value.strip_suffix('%').unwrap_or("");
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let text = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![pattern(text, "[0-9]+%", &["1%", "93%"])]
}

/// An HTTP header's name.
pub fn http_header(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    let text = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![pattern(text, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// A user or group id.
pub fn numeric_id(id: i64) -> Option<String> {
    (!(0..=i64::from(i32::MAX)).contains(&id)).then(|| inclusive_range(0, i64::from(i32::MAX)))
}

/// [`NameRule`] for subdomains, the usual one.
pub fn subdomain_rule(name: &str, prefix: bool) -> Vec<String> {
    dns_subdomain(&masked(name, prefix))
}

/// [`NameRule`] for subdomains of the kinds whose text counts in bytes.
pub fn long_name_rule(name: &str, prefix: bool) -> Vec<String> {
    let characters = max_characters(SUBDOMAIN_BYTES_MAX);
    let bytes = || format!("must be no more than {SUBDOMAIN_BYTES_MAX} bytes");
    let texts = subdomain_rule(name, prefix).into_iter();
    texts.map(|text| if text == characters { bytes() } else { text }).collect()
}

/// [`NameRule`] for labels.
pub fn label_rule(name: &str, prefix: bool) -> Vec<String> {
    dns_label(&masked(name, prefix))
}

/// [`NameRule`] for anything that fits a path segment.
pub fn path_segment_rule(name: &str, prefix: bool) -> Vec<String> {
    if !prefix && (name == "." || name == "..") {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|part| name.contains(**part))
        .map(|part| format!("may not contain '{part}'"))
        .collect()
}

/// A prefix may end in a dash, because something will follow it.
fn masked(name: &str, prefix: bool) -> String {
    match name.strip_suffix('-') {
        // Two characters are replaced by one, as upstream does; so `a--` is a good prefix and `-` is not.
        Some(rest) if prefix && !rest.is_empty() => {
            let kept = rest.char_indices().next_back().map_or("", |(last, _)| &rest[..last]);
            format!("{kept}a")
        }
        _ => name.to_owned(),
    }
}

/// The text of a value that does not match a pattern.
pub fn pattern(text: &str, pattern: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{text} (regex used for validation is '{pattern}')");
    }
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{text} (e.g. {}regex used for validation is '{pattern}')", examples.join(" or "))
}

/// The text of a number out of its range.
pub fn inclusive_range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// The text of a value that is too long in characters.
pub fn max_characters(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn is_label(value: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !value.is_empty() && value.bytes().all(inner) && !value.starts_with('-') && !value.ends_with('-')
}

fn is_subdomain(value: &str) -> bool {
    value.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&str) -> Vec<String>, good: &[&str], bad: &[&str]) {
        for value in good {
            assert_eq!(rule(value), Vec::<String>::new(), "{value}");
        }
        for value in bad {
            assert!(!rule(value).is_empty(), "{value}");
        }
    }

    #[test]
    fn syntax() {
        let long = "a".repeat(64);
        check(dns_label, &["a", "a-b", "1"], &["", "A", "-a", "a-", "a.b", &long]);
        check(dns_subdomain, &["a", "a.b", "1.2.3.4"], &["", "a..b", "a_b", "a.B", "a.-b"]);
        check(dns_1035_label, &["a1"], &["1a", ""]);
        check(qualified_name, &["a", "A_b.c", "x.y/z"], &["", "/a", "a/", "a/b/c", "X/y", "-a", &long]);
        check(label_value, &["", "a", "A.b_c"], &["-", "a b", &long]);
        check(config_key, &["a", ".a", "A_b-c"], &["", ".", "..", "..a", "a/b"]);
        check(port_name, &["http", "a-1"], &["", "1", "a--b", "-a", "A", "abcdefghijklmnop"]);
        check(percent, &["0%", "100%"], &["", "%", "1", "-1%"]);
    }

    #[test]
    fn texts_name_the_rule_and_examples() {
        assert_eq!(
            dns_label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
              with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert_eq!(path_segment_rule("a/b%", false), ["may not contain '/'", "may not contain '%'"]);
        assert_eq!(path_segment_rule("..", false), ["may not be '..'"]);
    }

    #[test]
    fn a_prefix_may_end_in_a_dash() {
        assert!(subdomain_rule("web-", true).is_empty());
        assert!(!subdomain_rule("web-", false).is_empty());
        assert!(!subdomain_rule("-", true).is_empty());
    }
}
