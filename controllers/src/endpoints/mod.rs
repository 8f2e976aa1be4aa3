//! Publishes the pods behind each service, as EndpointSlices and as an Endpoints object.

mod mirror;
mod ports;
mod slices;
mod subsets;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runtime::selector::includes;
use runtime::{
    Cache, Change, Client, DeleteOptions, Expectations, Key, Next, Queue, Reconcile, Recorder, Regarding,
    Severity, Source, View as _, failure,
};

use crate::views::service::{SERVICE_NAME, slices_of};
use crate::views::{EndpointSlice, Endpoints, Node, Pod, Service, Whole};
use crate::{House, resources};

/// Annotation that says when what led to a write happened.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const ZONE: &str = "topology.kubernetes.io/zone";
const WORKERS: usize = 5;
/// A cache that lags behind our own writes is looked at again this soon.
const LAG_PAUSE: Duration = Duration::from_secs(1);

/// What both controllers read.
#[derive(Clone)]
struct Sources {
    services: Cache<Service>,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
}

pub(crate) fn start(house: &mut House<'_>, pods: &Cache<Pod>, nodes: &Cache<Node>) {
    let sources = Sources { services: Cache::new(), pods: pods.clone(), nodes: nodes.clone() };
    let slices = Cache::<Whole<EndpointSlice>>::new();
    let endpoints = Cache::<Whole<Endpoints>>::new();
    start_slices(house, &sources, &slices);
    start_endpoints(house, &sources, &endpoints);
    start_mirror(house, &sources, &slices, &endpoints);
    house.follow(&slices, Source::all(&resources::ENDPOINT_SLICES));
    house.follow(&endpoints, Source::all(&resources::ENDPOINTS));
    house.follow(&sources.services, Source::all(&resources::SERVICES));
}

fn start_slices(house: &mut House<'_>, sources: &Sources, slices: &Cache<Whole<EndpointSlice>>) {
    let queue = Queue::<Key>::new();
    sources.feed(&queue);
    let touched = queue.clone();
    slices.on_change(move |change| {
        for slice in [change.old, change.new].into_iter().flatten().filter(|slice| slices::is_managed(slice))
        {
            if let Some(service) = slice.metadata.labels.get(SERVICE_NAME) {
                touched.add(Key::new(slice.metadata.namespace.clone(), service.clone()));
            }
        }
    });
    let client = house.client("endpointslice-controller");
    let recorder = house.recorder(&client, "endpoint-slice-controller");
    let controller = Arc::new(SliceController {
        writer: SliceWriter { client, written: Expectations::default() },
        recorder,
        sources: sources.clone(),
        slices: slices.clone(),
    });
    let (sources, slices) = (sources.clone(), slices.clone());
    house.work(controller, queue, WORKERS, async move {
        sources.synced().await;
        slices.synced().await;
    });
}

fn start_endpoints(house: &mut House<'_>, sources: &Sources, endpoints: &Cache<Whole<Endpoints>>) {
    let queue = Queue::<Key>::new();
    sources.feed(&queue);
    let touched = queue.clone();
    endpoints.on_change(move |change| {
        let latest = change.latest();
        if subsets::is_managed(latest) {
            touched.add(latest.metadata().key());
        }
    });
    let client = house.client("endpoint-controller");
    let recorder = house.recorder(&client, "endpoint-controller");
    let written = Expectations::default();
    let controller = Arc::new(EndpointsController {
        client,
        recorder,
        sources: sources.clone(),
        endpoints: endpoints.clone(),
        written,
    });
    let (sources, endpoints) = (sources.clone(), endpoints.clone());
    house.work(controller, queue, WORKERS, async move {
        sources.synced().await;
        endpoints.synced().await;
    });
}

