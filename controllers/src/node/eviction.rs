//! When a pod must leave a tainted node.

use jiff::{SignedDuration, Timestamp};

use crate::views::node::Taint;
use crate::views::pod::Toleration;

/// When a pod with these tolerations must be gone; `None` if it may stay.
pub(crate) fn leave_at(taints: &[Taint], tolerations: &[Toleration], now: Timestamp) -> Option<Timestamp> {
    let mut earliest: Option<Timestamp> = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let enduring: Vec<&Toleration> = tolerations
            .iter()
            .filter(|toleration| toleration.endures(&taint.key, &taint.value, &taint.effect))
            .collect();
        if enduring.is_empty() {
            return Some(now);
        }
        // The shortest patience counts; a toleration without one lasts for ever.
        let patience = enduring.iter().filter_map(|toleration| toleration.toleration_seconds).min();
        if let Some(seconds) = patience {
            let since = taint.added().unwrap_or(now);
            let at = since + SignedDuration::from_secs(seconds.max(0));
            earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
        }
    }
    earliest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, added: i64) -> Taint {
        let time_added = Some(Timestamp::from_second(added).unwrap().to_string());
        Taint { key: key.to_owned(), value: String::new(), effect: "NoExecute".to_owned(), time_added }
    }

    fn toleration(key: &str, seconds: Option<i64>) -> Toleration {
        Toleration {
            key: key.to_owned(),
            operator: "Exists".to_owned(),
            effect: "NoExecute".to_owned(),
            toleration_seconds: seconds,
            ..Toleration::default()
        }
    }

    #[test]
    fn patience_ends() {
        let now = Timestamp::from_second(1000).unwrap();
        let check = |taints: &[Taint], tolerations: &[Toleration], expect: Option<i64>| {
            assert_eq!(
                leave_at(taints, tolerations, now),
                expect.map(|second| Timestamp::from_second(second).unwrap())
            );
        };
        check(&[], &[], None);
        check(&[taint("a", 900)], &[], Some(1000));
        check(&[taint("a", 900)], &[toleration("a", Some(300))], Some(1200));
        check(&[taint("a", 900)], &[toleration("a", None)], None);
        check(
            &[taint("a", 900), taint("b", 950)],
            &[toleration("a", Some(300)), toleration("b", Some(60))],
            Some(1010),
        );
        check(&[taint("a", 900), taint("b", 950)], &[toleration("a", None)], Some(1000));
    }
}
