//! The proxy's loop: watches feed the model, and a change is told to the kernel within a moment, coalesced.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::compile::nftables::Networks;
use crate::diff::Applied;
use crate::dns::{self, Resolver, Zone};
use crate::kernel::{Ipvs, Nft};
use crate::mode::{self, Choice, ProxyMode};
use crate::model::{self, Backends, Family, Frontend, Place, Port, Protocol, ServiceId, State};
use crate::plane::{IpvsPlane, NftablesPlane, Plane};

/// Changes that come within this are told to the kernel together: long enough to catch a rollout's burst, short
/// enough that nobody waits for it.
const COALESCE: Duration = Duration::from_millis(10);
/// Between two tries when the kernel refused.
const RETRY: Duration = Duration::from_secs(1);
/// Watch events that may wait; beyond it the watch itself waits.
const EVENTS_MAX: usize = 1024;

/// What the proxy must know about its node.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's name.
    pub node: String,
    /// The address where this node's resolver listens, and its port.
    pub dns_listen: SocketAddr,
    /// The cluster's DNS address, which pods have in resolv.conf.
    pub dns_address: IpAddr,
    /// "cluster.local".
    pub domain: String,
    /// Pods' addresses in the whole cluster, one CIDR a family.
    pub pod_cidrs: Vec<String>,
    /// What carries services.
    pub mode: ProxyMode,
    /// Resolvers for other names; read from /etc/resolv.conf when empty.
    pub upstreams: Vec<SocketAddr>,
}

/// Boxed, because these wait in a channel and a Service is most of a kilobyte.
enum Event {
    Service(Box<watcher::Event<Service>>),
    Slice(Box<watcher::Event<EndpointSlice>>),
}

/// Runs until `stop`.
///
/// # Errors
/// The resolver's address cannot be listened on, or the kernel cannot do what `options.mode` asks for.
pub async fn run(client: Client, options: Options, stop: CancellationToken) -> io::Result<()> {
    let carrier = carrier(&options)?;
    let upstreams = if options.upstreams.is_empty() {
        system_resolvers(options.dns_listen.ip())
    } else {
        options.upstreams.clone()
    };
    let resolver = Arc::new(Resolver::new(Zone::new(&options.domain), upstreams));
    let serving = dns::serve(resolver.clone(), options.dns_listen, stop.clone());
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    tokio::spawn(watch(
        Api::<Service>::all(client.clone()),
        sender.clone(),
        |event| Event::Service(Box::new(event)),
        stop.clone(),
    ));
    tokio::spawn(watch(
        Api::<EndpointSlice>::all(client),
        sender,
        |event| Event::Slice(Box::new(event)),
        stop.clone(),
    ));
    let proxying = async {
        match carrier {
            Choice::Ipvs(plane) => Proxy::new(&options, resolver, plane).follow(events).await,
            Choice::Nftables => {
                let plane = NftablesPlane::new(Nft, networks(&options));
                Proxy::new(&options, resolver, plane).follow(events).await;
            }
        }
    };
    tokio::select! {
        result = serving => result,
        () = proxying => Ok(()),
        () = stop.cancelled() => Ok(()),
    }
}

/// Whether this machine can do what `mode` asks for; to be asked before anything else is started.
///
/// # Errors
/// It cannot, and why.
pub fn usable(mode: ProxyMode) -> io::Result<()> {
    match mode {
        ProxyMode::Ipvs => mode::choose(mode, Ipvs::open).map(drop),
        ProxyMode::Auto | ProxyMode::Nftables => Ok(()),
    }
}

/// What carries services. What an earlier run in the other mode left goes: nftables' whole table is replaced by either,
/// and IPVS has its device to know it by.
fn carrier(options: &Options) -> io::Result<Choice<IpvsPlane>> {
    let (choice, why) = mode::choose(options.mode, || IpvsPlane::open(networks(options)))?;
    tracing::info!(mode = %options.mode, "{why}");
    if matches!(choice, Choice::Nftables) {
        match Ipvs::left_behind() {
            Ok(false) => {}
            Ok(true) => {
                Ipvs::open().and_then(Ipvs::retire)?;
                tracing::info!("virtual servers of an earlier run with IPVS were removed");
            }
            Err(error) => tracing::warn!(%error, "whether an earlier run left virtual servers is unknown"),
        }
    }
    Ok(choice)
}

