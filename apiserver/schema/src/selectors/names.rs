//! What a label key and a label value may look like, in upstream's words.

const KEY_REGEX: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const KEY_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const KEY_EXAMPLES: &str = "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is";
/// Longest name part of a key, and longest value.
const PART_MAX: usize = 63;
/// Longest prefix of a key.
const PREFIX_MAX: usize = 253;

/// Problems of a label key; none when it is valid.
pub fn key_problems(key: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let name = match key.split_once('/') {
        None => key,
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a valid label key {KEY_RULE} {KEY_EXAMPLES} '{KEY_REGEX}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some(("", name)) => {
            problems.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            problems.extend(
                subdomain_problems(prefix).into_iter().map(|problem| format!("prefix part {problem}")),
            );
            name
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > PART_MAX {
        problems.push(format!("name part {}", too_long(PART_MAX)));
    }
    if !is_name(name) {
        problems.push(format!("name part {KEY_RULE} {KEY_EXAMPLES} '{KEY_REGEX}')"));
    }
    problems
}

/// Problems of a label value; none when it is valid.
pub fn value_problems(value: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if value.len() > PART_MAX {
        problems.push(too_long(PART_MAX));
    }
    if !value.is_empty() && !is_name(value) {
        problems.push(format!(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '({KEY_REGEX})?')"
        ));
    }
    problems
}

/// Problems of a lower-case DNS subdomain; none when it is valid.
pub fn subdomain_problems(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if name.len() > PREFIX_MAX {
        problems.push(too_long(PREFIX_MAX));
    }
    if !name.split('.').all(is_dns_label) {
        problems.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        );
    }
    problems
}

fn too_long(bytes: usize) -> String {
    format!("must be no more than {bytes} bytes")
}

fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = bytes
        .first()
        .zip(bytes.last())
        .is_some_and(|(a, b)| a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric());
    ends && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_dns_label(label: &str) -> bool {
    let lower = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    let ends = bytes.first().zip(bytes.last()).is_some_and(|(a, b)| lower(a) && lower(b));
    ends && bytes.iter().all(|byte| lower(byte) || *byte == b'-')
}
