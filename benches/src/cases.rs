//! The cases, in the order they run: later ones use the objects of earlier ones.

mod deployments;
mod idle;
mod kinds;
mod lists;
mod start;
mod watch;
mod writes;

use std::path::Path;

use crate::client::{Call, Connection, Target};
use crate::process::Kontiki;
use crate::table::Table;
use crate::{Options, kubeconfig, objects};

/// Everything a case of load needs: a server, which may be any, and how much of it.
pub struct Subject {
    target: Target,
    pids: Vec<u32>,
    quick: bool,
    /// Ended when the subject goes; `None` for a server that was there.
    _process: Option<Kontiki>,
}

/// Runs all cases the options want. A case that fails is a row, not the end.
pub async fn run(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    if options.kubeconfig.is_none() {
        case(table, options, &["dev_ready"], async |table| start::dev_ready(options, table).await).await;
        case(table, options, &["node_ready"], async |table| start::node_ready(options, table)).await;
        case(table, options, &["idle_rss", "idle_cpu"], async |table| {
            idle::idle(&Subject::start(options)?, table).await
        })
        .await;
    }
    if !LOADS.iter().any(|name| options.wants(name)) {
        return Ok(());
    }
    loads(&Subject::start(options)?, options, table).await
}

/// Gives upstream's servers the same load. They are gone afterwards, and so is what they hold of the machine.
pub async fn run_upstream(options: &Options, binaries: &Path) -> anyhow::Result<Table> {
    let mut table = Table::silent();
    let upstream = tests::upstream::Upstream::start(binaries)?;
    table.value("dev_ready", upstream.ready_after.as_secs_f64(), "s");
    let subject = Subject {
        target: Target::new(&kubeconfig::read(&upstream.kubeconfig)?)?,
        pids: upstream.serving(),
        quick: options.quick,
        _process: None,
    };
    case(&mut table, options, &["idle_rss", "idle_cpu"], async |table| idle::idle(&subject, table).await)
        .await;
    if LOADS.iter().any(|name| options.wants(name)) {
        loads(&subject, options, &mut table).await?;
    }
    Ok(table)
}

/// The cases that share one server, up to the last that is wanted: each uses the objects of those before.
async fn loads(subject: &Subject, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    subject.prepare().await?;
    case(table, options, &LOADS[0..3], async |table| writes::config_maps(subject, table).await).await;
    let pods = &LOADS[3..12];
    if pods.iter().any(|name| options.wants(name)) {
        case(table, &options.all(), &LOADS[3..4], async |table| writes::create_pods(subject, table).await)
            .await;
    }
    case(table, options, &LOADS[4..11], async |table| lists::pods(subject, table).await).await;
    case(table, options, &LOADS[11..12], async |table| writes::pod_status(subject, table).await).await;
    case(table, options, &LOADS[12..13], async |table| watch::fan_out(subject, table).await).await;
    case(table, options, &LOADS[13..14], async |table| {
        table.value("loaded_rss", tests::meter::rss_mb(&subject.pids)?, "MB");
        Ok(())
    })
    .await;
    let deployments = async |table: &mut Table| deployments::deployments(subject, table).await;
    case(table, options, &LOADS[14..18], deployments).await;
    case(table, options, &LOADS[18..], async |table| kinds::kinds(subject, table).await).await;
    Ok(())
}

/// Cases that share one server.
const LOADS: [&str; 19] = [
    "create_configmap_1k",
    "update_configmap_put",
    "get_configmap",
    "create_pod",
    "list_pods",
    "list_pods_gzip",
    "list_pods_table_first",
    "list_pods_table",
    "list_pods_protobuf_first",
    "list_pods_protobuf",
    "list_pods_pages_of_500",
    "patch_pod_status",
    "watch_event_500",
    "loaded_rss",
    "create_deployment",
    "get_deployment",
    "update_deployment_put",
    "patch_deployment_status",
    "kinds",
];

async fn case(
    table: &mut Table,
    options: &Options,
    names: &[&str],
    run: impl AsyncFnOnce(&mut Table) -> anyhow::Result<()>,
) {
    if names.iter().any(|name| options.wants(name))
        && let Err(error) = run(table).await
    {
        table.failed(names.first().copied().unwrap_or_default(), &error);
    }
}

impl Subject {
    fn start(options: &Options) -> anyhow::Result<Self> {
        let (process, pids, path) = match &options.kubeconfig {
            Some(path) => (None, options.pids.clone(), path.clone()),
            None => {
                let process = Kontiki::server(&options.kontiki)?;
                let (pid, path) = (process.pid(), process.kubeconfig.clone());
                (Some(process), vec![pid], path)
            }
        };
        let target = Target::new(&kubeconfig::read(&path)?)?;
        Ok(Self { target, pids, quick: options.quick, _process: process })
    }

    /// `full`, or a tenth of it.
    fn scaled(&self, full: usize) -> usize {
        if self.quick { full / 10 } else { full }
    }

    /// Waits until controllers have done their part about what was written: reads measured then are only reads.
    ///
    /// A server that is never idle, as upstream is with many objects, is at rest once it does not become any more idle.
    async fn settle(&self) -> anyhow::Result<()> {
        /// Seconds before it is not waited for any more, and of one look.
        const WAIT_MAX: f64 = 30.0;
        const LOOK: std::time::Duration = std::time::Duration::from_millis(200);
        /// Looks that are compared with as many before them.
        const ROUND: usize = 25;
        /// Part of a core that a server uses which does nothing.
        const IDLE: f64 = 0.1;
        /// Part of what was used before that is no less.
        const AS_MUCH: f64 = 0.9;
        let mut used: Vec<f64> = Vec::new();
        while (used.len() as f64) * LOOK.as_secs_f64() < WAIT_MAX {
            let meter = tests::meter::Meter::start(&self.pids)?;
            tokio::time::sleep(LOOK).await;
            let reading = meter.read()?;
            used.push(reading.cpu_ms / reading.wall.as_secs_f64() / 1e3);
            let rounds: Vec<f64> = used.rchunks_exact(ROUND).map(|round| round.iter().sum()).collect();
            let is_steady = matches!(rounds[..], [last, before, ..] if last >= AS_MUCH * before);
            if is_steady || used.last().is_some_and(|used| *used < IDLE) {
                return Ok(());
            }
        }
        anyhow::bail!("the server does not come to rest")
    }

    /// Makes the namespaces of the load and waits for what pods in them need.
    async fn prepare(&self) -> anyhow::Result<()> {
        let mut connection = self.target.connect().await?;
        for name in [objects::NAMESPACE, objects::WATCHED_NAMESPACE] {
            let body = objects::namespace(name);
            let call = Call::with_body(http::Method::POST, "/api/v1/namespaces", "application/json", body);
            connection.send(&call).await?;
            account(&mut connection, name).await?;
        }
        Ok(())
    }
}

/// Waits for the service account that admission gives to pods.
async fn account(connection: &mut Connection, namespace: &str) -> anyhow::Result<()> {
    /// Tries, a tenth of a second apart.
    const TRIES_MAX: u32 = 200;
    let call = Call::get(format!("{}/default", objects::collection(namespace, "serviceaccounts")));
    for _ in 0..TRIES_MAX {
        if connection.send(&call).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    anyhow::bail!("no controller made the service account of namespace {namespace}")
}
