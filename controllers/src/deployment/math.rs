//! The arithmetic of rolling updates and proportional scaling.

use crate::views::workload::{DeploymentSpec, IntOrPercent};

/// How far a rollout may leave `replicas`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fenceposts {
    pub(super) max_surge: i32,
    pub(super) max_unavailable: i32,
}

/// A number as it is, or a share of `total`; text that is no share counts as 0.
fn scaled(value: Option<&IntOrPercent>, total: i32, round_up: bool) -> i32 {
    match value {
        None => 0,
        Some(IntOrPercent::Int(number)) => *number,
        Some(IntOrPercent::Percent(text)) => {
            let share: i64 = text.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or(0);
            let product = share * i64::from(total);
            let rounded = if round_up { (product + 99) / 100 } else { product / 100 };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}

/// Resolves both bounds together: if both round to nothing, one pod may be
/// unavailable, for else a rollout could not begin.
pub(super) fn fenceposts(spec: &DeploymentSpec) -> Fenceposts {
    if spec.strategy.r#type != "RollingUpdate" {
        return Fenceposts { max_surge: 0, max_unavailable: 0 };
    }
    let rolling = spec.strategy.rolling_update.as_ref();
    let max_surge = scaled(rolling.and_then(|rolling| rolling.max_surge.as_ref()), spec.replicas, true);
    let mut max_unavailable =
        scaled(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), spec.replicas, false);
    if max_surge == 0 && max_unavailable == 0 {
        max_unavailable = 1;
    }
    Fenceposts { max_surge, max_unavailable: max_unavailable.min(spec.replicas) }
}

/// Replicas of the new set when `total` are spread over all sets.
pub(super) fn new_set_replicas(spec: &DeploymentSpec, total: i32, new: i32) -> i32 {
    if spec.strategy.r#type != "RollingUpdate" {
        return spec.replicas;
    }
    let room = spec.replicas + fenceposts(spec).max_surge - total;
    if room <= 0 { new } else { new + room.min(spec.replicas - new) }
}

/// One set in proportional scaling.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) replicas: i32,
    /// The most the deployment could have when this set was last scaled, 0 if unknown.
    pub(super) max_before: i32,
}

/// Spreads the difference to the allowed size over sets in proportion to their
/// size; sets come in the order in which they take what rounding leaves.
pub(super) fn proportional(spec: &DeploymentSpec, status_replicas: i32, sets: &[Share]) -> Vec<i32> {
    let max_now = spec.replicas + fenceposts(spec).max_surge;
    let allowed = if spec.replicas > 0 { max_now } else { 0 };
    let total: i32 = sets.iter().map(|set| set.replicas).sum();
    let to_add = allowed - total;
    let mut added = 0;
    let mut sizes = Vec::with_capacity(sets.len());
    for set in sets {
        let share = if set.replicas == 0 || to_add == 0 || to_add == added {
            0
        } else {
            let fraction = fraction(spec, max_now, status_replicas, *set);
            let rest = to_add - added;
            if to_add > 0 { fraction.min(rest) } else { fraction.max(rest) }
        };
        added += share;
        sizes.push(set.replicas + share);
    }
    if let Some(largest) = sizes.first_mut().filter(|_| to_add != 0) {
        *largest = (*largest + to_add - added).max(0);
    }
    sizes
}

#[expect(clippy::cast_possible_truncation, reason = "replicas are small and the quotient is rounded")]
fn fraction(spec: &DeploymentSpec, max_now: i32, status_replicas: i32, set: Share) -> i32 {
    if spec.replicas == 0 {
        return -set.replicas;
    }
    let before = if set.max_before == 0 { status_replicas } else { set.max_before };
    if before == 0 {
        return 0;
    }
    let size = f64::from(set.replicas) * f64::from(max_now) / f64::from(before);
    size.round() as i32 - set.replicas
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(replicas: i32, surge: serde_json::Value, unavailable: serde_json::Value) -> DeploymentSpec {
        serde_json::from_value(json!({
            "replicas": replicas,
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } },
        }))
        .unwrap()
    }

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        let check = |replicas, surge: &str, unavailable: &str, expect: (i32, i32)| {
            let posts = fenceposts(&spec(replicas, surge.into(), unavailable.into()));
            assert_eq!((posts.max_surge, posts.max_unavailable), expect, "{replicas} {surge} {unavailable}");
        };
        check(2, "0%", "1%", (0, 1));
        check(1, "1%", "25%", (1, 0));
        check(10, "25%", "25%", (3, 2));
        check(2, "1%", "0%", (1, 0));
        check(0, "25%", "25%", (0, 0));
        let posts = fenceposts(&spec(3, 0.into(), 5.into()));
        assert_eq!((posts.max_surge, posts.max_unavailable), (0, 3));
    }

    #[test]
    fn the_new_set_takes_the_room_there_is() {
        let spec = spec(10, 3.into(), 2.into());
        assert_eq!(new_set_replicas(&spec, 10, 0), 3);
        assert_eq!(new_set_replicas(&spec, 13, 5), 5);
        assert_eq!(new_set_replicas(&spec, 4, 0), 9);
        assert_eq!(new_set_replicas(&spec, 0, 0), 10);
    }

    #[test]
    fn scaling_keeps_proportions_and_hands_the_rest_to_the_largest() {
        let check = |replicas, sets: &[(i32, i32)], expect: &[i32]| {
            let shares: Vec<Share> =
                sets.iter().map(|&(replicas, max_before)| Share { replicas, max_before }).collect();
            assert_eq!(
                proportional(&spec(replicas, 3.into(), 2.into()), 13, &shares),
                expect,
                "{replicas} {sets:?}"
            );
        };
        check(20, &[(8, 13), (5, 13)], &[14, 9]);
        check(5, &[(8, 13), (5, 13)], &[5, 3]);
        check(0, &[(8, 13), (5, 13)], &[0, 0]);
        check(20, &[(7, 0), (6, 0)], &[12, 11]);
    }
}
