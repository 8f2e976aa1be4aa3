//! Quantities as whole numbers: `500m`, `1.5Gi`, `2e3`.

/// A quantity in thousandths, rounded up; `None` if it is none.
pub(crate) fn millis(text: &str) -> Option<i128> {
    let (number, scale) = split(text)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let digits = format!("{}{fraction}", whole.trim_start_matches(['+', '-']));
    if digits.is_empty() || fraction.len() > 30 {
        return None;
    }
    let digits: i128 = digits.parse().ok()?;
    let places = u32::try_from(fraction.len()).ok()?;
    let numerator = digits.checked_mul(scale.thousandths)?;
    let divisor = 10_i128.checked_pow(places)?.checked_mul(scale.divisor)?;
    let value = numerator.div_euclid(divisor) + i128::from(numerator.rem_euclid(divisor) != 0);
    Some(if negative { -value } else { value })
}

/// A quantity as a whole number, rounded up.
pub(crate) fn whole(text: &str) -> Option<i64> {
    let millis = millis(text)?;
    i64::try_from(millis.div_euclid(1000) + i128::from(millis.rem_euclid(1000) != 0)).ok()
}

/// How many thousandths one unit is, as a fraction.
struct Scale {
    thousandths: i128,
    divisor: i128,
}

fn split(text: &str) -> Option<(&str, Scale)> {
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let scale = |thousandths, divisor| Some((number, Scale { thousandths, divisor }));
    match suffix {
        "" => scale(1000, 1),
        "n" => scale(1, 1_000_000),
        "u" => scale(1, 1000),
        "m" => scale(1, 1),
        "k" => scale(1000 * 1000, 1),
        "M" => scale(1000 * 1_000_000, 1),
        "G" => scale(1000 * 1_000_000_000, 1),
        "T" => scale(1000 * 1_000_000_000_000, 1),
        "P" => scale(1000 * 1_000_000_000_000_000, 1),
        "E" => scale(1000 * 1_000_000_000_000_000_000, 1),
        "Ki" => scale(1000 << 10, 1),
        "Mi" => scale(1000 << 20, 1),
        "Gi" => scale(1000 << 30, 1),
        "Ti" => scale(1000 << 40, 1),
        "Pi" => scale(1000 << 50, 1),
        "Ei" => scale(1000 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs().min(30))?;
            if exponent >= 0 { scale(1000 * power, 1) } else { scale(1000, power) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        let check = |text: &str, expect: Option<i128>| assert_eq!(millis(text), expect, "{text}");
        check("1", Some(1000));
        check("500m", Some(500));
        check("0.5", Some(500));
        check("1.5Gi", Some(1_610_612_736_000));
        check("100u", Some(1));
        check("1n", Some(1));
        check("2e3", Some(2_000_000));
        check("1E", Some(1_000_000_000_000_000_000_000));
        check("25e-1", Some(2500));
        check("x", None);
        check("", None);
        assert_eq!(whole("100m"), Some(1));
        assert_eq!(whole("128Mi"), Some(134_217_728));
    }
}
