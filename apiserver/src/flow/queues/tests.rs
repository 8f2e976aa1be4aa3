//! A level is played from a script; what it says is compared with what was read by hand.

use super::*;

/// Plays a level: `a2` is a request of flow `a` that needs two seats, `.` three milliseconds that pass, `-` the end of the
/// request that runs longest. Gives what ran at once (`+`), what waits (`?`), what is refused (`!`) and, after an end, who
/// runs then.
fn play(queuing: Option<Queuing>, seats: u32, script: &str) -> String {
    let mut level = Queues::new(queuing, seats, Duration::ZERO);
    let (mut now, mut told) = (Duration::ZERO, Vec::new());
    let mut running: VecDeque<Seat> = VecDeque::new();
    let mut names: Vec<(Ticket, String)> = Vec::new();
    for step in script.split(' ') {
        match step {
            "." => now += Duration::from_millis(3),
            "-" => {
                level.leave(running.pop_front().expect("somebody runs"), now);
                while let Some((ticket, seat)) = level.next(now) {
                    running.push_back(seat);
                    let (_, name) = names.iter().find(|(known, _)| *known == ticket).expect("it waited");
                    told.push(format!("{name}+"));
                }
            }
            name => {
                // Flows a, b, c use the queues 0, 1, 2 when a hand is one queue.
                let flow = u64::from(name.as_bytes()[0] - b'a');
                let width = name[1..].parse().expect("a width");
                match level.arrive(flow, width, now) {
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
    // Wider than the level is as wide as the level.
    check(THREE, 2, "a9 b1 . -", "a9+ b1? b1+");
}

#[test]
fn who_gives_up_is_not_called() {
    let mut level = Queues::new(THREE, 1, Duration::ZERO);
    let Arrival::Runs(seat) = level.arrive(0, 1, Duration::ZERO) else { panic!("a seat is free") };
    let Arrival::Waits(first) = level.arrive(1, 1, Duration::ZERO) else { panic!("none is free") };
    let Arrival::Waits(second) = level.arrive(2, 1, Duration::ZERO) else { panic!("none is free") };
    assert!(level.give_up(first, Duration::ZERO));
    level.leave(seat, Duration::ZERO);
    assert_eq!(level.next(Duration::ZERO).map(|(ticket, _)| ticket), Some(second));
    assert!(!level.give_up(second, Duration::ZERO), "it runs");
}

#[test]
fn more_seats_let_more_run() {
    let mut level = Queues::new(THREE, 1, Duration::ZERO);
    for flow in 0..3 {
        level.arrive(flow, 1, Duration::ZERO);
    }
    assert_eq!((level.running(), level.waiting(), level.take_peak()), (1, 2, 3));
    level.resize(3, Duration::ZERO);
    assert!(level.next(Duration::ZERO).is_some());
    assert!(level.next(Duration::ZERO).is_some());
    assert_eq!((level.running(), level.waiting()), (3, 0));
}

#[test]
fn a_hand_is_of_different_queues_and_every_queue_is_dealt() {
    let mut dealt = [0; 16];
    for flow in 0..10_000_u64 {
        let hand = deal(flow.wrapping_mul(0x9e37_79b9_7f4a_7c15), 16, 4);
        let mut sorted = hand.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 4);
        hand.iter().for_each(|queue| dealt[*queue] += 1);
    }
    assert!(dealt.iter().all(|count| (2000..3000).contains(count)), "{dealt:?}");
}

/// Whatever comes and goes: seats held never exceed the level's, and nobody waits while a seat is free for the next in turn.
#[test]
fn seats_are_neither_lost_nor_given_twice() {
    let mut level = Queues::new(Some(Queuing { queues: 8, hand: 3, length_max: 5 }), 7, Duration::ZERO);
    let (mut running, mut waiting): (Vec<Seat>, Vec<Ticket>) = (Vec::new(), Vec::new());
    let mut random = 7_u64;
    for step in 0..20_000_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (choice, now) = (random >> 33, Duration::from_micros(step * 100));
        match choice % 5 {
            0..=2 => match level.arrive(choice % 13, u32::try_from(choice % 4).expect("small") + 1, now) {
                Arrival::Runs(seat) => running.push(seat),
                Arrival::Waits(ticket) => waiting.push(ticket),
                Arrival::Refused(refusal) => assert_eq!(refusal, Refusal::QueueFull),
            },
            3 if !running.is_empty() => {
                let at = usize::try_from(choice).expect("small") % running.len();
                level.leave(running.swap_remove(at), now);
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
        assert_eq!(running.iter().map(|seat| seat.width).sum::<u32>(), level.running());
        assert!(level.running() <= 7);
        assert_eq!(waiting.len(), level.waiting());
        assert!(waiting.is_empty() || level.running() > 7 - 4, "somebody waits beside free seats");
    }
}
