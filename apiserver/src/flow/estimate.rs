//! What a request asks of the server, in seats: a list by the bytes it holds in memory at once, a write by the watchers it
//! wakes. Pure; the numbers are upstream's of 1.36.

use super::queues::Work;
use crate::query::Query;
use crate::request_info::RequestInfo;
use std::time::Duration;

/// Bytes of objects that a seat stands for: a list of so many keeps the server as busy as an ordinary request.
const BYTES_A_SEAT: u64 = 100_000;
/// Bytes that a list holds at once when it is served from memory: it is sent in pieces.
const STREAMED_BYTES_MAX: u64 = 1_000_000;
/// Most seats of a list.
const LIST_SEATS_MAX: u32 = 100;
/// Most seats of a write.
const WRITE_SEATS_MAX: u32 = 10;
/// Watchers that a seat serves.
const WATCHERS_A_SEAT: u32 = 10;
/// How long an event keeps a seat busy for them.
const EVENT: Duration = Duration::from_millis(5);

/// What is stored of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(super) objects: u64,
    /// Bytes of one, about.
    pub(super) mean_bytes: u64,
}

/// What decides about a request's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// One seat.
    Plain,
    /// What is stored of the resource decides.
    List,
    /// Its watchers decide.
    Write,
}

impl Cost {
    /// What a request's cost depends on.
    pub(super) fn of(info: &RequestInfo, query: &Query) -> Self {
        match info.verb.as_str() {
            "list" => Self::List,
            "watch" if begins_with_state(query) => Self::List,
            // A new token of an account is no change of the account.
            "create" if info.resource == "serviceaccounts" && info.subresource == "token" => Self::Plain,
            "create" | "update" | "patch" | "delete" if info.is_resource => Self::Write,
            _ => Self::Plain,
        }
    }
}

/// A watch that goes on from a revision has no state to send.
fn begins_with_state(query: &Query) -> bool {
    query.flag("sendInitialEvents") || matches!(query.text("resourceVersion"), "" | "0")
}

/// Whether a list reads the newest state, and not one of the past.
fn is_of_the_present(query: &Query) -> bool {
    match query.text("resourceVersionMatch") {
        "NotOlderThan" => true,
        "" if !query.text("continue").is_empty() => false,
        "" => limit(query) == 0 || matches!(query.text("resourceVersion"), "" | "0"),
        _ => false,
    }
}

fn limit(query: &Query) -> u64 {
    query.text("limit").parse().unwrap_or_default()
}

/// The work of a list, or of a watch that begins with the state. `most` bounds the seats of the level's requests.
pub(super) fn list(info: &RequestInfo, query: &Query, stored: Stored, most: Option<u32>) -> Work {
    let present = info.verb == "watch" || is_of_the_present(query);
    let selects = ["fieldSelector", "labelSelector"].iter().any(|key| !query.text(key).is_empty());
    let page = match limit(query) {
        0 => stored.objects,
        limit => limit.min(stored.objects),
    };
    let loaded = match () {
        () if !info.name.is_empty() => 1,
        () if !present && selects => page.max(stored.objects / 2),
        () => page,
    };
    let bytes = loaded.saturating_mul(stored.mean_bytes);
    let bytes = if present { bytes.min(STREAMED_BYTES_MAX) } else { bytes };
    let seats = u32::try_from(bytes.div_ceil(BYTES_A_SEAT)).unwrap_or(u32::MAX);
    Work::of(seats.clamp(1, most.unwrap_or(LIST_SEATS_MAX).clamp(1, LIST_SEATS_MAX)))
}

/// The work of a write: one seat, and afterwards those of the events. Few watchers count as none.
pub(super) fn write(watchers: u32, most: Option<u32>) -> Work {
    if watchers < WATCHERS_A_SEAT {
        return Work::of(1);
    }
    let wanted = watchers.div_ceil(WATCHERS_A_SEAT);
    let last = wanted.min(most.unwrap_or(WRITE_SEATS_MAX).clamp(1, WRITE_SEATS_MAX));
    Work { initial: 1, last, lingers: EVENT * wanted / last }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `GET /path?query` over so many objects of so many bytes each: the seats.
    fn seats(target: &str, objects: u64, mean_bytes: u64) -> u32 {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = Query::parse(query);
        let info = crate::request_info::parse("GET", path, &query);
        list(&info, &query, Stored { objects, mean_bytes }, None).seats()
    }

    #[test]
    fn a_list_is_as_wide_as_what_it_holds_at_once() {
        const MAPS: &str = "/api/v1/configmaps";
        let past = |more: &str| format!("{MAPS}?resourceVersion=5&resourceVersionMatch=Exact{more}");
        assert_eq!(seats(MAPS, 0, 0), 1);
        assert_eq!(seats(MAPS, 50, 1000), 1);
        assert_eq!(seats(MAPS, 500, 1000), 5);
        assert_eq!(seats(MAPS, 10_000, 1000), 10, "what is sent in pieces is never held whole");
        assert_eq!(seats(&past(""), 1000, 1000), 10);
        assert_eq!(seats(&past(""), 1000, 10_000), 100);
        assert_eq!(seats(&past("&limit=100"), 1000, 10_000), 10);
        assert_eq!(seats(&past("&limit=100&labelSelector=a"), 1000, 10_000), 50);
        assert_eq!(seats(&format!("{MAPS}?limit=100&continue=x"), 1000, 10_000), 10);
        assert_eq!(seats(&format!("{MAPS}?fieldSelector=metadata.name%3Da"), 1000, 1_000_000), 10);
        assert_eq!(seats(&format!("{MAPS}?fieldSelector=metadata.name%3Da"), 1000, 1000), 1);
    }

    #[test]
    fn a_level_bounds_its_requests() {
        let stored = Stored { objects: 1000, mean_bytes: 10_000 };
        let info = crate::request_info::parse("GET", "/api/v1/configmaps", &Query::default());
        assert_eq!(list(&info, &Query::default(), stored, Some(4)), Work::of(4));
        assert_eq!(
            write(100, Some(2)),
            Work { initial: 1, last: 2, lingers: Duration::from_millis(25) },
            "narrower, and longer"
        );
    }

    #[test]
    fn a_write_pays_for_its_watchers_afterwards() {
        assert_eq!(write(9, None), Work::of(1));
        assert_eq!(write(10, None), Work { initial: 1, last: 1, lingers: EVENT });
        assert_eq!(write(95, None), Work { initial: 1, last: 10, lingers: EVENT });
        assert_eq!(write(1000, None), Work { initial: 1, last: 10, lingers: EVENT * 10 });
    }

    #[test]
    fn the_verb_says_what_a_cost_depends_on() {
        let cost = |method: &str, target: &str| {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let query = Query::parse(query);
            Cost::of(&crate::request_info::parse(method, path, &query), &query)
        };
        let maps = "/api/v1/namespaces/a/configmaps";
        assert_eq!(cost("GET", maps), Cost::List);
        assert_eq!(cost("GET", &format!("{maps}?watch=1")), Cost::List);
        assert_eq!(cost("GET", &format!("{maps}?watch=1&resourceVersion=7")), Cost::Plain);
        assert_eq!(cost("GET", &format!("{maps}/b")), Cost::Plain);
        assert_eq!(cost("POST", maps), Cost::Write);
        assert_eq!(cost("DELETE", &format!("{maps}/b")), Cost::Write);
        assert_eq!(cost("DELETE", maps), Cost::Plain);
        assert_eq!(cost("POST", "/api/v1/namespaces/a/serviceaccounts/b/token"), Cost::Plain);
        assert_eq!(cost("POST", "/version"), Cost::Plain);
    }
}
