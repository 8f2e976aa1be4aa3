//! A level is played from a script; what it says is compared with what was read by hand.

use super::*;

/// Plays a level: `a2` is a request of flow `a` that needs two seats, `a1/3` one that keeps three for six milliseconds after
/// its end, `.` three milliseconds that pass, `-` the end of the request that runs longest. Gives what ran at once (`+`), what
/// waits (`?`), what is refused (`!`) and, after an end or a while, who runs then.
fn play(queuing: Option<Queuing>, seats: u32, script: &str) -> String {
    let mut level = Queues::new(queuing, seats, Duration::ZERO);
    let (mut now, mut told) = (Duration::ZERO, Vec::new());
    let mut running: VecDeque<Seat> = VecDeque::new();
    let mut names: Vec<(Ticket, String)> = Vec::new();
    for step in script.split(' ') {
        match step {
            "." | "-" => {
                if step == "." {
                    now += Duration::from_millis(3);
                } else {
                    level.leave(running.pop_front().expect("somebody runs"), now);
                }
                while let Some((ticket, seat)) = level.next(now) {
                    running.push_back(seat);
                    let (_, name) = names.iter().find(|(known, _)| *known == ticket).expect("it waited");
                    told.push(format!("{name}+"));
                }
            }
            name => {
                // Flows a, b, c use the queues 0, 1, 2 when a hand is one queue.
                let flow = u64::from(name.as_bytes()[0] - b'a');
                let (initial, last) = name[1..].split_once('/').unwrap_or((&name[1..], "0"));
                let last = last.parse().expect("seats");
                let lingers = Duration::from_millis(if last > 0 { 6 } else { 0 });
                let work = Work { initial: initial.parse().expect("seats"), last, lingers };
                match level.arrive(flow, work, now) {
                    Arrival::Runs(seat) => {
                        running.push_back(seat);
                        told.push(format!("{name}+"));
                    }
                    Arrival::Waits(ticket) => {
                        names.push((ticket, name.to_owned()));
                        told.push(format!("{name}?"));
                    }
                    Arrival::Refused(_) => told.push(format!("{name}!")),
                }
            }
        }
    }
    told.join(" ")
}

const THREE: Option<Queuing> = Some(Queuing { queues: 3, hand: 1, length_max: 3 });

fn check(queuing: Option<Queuing>, seats: u32, script: &str, want: &str) {
    assert_eq!(play(queuing, seats, script), want, "{script}");
}

#[test]
fn a_level_without_queues_refuses_what_has_no_seat() {
    check(None, 2, "a1 b1 c1 - c1", "a1+ b1+ c1! c1+");
    check(None, 3, "a2 b2 c1", "a2+ b2! c1+");
}

#[test]
fn a_quiet_flow_runs_before_what_a_noisy_one_has_waiting() {
    check(THREE, 2, "a1 a1 a1 a1 b1 . - . -", "a1+ a1+ a1? a1? b1? b1+ a1+");
}

#[test]
fn flows_take_turns() {
    check(THREE, 1, "a1 a1 a1 b1 b1 c1 . - . - . - . -", "a1+ a1? a1? b1? b1? c1? b1+ c1+ a1+ b1+");
}

#[test]
fn a_full_queue_refuses_its_flow_and_no_other() {
    check(THREE, 1, "a1 a1 a1 a1 a1 b1", "a1+ a1? a1? a1? a1! b1?");
}

#[test]
fn a_wide_request_waits_until_it_fits_and_is_not_overtaken_for_ever() {
    check(THREE, 3, "a1 a1 b3 c1 . - . - . -", "a1+ a1+ b3? c1+ b3+");
    // What is wider than the level runs alone.
    check(THREE, 2, "a9 b1 . -", "a9+ b1? b1+");
    check(THREE, 2, "a1 b9 . -", "a1+ b9? b9+");
}

#[test]
fn seats_stay_taken_while_what_was_changed_reaches_watchers() {
    check(THREE, 3, "a1/3 b1 . - . . c1", "a1/3+ b1? b1+ c1+");
    // Both parts of a request's life are on the seats of the wider one.
    check(THREE, 4, "a2/1 b1 c2 -", "a2/1+ b1+ c2?");
    check(None, 2, "a1/2 - b1 . . b1", "a1/2+ b1! b1+");
}

#[test]
fn work_that_is_wider_than_the_level_takes_longer_instead() {
    let work = Work { initial: 1, last: 10, lingers: Duration::from_millis(5) };
    assert_eq!(work.narrowed(4), Work { initial: 1, last: 4, lingers: Duration::from_micros(12_500) });
    assert_eq!(work.narrowed(10), work);
}