fn start_mirror(
    house: &mut House<'_>,
    sources: &Sources,
    slices: &Cache<Whole<EndpointSlice>>,
    endpoints: &Cache<Whole<Endpoints>>,
) {
    let queue = Queue::<Key>::new();
    let changed = queue.clone();
    sources.services.on_change(move |change| changed.add(change.latest().metadata().key()));
    let changed = queue.clone();
    endpoints.on_change(move |change| changed.add(change.latest().metadata().key()));
    let touched = queue.clone();
    slices.on_change(move |change| {
        for slice in [change.old, change.new].into_iter().flatten().filter(|slice| mirror::is_managed(slice))
        {
            if let Some(service) = slice.metadata.labels.get(SERVICE_NAME) {
                touched.add(Key::new(slice.metadata.namespace.clone(), service.clone()));
            }
        }
    });
    let client = house.client("endpointslicemirroring-controller");
    let recorder = house.recorder(&client, "endpointslice-mirroring-controller");
    let controller = Arc::new(MirrorController {
        writer: SliceWriter { client, written: Expectations::default() },
        recorder,
        services: sources.services.clone(),
        slices: slices.clone(),
        endpoints: endpoints.clone(),
    });
    let (services, slices, endpoints) = (sources.services.clone(), slices.clone(), endpoints.clone());
    house.work(controller, queue, WORKERS, async move {
        services.synced().await;
        endpoints.synced().await;
        slices.synced().await;
    });
}

impl Sources {
    async fn synced(&self) {
        self.services.synced().await;
        self.pods.synced().await;
        self.nodes.synced().await;
    }

    /// Queues services whose endpoints a change may concern.
    fn feed(&self, queue: &Queue<Key>) {
        let changed = queue.clone();
        self.services.on_change(move |change| changed.add(change.latest().metadata().key()));
        let (touched, services) = (queue.clone(), self.services.clone());
        self.pods.on_change(move |change| {
            for key in services_of(change, &services) {
                touched.add(key);
            }
        });
        let (moved, services, pods) = (queue.clone(), self.services.clone(), self.pods.clone());
        self.nodes.on_change(move |change| {
            let zone =
                |node: Option<&Arc<Node>>| node.and_then(|node| node.metadata.labels.get(ZONE).cloned());
            if zone(change.old) != zone(change.new) {
                for pod in pods.group(&crate::views::pod::on_node(&change.latest().metadata.name)) {
                    for service in selecting(&services, &pod) {
                        moved.add(service);
                    }
                }
            }
        });
    }

    fn selected_pods(&self, service: &Service) -> Vec<Arc<Pod>> {
        let mut pods = self.pods.in_namespace(&service.metadata.namespace);
        pods.retain(|pod| includes(pod.labels(), &service.spec.selector));
        pods
    }

    fn zones(&self, pods: &[Arc<Pod>]) -> BTreeMap<String, String> {
        let zone = |name: &str| Some(self.nodes.get(&Key::new("", name))?.metadata.labels.get(ZONE)?.clone());
        let names = pods.iter().map(|pod| pod.spec.node_name.clone());
        names.filter_map(|name| zone(&name).map(|zone| (name, zone))).collect()
    }
}

fn selecting(services: &Cache<Service>, pod: &Pod) -> Vec<Key> {
    let near = services.in_namespace(&pod.metadata.namespace);
    let ours =
        near.iter().filter(|service| service.selects() && includes(pod.labels(), &service.spec.selector));
    ours.map(|service| service.metadata().key()).collect()
}

fn services_of(change: &Change<'_, Pod>, services: &Cache<Service>) -> Vec<Key> {
    let shown = |pod: &Pod| {
        let addresses: Vec<String> = pod.addresses().into_iter().map(str::to_owned).collect();
        let spec = &pod.spec;
        let life = (pod.ready(), pod.metadata.deleting(), pod.terminal());
        (
            addresses,
            life,
            spec.node_name.clone(),
            spec.hostname.clone(),
            spec.subdomain.clone(),
            pod.labels().clone(),
        )
    };
    if let (Some(old), Some(new)) = (change.old, change.new)
        && shown(old) == shown(new)
    {
        return Vec::new();
    }
    [change.old, change.new].into_iter().flatten().flat_map(|pod| selecting(services, pod)).collect()
}

