//! Field selectors: `metadata.name=a,status.phase!=Running`.

use std::fmt;

use super::SelectorError;

/// One condition on one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The field's name, as upstream calls it.
    pub field: String,
    /// Whether the value must be equal, or must not be.
    pub equal: bool,
    /// The value.
    pub value: String,
}

/// Conditions that must all hold. Without any it matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// The conditions, sorted as upstream sorts them.
    pub terms: Vec<Term>,
}

impl Selector {
    /// Reads a `fieldSelector` parameter. Which fields exist is the kind's business.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parts = split(text);
        parts.sort_unstable();
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        let terms = parts.map(|part| Term::parse(part, text)).collect::<Result<_, _>>()?;
        Ok(Self { terms })
    }

    /// Whether it matches every object.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value a field must have, when a condition says so.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| &*term.value)
    }

    /// Whether fields, asked for by name, fulfil all conditions. An absent field counts as empty.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|term| (field(&term.field).unwrap_or("") == term.value) == term.equal)
    }
}

impl Term {
    fn parse(part: &str, whole: &str) -> Result<Self, SelectorError> {
        let Some((field, equal, value)) = operator(part) else {
            return Err(SelectorError(format!("invalid selector: '{whole}'; can't understand '{part}'")));
        };
        Ok(Self { field: field.to_owned(), equal, value: unescape(value)? })
    }
}

/// Splits at commas that no backslash precedes.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn operator(part: &str) -> Option<(&str, bool, &str)> {
    part.char_indices().find_map(|(at, _)| {
        let (field, rest) = part.split_at(at);
        let found = [("!=", false), ("==", true), ("=", true)].into_iter();
        found.filter_map(|(sign, equal)| rest.strip_prefix(sign).map(|value| (field, equal, value))).next()
    })
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                other => {
                    let sequence = other.map(String::from).unwrap_or_default();
                    return Err(SelectorError(format!(
                        "invalid field selector: invalid escape sequence: \\{sequence}"
                    )));
                }
            },
            ',' | '=' => {
                let code = character as u32;
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {code}"
                )));
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let sign = if term.equal { "=" } else { "!=" };
            let value = term.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{}{sign}{value}", term.field)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_what_upstream_reads() {
        let check = |text: &str, expected: &str| {
            let got = Selector::parse(text)
                .map_or_else(|error| error.to_string(), |selector| format!("{selector}"));
            assert_eq!(got, expected, "{text}");
        };
        check("metadata.name=s1", "metadata.name=s1");
        check("metadata.name==s1", "metadata.name=s1");
        check("type!=Opaque,metadata.name=s1", "metadata.name=s1,type!=Opaque");
        check("metadata.name=", "metadata.name=");
        check("metadata.name=a\\,b", "metadata.name=a\\,b");
        check("", "");
        check("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'");
        check("a=b=c", "invalid field selector: unescaped character in value: 61");
        check("a=b\\c", "invalid field selector: invalid escape sequence: \\c");
    }

    #[test]
    fn an_absent_field_is_empty() {
        let selector = Selector::parse("spec.nodeName=,metadata.name!=b").expect("a selector");
        assert!(selector.matches(|field| (field == "metadata.name").then_some("a")));
        assert!(!selector.matches(|field| (field == "metadata.name").then_some("b")));
        assert_eq!(selector.required("spec.nodeName"), Some(""));
    }
}
