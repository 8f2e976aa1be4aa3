//! Label selectors: `app in (x,y),tier!=1`, and `LabelSelector` objects.

use std::fmt;

use super::SelectorError;
use super::lexer::{Token, tokens};
use super::names::{key_problems, value_problems};
use crate::Tree;

/// How a label's value relates to the requirement's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equals,
    /// `==`
    DoubleEquals,
    /// `!=`
    NotEquals,
    /// `in`
    In,
    /// `notin`
    NotIn,
    /// The key alone.
    Exists,
    /// `!key`
    DoesNotExist,
    /// `>`
    GreaterThan,
    /// `<`
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// The relation.
    pub operator: Operator,
    /// The values, sorted and without repetition.
    pub values: Vec<String>,
}

/// Conditions that must all hold. Without any it matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl Selector {
    /// Matches every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Matches no object.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Reads a `labelSelector` parameter.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Parser { tokens: tokens(text), at: 0 }.selector().map_err(SelectorError)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// Reads a `LabelSelector` object. None matches nothing, an empty one everything.
    pub fn from_tree(tree: Option<&Tree>) -> Result<Self, SelectorError> {
        let Some(Tree::Object(object)) = tree else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in object.get("matchLabels").and_then(Tree::as_object).into_iter().flatten() {
            let value = value.as_str().unwrap_or("").to_owned();
            requirements.push(Requirement::new(key.clone(), Operator::Equals, vec![value])?);
        }
        for expression in object.get("matchExpressions").and_then(Tree::as_array).into_iter().flatten() {
            requirements.push(Requirement::from_tree(expression)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// Whether it matches every object.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// The conditions, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether labels, asked for by key, fulfil all conditions.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing
            && self.requirements.iter().all(|requirement| requirement.holds(label(&requirement.key)))
    }

    /// Whether an object's labels fulfil all conditions.
    pub fn matches_object(&self, object: &Tree) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.matches(|key| labels?.get(key)?.as_str())
    }
}

impl Requirement {
    /// Checks key and values.
    pub fn new(key: String, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        let mut problems = Vec::new();
        let mut invalid = |path: String, value: String, detail: &str| {
            problems.push(format!("{path}: Invalid value: {value}: {detail}"))
        };
        let quoted = crate::go::quote;
        if let Some(detail) = joined(key_problems(&key)) {
            invalid("key".to_owned(), quoted(&key), &detail);
        }
        let list = || format!("[{}]", values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(","));
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                invalid(
                    "values".to_owned(),
                    list(),
                    "for 'in', 'notin' operators, values set can't be empty",
                );
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                invalid(
                    "values".to_owned(),
                    list(),
                    "values set must be empty for exists and does not exist",
                );
            }
            Operator::GreaterThan | Operator::LessThan => {
                for (index, value) in
                    values.iter().enumerate().filter(|(_, value)| value.parse::<i64>().is_err())
                {
                    let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                    invalid(format!("values[{index}]"), quoted(value), detail);
                }
            }
            _ => {}
        }
        for (index, value) in values.iter().enumerate() {
            if let Some(detail) = joined(value_problems(value)) {
                invalid(format!("values[{index}][{key}]"), quoted(value), &detail);
            }
        }
        match problems.len() {
            0 => Ok(Self { key, operator, values }),
            1 => Err(SelectorError(problems.remove(0))),
            _ => Err(SelectorError(format!("[{}]", problems.join(", ")))),
        }
    }

    fn from_tree(tree: &Tree) -> Result<Self, SelectorError> {
        let text = |name: &str| tree.get(name).and_then(Tree::as_str).unwrap_or("").to_owned();
        let operator = match text("operator").as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => {
                let quoted = crate::go::quote(other);
                return Err(SelectorError(format!("{quoted} is not a valid label selector operator")));
            }
        };
        let values = tree.get("values").and_then(Tree::as_array);
        let values = values.into_iter().flatten().filter_map(Tree::as_str).map(str::to_owned).collect();
        Self::new(text("key"), operator, values)
    }

    /// Whether a label's value (`None`: the label is absent) fulfils the condition.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|one| one == value);
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => value.is_some_and(listed),
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compared(value).is_some_and(|(label, bound)| label > bound),
            Operator::LessThan => self.compared(value).is_some_and(|(label, bound)| label < bound),
        }
    }

    fn compared(&self, value: Option<&str>) -> Option<(i64, i64)> {
        let label = value?.parse().ok()?;
        let bound = self.values.first()?.parse().ok()?;
        Some((label, bound))
    }
}

