//! Values that are a whole number or a text, such as `maxSurge: 25%`.

use crate::Tree;

/// A whole number or a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A text; percentages stand in one.
    Text(String),
}

/// Why a value is not a number of things.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// A text without a percent sign.
    #[error("invalid value for IntOrString: invalid type: string is not a percentage")]
    NotAPercentage,
    /// A percent sign after something that is no number.
    #[error("invalid value for IntOrString: invalid value {}: strconv.Atoi: parsing {}: invalid syntax", crate::go::quote(text), crate::go::quote(text.trim_end_matches('%')))]
    NotANumber {
        /// The whole text.
        text: String,
    },
}

/// Which way a percentage of a total is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To the next larger whole number.
    Up,
    /// To the next smaller whole number.
    Down,
}

impl IntOrString {
    /// Reads a tree's value; `None` when it is neither.
    pub fn from_tree(tree: &Tree) -> Option<Self> {
        match tree {
            Tree::Number(number) => {
                number.as_i64().and_then(|value| i32::try_from(value).ok()).map(Self::Int)
            }
            Tree::String(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
    }

    /// The number itself, or that percentage of `total`.
    pub fn scaled(&self, total: i32, rounding: Rounding) -> Result<i32, ScaleError> {
        let text = match self {
            Self::Int(number) => return Ok(*number),
            Self::Text(text) => text,
        };
        let percent = text.strip_suffix('%').ok_or(ScaleError::NotAPercentage)?;
        let percent: i64 = percent.parse().map_err(|_| ScaleError::NotANumber { text: text.clone() })?;
        let product = percent.saturating_mul(i64::from(total));
        let scaled = match rounding {
            Rounding::Up => -(-product).div_euclid(100),
            Rounding::Down => product.div_euclid(100),
        };
        Ok(i32::try_from(scaled).unwrap_or(if scaled < 0 { i32::MIN } else { i32::MAX }))
    }
}

impl From<IntOrString> for Tree {
    fn from(value: IntOrString) -> Self {
        match value {
            IntOrString::Int(number) => number.into(),
            IntOrString::Text(text) => text.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_scale_both_ways() {
        let check = |value: Tree, total, up: i32, down: i32| {
            let value = IntOrString::from_tree(&value).expect("a number or a text");
            assert_eq!(value.scaled(total, Rounding::Up), Ok(up));
            assert_eq!(value.scaled(total, Rounding::Down), Ok(down));
        };
        check(3.into(), 10, 3, 3);
        check("25%".into(), 10, 3, 2);
        check("100%".into(), 7, 7, 7);
        check("0%".into(), 7, 0, 0);
        assert_eq!(
            IntOrString::Text("3".to_owned()).scaled(1, Rounding::Up),
            Err(ScaleError::NotAPercentage)
        );
    }
}
