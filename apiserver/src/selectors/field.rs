//! Field selectors: `a=b,c!=d` with backslash escapes. Decides parsing and
//! matching; which fields exist is the caller's.

/// One term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Field name, for example `spec.nodeName`.
    pub field: String,
    /// Value to compare with.
    pub value: String,
    /// Equal or not equal.
    pub equal: bool,
}

/// All terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The terms in the order given.
    pub terms: Vec<Term>,
}

impl Selector {
    /// Reads a selector; the error is the text for the client.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for part in split_terms(text) {
            if part.is_empty() {
                continue;
            }
            terms.push(parse_term(part, text)?);
        }
        Ok(Self { terms })
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The one value a field must have, if the selector says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    /// Whether every term holds; `value` gives a field's value.
    pub fn matches<'a>(&self, mut value: impl FnMut(&str) -> &'a str) -> bool {
        self.terms.iter().all(|term| (value(&term.field) == term.value) == term.equal)
    }
}

/// Splits at commas that are not escaped.
fn split_terms(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                out.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn parse_term(part: &str, whole: &str) -> Result<Term, String> {
    let (field, equal, raw) = split_operator(part)
        .ok_or_else(|| format!("invalid selector: '{whole}'; can't understand '{part}'"))?;
    let value = unescape(raw)?;
    Ok(Term { field: field.to_owned(), value, equal })
}

fn split_operator(part: &str) -> Option<(&str, bool, &str)> {
    let bytes = part.as_bytes();
    for at in 0..bytes.len() {
        let rest = &part[at..];
        if !part.is_char_boundary(at) {
            continue;
        }
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&part[..at], equal, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                Some(other) => {
                    return Err(format!("invalid field selector: invalid escape sequence: \\{other}"));
                }
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {c}")),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_and_escapes() {
        let selector = Selector::parse(r"metadata.name=a\,b,spec.nodeName!=n").expect("valid");
        assert_eq!(selector.exact("metadata.name"), Some("a,b"));
        assert!(selector.matches(|field| if field == "metadata.name" { "a,b" } else { "other" }));
        assert_eq!(
            Selector::parse("metadata.name"),
            Err("invalid selector: 'metadata.name'; can't understand 'metadata.name'".into())
        );
        assert_eq!(
            Selector::parse("a=b\\"),
            Err("invalid field selector: invalid escape sequence: \\".into())
        );
    }
}
