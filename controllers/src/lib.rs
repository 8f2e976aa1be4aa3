//! Controllers and scheduler: pure plans over views, through the Kubernetes API.
//!
//! Every controller is a plan (pure: a view in, actions out) and a shell that
//! reads caches, plans, and executes with preconditions. This crate knows
//! nothing of the server or the store: it is given `kube` clients and works
//! against any API server. It elects no leader: whoever runs it does so while
//! leading, and the transport refuses the writes of a former leader.

pub mod scheduler;

mod aggregation;
mod bootstrap;
mod catalog;
mod certificates;
mod cronjob;
mod deployment;
mod disruption;
mod endpoints;
mod garbage;
mod job;
mod lease;
mod namespace;
mod node;
mod ownership;
mod podcontrol;
mod protection;
mod quota;
mod replicaset;
mod resources;
mod rootca;
mod service_cidr;
mod serviceaccount;
mod tokens;
mod views;
mod volumes;
mod workloads;

pub use certificates::{Certificates, RequestFacts};
pub use tokens::Tokens;

use std::sync::Arc;

use futures::future::BoxFuture;
use runtime::events::Style;
use runtime::{Cache, Client, Recorder, Source, View};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Identity of the shared reflectors: may read everything.
pub const READER: &str = "system:kube-controller-manager";

/// Which controllers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// Empties namespaces that are to go.
    Namespace,
    /// The `default` service account of each namespace.
    ServiceAccount,
    /// The tokens of service accounts that are kept in Secrets.
    ServiceAccountToken,
    /// The ConfigMap with the cluster's CA in each namespace.
    RootCa,
    /// The rules of ClusterRoles that gather those of others.
    ClusterRoleAggregation,
    /// Deletes what has lost its owners.
    GarbageCollector,
    /// Rolls deployments.
    Deployment,
    /// Keeps pods in number.
    ReplicaSet,
    /// The same, for the older kind.
    ReplicationController,
    /// Runs jobs to their end.
    Job,
    /// Makes jobs when they are due.
    CronJob,
    /// Counts how many pods may go.
    Disruption,
    /// Publishes the pods behind services, as slices and as Endpoints.
    Endpoints,
    /// Watches over nodes.
    NodeLifecycle,
    /// Gives nodes their pod addresses.
    NodeIpam,
    /// Deletes pods nobody else will delete.
    PodGc,
    /// Keeps ranges of service addresses.
    ServiceCidr,
    /// Approves, signs and cleans up requests for certificates.
    Certificates,
    /// Counts what quotas limit.
    ResourceQuota,
    /// Keeps volumes, claims and their classes while they are used.
    StorageProtection,
    /// Binds claims to volumes.
    VolumeBinder,
    /// Signs what new nodes are told about the cluster.
    BootstrapSigner,
    /// Deletes bootstrap tokens whose time is over.
    TokenCleaner,
}

impl Controller {
    /// All of them.
    pub const ALL: [Controller; 23] = [
        Controller::Namespace,
        Controller::ServiceAccount,
        Controller::ServiceAccountToken,
        Controller::RootCa,
        Controller::ClusterRoleAggregation,
        Controller::GarbageCollector,
        Controller::Deployment,
        Controller::ReplicaSet,
        Controller::ReplicationController,
        Controller::Job,
        Controller::CronJob,
        Controller::Disruption,
        Controller::Endpoints,
        Controller::NodeLifecycle,
        Controller::NodeIpam,
        Controller::PodGc,
        Controller::ServiceCidr,
        Controller::Certificates,
        Controller::ResourceQuota,
        Controller::StorageProtection,
        Controller::VolumeBinder,
        Controller::BootstrapSigner,
        Controller::TokenCleaner,
    ];
}

/// What the controllers must be told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Certificates that verify the API server inside the cluster, PEM.
    pub root_ca_pem: String,
    /// Addresses of pods, one CIDR for each family.
    pub cluster_cidrs: Vec<String>,
    /// Signs what is asked for with certificate requests; without it nothing is.
    pub certificates: Option<Arc<dyn Certificates>>,
    /// Signs tokens of service accounts; without it Secrets that are to hold one stay empty.
    pub tokens: Option<Arc<dyn Tokens>>,
    /// Which controllers run.
    pub controllers: Vec<Controller>,
}

impl Options {
    /// All controllers, with the default pod addresses.
    pub fn new(root_ca_pem: String) -> Options {
        Options {
            root_ca_pem,
            cluster_cidrs: vec!["10.244.0.0/16".to_owned()],
            certificates: None,
            tokens: None,
            controllers: Controller::ALL.to_vec(),
        }
    }
}

/// Runs the controllers until cancelled.
///
/// `client_for` is called with a user name: [`READER`] for the shared
/// reflectors and `system:serviceaccount:kube-system:NAME` for each controller,
/// with upstream's names, so that upstream's roles fit. The user agent of all
/// of them should be `kube-controller-manager`, which names the field manager.
///
/// Must be called inside a tokio runtime: the tasks start at the call.
pub fn run(
    client_for: impl Fn(&str) -> kube::Client,
    options: Options,
    cancel: CancellationToken,
) -> BoxFuture<'static, ()> {
    let mut tasks = start(&client_for, &options, cancel);
    Box::pin(async move {
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a controller ended");
            }
        }
    })
}

