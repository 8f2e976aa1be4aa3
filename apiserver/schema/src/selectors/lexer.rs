//! Tokens of a label selector.

/// One token. `in` and `notin` are identifiers where a value is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
    Error,
}

/// Splits a selector into tokens and their texts; the last one is [`Token::End`].
pub(super) fn tokens(text: &str) -> Vec<(Token, String)> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_blank);
        let Some(first) = rest.chars().next() else { break };
        // A NUL ends the text, as it does upstream.
        if first == '\0' {
            break;
        }
        let length = if is_special(first) {
            symbol_length(rest)
        } else {
            rest.find(|c| is_special(c) || is_blank(c) || c == '\0').unwrap_or(rest.len())
        };
        let (word, after) = rest.split_at(length);
        tokens.push(token(word));
        rest = after;
    }
    tokens.push((Token::End, String::new()));
    tokens
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

/// The longest run of symbols that is a token; symbols that are none are taken together.
fn symbol_length(text: &str) -> usize {
    if text.starts_with("==") || text.starts_with("!=") { 2 } else { 1 }
}

fn token(word: &str) -> (Token, String) {
    let token = match word {
        ")" => Token::Close,
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
        _ if word.starts_with(is_special) => Token::Error,
        _ => Token::Identifier,
    };
    (token, word.to_owned())
}
