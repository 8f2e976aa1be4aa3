//! Resource quantities such as `500m`, `1Gi` or `2e3`: their value, not their spelling.

use std::cmp::Ordering;

/// Nano-units in a unit: the smallest step a quantity knows.
const NANO: i128 = 1_000_000_000;

/// The value of a quantity in billionths of a unit. Values beyond the range saturate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

impl Quantity {
    /// Zero.
    pub const ZERO: Quantity = Quantity(0);

    /// Reads a quantity; digits finer than a billionth are rounded up, away from zero.
    pub fn parse(text: &str) -> Option<Quantity> {
        let number_end = text
            .char_indices()
            .find(|(at, character)| {
                !(character.is_ascii_digit() || *character == '.' || (*at == 0 && "+-".contains(*character)))
            })
            .map_or(text.len(), |(at, _)| at);
        let (number, suffix) = text.split_at(number_end);
        let (negative, digits) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let no_digits = whole.is_empty() && fraction.is_empty();
        if no_digits || fraction.contains('.') {
            return None;
        }
        let magnitude = scale(whole, fraction, suffix)?;
        Some(Quantity(if negative { -magnitude } else { magnitude }))
    }

    /// A whole number of units.
    pub fn of_units(units: i64) -> Quantity {
        Quantity(i128::from(units) * NANO)
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Thousandths of a unit, rounded up away from zero, saturating.
    pub fn milli(self) -> i64 {
        self.rounded(NANO / 1000)
    }

    /// Whole units, rounded up away from zero, saturating.
    pub fn units(self) -> i64 {
        self.rounded(NANO)
    }

    /// Whether it is a whole number of units, as far as thousandths go.
    pub fn is_whole(self) -> bool {
        self.milli() % 1000 == 0
    }

    /// The sum, saturating.
    #[must_use]
    pub fn plus(self, other: Quantity) -> Quantity {
        Quantity(self.0.saturating_add(other.0))
    }

    fn rounded(self, step: i128) -> i64 {
        let (quotient, rest) = (self.0 / step, self.0 % step);
        let rounded = quotient + i128::from(rest.signum() as i64);
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Compares two quantities by value; what cannot be read is zero.
pub fn compare(left: &str, right: &str) -> Ordering {
    let value = |text: &str| Quantity::parse(text).unwrap_or(Quantity::ZERO);
    value(left).cmp(&value(right))
}

/// `whole.fraction` times the suffix, in nano-units.
fn scale(whole: &str, fraction: &str, suffix: &str) -> Option<i128> {
    let digits: String = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    // 2^127 has 39 digits; whatever is longer saturates, and fractions are far from that.
    let mantissa: i128 = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(i128::MAX) };
    let fraction_digits = i32::try_from(fraction.len()).ok()?;
    let (exponent, factor) = match binary_factor(suffix) {
        Some(factor) => (0, factor),
        None => (decimal_exponent(suffix)?, 1),
    };
    let scaled = mantissa.saturating_mul(factor);
    Some(shift(scaled, exponent - fraction_digits + 9))
}

/// `value * 10^exponent`, rounded up, saturating.
fn shift(value: i128, exponent: i32) -> i128 {
    if exponent >= 0 {
        return 10i128
            .checked_pow(exponent.unsigned_abs())
            .map_or(if value == 0 { 0 } else { i128::MAX }, |power| value.saturating_mul(power));
    }
    match 10i128.checked_pow(exponent.unsigned_abs()) {
        Some(power) => value / power + i128::from(value % power != 0),
        None => i128::from(value != 0),
    }
}

fn binary_factor(suffix: &str) -> Option<i128> {
    let power = match suffix {
        "Ki" => 1,
        "Mi" => 2,
        "Gi" => 3,
        "Ti" => 4,
        "Pi" => 5,
        "Ei" => 6,
        _ => return None,
    };
    Some(1i128 << (10 * power))
}

fn decimal_exponent(suffix: &str) -> Option<i32> {
    Some(match suffix {
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "" => 0,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        _ => suffix.strip_prefix(['e', 'E'])?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_spellings() {
        for (text, milli) in [
            ("1", 1000),
            ("1500m", 1500),
            ("1.5", 1500),
            (".5", 500),
            ("1Ki", 1_024_000),
            ("2e3", 2_000_000),
            ("2E3", 2_000_000),
            ("1E", 1_000_000_000_000_000_000_000i128.try_into().unwrap_or(i64::MAX)),
            ("-1", -1000),
            ("1u", 1),
            ("0.5Ki", 512_000),
        ] {
            assert_eq!(Quantity::parse(text).expect(text).milli(), milli, "{text}");
        }
        for text in ["", "x", "1x", "1.2.3", "-", "1 Gi", "."] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
        assert_eq!(compare("1Gi", "1024Mi"), Ordering::Equal);
        assert_eq!(compare("999m", "1"), Ordering::Less);
        assert!(!Quantity::parse("1500m").expect("good").is_whole());
    }
}