/// When what led to a write happened: the latest change of a pod, or the service's creation.
fn trigger(service: &Service, pods: &[Arc<Pod>]) -> Option<Timestamp> {
    let changes = pods.iter().filter_map(|pod| pod.condition("Ready")?.last_transition_time);
    changes.max().or(service.metadata.creation_timestamp)
}

struct SliceController {
    writer: SliceWriter,
    recorder: Recorder,
    sources: Sources,
    slices: Cache<Whole<EndpointSlice>>,
}

impl Reconcile for SliceController {
    type Key = Key;

    fn name(&self) -> &'static str {
        "endpointslice"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let Some(service) = self.sources.services.get(key) else {
            self.writer.written.forget(key);
            return Ok(Next::Change);
        };
        if !service.selects() || service.metadata.deleting() {
            return Ok(Next::Change);
        }
        if !self.writer.written.satisfied(key, &self.slices, Timestamp::now()) {
            return Ok(Next::After(LAG_PAUSE));
        }
        let pods = self.sources.selected_pods(&service);
        let mut slices = self.slices.group(&slices_of(&key.namespace, &key.name));
        slices.retain(|slice| slices::is_managed(slice));
        let view = slices::View {
            service: &service,
            pods: &pods,
            zones: &self.sources.zones(&pods),
            slices: &slices,
            trigger: trigger(&service, &pods),
        };
        for action in slices::plan(&view) {
            if let Err(error) = self.writer.execute(key, action).await {
                if failure::is_namespace_terminating(&error) {
                    return Ok(Next::Change);
                }
                let text =
                    format!("Error updating Endpoint Slices for Service {key}: {}", failure::message(&error));
                let regarding = Regarding::new(&resources::SERVICES, &service.metadata);
                self.recorder.event(regarding, Severity::Warning, "FailedToUpdateEndpointSlices", text);
                return Err(error);
            }
        }
        Ok(Next::Change)
    }
}

/// Writes slices, and knows which of its writes the cache must have seen.
struct SliceWriter {
    client: Client,
    written: Expectations,
}

impl SliceWriter {
    async fn execute(&self, key: &Key, action: slices::Action) -> Result<(), kube::Error> {
        let resource = &resources::ENDPOINT_SLICES;
        let answer = match &action {
            slices::Action::Create(tree) => {
                self.client.create(resource, (&key.namespace, "", ""), tree).await?
            }
            slices::Action::Update { name, tree } => {
                self.client.update(resource, (&key.namespace, name, ""), tree).await?
            }
            slices::Action::Delete { name, uid } => {
                let answer =
                    self.client.delete(resource, &key.namespace, name, &DeleteOptions::of(uid)).await;
                let slice = Key::new(key.namespace.clone(), name.clone());
                self.written.deleted(key, slice, uid.clone(), Timestamp::now());
                return match answer {
                    Err(error) if !failure::is_not_found(&error) => Err(error),
                    _ => Ok(()),
                };
            }
        };
        self.written.wrote(key, answer.metadata.position(), Timestamp::now());
        Ok(())
    }
}

struct MirrorController {
    writer: SliceWriter,
    recorder: Recorder,
    services: Cache<Service>,
    slices: Cache<Whole<EndpointSlice>>,
    endpoints: Cache<Whole<Endpoints>>,
}

impl Reconcile for MirrorController {
    type Key = Key;