async fn watch<K>(
    api: Api<K>,
    sender: mpsc::Sender<Event>,
    wrap: fn(watcher::Event<K>) -> Event,
    stop: CancellationToken,
) where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
    K::DynamicType: Default,
{
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(event)) => {
                if sender.send(wrap(event)).await.is_err() {
                    return;
                }
            }
            Some(Err(error)) => tracing::debug!(%error, "the proxy's watch is opened again"),
            None => return,
        }
    }
}

/// Resolvers of /etc/resolv.conf, without this one.
fn system_resolvers(own: IpAddr) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let addresses =
        text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    addresses.filter(|address| *address != own).map(|address| SocketAddr::new(address, 53)).collect()
}

struct Proxy<P> {
    state: State,
    place: Place,
    resolver: Arc<Resolver>,
    fixed: Vec<Frontend>,
    applied: Applied,
    dirty: BTreeSet<ServiceId>,
    listed: Listed,
    /// Slices seen since a relist began; those that are not seen by its end are gone.
    seen_services: BTreeSet<ServiceId>,
    seen_slices: BTreeSet<(ServiceId, String)>,
    slices: BTreeSet<(ServiceId, String)>,
    plane: P,
}

#[derive(Default)]
struct Listed {
    services: bool,
    slices: bool,
}

impl<P: Plane> Proxy<P> {
    fn new(options: &Options, resolver: Arc<Resolver>, plane: P) -> Self {
        Self {
            state: State::default(),
            place: Place { node: options.node.clone() },
            resolver,
            fixed: dns_frontends(options),
            applied: Applied::default(),
            dirty: BTreeSet::new(),
            listed: Listed::default(),
            seen_services: BTreeSet::new(),
            seen_slices: BTreeSet::new(),
            slices: BTreeSet::new(),
            plane,
        }
    }

