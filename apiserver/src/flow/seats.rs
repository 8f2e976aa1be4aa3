//! How many seats a level has. Pure.

/// Requests of a server that run at once, as upstream's two limits together.
pub(super) const TOTAL: u32 = 600;
/// Percentage of a level's seats that one request may have.
const REQUEST_PERCENT: u32 = 15;

/// A level's part of the seats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    /// What it has when everybody is busy.
    pub(super) nominal: u32,
    /// What it keeps when others borrow.
    pub(super) min: u32,
    /// What it may borrow up to.
    pub(super) max: u32,
}

impl Share {
    /// Of `total` seats, `shares` of `sum`; percentages say what may be lent and borrowed, no limit borrows all.
    pub(super) fn of(total: u32, shares: u32, sum: u32, lendable: u32, borrowing: Option<u32>) -> Self {
        let nominal = (total * shares).div_ceil(sum.max(1));
        let lent = (nominal * lendable.min(100) + 50) / 100;
        let max = borrowing.map_or(total, |percent| nominal + (nominal * percent + 50) / 100);
        Self { nominal, min: nominal - lent, max: max.max(nominal) }
    }

    /// Most seats of one request, where its flow may use `hand` queues.
    pub(super) fn request_max(self, hand: usize) -> u32 {
        let of_hand = self.nominal / u32::try_from(hand).unwrap_or(u32::MAX).max(1);
        (self.nominal * REQUEST_PERCENT).div_ceil(100).min(of_hand).max(1)
    }
}

/// Gives out the seats anew by what levels wanted lately: each gets the same part of what it wants, but no less than its
/// minimum and no more than its maximum.
pub(super) fn allocate(total: u32, levels: &[(Share, u32)]) -> Vec<u32> {
    let given = |part: f64| -> Vec<f64> {
        let one = |(share, wanted): &(Share, u32)| {
            let target = f64::from((*wanted).max(share.min).max(1));
            (target * part).clamp(f64::from(share.min), f64::from(share.max))
        };
        levels.iter().map(one).collect()
    };
    // Rounding up may have given out a few seats more than there are; nobody loses them.
    let nominal: u32 = levels.iter().map(|(share, _)| share.nominal).sum();
    let total = f64::from(total.max(nominal));
    let (mut low, mut high) = (0.0, total);
    for _ in 0..64 {
        let middle = f64::midpoint(low, high);
        if given(middle).iter().sum::<f64>() > total { high = middle } else { low = middle }
    }
    given(low).into_iter().map(rounded).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seats lie between 0 and their total"
)]
fn rounded(seats: f64) -> u32 {
    seats.round().max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_up_and_bound_what_is_lent() {
        let system = Share::of(600, 30, 245, 33, None);
        assert_eq!(system, Share { nominal: 74, min: 50, max: 600 });
        let bounded = Share::of(600, 10, 245, 0, Some(50));
        assert_eq!(bounded, Share { nominal: 25, min: 25, max: 38 });
    }

    #[test]
    fn idle_seats_go_to_who_wants_them_and_never_all() {
        let busy = Share::of(600, 100, 200, 50, None);
        let idle = Share::of(600, 100, 200, 50, None);
        assert_eq!(allocate(600, &[(busy, 300), (idle, 300)]), [300, 300]);
        assert_eq!(allocate(600, &[(busy, 900), (idle, 0)]), [450, 150]);
        let bounded = Share { max: 330, ..busy };
        assert_eq!(allocate(600, &[(bounded, 900), (idle, 0)]), [330, 270]);
    }

    #[test]
    fn one_request_gets_a_part_of_its_level() {
        let share = |nominal| Share { nominal, min: 0, max: 0 };
        assert_eq!([5, 50, 49].map(|nominal| share(nominal).request_max(8)), [1, 6, 6]);
        assert_eq!(share(100).request_max(4), 15);
    }
}
