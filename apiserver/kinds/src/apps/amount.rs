//! Numbers of pods given as such or as a share of the whole: `maxSurge: 1`, `maxUnavailable: 25%`.

use serde_json::Value;

use crate::field::{self, Error, Path};
use crate::meta::NOT_NEGATIVE;
use crate::names::percent;

/// Everything wrong with an amount; an absent one is the number zero.
pub(crate) fn validate(amount: Option<&Value>, path: &Path) -> Vec<Error> {
    match amount.unwrap_or(&Value::Null) {
        Value::String(share) => {
            percent(share).into_iter().map(|text| field::invalid(path, share.as_str(), text)).collect()
        }
        number => {
            let number = number.as_i64().unwrap_or(0);
            (number < 0).then(|| field::invalid(path, number, NOT_NEGATIVE)).into_iter().collect()
        }
    }
}

/// A share of more than everything is refused.
pub(crate) fn at_most_all(amount: Option<&Value>, path: &Path) -> Option<Error> {
    let share = percentage(amount?)?;
    (share > 100).then(|| field::invalid(path, amount, "must not be greater than 100%"))
}

/// Whether the amount is nothing, as number or as share.
pub(crate) fn is_zero(amount: Option<&Value>) -> bool {
    let amount = amount.unwrap_or(&Value::Null);
    let value = percentage(amount).or_else(|| amount.as_i64()).or_else(|| amount.as_str()?.parse().ok());
    value.unwrap_or(0) == 0
}

/// The number before the percent sign.
fn percentage(amount: &Value) -> Option<i64> {
    let text = amount.as_str().filter(|text| percent(text).is_empty())?;
    Some(text.trim_end_matches('%').parse().unwrap_or(i64::MAX))
}
