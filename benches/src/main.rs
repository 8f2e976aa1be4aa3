//! What does an operation cost, and how long does it take until there is a cluster? Runs the real `kontiki` as a
//! process, drives it over TLS, and prints each figure beside upstream's and the aim.
//!
//! The figure to compare is CPU time of the server process for one operation: it hardly moves with what else the machine
//! does. Rates and delays are printed for orientation. Nothing here passes or fails by time.

mod cases;
mod client;
mod kubeconfig;
mod load;
mod objects;
mod process;
mod reference;
mod table;

use std::path::PathBuf;

use clap::Parser;

/// Flags of the bench.
#[derive(Debug, Clone, Parser)]
#[command(about = "What an operation costs, beside upstream's figures")]
pub struct Options {
    /// Run only cases whose name contains one of these. Later cases use the objects of earlier ones, which run as well.
    #[arg(value_delimiter = ',')]
    filter: Vec<String>,
    /// A tenth of the load and hardly any waiting: shows that it works, not what it costs.
    #[arg(long)]
    quick: bool,
    /// Measure the server this kubeconfig names instead of starting kontiki: the same load on upstream, for example.
    #[arg(long, requires = "pids")]
    kubeconfig: Option<PathBuf>,
    /// Processes that make up that server, such as kube-apiserver and etcd; their CPU and memory are added up.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// The kontiki to measure.
    #[arg(long, env = "KONTIKI", default_value = "target/release/kontiki")]
    kontiki: PathBuf,
    /// A folder with upstream's etcd, kube-apiserver, kube-controller-manager and kube-scheduler: they get the same load in
    /// the same run, and their figures stand beside ours instead of the recorded ones.
    #[arg(long, env = "UPSTREAM", conflicts_with = "kubeconfig")]
    upstream: Option<PathBuf>,
}

impl Options {
    /// The same without a filter.
    fn all(&self) -> Self {
        Self { filter: Vec::new(), ..self.clone() }
    }

    fn wants(&self, case: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|part| case.contains(part.as_str()))
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let peer = match &options.upstream {
        None => table::Table::silent(),
        Some(folder) => runtime.block_on(cases::run_upstream(&options, folder))?,
    };
    let mut table = table::Table::beside(peer);
    runtime.block_on(cases::run(&options, &mut table))?;
    table.finish()
}