    fn name(&self) -> &'static str {
        "endpointslicemirroring"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let (endpoints, service) = (self.endpoints.get(key), self.services.get(key));
        let mut slices = self.slices.group(&slices_of(&key.namespace, &key.name));
        slices.retain(|slice| mirror::is_managed(slice));
        if endpoints.is_none() && slices.is_empty() {
            self.writer.written.forget(key);
            return Ok(Next::Change);
        }
        if !self.writer.written.satisfied(key, &self.slices, Timestamp::now()) {
            return Ok(Next::After(LAG_PAUSE));
        }
        let plan = mirror::plan(endpoints.as_deref().map(|whole| &**whole), service.as_deref(), &slices);
        if let Some(endpoints) = &endpoints {
            self.tell(endpoints, &plan);
        }
        for action in plan.actions {
            match self.writer.execute(key, action).await {
                Err(error) if failure::is_namespace_terminating(&error) => return Ok(Next::Change),
                outcome => outcome?,
            }
        }
        Ok(Next::Change)
    }
}

impl MirrorController {
    /// Says on the Endpoints object what of it is not mirrored.
    fn tell(&self, endpoints: &Endpoints, plan: &mirror::Plan) {
        let say = |reason, text| {
            let regarding = Regarding::new(&resources::ENDPOINTS, &endpoints.metadata);
            self.recorder.event(regarding, Severity::Warning, reason, text);
        };
        let (invalid, skipped, max) = (plan.invalid, plan.skipped, mirror::ADDRESSES_MAX);
        if invalid > 0 {
            say(
                "InvalidIPAddress",
                format!("Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices"),
            );
        }
        if skipped > 0 {
            let skipped = invalid + skipped;
            say(
                "TooManyAddressesToMirror",
                format!(
                    "A max of {max} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses were skipped"
                ),
            );
        }
    }
}

struct EndpointsController {
    client: Client,
    recorder: Recorder,
    sources: Sources,
    endpoints: Cache<Whole<Endpoints>>,
    written: Expectations,
}

impl Reconcile for EndpointsController {
    type Key = Key;

    fn name(&self) -> &'static str {
        "endpoints"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let current = self.endpoints.get(key);
        let Some(service) = self.sources.services.get(key) else {
            self.written.forget(key);
            return self.remove(key, current.as_deref()).await;
        };
        if !service.selects() {
            return Ok(Next::Change);
        }
        if !self.written.satisfied(key, &self.endpoints, Timestamp::now()) {
            return Ok(Next::After(LAG_PAUSE));
        }
        let pods = self.sources.selected_pods(&service);
        let trigger = trigger(&service, &pods);
        let resource = &resources::ENDPOINTS;
        let (answer, reason, what) = match subsets::plan(&service, &pods, current.as_deref(), trigger) {
            None => return Ok(Next::Change),
            Some(subsets::Action::Create(tree)) => {
                let answer = self.client.create(resource, (&key.namespace, "", ""), &tree).await;
                (answer, "FailedToCreateEndpoint", format!("Failed to create endpoint for service {key}"))
            }
            Some(subsets::Action::Update(tree)) => {
                let answer = self.client.update(resource, (&key.namespace, &key.name, ""), &tree).await;
                (answer, "FailedToUpdateEndpoint", format!("Failed to update endpoint {key}"))
            }
        };
        match answer {
            Ok(written) => {
                self.written.wrote(key, written.metadata.position(), Timestamp::now());
                Ok(Next::Change)
            }
            Err(error) if failure::is_namespace_terminating(&error) => Ok(Next::Change),
            Err(error) => {
                let text = format!("{what}: {}", failure::message(&error));
                let mut regarding = Regarding::new(resource, &service.metadata);
                if let Some(current) = &current {
                    regarding = Regarding::new(resource, current.metadata());
                }
                self.recorder.event(regarding, Severity::Warning, reason, text);
                Err(error)
            }
        }
    }
}

impl EndpointsController {
    /// What a service leaves behind goes with it.
    async fn remove(&self, key: &Key, current: Option<&Whole<Endpoints>>) -> Result<Next, kube::Error> {
        let Some(current) = current else { return Ok(Next::Change) };
        let options = DeleteOptions::of(&current.metadata.uid);
        match self.client.delete(&resources::ENDPOINTS, &key.namespace, &key.name, &options).await {
            Err(error) if !failure::is_not_found(&error) => Err(error),
            _ => Ok(Next::Change),
        }
    }
}
