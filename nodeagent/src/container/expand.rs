//! `$(NAME)` in values, commands and arguments.

/// Replaces every `$(NAME)` that `lookup` knows. `$$` stands for one dollar; what is not known stays as it is.
///
/// `"$(A)-$$(A)-$(B)"` with A=1 gives `"1-$(A)-$(B)"`.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let name = rest.strip_prefix('(').and_then(|inside| inside.find(')').map(|end| &inside[..end]));
        match name {
            Some(name) => {
                let value = lookup(name);
                out.push_str(&value.unwrap_or_else(|| format!("$({name})")));
                rest = &rest[name.len() + 2..];
            }
            None if rest.starts_with('$') => {
                out.push('$');
                rest = &rest[1..];
            }
            None => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn references_escapes_and_leftovers() {
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "DEEP" => Some("$(A)".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let cases = [
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(NOPE)", "$(NOPE)"),
            // Values are not expanded again.
            ("$(DEEP)", "$(A)"),
            ("a$(EMPTY)b", "ab"),
            ("$", "$"),
            ("$(", "$("),
            ("$(A", "$(A"),
            ("$A", "$A"),
            ("cost: 5$", "cost: 5$"),
            ("$()", "$()"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }
}