fn joined(problems: Vec<String>) -> Option<String> {
    (!problems.is_empty()).then(|| problems.join("; "))
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

struct Parser {
    tokens: Vec<(Token, String)>,
    at: usize,
}

impl Parser {
    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.value_token() {
                (Token::Identifier | Token::Not, _) => {
                    let requirement = self
                        .requirement()
                        .map_err(|error| format!("unable to parse requirement: {error}"))?;
                    requirements.push(requirement);
                    match self.take_value() {
                        (Token::End, _) => return Ok(requirements),
                        (Token::Comma, _) => self.must_go_on()?,
                        (_, text) => return Err(format!("found '{text}', expected: ',' or 'end of string'")),
                    }
                }
                (Token::End, _) => return Ok(requirements),
                (_, text) => {
                    return Err(format!("found '{text}', expected: !, identifier, or 'end of string'"));
                }
            }
        }
    }

    fn must_go_on(&self) -> Result<(), String> {
        match self.value_token() {
            (Token::Identifier | Token::Not, _) => Ok(()),
            (_, text) => Err(format!("found '{text}', expected: identifier after ','")),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut negated = false;
        let (mut token, mut key) = self.take_value();
        if token == Token::Not {
            negated = true;
            (token, key) = self.take_value();
        }
        if token != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        if let Some(detail) = joined(key_problems(&key)) {
            return Err(format!("<nil>: Invalid value: {}: {detail}", crate::go::quote(&key)));
        }
        let alone = matches!(self.value_token().0, Token::End | Token::Comma);
        let (operator, values) = match (negated, alone) {
            (true, _) => (Operator::DoesNotExist, Vec::new()),
            (false, true) => (Operator::Exists, Vec::new()),
            (false, false) => self.operator_and_values()?,
        };
        Requirement::new(key, operator, values).map_err(|error| error.0)
    }

    fn operator_and_values(&mut self) -> Result<(Operator, Vec<String>), String> {
        let (token, text) = self.take();
        let operator = match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            _ => return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let mut values = match operator {
            Operator::In | Operator::NotIn => self.set()?,
            _ => vec![self.exact()?],
        };
        values.sort();
        values.dedup();
        Ok((operator, values))
    }

    fn exact(&mut self) -> Result<String, String> {
        if matches!(self.value_token().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.take_value() {
            (Token::Identifier, text) => Ok(text),
            (_, text) => Err(format!("found '{text}', expected: identifier")),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        match self.take_value() {
            (Token::Open, _) => {}
            (_, text) => return Err(format!("found '{text}' expected: '('")),
        }
        match self.value_token() {
            (Token::Identifier | Token::Comma, _) => {
                let values = self.identifiers()?;
                // The list ends only before a closing parenthesis.
                self.take_value();
                Ok(values)
            }
            (Token::Close, _) => {
                self.take_value();
                Ok(vec![String::new()])
            }
            (_, text) => Err(format!("found '{text}', expected: ',', ')' or identifier")),
        }
    }

    fn identifiers(&mut self) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        loop {
            match self.take_value() {
                (Token::Identifier, text) => {
                    values.push(text);
                    match self.value_token() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, text) => return Err(format!("found '{text}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.value_token().0 {
                        Token::Close => {
                            values.push(String::new());
                            return Ok(values);
                        }
                        Token::Comma => values.push(String::new()),
                        _ => {}
                    }
                }
                (_, text) => return Err(format!("found '{text}', expected: ',', or identifier")),
            }
        }
    }

    /// The next token where a value may stand.
    fn value_token(&self) -> (Token, &str) {
        let (token, text) = &self.tokens[self.at.min(self.tokens.len() - 1)];
        (as_value(*token), text)
    }

    fn take_value(&mut self) -> (Token, String) {
        let (token, text) = self.take();
        (as_value(token), text)
    }

    fn take(&mut self) -> (Token, String) {
        let token = self.tokens[self.at.min(self.tokens.len() - 1)].clone();
        self.at += 1;
        token
    }
}

fn as_value(token: Token) -> Token {
    if matches!(token, Token::In | Token::NotIn) { Token::Identifier } else { token }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What a selector does with five sets of labels: the ones it takes, or its error.
    fn check(selector: &str, expected: &str) {
        let objects = [
            ("s1", json!({"app": "x", "tier": "1", "n": "5"})),
            ("s2", json!({"app": "x", "tier": "2", "example.com/k": "v"})),
            ("s3", json!({"app": "y", "empty": ""})),
            ("s4", json!({"team": "a"})),
            ("s5", json!({"app": "z", "tier": "2", "n": "10"})),
        ];
        let got = match Selector::parse(selector) {
            Err(error) => error.to_string(),
            Ok(selector) => objects
                .iter()
                .filter(|(_, labels)| selector.matches_object(&json!({"metadata": {"labels": labels}})))
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join(" "),
        };
        assert_eq!(got, expected, "{selector}");
    }

    #[test]
    fn selectors_take_what_upstream_s_take() {
        check("app=x", "s1 s2");
        check("app==x", "s1 s2");
        check("app!=x", "s3 s4 s5");
        check("app in (x,y)", "s1 s2 s3");
        check("app notin (x,y)", "s4 s5");
        check("app", "s1 s2 s3 s5");
        check("!app", "s4");
        check("app=x,tier=2", "s2");
        check("app in (x,z),tier,tier!=1", "s2 s5");
        check("n>6", "s5");
        check("n<6", "s1");
        check("empty=", "s3");
        check("empty", "s3");
        check("app in (,x)", "s1 s2");
        check(" app  =  x ", "s1 s2");
        check("example.com/k=v", "s2");
        check("app=x,app=y", "");
        check("in=x", "");
        check("", "s1 s2 s3 s4 s5");
    }

    #[test]
    fn what_is_no_selector_is_refused_in_upstream_s_words() {
        check("n gt 6", "unable to parse requirement: found 'gt', expected: in, notin, =, ==, !=, gt, lt");
        check("app=x,", "found '', expected: identifier after ','");
        check(",app=x", "found ',', expected: !, identifier, or 'end of string'");
        check("app x", "unable to parse requirement: found 'x', expected: in, notin, =, ==, !=, gt, lt");
        check("app=x y", "found 'y', expected: ',' or 'end of string'");
        check(
            "app=x;tier=1",
            "unable to parse requirement: values[0][app]: Invalid value: \"x;tier\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        );
        check(
            "a/b/c=x",
            "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        );
        check(
            "App.Example/K=v",
            "unable to parse requirement: <nil>: Invalid value: \"App.Example/K\": prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        );
        check("=x", "found '=', expected: !, identifier, or 'end of string'");
        let long = "x".repeat(64);
        check(
            &format!("k={long}"),
            &format!(
                "unable to parse requirement: values[0][k]: Invalid value: \"{long}\": must be no more than 63 bytes"
            ),
        );
        check("app notin", "unable to parse requirement: found '' expected: '('");
        check("app in x", "unable to parse requirement: found 'x' expected: '('");
        check("(app)", "found '(', expected: !, identifier, or 'end of string'");
        check("!app=x", "found '=', expected: ',' or 'end of string'");
        check("app in (a", "unable to parse requirement: found '', expected: ',' or ')'");
        check(
            "-a",
            "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        );
        check(
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
        );
    }

    #[test]
    fn label_selector_objects_match_too() {
        let object = json!({"metadata": {"labels": {"app": "x", "tier": "2"}}});
        let check = |selector: Tree, expected: &str| {
            let got = Selector::from_tree((!selector.is_null()).then_some(&selector));
            let got = got.map_or_else(
                |error| error.to_string(),
                |selector| selector.matches_object(&object).to_string(),
            );
            assert_eq!(got, expected, "{selector}");
        };
        check(json!(null), "false");
        check(json!({}), "true");
        check(json!({"matchLabels": {"app": "x"}}), "true");
        check(
            json!({"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["2"]}]}),
            "false",
        );
        check(json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}), "true");
        check(
            json!({"matchExpressions": [{"key": "tier", "operator": "Is"}]}),
            "\"Is\" is not a valid label selector operator",
        );
        check(
            json!({"matchExpressions": [{"key": "tier", "operator": "In"}]}),
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
        );
    }

    #[test]
    fn a_selector_prints_sorted_by_key() {
        let text = Selector::parse("tier, app in (b,a), !x,n>3").map(|selector| selector.to_string());
        assert_eq!(text.as_deref(), Ok("app in (a,b),n>3,tier,!x"));
    }
}
