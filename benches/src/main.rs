//! What does an operation cost, and how long does it take until there is a cluster? Runs the real `kontiki` as a
//! process, drives it over TLS, and prints each figure beside upstream's and the aim.
//!
//! The figure to compare is CPU time of the server process for one operation: it hardly moves with what else the machine
//! does. Rates and delays are printed for orientation. Nothing here passes or fails by time.

mod cases;
mod client;
mod kubeconfig;
mod load;
mod meter;
mod objects;
mod process;
mod reference;
mod table;

use std::path::PathBuf;

use clap::Parser;

/// Flags of the bench.
#[derive(Debug, Parser)]
#[command(about = "What an operation costs, beside upstream's figures")]
pub struct Options {
    /// Run only cases whose name contains this.
    #[arg(default_value = "")]
    filter: String,
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
}

impl Options {
    fn wants(&self, case: &str) -> bool {
        case.contains(&self.filter)
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut table = table::Table::new();
    runtime.block_on(cases::run(&options, &mut table))?;
    table.finish()
}
