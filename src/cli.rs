//! The command line: verbs and flags, as docs/cli.md describes them. Each verb's work is a module beside this one.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::failure::{Code, Failure};
use crate::local;

mod access;
mod audit;
mod dev;
mod member;
mod server;

/// Kubernetes on a raft: one binary that is a whole cluster.
#[derive(Debug, Parser)]
#[command(name = "kontiki", version = crate::compose::VERSION, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Print nothing but the answer.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more in the log: -v for debug, -vv for trace.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// API server, controllers and scheduler alone, without root: for tests of operators.
    Dev(dev::Dev),
    /// One control-plane replica, and a worker unless --no-agent.
    Server(server::Server),
    /// The servers of a cluster, and who goes.
    Member {
        #[command(subcommand)]
        verb: member::Member,
    },
    /// A whole cluster on this machine, in network namespaces.
    Local {
        #[command(subcommand)]
        verb: Local,
    },
}

#[derive(Debug, Subcommand)]
enum Local {
    /// Create a cluster, or start the one that is there.
    Create(local::Create),
    /// Stop a cluster and remove everything of it.
    Delete(Name),
    /// Stop the kontiki process of a cluster; its containers go on.
    Stop(Name),
    /// The clusters of this machine.
    List,
    /// Print the path of a cluster's kubeconfig.
    Kubeconfig(Name),
    /// Images of a cluster's hosts.
    Image {
        #[command(subcommand)]
        verb: Image,
    },
    /// The process of one host; started by `create`.
    #[command(hide = true)]
    Host(local::HostProcess),
}

#[derive(Debug, Subcommand)]
enum Image {
    /// Load image archives into every host.
    Load {
        /// Archives in OCI layout or as `docker save` writes them.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
        /// The cluster's name.
        #[arg(long, default_value = local::DEFAULT_NAME)]
        name: String,
    },
}

/// Which local cluster.
#[derive(Debug, Args)]
struct Name {
    /// The cluster's name.
    #[arg(default_value = local::DEFAULT_NAME)]
    name: String,
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// What went wrong, with its exit code.
    pub fn run(self) -> Result<(), Failure> {
        start_log(self.verbose, self.quiet);
        let progress = crate::progress::Progress::new(self.quiet);
        match self.verb {
            Verb::Dev(dev) => dev.run(),
            Verb::Server(server) => server.run(),
            Verb::Member { verb } => verb.run(),
            Verb::Local { verb } => match verb {
                Local::Create(create) => create.run(&progress),
                Local::Delete(name) => local::delete(&name.name, &progress),
                Local::Stop(name) => local::stop(&name.name, &progress),
                Local::List => local::list(),
                Local::Kubeconfig(name) => local::kubeconfig(&name.name),
                Local::Image { verb: Image::Load { archives, name } } => {
                    local::load_images(&name, &archives, &progress)
                }
                Local::Host(host) => host.run(),
            },
        }
    }
}

/// Prints the answer of a command.
///
/// # Errors
/// Stdout is closed.
pub fn answer(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{text}")
        .map_err(|error| Failure::new(Code::Other, "cannot write the answer").why(error))
}

fn start_log(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        // openraft warns of every vote that another overtakes, which a start of a sole member always sees.
        (false, 0) => "warn,kontiki=info,netproxy=info,openraft=error",
        (false, 1) => "debug,h2=info,hyper=info,tower=info,rustls=info,sled=info,openraft=info",
        (false, _) => "trace,h2=info,hyper=info,tower=info,rustls=info,sled=info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("KONTIKI_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
