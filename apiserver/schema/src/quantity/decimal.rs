//! A decimal: mantissa times a power of ten.

use std::cmp::Ordering;

/// `mantissa * 10^scale`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    pub(super) mantissa: i128,
    pub(super) scale: i32,
}

/// Powers of ten that an `i128` holds.
const POWER_MAX: u32 = 38;

impl Decimal {
    pub(super) const ZERO: Self = Self { mantissa: 0, scale: 0 };

    pub(super) const fn new(mantissa: i128, scale: i32) -> Self {
        Self { mantissa, scale }
    }

    /// In units of 10^`scale`; `None` when that overflows or loses digits.
    fn exactly(&self, scale: i32) -> Option<i128> {
        let shift = u32::try_from(self.scale.checked_sub(scale)?).ok()?;
        if self.mantissa == 0 {
            return Some(0);
        }
        self.mantissa.checked_mul(power(shift)?)
    }

    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        let signs = self.mantissa.signum().cmp(&other.mantissa.signum());
        if signs != Ordering::Equal || self.mantissa == 0 {
            return signs;
        }
        let scale = self.scale.min(other.scale);
        match (self.exactly(scale), other.exactly(scale)) {
            (Some(a), Some(b)) => a.cmp(&b),
            // Only a number of more than 38 digits at the other's scale gets here: it is the one farther from zero.
            (None, _) if self.mantissa > 0 => Ordering::Greater,
            (None, _) => Ordering::Less,
            (_, None) if self.mantissa > 0 => Ordering::Less,
            (_, None) => Ordering::Greater,
        }
    }

    /// The sum; digits beyond 38 saturate.
    pub(super) fn plus(&self, other: &Self) -> Self {
        if self.mantissa == 0 {
            return *other;
        }
        if other.mantissa == 0 {
            return *self;
        }
        let scale = self.scale.min(other.scale);
        let saturated = |decimal: &Self| {
            decimal.exactly(scale).unwrap_or(if decimal.mantissa < 0 { i128::MIN } else { i128::MAX })
        };
        Self { mantissa: saturated(self).saturating_add(saturated(other)), scale }
    }

    /// Without digits below 10^`scale`, rounded away from zero, and whether nothing was lost.
    pub(super) fn rounded_up(&self, scale: i32) -> (Self, bool) {
        if self.scale >= scale {
            return (*self, true);
        }
        let Some(divisor) = power(scale.abs_diff(self.scale)) else {
            return (Self { mantissa: self.mantissa.signum(), scale }, self.mantissa == 0);
        };
        let rest = self.mantissa % divisor;
        let away = if rest == 0 { 0 } else { self.mantissa.signum() };
        (Self { mantissa: self.mantissa / divisor + away, scale }, rest == 0)
    }

    /// In units of 10^`scale`, rounded away from zero and capped at 64 bits.
    pub(super) fn in_units(&self, scale: i32) -> i64 {
        let rounded = self.rounded_up(scale).0;
        let cap = if self.mantissa < 0 { i64::MIN } else { i64::MAX };
        rounded.exactly(scale).and_then(|value| i64::try_from(value).ok()).unwrap_or(cap)
    }

    /// The whole number; saturates.
    pub(super) fn unscaled(&self) -> i128 {
        self.exactly(0).unwrap_or(if self.mantissa < 0 { i128::MIN } else { i128::MAX })
    }

    /// Mantissa and exponent with the exponent a multiple of three and as large as it can be.
    pub(super) fn in_thousands(&self) -> (i128, i32) {
        let (mut mantissa, mut exponent) = (self.mantissa, self.scale);
        while mantissa != 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        while exponent % 3 != 0 {
            mantissa = mantissa.saturating_mul(10);
            exponent -= 1;
        }
        (mantissa, exponent)
    }
}

fn power(exponent: u32) -> Option<i128> {
    (exponent <= POWER_MAX).then(|| 10_i128.pow(exponent))
}
