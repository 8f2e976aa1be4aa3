//! Table columns and the cells most kinds share: ages, selectors, names.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::tree::{at, entries_at, list_at, map_at, str_at, strings_at};

/// One column of a Table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Header.
    pub name: &'static str,
    /// `string`, `integer`, `boolean`, `number` or `date`.
    pub r#type: &'static str,
    /// `name` for the column that holds the object's name, else empty.
    pub format: &'static str,
    /// What the column means.
    pub description: &'static str,
    /// 0 for always, 1 for wide output only.
    pub priority: i32,
}

impl Column {
    /// A column of strings.
    pub const fn text(name: &'static str, description: &'static str) -> Column {
        Column { name, r#type: "string", format: "", description, priority: 0 }
    }

    /// A column of integers.
    pub const fn integer(name: &'static str, description: &'static str) -> Column {
        Column { name, r#type: "integer", format: "", description, priority: 0 }
    }

    /// A column of booleans.
    pub const fn boolean(name: &'static str, description: &'static str) -> Column {
        Column { name, r#type: "boolean", format: "", description, priority: 0 }
    }

    /// The same column, shown in wide output only.
    pub const fn wide(self) -> Column {
        Column { priority: 1, ..self }
    }

    /// The column of object names.
    pub const NAME: Column = Column {
        name: "Name",
        r#type: "string",
        format: "name",
        description: "Name of the object.",
        priority: 0,
    };

    /// The column of ages.
    pub const AGE: Column = Column::text("Age", "Time since the object was created.");
}

/// Columns of a kind without columns of its own.
pub const PLAIN: &[Column] = &[
    Column::NAME,
    Column {
        name: "Created At",
        r#type: "date",
        format: "",
        description: "When the object was created.",
        priority: 0,
    },
];

/// Cells for [`PLAIN`].
pub fn plain_row(obj: &Value) -> Vec<Value> {
    vec![name(obj), json!(str_at(obj, "metadata.creationTimestamp"))]
}

/// The object's name as a cell.
pub fn name(obj: &Value) -> Value {
    json!(str_at(obj, "metadata.name"))
}

/// The object's age as a cell.
pub fn age(obj: &Value, now: Timestamp) -> Value {
    json!(since(str_at(obj, "metadata.creationTimestamp"), now))
}

/// Stands for a time that is not known yet: in cells made at it, ages are holes that [`fill`] fills.
pub const OPEN: Timestamp = Timestamp::MAX;

/// Stands at both ends of a hole, with the nanosecond of the timestamp between. No text of an ordinary object has it.
pub const HOLE: char = '\0';

/// [`HOLE`] in JSON.
const HOLE_JSON: &[u8] = b"\\u0000";

/// Writes the JSON of cells that were made at [`OPEN`], with the ages of now.
pub fn fill(cells: &[u8], now: Timestamp, out: &mut Vec<u8>) {
    let mut rest = cells;
    while let Some((before, hole)) = cut(rest) {
        out.extend_from_slice(before);
        let Some((digits, after)) = cut(hole) else { return };
        let then = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i128>().ok());
        let age = then.map_or(i64::MAX, |then| nanoseconds(now.as_nanosecond() - then));
        out.extend_from_slice(human_duration(age).as_bytes());
        rest = after;
    }
    out.extend_from_slice(rest);
}

fn cut(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.windows(HOLE_JSON.len()).position(|window| window == HOLE_JSON)?;
    Some((&text[..at], &text[at + HOLE_JSON.len()..]))
}

/// The time since a timestamp in words, `<unknown>` when there is none.
pub fn since(timestamp: &str, now: Timestamp) -> String {
    match timestamp.parse::<Timestamp>() {
        Ok(then) if now == OPEN => format!("{HOLE}{}{HOLE}", then.as_nanosecond()),
        Ok(then) => human_duration(nanoseconds_between(then, now)),
        Err(_) => "<unknown>".to_owned(),
    }
}

fn nanoseconds_between(then: Timestamp, now: Timestamp) -> i64 {
    nanoseconds(now.as_nanosecond() - then.as_nanosecond())
}

fn nanoseconds(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A duration in two or three significant figures, as kubectl shows ages.
pub fn human_duration(nanoseconds: i64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 24 * 8 => two(hours / 24, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        _ if hours < 24 * 365 * 8 => two(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        _ => format!("{}y", hours / 24 / 365),
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

/// A text cell, `<none>` when empty.
pub fn or_none(text: &str) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text.to_owned() }
}

/// The string map at a path as `key=value,key=value`, `<none>` when empty.
pub fn labels(obj: &Value, path: &str) -> String {
    let pairs: Vec<String> =
        entries_at(obj, path).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    or_none(&pairs.join(","))
}

/// The label selector at a path in selector syntax, `<none>` when empty, `<error>` when it is malformed.
pub fn label_selector(obj: &Value, path: &str) -> String {
    let Some(selector) = at(obj, path) else { return "<none>".to_owned() };
    let mut terms: Vec<(String, String)> = map_at(selector, "matchLabels")
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), format!("{key}={}", value.as_str().unwrap_or(""))))
        .collect();
    for expression in list_at(selector, "matchExpressions") {
        let key = str_at(expression, "key");
        let mut values = strings_at(expression, "values");
        values.sort_unstable();
        let values = values.join(",");
        let term = match str_at(expression, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return "<error>".to_owned(),
        };
        terms.push((key.to_owned(), term));
    }
    terms.sort_by(|left, right| left.0.cmp(&right.0));
    let terms: Vec<String> = terms.into_iter().map(|(_, term)| term).collect();
    or_none(&terms.join(","))
}

/// Addresses and names at which a load balancer takes traffic for an object, in order.
pub fn balancer_addresses(obj: &Value) -> Vec<&str> {
    let mut addresses: Vec<&str> = list_at(obj, "status.loadBalancer.ingress")
        .iter()
        .map(|ingress| match str_at(ingress, "ip") {
            "" => str_at(ingress, "hostname"),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_two_figures() {
        const SECOND: i64 = 1_000_000_000;
        const HOUR: i64 = 3600;
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (4 * HOUR + 60, "4h1m"),
            (9 * HOUR, "9h"),
            (50 * HOUR, "2d2h"),
            (24 * 9 * HOUR, "9d"),
            (24 * 365 * 2 * HOUR, "2y"),
            (24 * (365 * 3 + 5) * HOUR, "3y5d"),
            (24 * 365 * 9 * HOUR, "9y"),
        ] {
            assert_eq!(human_duration(seconds * SECOND), text, "{seconds}");
        }
    }

    #[test]
    fn a_hole_is_filled_with_the_age_it_stands_for() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        for then in ["2026-01-02T03:04:05Z", "2026-01-01T00:00:00.25Z", "2026-01-03T00:00:00Z", "", "x"] {
            let cell = |now| serde_json::to_vec(&json!([format!("3 ({} ago)", since(then, now)), "b"]));
            let mut filled = Vec::new();
            fill(&cell(OPEN).expect("cells encode into memory"), now, &mut filled);
            assert_eq!(filled, cell(now).expect("cells encode into memory"), "{then}");
        }
    }

    #[test]
    fn selectors_print_in_key_order() {
        let obj = json!({"s": {"matchLabels": {"b": "2"}, "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["y", "x"]}, {"key": "c", "operator": "DoesNotExist"}]}});
        assert_eq!(label_selector(&obj, "s"), "a in (x,y),b=2,!c");
        assert_eq!(label_selector(&obj, "t"), "<none>");
        assert_eq!(
            label_selector(&json!({"s": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}), "s"),
            "<error>"
        );
        assert_eq!(labels(&json!({"s": {"a": "1", "b": ""}}), "s"), "a=1,b=");
    }
}
