//! A file of tokens: a line each, `TOKEN,USER,UID,"GROUP1,GROUP2"`, the groups if there are any. Read once.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};

use crate::user::UserInfo;

/// Tokens with their users, by SHA-256: a dump of memory shows no credential.
#[derive(Debug, Default)]
pub struct TokenFile(HashMap<[u8; 32], UserInfo>);

impl TokenFile {
    /// Reads the text of a file; of a token that stands twice the last line counts.
    ///
    /// # Errors
    /// What is wrong with which line.
    pub fn read(text: &str) -> Result<TokenFile, String> {
        let mut tokens = HashMap::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let columns = columns(line).ok_or_else(|| format!("line {}: a quote is not closed", at + 1))?;
            let [token, name, uid, rest @ ..] = columns.as_slice() else {
                let found = columns.len();
                return Err(format!(
                    "must have at least 3 columns (token, user name, user uid), found {found}"
                ));
            };
            if token.is_empty() {
                continue;
            }
            let groups =
                rest.first().into_iter().flat_map(|groups| groups.split(',')).filter(|one| !one.is_empty());
            let groups = groups.map(|group| group.trim().to_owned()).collect();
            let mut user = UserInfo { name: name.clone(), uid: uid.clone(), groups, ..UserInfo::default() };
            user.mark_authenticated();
            tokens.insert(key(token), user);
        }
        Ok(TokenFile(tokens))
    }

    /// Whom a token names.
    pub fn user(&self, token: &str) -> Option<&UserInfo> {
        self.0.get(&key(token))
    }

    /// Whether it names nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn key(token: &str) -> [u8; 32] {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The columns of a line; one in quotes may hold commas, and two quotes in it are one. `None` if a quote is not closed.
fn columns(line: &str) -> Option<Vec<String>> {
    let (mut columns, mut column, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                column.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if column.is_empty() => quoted = true,
            ',' if !quoted => columns.push(std::mem::take(&mut column)),
            other => column.push(other),
        }
    }
    columns.push(column);
    (!quoted).then_some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_token_with_its_user() {
        let text = "t1,jane,u1\nt2,joe,u2,\"a,b\"\n\n,nobody,u3\nt3,\"say \"\"hi\"\"\",u4,c\nt1,jim,u5,\n";
        let file = TokenFile::read(text).expect("a file");
        let told = |token: &str| {
            let user = file.user(token)?;
            Some(format!("{} {} {}", user.name, user.uid, user.groups.join(" ")))
        };
        assert_eq!(told("t1").as_deref(), Some("jim u5 system:authenticated"));
        assert_eq!(told("t2").as_deref(), Some("joe u2 a b system:authenticated"));
        assert_eq!(told("t3").as_deref(), Some("say \"hi\" u4 c system:authenticated"));
        assert_eq!((told(""), told("t4")), (None, None));
        assert!(TokenFile::read("").expect("an empty file").is_empty());
    }

    #[test]
    fn a_line_that_says_too_little_is_refused() {
        let error = |text: &str| TokenFile::read(text).expect_err("refused");
        assert_eq!(error("t1,jane"), "must have at least 3 columns (token, user name, user uid), found 2");
        assert_eq!(error("t,a,b\nt1,\"jane,u1"), "line 2: a quote is not closed");
    }
}
