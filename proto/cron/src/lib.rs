//! Cron schedules as CronJobs write them: five fields, or a word such as `@hourly`, or `@every 1h30m`.
//!
//! Parsing follows upstream's parser to the letter of its error texts, which are part of the wire format. Nothing here looks
//! at a clock: the time to start from is an argument.

mod duration;
mod field;
mod parse;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

pub use parse::zone;

/// Years ahead in which a date must come; `0 0 30 2 *` never does.
const YEARS_MAX: i16 = 5;

/// When something is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    due: Due,
    /// The zone that the schedule itself names, which wins over any other.
    zone: Option<TimeZone>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Due {
    /// At the times whose parts are all in these sets.
    Fields(Fields),
    /// This long after the last time.
    Every(SignedDuration),
}

/// Sets of numbers, one bit each; see [`field::STAR`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
}

impl Schedule {
    /// Reads a schedule, or tells what is wrong with it in upstream's words.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        parse::schedule(text)
    }

    /// The first time after `start` at which the schedule is due, in the schedule's own zone or else in `zone`. `None` when
    /// there is none in the next five years.
    pub fn next_after(&self, start: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let second = Timestamp::from_second(start.as_second()).ok()?;
        match &self.due {
            Due::Every(delay) => second.checked_add(*delay).ok(),
            Due::Fields(fields) => {
                let zone = self.zone.as_ref().unwrap_or(zone).clone();
                let start = second.checked_add(SignedDuration::from_secs(1)).ok()?;
                fields.next_from(&start.to_zoned(zone)).map(|due| due.timestamp())
            }
        }
    }
}

impl Fields {
    /// The first matching time at or after `start`.
    fn next_from(&self, start: &Zoned) -> Option<Zoned> {
        let zone = start.time_zone().clone();
        let last_year = start.year().checked_add(YEARS_MAX)?;
        // The first minute that begins at or after the start.
        let mut time = match start.second() {
            0 => start.clone(),
            second => start.checked_add((60 - i64::from(second)).seconds()).ok()?,
        };
        while time.year() <= last_year {
            if !has(self.months, time.month()) {
                time = midnight(time.date().first_of_month().checked_add(1.month()).ok()?, &zone)?;
            } else if !self.has_day(time.date()) {
                time = midnight(time.date().tomorrow().ok()?, &zone)?;
            } else if !has(self.hours, time.hour()) {
                let into_hour = i64::from(time.minute());
                time = time.checked_add((60 - into_hour).minutes()).ok()?;
            } else if !has(self.minutes, time.minute()) {
                time = time.checked_add(1.minute()).ok()?;
            } else {
                return Some(time);
            }
        }
        None
    }

    /// A day of the month and a day of the week, when both are given, are alternatives.
    fn has_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        if (self.days | self.weekdays) & field::STAR != 0 { day && weekday } else { day || weekday }
    }
}

fn has(set: u64, number: i8) -> bool {
    set & (1 << number) != 0
}

/// The first time of a day, which is not midnight where the clock then jumps.
fn midnight(date: Date, zone: &TimeZone) -> Option<Zoned> {
    date.to_zoned(zone.clone()).ok()
}

#[cfg(test)]
mod tests;
