//! Label selectors: `a=b, c in (d,e), !f, n>5`. Decides parsing, with the
//! wire's error texts, and matching against sorted label pairs.

use kinds::names;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Present with one of the values.
    In,
    /// Absent, or with none of the values.
    NotIn,
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
    /// A greater whole number.
    GreaterThan,
    /// A smaller whole number.
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// Comparison.
    pub operator: Operator,
    /// Values, sorted.
    pub values: Vec<String>,
}

/// All requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The requirements in the order given.
    pub requirements: Vec<Requirement>,
}

impl Selector {
    /// Reads a selector; the error is the text for the client.
    pub fn parse(text: &str) -> Result<Self, String> {
        Parser::new(text).selector()
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        let value = |key: &str| {
            labels.binary_search_by(|(k, _)| k.as_ref().cmp(key)).ok().map(|at| labels[at].1.as_ref())
        };
        self.requirements.iter().all(|requirement| requirement.matches(value(&requirement.key)))
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        match self.operator {
            Operator::In => value.is_some_and(|value| self.has(value)),
            Operator::NotIn => value.is_none_or(|value| !self.has(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compares(value, |have, bound| have > bound),
            Operator::LessThan => self.compares(value, |have, bound| have < bound),
        }
    }

    fn has(&self, value: &str) -> bool {
        self.values.iter().any(|wanted| wanted == value)
    }

    fn compares(&self, value: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let have = value.and_then(|value| value.parse().ok());
        let bound = self.values.first().and_then(|value| value.parse().ok());
        matches!((have, bound), (Some(have), Some(bound)) if holds(have, bound))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    End,
    Error,
    Identifier,
    Closed,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

fn keyword(text: &str) -> Option<Token> {
    Some(match text {
        ")" => Token::Closed,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::Greater,
        "in" => Token::In,
        "<" => Token::Less,
        "!=" => Token::NotEquals,
        "notin" => Token::NotIn,
        "(" => Token::Open,
        _ => return None,
    })
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'=' | b'!' | b'(' | b')' | b',' | b'>' | b'<')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn lex(text: &str) -> Vec<(Token, String)> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if is_blank(bytes[at]) {
            at += 1;
        } else if is_special(bytes[at]) {
            let (token, length) = lex_special(&bytes[at..]);
            tokens.push(token);
            at += length;
        } else {
            let end = (at..bytes.len())
                .find(|&i| is_special(bytes[i]) || is_blank(bytes[i]))
                .unwrap_or(bytes.len());
            let word = &text[at..end];
            tokens.push((keyword(word).unwrap_or(Token::Identifier), word.to_owned()));
            at = end;
        }
    }
    tokens.push((Token::End, String::new()));
    tokens
}

/// The longest operator a run of special characters starts with.
fn lex_special(bytes: &[u8]) -> ((Token, String), usize) {
    let mut best = None;
    let mut length = 0;
    for end in 1..=bytes.len() {
        if !is_special(bytes[end - 1]) {
            break;
        }
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        length = end;
        match keyword(&text) {
            Some(token) => best = Some((token, text, end)),
            None if best.is_some() => break,
            None => {}
        }
    }
    match best {
        Some((token, text, end)) => ((token, text), end),
        None => (
            (
                Token::Error,
                format!("error expected: keyword found '{}'", String::from_utf8_lossy(&bytes[..length])),
            ),
            length,
        ),
    }
}

struct Parser {
    tokens: Vec<(Token, String)>,
    at: usize,
}

/// Where a word is read as a value even if it is an operator's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    KeyAndOperator,
    Values,
}

impl Parser {
    fn new(text: &str) -> Self {
        Self { tokens: lex(text), at: 0 }
    }

    fn peek(&self, context: Context) -> (Token, &str) {
        let (token, literal) = &self.tokens[self.at.min(self.tokens.len() - 1)];
        let token = if context == Context::Values && matches!(token, Token::In | Token::NotIn) {
            Token::Identifier
        } else {
            *token
        };
        (token, literal)
    }

    fn take(&mut self, context: Context) -> (Token, String) {
        let (token, literal) = self.peek(context);
        let taken = (token, literal.to_owned());
        self.at += 1;
        taken
    }

