//! Schedules as tables: what is refused in which words, and when the rest is due.

use super::*;

fn refuse(text: &str, error: &str) {
    assert_eq!(Schedule::parse(text), Err(error.to_owned()), "{text}");
}

#[test]
fn wrong_schedules_are_refused_in_upstreams_words() {
    refuse("", "empty spec string");
    refuse("* * * *", "expected exactly 5 fields, found 4: [* * * *]");
    refuse("60 * * * *", "end of range (60) above maximum (59): 60");
    refuse("* * 0 * *", "beginning of range (0) below minimum (1): 0");
    refuse("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1");
    refuse("*/0 * * * *", "step of range should be a positive number: */0");
    refuse("1-2-3 * * * *", "too many hyphens: 1-2-3");
    refuse("1/2/3 * * * *", "too many slashes: 1/2/3");
    refuse("* * L * *", "failed to parse int from L: strconv.Atoi: parsing \"L\": invalid syntax");
    refuse("TZ=Nope/X * * * * *", "provided bad location Nope/X: unknown time zone Nope/X");
    refuse("TZ=UTC", "invalid schedule format: runtime error: slice bounds out of range [:-1]");
    refuse("@never", "unrecognized descriptor: @never");
    refuse("@every x", "failed to parse duration @every x: time: invalid duration \"x\"");
    refuse("@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\"");
    refuse("@every 5d", "failed to parse duration @every 5d: time: unknown unit \"d\" in duration \"5d\"");
}

/// The times at which a schedule is due from the start on, in the zone.
fn check(text: &str, zone: &str, start: &str, due: &[&str]) {
    let schedule = Schedule::parse(text).expect(text);
    let zone = super::zone(zone).expect(zone);
    let mut time: Timestamp = start.parse().expect(start);
    for expected in due {
        time = schedule.next_after(time, &zone).expect("due some day");
        assert_eq!(time.to_string(), *expected, "{text}");
    }
}

#[test]
fn schedules_are_due_when_all_fields_match() {
    let start = "2026-01-01T00:00:00Z";
    check(
        "*/20 * * * *",
        "UTC",
        start,
        &["2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z", "2026-01-01T01:00:00Z"],
    );
    check("5 4 * * sun", "UTC", start, &["2026-01-04T04:05:00Z", "2026-01-11T04:05:00Z"]);
    check("0 0 29 feb ?", "UTC", start, &["2028-02-29T00:00:00Z"]);
    // Day of the month and of the week are alternatives.
    check(
        "0 0 13 * 5",
        "UTC",
        start,
        &["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"],
    );
    check("@monthly", "UTC", start, &["2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"]);
    check("@every 90s", "UTC", "2026-01-01T00:00:00.5Z", &["2026-01-01T00:01:30Z", "2026-01-01T00:03:00Z"]);
    check("@every -5m", "UTC", start, &["2026-01-01T00:00:01Z"]);
    let never = Schedule::parse("0 0 30 2 *").expect("a schedule");
    assert_eq!(never.next_after(start.parse().expect("a time"), &TimeZone::UTC), None);
}

#[test]
fn schedules_follow_their_zone_through_changes_of_the_clock() {
    check(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T00:00:00Z",
        &["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"],
    );
    check("0 1 * * *", "America/New_York", "2026-01-01T00:00:00Z", &["2026-01-01T06:00:00Z"]);
    check("TZ=Asia/Tokyo 0 9 * * *", "America/New_York", "2026-01-01T01:00:00Z", &["2026-01-02T00:00:00Z"]);
    assert_eq!(
        zone("europe/berlin").expect_err("zones are spelled exactly"),
        "unknown time zone europe/berlin"
    );
}
