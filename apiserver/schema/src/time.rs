//! Times as they stand on the wire, with the texts of Go's parser.
//!
//! Two layouts: RFC 3339, printed in whole seconds, and the same with exactly six digits of microseconds. Nothing here asks
//! what time it is.

use jiff::Timestamp;
use jiff::civil::date;

const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
const LAYOUT_MICRO: &str = "2006-01-02T15:04:05.000000Z07:00";

/// Reads a time; the error is Go's text.
pub fn parse(text: &str, micro: bool) -> Result<Timestamp, String> {
    let mut reader = Reader { whole: text, rest: text, layout: if micro { LAYOUT_MICRO } else { LAYOUT } };
    reader.time(micro)
}

/// A time in whole seconds: `2025-01-31T12:00:00Z`.
pub fn format(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time with microseconds: `2025-01-31T12:00:00.000001Z`.
pub fn format_micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// The canonical form; `None` when the text has it already.
pub(crate) fn canonical(text: &str, micro: bool) -> Result<Option<String>, String> {
    // The year 1 in UTC is Go's zero time, which prints as null; nobody sends it, so it stays a time here.
    let time = parse(text, micro)?;
    let canonical = if micro { format_micro(time) } else { format(time) };
    Ok((canonical != text).then_some(canonical))
}

struct Reader<'a> {
    whole: &'a str,
    rest: &'a str,
    layout: &'static str,
}

impl Reader<'_> {
    fn time(&mut self, micro: bool) -> Result<Timestamp, String> {
        let year = self.digits(4, "2006")?;
        self.literal("-")?;
        let month = self.ranged(1..=12, "01", "month")?;
        self.literal("-")?;
        let day = self.digits(2, "02")?;
        self.literal("T")?;
        let hour = self.ranged(0..=23, "15", "hour")?;
        self.literal(":")?;
        let minute = self.ranged(0..=59, "04", "minute")?;
        self.literal(":")?;
        let second = self.ranged(0..=59, "05", "second")?;
        let nanosecond = if micro { self.microseconds()? } else { self.fraction() };
        let offset = self.offset()?;
        if !self.rest.is_empty() {
            return Err(format!(
                "parsing time {}: extra text: {}",
                self.quoted(self.whole),
                self.quoted(self.rest)
            ));
        }
        let narrow = |number: i32| i8::try_from(number).unwrap_or(-1);
        let year = i16::try_from(year).unwrap_or(-1);
        let days = date(year, narrow(month), 1).days_in_month();
        if day < 1 || day > i32::from(days) {
            return Err(self.out_of_range("day"));
        }
        let local = date(year, narrow(month), narrow(day)).at(
            narrow(hour),
            narrow(minute),
            narrow(second),
            nanosecond,
        );
        let utc = jiff::tz::Offset::UTC.to_timestamp(local).map_err(|_| self.out_of_range("year"))?;
        utc.checked_sub(jiff::SignedDuration::from_secs(offset)).map_err(|_| self.out_of_range("year"))
    }

    fn digits(&mut self, count: usize, part: &str) -> Result<i32, String> {
        let digits = self.rest.get(..count).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(digits) = digits else { return Err(self.cannot_parse(part)) };
        self.rest = &self.rest[count..];
        Ok(digits.parse().expect("a few digits fit"))
    }

    fn ranged(
        &mut self,
        range: std::ops::RangeInclusive<i32>,
        part: &str,
        name: &str,
    ) -> Result<i32, String> {
        let number = self.digits(2, part)?;
        if range.contains(&number) { Ok(number) } else { Err(self.out_of_range(name)) }
    }

    fn literal(&mut self, text: &str) -> Result<(), String> {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.cannot_parse(text)),
        }
    }

    /// Digits after the seconds, although the layout has none.
    fn fraction(&mut self) -> i32 {
        let Some(rest) = self.rest.strip_prefix(['.', ',']) else { return 0 };
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return 0;
        }
        self.rest = &rest[length..];
        let nine: String = rest[..length].chars().chain("000000000".chars()).take(9).collect();
        nine.parse().expect("nine digits fit")
    }

    fn microseconds(&mut self) -> Result<i32, String> {
        let digits = self.rest.strip_prefix(['.', ',']).and_then(|rest| rest.get(..6));
        match digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) {
            Some(digits) => {
                let micros: i32 = digits.parse().expect("six digits fit");
                self.rest = &self.rest[7..];
                Ok(micros * 1_000)
            }
            None => Err(self.cannot_parse(".000000")),
        }
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Result<i64, String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let zone = self.rest;
        let east = zone.starts_with('+');
        let form = zone.get(..6).filter(|form| (east || form.starts_with('-')) && form.as_bytes()[3] == b':');
        let Some(form) = form else { return Err(self.cannot_parse("Z07:00")) };
        let (Ok(hours), Ok(minutes)) = (form[1..3].parse::<u8>(), form[4..6].parse::<u8>()) else {
            return Err(self.cannot_parse("Z07:00"));
        };
        if hours > 24 {
            return Err(self.out_of_range("time zone offset hour"));
        }
        if minutes > 60 {
            return Err(self.out_of_range("time zone offset minute"));
        }
        self.rest = &zone[6..];
        let seconds = i64::from(hours) * 3_600 + i64::from(minutes) * 60;
        Ok(if east { seconds } else { -seconds })
    }

    fn cannot_parse(&self, part: &str) -> String {
        let (whole, rest) = (self.quoted(self.whole), self.quoted(self.rest));
        format!("parsing time {whole} as \"{}\": cannot parse {rest} as \"{part}\"", self.layout)
    }

    fn out_of_range(&self, name: &str) -> String {
        format!("parsing time {}: {name} out of range", self.quoted(self.whole))
    }

    fn quoted(&self, text: &str) -> String {
        crate::go::quote(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_their_canonical_form_or_go_s_error() {
        let check = |text: &str, micro: bool, expected: &str| {
            let got = canonical(text, micro).unwrap_or_else(Some).unwrap_or_else(|| "same".to_owned());
            assert_eq!(got, expected, "{text:?}");
        };
        check("2025-01-31T12:00:00Z", false, "same");
        check("2025-01-31T12:00:00.75Z", false, "2025-01-31T12:00:00Z");
        check("2025-01-31T12:00:00+02:00", false, "2025-01-31T10:00:00Z");
        check("2025-01-31T12:00:00.123456Z", true, "same");
        check("1969-12-31T23:38:38.000013Z", true, "same");
        check(
            "2025-01-31T12:00:00.1234567Z",
            true,
            "parsing time \"2025-01-31T12:00:00.1234567Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"7Z\" as \"Z07:00\"",
        );
        check(
            "yesterday",
            false,
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
        );
        check("", false, "parsing time \"\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"2006\"");
        check("2025-13-01T00:00:00Z", false, "parsing time \"2025-13-01T00:00:00Z\": month out of range");
        check("2025-02-30T00:00:00Z", false, "parsing time \"2025-02-30T00:00:00Z\": day out of range");
        check("2025-02-28T00:00:00Zx", false, "parsing time \"2025-02-28T00:00:00Zx\": extra text: \"x\"");
    }
}