    fn selector(mut self) -> Result<Selector, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek(Context::Values) {
                (Token::Identifier | Token::Not, _) => {
                    let requirement =
                        self.requirement().map_err(|why| format!("unable to parse requirement: {why}"))?;
                    requirements.push(requirement);
                    match self.take(Context::Values) {
                        (Token::End, _) => return Ok(Selector { requirements }),
                        (Token::Comma, _) => match self.peek(Context::Values) {
                            (Token::Identifier | Token::Not, _) => {}
                            (_, literal) => {
                                return Err(format!("found '{literal}', expected: identifier after ','"));
                            }
                        },
                        (_, literal) => {
                            return Err(format!("found '{literal}', expected: ',' or 'end of string'"));
                        }
                    }
                }
                (Token::End, _) => return Ok(Selector { requirements }),
                (_, literal) => {
                    return Err(format!("found '{literal}', expected: !, identifier, or 'end of string'"));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut negated = false;
        let (mut token, mut key) = self.take(Context::Values);
        if token == Token::Not {
            negated = true;
            (token, key) = self.take(Context::Values);
        }
        if token != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        check_key(&key)?;
        if negated {
            return Ok(Requirement { key, operator: Operator::DoesNotExist, values: Vec::new() });
        }
        if matches!(self.peek(Context::Values).0, Token::End | Token::Comma) {
            return Ok(Requirement { key, operator: Operator::Exists, values: Vec::new() });
        }
        let operator = match self.take(Context::KeyAndOperator) {
            (Token::In, _) => return self.finish(key, Operator::In, true),
            (Token::NotIn, _) => return self.finish(key, Operator::NotIn, true),
            (Token::Equals | Token::DoubleEquals, _) => Operator::In,
            (Token::NotEquals, _) => Operator::NotIn,
            (Token::Greater, _) => Operator::GreaterThan,
            (Token::Less, _) => Operator::LessThan,
            (_, literal) => return Err(format!("found '{literal}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        self.finish(key, operator, false)
    }

    fn finish(&mut self, key: String, operator: Operator, set: bool) -> Result<Requirement, String> {
        let values: Vec<String> = if set { self.values()? } else { self.value()? }.into_iter().collect();
        let mut problems = Vec::new();
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) {
            for (index, value) in values.iter().enumerate().filter(|(_, value)| value.parse::<i64>().is_err())
            {
                let quoted = crate::status::go_quote(value);
                problems.push(format!("values[{index}]: Invalid value: {quoted}: for 'Gt', 'Lt' operators, the value must be an integer"));
            }
        }
        for (index, value) in values.iter().enumerate() {
            let why = names::label_value(value);
            if !why.is_empty() {
                problems.push(format!(
                    "values[{index}][{key}]: Invalid value: {}: {}",
                    crate::status::go_quote(value),
                    why.join("; ")
                ));
            }
        }
        if problems.is_empty() {
            Ok(Requirement { key, operator, values })
        } else {
            Err(crate::status::aggregate(&problems))
        }
    }

    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        let (token, open) = self.take(Context::Values);
        if token != Token::Open {
            return Err(format!("found '{open}' expected: '('"));
        }
        let (token, literal) = self.peek(Context::Values);
        let literal = literal.to_owned();
        match token {
            Token::Identifier | Token::Comma => {
                let values = self.identifiers()?;
                match self.take(Context::Values) {
                    (Token::Closed, _) => Ok(values),
                    _ => Err(format!("found '{literal}', expected: ')'")),
                }
            }
            Token::Closed => {
                self.at += 1;
                Ok(BTreeSet::from([String::new()]))
            }
            _ => Err(format!("found '{literal}', expected: ',', ')' or identifier")),
        }
    }

    fn identifiers(&mut self) -> Result<BTreeSet<String>, String> {
        let mut values = BTreeSet::new();
        loop {
            match self.take(Context::Values) {
                (Token::Identifier, literal) => {
                    values.insert(literal);
                    match self.peek(Context::Values) {
                        (Token::Comma, _) => {}
                        (Token::Closed, _) => return Ok(values),
                        (_, literal) => return Err(format!("found '{literal}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.peek(Context::Values).0 {
                        Token::Closed => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Token::Comma => {
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                (_, literal) => return Err(format!("found '{literal}', expected: ',', or identifier")),
            }
        }
    }

    fn value(&mut self) -> Result<BTreeSet<String>, String> {
        if matches!(self.peek(Context::Values).0, Token::End | Token::Comma) {
            return Ok(BTreeSet::from([String::new()]));
        }
        match self.take(Context::Values) {
            (Token::Identifier, literal) => Ok(BTreeSet::from([literal])),
            (_, literal) => Err(format!("found '{literal}', expected: identifier")),
        }
    }
}

fn check_key(key: &str) -> Result<(), String> {
    let why = names::qualified_name(key);
    if why.is_empty() {
        Ok(())
    } else {
        Err(format!("<nil>: Invalid value: {}: {}", crate::status::go_quote(key), why.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<(Arc<str>, Arc<str>)> {
        let mut list: Vec<(Arc<str>, Arc<str>)> = text
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        list.sort();
        list
    }

    /// `SELECTOR | LABELS` must match, or not when the labels start with `!`.
    fn check(selector: &str, have: &str, expect: bool) {
        let selector = Selector::parse(selector).expect("valid selector");
        assert_eq!(selector.matches(&labels(have)), expect);
    }

    #[test]
    fn requirements_match() {
        check("app=x,tier!=1", "app=x tier=2", true);
        check("app in (x,y)", "app=z", false);
        check("app notin (x,y)", "", true);
        check("!app", "app=x", false);
        check("n>6", "n=10", true);
        check("n<6", "n=10", false);
        check("app in (,x)", "app=", true);
        check("in=x", "in=x", true);
    }

    #[test]
    fn errors_read_as_upstreams() {
        let error = |text: &str| Selector::parse(text).expect_err("invalid");
        assert_eq!(error("app=x,"), "found '', expected: identifier after ','");
        assert_eq!(
            error("app x"),
            "unable to parse requirement: found 'x', expected: in, notin, =, ==, !=, gt, lt"
        );
        assert_eq!(error("app in x"), "unable to parse requirement: found 'x' expected: '('");
        assert_eq!(error("!app=x"), "found '=', expected: ',' or 'end of string'");
        assert_eq!(error("a in (b"), "unable to parse requirement: found '', expected: ',' or ')'");
    }
}