#[test]
fn seats_that_get_free_by_themselves_are_told_of_while_somebody_waits() {
    let mut level = Queues::new(THREE, 1, Duration::ZERO);
    let work = Work { initial: 1, last: 1, lingers: Duration::from_millis(5) };
    let Arrival::Runs(seat) = level.arrive(0, work, Duration::ZERO) else { panic!("a seat is free") };
    level.leave(seat, Duration::from_millis(1));
    assert_eq!((level.held(), level.executing(), level.due()), (1, 0, None));
    assert!(matches!(level.arrive(1, Work::of(1), Duration::from_millis(2)), Arrival::Waits(_)));
    assert_eq!(level.due(), Some(Duration::from_millis(6)));
    assert!(level.next(Duration::from_millis(5)).is_none());
    assert!(level.next(Duration::from_millis(6)).is_some());
    assert_eq!((level.held(), level.waiting(), level.due()), (1, 0, None));
}

#[test]
fn who_gives_up_is_not_called() {
    let mut level = Queues::new(THREE, 1, Duration::ZERO);
    let Arrival::Runs(seat) = level.arrive(0, Work::of(1), Duration::ZERO) else { panic!("a seat is free") };
    let Arrival::Waits(first) = level.arrive(1, Work::of(1), Duration::ZERO) else { panic!("none is free") };
    let Arrival::Waits(second) = level.arrive(2, Work::of(1), Duration::ZERO) else { panic!("none is free") };
    assert!(level.give_up(first, Duration::ZERO));
    level.leave(seat, Duration::ZERO);
    assert_eq!(level.next(Duration::ZERO).map(|(ticket, _)| ticket), Some(second));
    assert!(!level.give_up(second, Duration::ZERO), "it runs");
}

#[test]
fn more_seats_let_more_run() {
    let mut level = Queues::new(THREE, 1, Duration::ZERO);
    for flow in 0..3 {
        level.arrive(flow, Work::of(1), Duration::ZERO);
    }
    assert_eq!((level.held(), level.waiting(), level.take_peak()), (1, 2, 3));
    level.resize(3, Duration::ZERO);
    assert!(level.next(Duration::ZERO).is_some());
    assert!(level.next(Duration::ZERO).is_some());
    assert_eq!((level.held(), level.waiting()), (3, 0));
}

#[test]
fn a_hand_is_of_different_queues_and_every_queue_is_dealt() {
    let (mut dealt, mut hand) = ([0; 16], Vec::new());
    for flow in 0..10_000_u64 {
        deal(flow.wrapping_mul(0x9e37_79b9_7f4a_7c15), 16, 4, &mut hand);
        assert_eq!(hand.len(), 4);
        assert!(hand.is_sorted_by(|one, other| one < other), "{hand:?}");
        hand.iter().for_each(|queue| dealt[*queue] += 1);
    }
    assert!(dealt.iter().all(|count| (2000..3000).contains(count)), "{dealt:?}");
}

/// Whatever comes and goes: seats held never exceed the level's, and nobody waits while a seat is free for the next in turn.
#[test]
fn seats_are_neither_lost_nor_given_twice() {
    let mut level = Queues::new(Some(Queuing { queues: 8, hand: 3, length_max: 5 }), 7, Duration::ZERO);
    let (mut running, mut waiting): (Vec<Seat>, Vec<Ticket>) = (Vec::new(), Vec::new());
    let mut lingering: Vec<(Duration, u32)> = Vec::new();
    let mut random = 7_u64;
    for step in 0..20_000_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (choice, now) = (random >> 33, Duration::from_micros(step * 100));
        let small = |number: u64| u32::try_from(number).expect("small");
        match choice % 5 {
            0..=2 => {
                let (initial, last) = (small(choice % 4) + 1, small(choice / 7 % 3));
                let lingers = Duration::from_micros(if last > 0 { choice % 900 } else { 0 });
                match level.arrive(choice % 13, Work { initial, last, lingers }, now) {
                    Arrival::Runs(seat) => running.push(seat),
                    Arrival::Waits(ticket) => waiting.push(ticket),
                    Arrival::Refused(refusal) => assert_eq!(refusal, Refusal::QueueFull),
                }
            }
            3 if !running.is_empty() => {
                let at = usize::try_from(choice).expect("small") % running.len();
                let seat = running.swap_remove(at);
                lingering.push((now + seat.work.lingers, seat.work.seats()));
                level.leave(seat, now);
            }
            4 if !waiting.is_empty() => {
                let at = usize::try_from(choice).expect("small") % waiting.len();
                assert!(level.give_up(waiting.swap_remove(at), now));
            }
            _ => {}
        }
        while let Some((ticket, seat)) = level.next(now) {
            waiting.retain(|known| *known != ticket);
            running.push(seat);
        }
        lingering.retain(|(until, _)| *until > now);
        let kept: u32 = lingering.iter().map(|(_, seats)| seats).sum();
        assert_eq!(running.iter().map(|seat| seat.work.seats()).sum::<u32>() + kept, level.held());
        assert!(level.held() <= 7);
        assert_eq!((waiting.len(), running.len()), (level.waiting(), level.executing() as usize));
        assert!(waiting.is_empty() || level.held() > 7 - 4, "somebody waits beside free seats");
        let busy = level.shown().filter(|queue| queue.executing > 0 || !queue.waiting.is_empty()).count();
        assert_eq!(busy, level.busy as usize);
        let held: u32 = level.shown().map(|queue| queue.held).sum();
        assert_eq!(held, level.held());
    }
}
