//! Quantities: numbers with a suffix, such as `500m`, `1.5Gi` or `1e3`.
//!
//! A quantity is a decimal and a family of suffixes to print it with. Parsing keeps the text when upstream calls it canonical
//! (`1.500` stays `1.500`), and everything else is printed in canonical form: no fraction, the largest suffix that loses
//! nothing. Mantissas have 38 digits; beyond that a quantity is refused, where upstream would calculate with more.

use std::cmp::Ordering;
use std::fmt;

mod decimal;

use decimal::Decimal;

/// The family of suffixes to print with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `1e3`.
    DecimalExponent,
    /// `n u m k M G T P E`.
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`.
    BinarySi,
}

/// A number with the suffix it is printed with. Equality and order are those of the number.
#[derive(Debug, Clone)]
pub struct Quantity {
    amount: Decimal,
    format: Format,
    /// The text it was read from, when that is what it prints as.
    text: Option<Box<str>>,
}

/// Why a text is no quantity. Displays upstream's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number does not parse.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// No such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// Digits that upstream's fast path handles; only these keep their text.
const DIGITS_MAX: i32 = 18;
/// Smallest power of ten kept: a billionth.
const NANO: i32 = -9;

impl Quantity {
    /// Zero, printed in decimal.
    pub const ZERO: Self = Self { amount: Decimal::ZERO, format: Format::DecimalSi, text: None };

    /// A whole number, printed with `format`.
    pub fn new(value: i64, format: Format) -> Self {
        Self { amount: Decimal::new(value.into(), 0), format, text: None }
    }

    /// A number of thousandths, printed with `format`.
    pub fn new_milli(value: i64, format: Format) -> Self {
        Self { amount: Decimal::new(value.into(), -3), format, text: None }
    }

    /// Reads a quantity.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        if text == "0" {
            return Ok(Self { amount: Decimal::ZERO, format: Format::DecimalSi, text: Some("0".into()) });
        }
        let parts = Parts::split(text)?;
        let (base, exponent, format) = interpret(parts.suffix)?;
        if let Some(quantity) = Self::fast(text, &parts, exponent, format) {
            return quantity;
        }
        Self::slow(&parts, base, exponent, format)
    }

    /// Reads a tree's quantity, a string or a number.
    pub fn from_tree(tree: &crate::Tree) -> Result<Self, QuantityError> {
        match tree {
            crate::Tree::String(text) => Self::parse(text.trim()),
            other => Self::parse(&other.to_string()),
        }
    }

    /// Small numbers; `None` hands over to [`Self::slow`]. Some texts count as canonical although they could be shorter.
    fn fast(
        text: &str,
        parts: &Parts<'_>,
        exponent: i32,
        format: Format,
    ) -> Option<Result<Self, QuantityError>> {
        let (whole, fraction) = (parts.whole.len() as i32, parts.fraction.len() as i32);
        let (precision, scale, mantissa) = match format {
            Format::BinarySi if exponent >= 0 && fraction == 0 => (
                15 - whole - (exponent as f32 * 3.0 / 10.0) as i32 - 1,
                0,
                1_i64.checked_shl(exponent as u32)?,
            ),
            Format::BinarySi => return None,
            _ => (DIGITS_MAX - whole - fraction, exponent, 1),
        };
        let scale = scale - fraction;
        if precision < 0 || scale < NANO {
            return None;
        }
        let shifted = format!("{}{}", parts.whole, parts.fraction);
        let Ok(value) = shifted.parse::<i64>() else { return Some(Err(QuantityError::Numeric)) };
        let result = value.checked_mul(mantissa)?;
        let result = if parts.negative { -result } else { result };
        let canonical = match format {
            Format::BinarySi => exponent % 10 == 0 && value & 7 != 0,
            _ => scale % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0'),
        };
        Some(Ok(Self {
            amount: Decimal::new(result.into(), scale),
            format,
            text: canonical.then(|| text.into()),
        }))
    }

    fn slow(parts: &Parts<'_>, base: i32, exponent: i32, mut format: Format) -> Result<Self, QuantityError> {
        let digits = format!("{}{}", parts.whole, parts.fraction);
        let mantissa: i128 = digits.parse().map_err(|_| QuantityError::Numeric)?;
        let mut amount = Decimal::new(mantissa, -(parts.fraction.len() as i32));
        if base == 10 {
            amount = Decimal::new(amount.mantissa, amount.scale + exponent);
        } else {
            let factor = 1_i128.checked_shl(exponent as u32).ok_or(QuantityError::Numeric)?;
            amount.mantissa = amount.mantissa.checked_mul(factor).ok_or(QuantityError::Numeric)?;
        }
        // Who asks for too little gets a billionth: something rather than nothing.
        amount = amount.rounded_up(NANO).0;
        if format == Format::BinarySi {
            let most = Decimal::new(i64::MAX.into(), 0);
            if amount.cmp(&most) == Ordering::Greater {
                amount = most;
            }
            if amount.mantissa > 0 && amount.cmp(&Decimal::new(1, 0)) == Ordering::Less {
                format = Format::DecimalSi;
            }
        }
        if parts.negative {
            amount.mantissa = -amount.mantissa;
        }
        Ok(Self { amount, format, text: None })
    }

    /// Whether the number is zero.
    pub fn is_zero(&self) -> bool {
        self.amount.mantissa == 0
    }

    /// -1, 0 or 1.
    pub fn sign(&self) -> i32 {
        self.amount.mantissa.signum() as i32
    }

    /// The whole number, rounded away from zero; capped at 64 bits.
    pub fn value(&self) -> i64 {
        self.scaled_value(0)
    }

    /// Thousandths, rounded away from zero; capped at 64 bits.
    pub fn milli_value(&self) -> i64 {
        self.scaled_value(-3)
    }

    /// The number in units of 10^`scale`, rounded away from zero; capped at 64 bits.
    pub fn scaled_value(&self, scale: i32) -> i64 {
        self.amount.in_units(scale)
    }

    /// The number as a double.
    pub fn as_f64(&self) -> f64 {
        self.amount.mantissa as f64 * 10_f64.powi(self.amount.scale)
    }

    /// The family of suffixes it prints with.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Adds another number. A zero takes the other's format.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { amount: self.amount.plus(&other.amount), format, text: None }
    }

    /// Multiplies by a whole number.
    #[must_use]
    pub fn times(&self, factor: i64) -> Self {
        let mantissa = self.amount.mantissa.saturating_mul(factor.into());
        Self { amount: Decimal::new(mantissa, self.amount.scale), format: self.format, text: None }
    }

    fn write_canonical(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        if self.format == Format::BinarySi {
            let small = self.amount.cmp(&Decimal::new(1024, 0)) == Ordering::Less
                && self.amount.cmp(&Decimal::new(-1024, 0)) == Ordering::Greater;
            let (rounded, exact) = self.amount.rounded_up(0);
            if !small && exact {
                return write_binary(rounded, f);
            }
        }
        let (mantissa, exponent) = self.amount.in_thousands();
        write!(f, "{mantissa}")?;
        match self.format {
            Format::DecimalExponent if exponent != 0 => write!(f, "e{exponent}"),
            Format::DecimalExponent => Ok(()),
            _ => f.write_str(decimal_suffix(exponent)),
        }
    }
}

fn write_binary(amount: Decimal, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut mantissa = amount.unscaled();
    let mut times = 0;
    while mantissa != 0 && mantissa % 1024 == 0 {
        mantissa /= 1024;
        times += 1;
    }
    write!(f, "{mantissa}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].get(times).unwrap_or(&""))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text),
            None => self.write_canonical(f),
        }
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.amount.cmp(&other.amount)
    }
}

/// A quantity's text, taken apart.
struct Parts<'a> {
    negative: bool,
    /// Digits before the point, leading zeros gone; `0` when none is left.
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, QuantityError> {
        let negative = text.starts_with('-');
        let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
        let rest = rest.trim_start_matches('0');
        let (whole, rest) = split_digits(rest);
        let whole = if whole.is_empty() { "0" } else { whole };
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => split_digits(rest),
            None => ("", rest),
        };
        let tail = suffix.trim_start_matches(['e', 'E', 'i', 'n', 'u', 'm', 'k', 'K', 'M', 'G', 'T', 'P']);
        let tail = tail.strip_prefix(['-', '+']).unwrap_or(tail);
        if !tail.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(QuantityError::Format);
        }
        Ok(Self { negative, whole, fraction, suffix })
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn interpret(suffix: &str) -> Result<(i32, i32, Format), QuantityError> {
    const DECIMAL: [(&str, i32); 10] = [
        ("", 0),
        ("n", -9),
        ("u", -6),
        ("m", -3),
        ("k", 3),
        ("M", 6),
        ("G", 9),
        ("T", 12),
        ("P", 15),
        ("E", 18),
    ];
    const BINARY: [(&str, i32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
    let find =
        |table: &[(&str, i32)]| table.iter().find(|(name, _)| *name == suffix).map(|(_, exponent)| *exponent);
    if let Some(exponent) = find(&DECIMAL) {
        return Ok((10, exponent, Format::DecimalSi));
    }
    if let Some(exponent) = find(&BINARY) {
        return Ok((2, exponent, Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).and_then(|digits| digits.parse::<i64>().ok());
    match exponent.and_then(|exponent| i32::try_from(exponent).ok()) {
        Some(exponent) if exponent.abs() < 1_000_000 => Ok((10, exponent, Format::DecimalExponent)),
        _ => Err(QuantityError::Suffix),
    }
}

fn decimal_suffix(exponent: i32) -> &'static str {
    match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let got = match Quantity::parse(text) {
            Ok(quantity) => quantity.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn quantities_print_in_canonical_form() {
        for (text, expected) in [
            ("0", "0"),
            ("0.0", "0"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("500m", "500m"),
            ("1500m", "1500m"),
            ("1.5", "1500m"),
            ("1.500", "1.500"),
            ("1000", "1k"),
            ("1100", "1100"),
            ("100k", "100k"),
            ("1024", "1024"),
            ("1Ki", "1Ki"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1025Ki", "1025Ki"),
            ("1e3", "1e3"),
            ("1000e3", "1e6"),
            ("1E3", "1E3"),
            ("100000000", "100M"),
            ("-1", "-1"),
            ("+1", "+1"),
            ("-0.5", "-500m"),
            (".5", "500m"),
            ("5.", "5."),
            ("0.0000000001", "1n"),
            ("1n", "1n"),
            ("12345678901234567890", "12345678901234567890"),
            ("1Ei", "1Ei"),
            ("8Ei", "9223372036854775807"),
            ("0.1Ki", "102400m"),
            // No number at all is zero, as long as the suffix is one.
            (".", "0"),
            ("m", "0"),
            ("-", "0"),
            ("128Mi", "128Mi"),
            ("64Gi", "64Gi"),
            ("2Gi", "2Gi"),
            ("8Gi", "8Gi"),
            ("1024Mi", "1Gi"),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_in_upstream_s_words() {
        let format =
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        for text in ["", "lots", "1 Gi", "1x", "true", "1.5.5"] {
            check(text, format);
        }
        check("1Gb", format);
        check("1mm", "unable to parse quantity's suffix");
        check("--1", "unable to parse quantity's suffix");
        check("1K", "unable to parse quantity's suffix");
    }

    #[test]
    fn numbers_compare_and_add_across_suffixes() {
        let quantity = |text| Quantity::parse(text).expect("a quantity");
        assert_eq!(quantity("1"), quantity("1000m"));
        assert!(quantity("1Gi") > quantity("1G"));
        assert!(quantity("1e-9") < quantity("1u"));
        assert_eq!(quantity("1Gi").plus(&quantity("512Mi")).to_string(), "1536Mi");
        assert_eq!(quantity("100m").plus(&quantity("1")).to_string(), "1100m");
        assert_eq!(Quantity::ZERO.plus(&quantity("1Ki")).to_string(), "1Ki");
        assert_eq!(quantity("1500m").value(), 2);
        assert_eq!(quantity("1.5Gi").value(), 1_610_612_736);
        assert_eq!(quantity("100m").milli_value(), 100);
        assert_eq!(quantity("-1500m").value(), -2);
    }
}
