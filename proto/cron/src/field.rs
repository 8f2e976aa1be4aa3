//! One field of a schedule: numbers, names, ranges and steps, joined by commas.

/// The bit that says that a field was written as `*`.
pub(crate) const STAR: u64 = 1 << 63;

/// Which numbers a field may hold, and their names.
pub(crate) struct Bounds {
    pub(crate) min: u64,
    pub(crate) max: u64,
    /// Names of the numbers from `min` on.
    names: &'static [&'static str],
}

pub(crate) const MINUTES: Bounds = Bounds { min: 0, max: 59, names: &[] };
pub(crate) const HOURS: Bounds = Bounds { min: 0, max: 23, names: &[] };
pub(crate) const DAYS: Bounds = Bounds { min: 1, max: 31, names: &[] };
pub(crate) const MONTHS: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
pub(crate) const WEEKDAYS: Bounds =
    Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Bounds {
    /// All numbers, as `*` writes them.
    pub(crate) fn all(&self) -> u64 {
        bits(self.min, self.max, 1) | STAR
    }

    /// The smallest number alone.
    pub(crate) fn first(&self) -> u64 {
        1 << self.min
    }

    /// Reads a field.
    pub(crate) fn parse(&self, text: &str) -> Result<u64, String> {
        let mut set = 0;
        for part in text.split(',').filter(|part| !part.is_empty()) {
            set |= self.range(part)?;
        }
        Ok(set)
    }

    /// Reads `*`, `5`, `1-5`, `*/2`, `5/2` or `1-5/2`.
    fn range(&self, text: &str) -> Result<u64, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let ends: Vec<&str> = parts[0].split('-').collect();
        let (start, mut end, mut star) = match ends.as_slice() {
            ["*" | "?", ..] => (self.min, self.max, STAR),
            [only] => {
                let number = self.number(only)?;
                (number, number, 0)
            }
            [start, end] => (self.number(start)?, self.number(end)?, 0),
            _ => return Err(format!("too many hyphens: {text}")),
        };
        let step = match parts.as_slice() {
            [_] => 1,
            [_, step] => {
                let step = number(step)?;
                if ends.len() == 1 {
                    end = self.max;
                }
                if step > 1 {
                    star = 0;
                }
                step
            }
            _ => return Err(format!("too many slashes: {text}")),
        };
        if start < self.min {
            return Err(format!("beginning of range ({start}) below minimum ({}): {text}", self.min));
        }
        if end > self.max {
            return Err(format!("end of range ({end}) above maximum ({}): {text}", self.max));
        }
        if start > end {
            return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
        }
        if step == 0 {
            return Err(format!("step of range should be a positive number: {text}"));
        }
        Ok(bits(start, end, step) | star)
    }

    fn number(&self, text: &str) -> Result<u64, String> {
        let name = text.to_lowercase();
        match (self.min..).zip(self.names).find(|(_, known)| **known == name) {
            Some((number, _)) => Ok(number),
            None => number(text),
        }
    }
}

fn bits(start: u64, end: u64, step: u64) -> u64 {
    (start..=end)
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .fold(0, |set, number| set | 1 << number)
}

/// Reads a number as Go's `strconv.Atoi` does, with its words about what is none.
fn number(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let refused =
        |why: &str| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused("invalid syntax"));
    }
    let number: i64 = text.parse().map_err(|_| refused("value out of range"))?;
    u64::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}"))
}
