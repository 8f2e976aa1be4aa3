//! What one changed service costs among many: bytes told to the kernel, which must not grow with the others, and CPU
//! time of the proxy and its tools, which is printed.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use netproxy::diff::Applied;
use netproxy::model::{Endpoint, Place, Port, Protocol, Service, ServiceId, Slice, State};
use netproxy::plane::Plane;
use nix::sys::resource::{UsageWho, getrusage};
use tokio::runtime::Runtime;

/// Changes that are measured together.
const CHANGES: u32 = 20;

/// How many services; `KONTIKI_TEST_SERVICES` names others, such as `10,1000,10000`.
pub fn sizes() -> Vec<u32> {
    let wanted = std::env::var("KONTIKI_TEST_SERVICES").unwrap_or_else(|_| "10,300".to_owned());
    wanted.split(',').map(|size| size.trim().parse().expect("a number of services")).collect()
}

/// Bytes for one changed service among each number of services, printed with what else it costs.
#[allow(clippy::print_stderr, reason = "the figures are for people")]
pub fn measure<P: Plane>(name: &str, runtime: &Runtime, plane: &mut P) -> Vec<u64> {
    sizes()
        .into_iter()
        .map(|size| {
            let cost = one_of(size, runtime, plane);
            eprintln!(
                "{name}: one changed service among {size}: {} bytes, {:.2} CPU-ms, {:.2} ms; all at once: {} bytes, \
                 {:.0} CPU-ms, {:.0} ms",
                cost.change.bytes,
                ms(cost.change.cpu),
                ms(cost.change.wall),
                cost.begin.bytes,
                ms(cost.begin.cpu),
                ms(cost.begin.wall),
            );
            cost.change.bytes
        })
        .collect()
}

struct Cost {
    bytes: u64,
    cpu: Duration,
    wall: Duration,
}

struct Costs {
    begin: Cost,
    change: Cost,
}

fn one_of<P: Plane>(size: u32, runtime: &Runtime, plane: &mut P) -> Costs {
    let mut state = State::default();
    for number in 0..size {
        let (service, slice) = objects(number, 3);
        state.set_service(service.id.clone(), Some(service));
        state.set_slice(slice);
    }
    let place = Place { node: "here".into() };
    let mut applied = Applied::default();
    let all: BTreeSet<ServiceId> = state.services().cloned().collect();
    let changes = applied.changes(&all, |id| state.frontends(id, &place));
    let begin =
        cost(plane, |plane| runtime.block_on(plane.begin(&[], &changes)).expect("the kernel takes them"));
    applied.take(changes);
    let mut change = cost(plane, |plane| {
        for round in 0..CHANGES {
            let (service, slice) = objects(size / 2, 2 + round % 2);
            state.set_slice(slice);
            let changes = applied.changes(&BTreeSet::from([service.id]), |id| state.frontends(id, &place));
            runtime.block_on(plane.change(&changes)).expect("the kernel takes the change");
            applied.take(changes);
        }
    });
    change.bytes /= u64::from(CHANGES);
    change.cpu /= CHANGES;
    change.wall /= CHANGES;
    Costs { begin, change }
}

fn cost<P: Plane>(plane: &mut P, act: impl FnOnce(&mut P)) -> Cost {
    let (bytes, cpu, began) = (plane.sent_bytes(), cpu(), Instant::now());
    act(plane);
    let wall = began.elapsed();
    Cost { bytes: plane.sent_bytes() - bytes, cpu: self::cpu() - cpu, wall }
}

/// CPU time of this process and the tools it ran.
fn cpu() -> Duration {
    let of = |who| {
        let usage = getrusage(who).expect("always known");
        let (user, system) = (usage.user_time(), usage.system_time());
        let micros = (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
        Duration::from_micros(u64::try_from(micros).expect("time goes on"))
    };
    of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A service with an address of its own and some pods behind it that no other service has.
fn objects(number: u32, backends: u32) -> (Service, Slice) {
    let id = ServiceId { namespace: "default".into(), name: format!("service-{number:05}") };
    let port = Port { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: None };
    let address = |network: u32, number: u32| IpAddr::from(Ipv4Addr::from_bits((network << 24) + number));
    let service = Service {
        id: id.clone(),
        cluster: vec![address(11, number + 1)],
        external: Vec::new(),
        balancer: Vec::new(),
        source_ranges: Vec::new(),
        ports: vec![port],
        affinity: None,
        internal_local: false,
        external_local: false,
    };
    let endpoints = (0..backends).map(|backend| Endpoint {
        port_name: "http".into(),
        protocol: Protocol::Tcp,
        address: (address(10, 0x00f4_0000 + number * 4 + backend), 8080).into(),
        node: Some("there".into()),
        ready: true,
        serving_while_terminating: false,
    });
    let slice = Slice { service: id, name: "slice".into(), endpoints: endpoints.collect() };
    (service, slice)
}