fn start(
    client_for: &dyn Fn(&str) -> kube::Client,
    options: &Options,
    cancel: CancellationToken,
) -> JoinSet<()> {
    let mut house = House {
        reader: Client::new(client_for(READER)),
        client_for: Box::new(|name: &str| {
            Client::new(client_for(&format!("system:serviceaccount:kube-system:{name}")))
        }),
        cancel,
        tasks: JoinSet::new(),
    };
    let wanted = |controller| options.controllers.contains(&controller);
    let namespaces = Cache::<views::Namespace>::new();
    let emptied = namespace::start(&mut house, &namespaces, wanted(Controller::Namespace));
    start_accounts(&mut house, options, &namespaces, &wanted);
    if wanted(Controller::ClusterRoleAggregation) {
        aggregation::start(&mut house);
    }
    let parts = bootstrap::Parts {
        signer: wanted(Controller::BootstrapSigner),
        cleaner: wanted(Controller::TokenCleaner),
    };
    bootstrap::start(&mut house, parts);
    let pods = Cache::<views::Pod>::new();
    let freed = if wanted(Controller::ResourceQuota) {
        quota::start(&mut house, &pods)
    } else {
        quota::Freed::default()
    };
    if wanted(Controller::GarbageCollector) {
        garbage::start(&mut house, emptied, freed);
    }
    workloads::start(&mut house, &pods, &wanted);
    let nodes = Cache::<views::Node>::new();
    if wanted(Controller::Endpoints) {
        endpoints::start(&mut house, &pods, &nodes);
    }
    if wanted(Controller::NodeLifecycle) {
        node::start_lifecycle(&mut house, &pods, &nodes);
    }
    if wanted(Controller::NodeIpam) {
        node::start_ipam(&mut house, &nodes, &options.cluster_cidrs);
    }
    if wanted(Controller::PodGc) {
        node::start_pod_gc(&mut house, &pods, &nodes);
    }
    if wanted(Controller::ServiceCidr) {
        service_cidr::start(&mut house);
    }
    if let Some(authority) = options.certificates.clone().filter(|_| wanted(Controller::Certificates)) {
        certificates::start(&mut house, authority);
    }
    start_storage(&mut house, &pods, &wanted);
    let lease =
        lease::keep(house.reader.clone(), "kube-controller-manager", lease::holder(), house.cancel.clone());
    house.tasks.spawn(lease);
    house.follow(&nodes, Source::all(&resources::NODES));
    house.follow(&pods, Source::all(&resources::PODS));
    house.follow(&namespaces, Source::all(&resources::NAMESPACES));
    house.tasks
}

fn start_accounts(
    house: &mut House<'_>,
    options: &Options,
    namespaces: &Cache<views::Namespace>,
    wanted: &dyn Fn(Controller) -> bool,
) {
    if wanted(Controller::ServiceAccount) {
        serviceaccount::start(house, namespaces);
    }
    if let Some(signer) = options.tokens.clone().filter(|_| wanted(Controller::ServiceAccountToken)) {
        tokens::start(house, signer, options.root_ca_pem.clone());
    }
    if wanted(Controller::RootCa) {
        rootca::start(house, namespaces, options.root_ca_pem.clone());
    }
}

fn start_storage(house: &mut House<'_>, pods: &Cache<views::Pod>, wanted: &dyn Fn(Controller) -> bool) {
    let storage = protection::Storage::default();
    if wanted(Controller::StorageProtection) {
        protection::start(house, &storage, pods);
    }
    if wanted(Controller::VolumeBinder) {
        volumes::start(house, &storage);
    }
    if !wanted(Controller::StorageProtection) && !wanted(Controller::VolumeBinder) {
        return;
    }
    house.follow(&storage.claims, Source::all(&resources::CLAIMS));
    house.follow(&storage.volumes, Source::all(&resources::VOLUMES));
}

/// What a controller needs to start.
struct House<'a> {
    reader: Client,
    client_for: Box<dyn Fn(&str) -> Client + 'a>,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

impl House<'_> {
    /// A client with the identity of a controller.
    fn client(&self, controller: &str) -> Client {
        (self.client_for)(controller)
    }

    /// A recorder of core/v1 events.
    fn recorder(&self, client: &Client, component: &str) -> Recorder {
        Recorder::start(client.clone(), component, Style::Count, self.cancel.clone())
    }

    /// Starts filling a cache; after this no listener may be added.
    fn follow<T: View>(&mut self, cache: &Cache<T>, source: Source) {
        let follow = cache.clone().follow(self.reader.clone(), source, self.cancel.clone());
        self.tasks.spawn(follow);
    }

    /// Starts the workers of a controller once `ready` says its caches are filled.
    fn work<R: runtime::Reconcile>(
        &mut self,
        controller: Arc<R>,
        queue: runtime::Queue<R::Key>,
        workers: usize,
        ready: impl Future<Output = ()> + Send + 'static,
    ) {
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = ready => {}
            }
            runtime::shell::run(controller, queue, workers, cancel).await;
        });
    }
}
