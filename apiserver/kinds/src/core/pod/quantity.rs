//! Resource quantities: exact comparison, sums and upstream's canonical text.
//!
//! It decides what a quantity is worth and how it prints. Whether a quantity is allowed somewhere is for the validators.

use std::cmp::Ordering;
use std::fmt;

/// Billionths in one unit; upstream keeps quantities to this precision.
const NANO: i128 = 1_000_000_000;

/// The family of suffixes a quantity was written with and prints in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `Ki`, `Mi`, ...
    Binary,
    /// `m`, `k`, `M`, ...
    Decimal,
    /// `e3`
    Exponent,
}

/// An amount such as `1500m` or `2Gi`. Equality and order look at the amount and not at the suffix.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

const DECIMAL_SUFFIXES: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Nothing, in decimal form.
    pub const ZERO: Quantity = Quantity { nano: 0, format: Format::Decimal };

    /// Reads a quantity; `None` when the text is not one.
    pub fn parse(text: &str) -> Option<Quantity> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(digits);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let (scale, format) = scale(suffix)?;
        let magnitude = nano_of(whole, fraction, scale)?;
        Some(Quantity { nano: if text.starts_with('-') { -magnitude } else { magnitude }, format })
    }

    /// A quantity the schema has already accepted; anything else reads as zero.
    pub fn of(value: &serde_json::Value) -> Quantity {
        match value {
            serde_json::Value::String(text) => Quantity::parse(text).unwrap_or(Quantity::ZERO),
            other => Quantity::parse(&other.to_string()).unwrap_or(Quantity::ZERO),
        }
    }

    /// Whether the amount is zero.
    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Whether the amount is below zero.
    pub fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Whether the amount is a whole number, after rounding up to thousandths as upstream does.
    pub fn is_whole(self) -> bool {
        self.rounded_to_milli().nano % NANO == 0
    }

    /// The amount in whole units, rounded up.
    pub fn value(self) -> i64 {
        let whole = self.nano.div_euclid(NANO) + i128::from(self.nano.rem_euclid(NANO) > 0);
        i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
    }

    /// The amount rounded up to thousandths.
    pub fn rounded_to_milli(self) -> Quantity {
        const MICRO: i128 = NANO / 1000;
        let nano = (self.nano.div_euclid(MICRO) + i128::from(self.nano.rem_euclid(MICRO) > 0)) * MICRO;
        Quantity { nano, ..self }
    }

    /// The sum; it prints like `self` unless `self` is zero.
    pub fn plus(self, other: Quantity) -> Quantity {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity { nano: self.nano.saturating_add(other.nano), format }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let units = self.nano / NANO;
        let binary = self.format == Format::Binary && self.nano % NANO == 0 && units.abs() >= 1024;
        if binary {
            return write_binary(f, units);
        }
        let (mut mantissa, mut exponent) = (self.nano, -9);
        while mantissa % 1000 == 0 && exponent < 18 {
            (mantissa, exponent) = (mantissa / 1000, exponent + 3);
        }
        match self.format {
            Format::Exponent if exponent != 0 => write!(f, "{mantissa}e{exponent}"),
            _ => {
                let suffix = DECIMAL_SUFFIXES
                    .iter()
                    .find(|(_, power)| *power == exponent)
                    .map_or("", |(name, _)| name);
                write!(f, "{mantissa}{suffix}")
            }
        }
    }
}

fn write_binary(f: &mut fmt::Formatter<'_>, units: i128) -> fmt::Result {
    let (mut mantissa, mut power) = (units, 0);
    while mantissa % 1024 == 0 && power + 1 < BINARY_SUFFIXES.len() {
        (mantissa, power) = (mantissa / 1024, power + 1);
    }
    write!(f, "{mantissa}{}", BINARY_SUFFIXES[power])
}

/// What a suffix multiplies by: a power of ten or of 1024.
enum Scale {
    Ten(i32),
    Kibi(u32),
}

fn scale(suffix: &str) -> Option<(Scale, Format)> {
    if let Some((_, power)) = DECIMAL_SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        return Some((Scale::Ten(*power), Format::Decimal));
    }
    if let Some(power) = BINARY_SUFFIXES.iter().position(|name| *name == suffix) {
        return Some((Scale::Kibi(u32::try_from(power).expect("seven suffixes")), Format::Binary));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
    Some((Scale::Ten(exponent), Format::Exponent))
}

/// The billionths in `whole.fraction` times the scale, rounded up and capped as upstream caps it.
fn nano_of(whole: &str, fraction: &str, scale: Scale) -> Option<i128> {
    const CAP: i128 = i64::MAX as i128 * NANO;
    let digits = format!("{whole}{fraction}");
    let mantissa = digits.trim_start_matches('0');
    if mantissa.is_empty() {
        return Some(0);
    }
    let mantissa = mantissa.parse::<i128>().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    let (factor, power) = match scale {
        Scale::Ten(power) => (1, power.saturating_add(9).saturating_sub(places)),
        Scale::Kibi(power) => (1024_i128.pow(power), 9_i32.saturating_sub(places)),
    };
    let scaled = mantissa.checked_mul(factor);
    let nano = match (scaled, u32::try_from(power)) {
        (None, _) => CAP,
        (Some(scaled), Ok(power)) => {
            10_i128.checked_pow(power).and_then(|ten| scaled.checked_mul(ten)).unwrap_or(CAP)
        }
        (Some(scaled), Err(_)) => match 10_i128.checked_pow(power.unsigned_abs()) {
            Some(ten) => scaled / ten + i128::from(scaled % ten != 0),
            None => 1,
        },
    };
    Some(nano.min(CAP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_canonical() {
        for (text, canonical) in [
            ("1500m", "1500m"),
            ("0.5", "500m"),
            ("1024Ki", "1Mi"),
            ("0.1Gi", "107374182400m"),
            ("1e3", "1e3"),
            ("1000", "1k"),
            ("100m", "100m"),
            ("-1", "-1"),
            ("0", "0"),
            ("1000m", "1"),
            ("512Ki", "512Ki"),
            ("1023", "1023"),
            ("2Gi", "2Gi"),
        ] {
            assert_eq!(Quantity::parse(text).expect(text).to_string(), canonical, "{text}");
        }
        for text in ["", "x", "1x", "1.2.3", "e3", "."] {
            assert!(Quantity::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn amounts_compare_across_suffixes() {
        let of = |text| Quantity::parse(text).expect("a quantity");
        assert_eq!(of("1Ki"), of("1024"));
        assert!(of("1G") < of("1Gi"));
        assert_eq!(of("1Gi").plus(of("1Gi")).to_string(), "2Gi");
        assert_eq!(of("100m").value(), 1);
        assert!(!of("1500m").is_whole());
        assert!(of("2k").is_whole());
        assert_eq!(of("1u").rounded_to_milli().to_string(), "1m");
    }
}