    async fn follow(mut self, mut events: mpsc::Receiver<Event>) {
        let mut began = false;
        loop {
            let result = tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { return };
                    self.take_all(event, &mut events).await;
                    // Before both lists are whole, an unknown backend would read as a missing one.
                    if !(self.listed.services && self.listed.slices) {
                        continue;
                    }
                    self.tell_kernel(&mut began).await
                }
                () = self.plane.wake(), if began => self.plane.tend().await,
            };
            let Err(mut error) = result else { continue };
            loop {
                tracing::warn!(%error, "the kernel refused the services; trying again");
                self.forget_kernel();
                began = false;
                tokio::time::sleep(RETRY).await;
                match self.tell_kernel(&mut began).await {
                    Ok(()) => break,
                    Err(again) => error = again,
                }
            }
        }
    }

    async fn take_all(&mut self, first: Event, events: &mut mpsc::Receiver<Event>) {
        self.take(first);
        tokio::time::sleep(COALESCE).await;
        while let Ok(event) = events.try_recv() {
            self.take(event);
        }
    }

    /// What the kernel has is unknown: everything is told again.
    fn forget_kernel(&mut self) {
        self.applied = Applied::default();
        self.dirty.extend(self.state.services().cloned());
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Service(event) => self.take_service(*event),
            Event::Slice(event) => self.take_slice(*event),
        }
    }

    fn take_service(&mut self, event: watcher::Event<Service>) {
        match event {
            watcher::Event::Init => self.seen_services.clear(),
            watcher::Event::InitApply(service) => {
                self.seen_services.extend(id_of(&service.metadata));
                self.service(&service, false);
            }
            watcher::Event::InitDone => {
                let gone: Vec<ServiceId> =
                    self.state.services().filter(|id| !self.seen_services.contains(*id)).cloned().collect();
                gone.into_iter().for_each(|id| self.forget_service(id));
                self.listed.services = true;
            }
            watcher::Event::Apply(service) => self.service(&service, false),
            watcher::Event::Delete(service) => self.service(&service, true),
        }
    }

    fn take_slice(&mut self, event: watcher::Event<EndpointSlice>) {
        match event {
            watcher::Event::Init => self.seen_slices.clear(),
            watcher::Event::InitApply(slice) => {
                let seen = self.slice(&slice, false);
                self.seen_slices.extend(seen);
            }
            watcher::Event::InitDone => {
                let gone: Vec<_> = self.slices.difference(&self.seen_slices).cloned().collect();
                gone.into_iter().for_each(|(service, name)| self.forget_slice(service, &name));
                self.listed.slices = true;
            }
            watcher::Event::Apply(slice) => drop(self.slice(&slice, false)),
            watcher::Event::Delete(slice) => drop(self.slice(&slice, true)),
        }
    }

    fn service(&mut self, service: &Service, gone: bool) {
        let Some(id) = id_of(&service.metadata) else { return };
        if gone {
            return self.forget_service(id);
        }
        let records = dns::records_of_service(service);
        self.resolver.change(|zone| zone.set_service(&id, Some(records)));
        self.state.set_service(id.clone(), model::service(service));
        self.dirty.insert(id);
    }

    fn forget_service(&mut self, id: ServiceId) {
        self.resolver.change(|zone| zone.set_service(&id, None));
        self.state.set_service(id.clone(), None);
        self.dirty.insert(id);
    }

    fn slice(&mut self, slice: &EndpointSlice, gone: bool) -> Option<(ServiceId, String)> {
        let (service, name, records) = dns::records_of_slice(slice)?;
        if gone {
            self.forget_slice(service, &name);
            return None;
        }
        self.resolver.change(|zone| zone.set_slice(&service, &name, records));
        self.state.set_slice(model::slice(slice)?);
        self.dirty.insert(service.clone());
        self.slices.insert((service.clone(), name.clone()));
        Some((service, name))
    }

    fn forget_slice(&mut self, service: ServiceId, name: &str) {
        self.resolver.change(|zone| zone.set_slice(&service, name, Vec::new()));
        self.state.remove_slice(&service, name);
        self.slices.remove(&(service.clone(), name.to_owned()));
        self.dirty.insert(service);
    }

    async fn tell_kernel(&mut self, began: &mut bool) -> io::Result<()> {
        let changes = self.applied.changes(&self.dirty, |id| self.state.frontends(id, &self.place));
        if *began {
            self.plane.change(&changes).await?;
        } else {
            self.plane.begin(&self.fixed, &changes).await?;
        }
        *began = true;
        self.dirty.clear();
        self.applied.take(changes);
        Ok(())
    }
}

/// Which addresses are pods', a family each.
fn networks(options: &Options) -> Vec<Networks> {
    let networks = options.pod_cidrs.iter().map(|pods| Networks {
        family: if pods.contains(':') { Family::V6 } else { Family::V4 },
        pods: pods.clone(),
    });
    networks.collect()
}

/// The cluster's DNS address leads to this node's own resolver.
fn dns_frontends(options: &Options) -> Vec<Frontend> {
    let backends = Backends::To(vec![options.dns_listen]);
    let frontend = |protocol: Protocol| Frontend {
        service: ServiceId { namespace: "kube-system".to_owned(), name: "node-dns".to_owned() },
        port: Port { name: "dns".to_owned(), protocol, port: 53, node_port: None },
        family: Family::of(options.dns_address),
        cluster: vec![options.dns_address],
        external: Vec::new(),
        guard: None,
        affinity: None,
        internal: backends.clone(),
        outside: backends.clone(),
        anywhere: backends.clone(),
        external_local: false,
    };
    vec![frontend(Protocol::Udp), frontend(Protocol::Tcp)]
}

fn id_of(metadata: &kube::api::ObjectMeta) -> Option<ServiceId> {
    Some(ServiceId { namespace: metadata.namespace.clone()?, name: metadata.name.clone()? })
}
