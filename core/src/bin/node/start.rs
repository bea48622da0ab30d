//! `quorate start` and `quorate join`: run a node until it is asked to stop.

use crate::admin;
use crate::admin::commands::{Role, span};
use crate::config::Config;
use crate::descriptors;
use crate::exit::{Context, Exit, Failure};
use crate::log;
use crate::say::say;
use crate::settings::Settings;
use clap::Args;
use quorate::config::{Beginning, NodeConfig};
use quorate::directory::DirectoryError;
use quorate::join::driver::JoinError;
use quorate::join::joiner::JoinFailure;
use quorate::join::{Address, JoinLine, addresses, are_local};
use quorate::node::{self, CLIENT_SCANS, Node, NodeError, Wipe};
use quorate::proto::join::RoleWanted;
use quorate::raft::replica::StartError;
use quorate::runtime::tokio::TokioRuntime;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a node that has left goes on answering commands.
const FAREWELL: Duration = Duration::from_millis(300);
/// Threads for work that blocks, beside the ones that each database has for itself: as many for the node as for its clients.
/// They come when they are needed, and go.
const BLOCKING_THREADS: usize = 2 * CLIENT_SCANS;

/// The long help of `quorate start`.
pub(crate) const ABOUT: &str = "\
Run a node, and make a new cluster if there is none.

A new cluster of one node is made only if the data directory does not exist, or with --bootstrap if it is empty. A \
directory that was used before is gone on with. Anything else is refused with the way out: a volume that was not mounted \
must not become a new, empty cluster. Services should use --existing, which never makes anything.

Every setting can be given as a flag, as an environment variable or in a TOML file (--config) under the flag's name \
without the dashes in front; a flag wins over a variable and a variable over the file. SIGTERM or SIGINT hand leadership \
over and stop the node cleanly.";

/// The long help of `quorate join`.
pub(crate) const ABOUT_JOIN: &str = "\
Run a new node and make it part of the cluster whose `quorate add-node` printed the line.

The node makes its own key, trusts only the cluster whose fingerprint is in the line, and proves that it holds the token without \
sending it. The cluster decides what the node becomes: a voter, a standby, a spare. The command goes on as the node; once it has joined it is \
started again with `quorate start`. The same line may be tried again after a failure, on the same directory.";

/// `quorate start`
#[derive(Debug, Args)]
pub(crate) struct StartArguments {
    #[command(flatten)]
    file: File,
    /// Make a new cluster in a directory that is missing or empty.
    #[arg(long, conflicts_with = "existing")]
    bootstrap: bool,
    /// Never make anything: the directory must have been used before.
    #[arg(long)]
    existing: bool,
    #[command(flatten)]
    settings: Settings,
}

/// `quorate join`
#[derive(Debug, Args)]
pub(crate) struct JoinArguments {
    /// The line that `quorate add-node` printed on a member.
    #[arg(value_name = "LINE")]
    line: Typed,
    /// What the node wants to be; a token may allow less.
    #[arg(long, value_enum, default_value_t = Role::Any)]
    role: Role,
    /// Give up what a node of another cluster, or one that was removed, kept in the data directory: it is deleted once the cluster has
    /// admitted this one, and not before. A node that is a member already goes on, and nothing is deleted.
    #[arg(long)]
    wipe: bool,
    /// How long to try: a number with s, m, h or d behind it.
    #[arg(long, default_value = "60s", value_parser = span)]
    patience: Duration,
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    settings: Settings,
}

/// A join line as it was typed. It holds a token, so it is never shown.
#[derive(Clone)]
struct Typed(String);

impl From<String> for Typed {
    fn from(line: String) -> Self {
        Self(line)
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Typed(..)")
    }
}

/// Where settings are read from besides flags and environment.
#[derive(Debug, Args)]
struct File {
    /// A TOML file of settings.
    #[arg(long, env = "QUORATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl File {
    fn complete(&self, settings: Settings) -> Result<Settings, Failure> {
        Ok(match &self.config {
            Some(path) => settings.or(Settings::from_file(path)?),
            None => settings,
        })
    }
}

/// `quorate start`
pub(crate) fn start(arguments: StartArguments) -> Result<(), Failure> {
    let beginning = match (arguments.bootstrap, arguments.existing) {
        (true, _) => Beginning::Bootstrap,
        (_, true) => Beginning::Existing,
        _ => Beginning::Usual,
    };
    let config = Config::check(arguments.file.complete(arguments.settings)?)?;
    run(config, async move |config| {
        Node::start(config, beginning).await
    })
}

/// `quorate join`
pub(crate) fn join(arguments: JoinArguments) -> Result<(), Failure> {
    let line = JoinLine::parse(&arguments.line.0).context(Exit::Usage, "the join line")?;
    let config = Config::check(arguments.file.complete(arguments.settings)?)?;
    check_reach(&line.addresses, &config.node.advertise_peer)?;
    let role = match arguments.role {
        Role::Any => RoleWanted::Any,
        Role::Spare => RoleWanted::Spare,
    };
    let wipe = if arguments.wipe {
        Wipe::Everything
    } else {
        Wipe::Refuse
    };
    run(config, async move |config| {
        let members = line.addresses.iter().map(ToString::to_string);
        say!(
            "Contacting cluster at {}",
            members.collect::<Vec<_>>().join(", ")
        );
        let joined = node::join::<TokioRuntime>(&config, line, role, wipe, arguments.patience);
        let identity = joined.await?;
        say!(
            "Joined cluster {} as node {}.",
            identity.cluster,
            identity.node
        );
        Node::start(config, Beginning::Existing).await
    })
}

/// The members must be able to dial this node back. If they are on other machines, an address that means "the machine that dials"
/// would lead each of them to itself, and the node would be a member that nobody ever hears of.
fn check_reach(members: &[Address], own: &[String]) -> Result<(), Failure> {
    let elsewhere = members.iter().find(|address| !address.is_loopback());
    match elsewhere {
        Some(member) if are_local(&addresses(own)) => Err(Failure::new(
            Exit::Usage,
            format!(
                "the members are on other machines ({member}), and would look for this node at {}, which is their own: give --listen-peer \
                 HOST:PORT, an address at which they reach this machine, or --listen-peer 0.0.0.0:PORT and --advertise-peer HOST:PORT",
                own.join(", ")
            ),
        )),
        _ => Ok(()),
    }
}

/// Half of the processors, at least one: the log and the state have threads of their own, and on a small machine threads
/// that hand work to each other cost more than they bring (put, 64 clients, three nodes on two cores: 7 % less CPU an
/// operation and a sixth more throughput with one thread than with two).
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).clamp(1, 8))
}

fn run<F>(mut config: Config, begin: F) -> Result<(), Failure>
where
    F: AsyncFnOnce(NodeConfig) -> Result<Node<TokioRuntime>, NodeError>,
{
    log::begin(config.log);
    let connections = &mut config.node.max_client_connections;
    *connections = descriptors::room_for(*connections);
    let mut runtime = match worker_threads() {
        // All on the main thread: nobody has to be woken up by another one.
        1 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(threads);
            runtime
        }
    };
    let runtime = runtime
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context(Exit::Failed, "starting the runtime")?;
    runtime.block_on(async {
        let stop = StopSignals::listen()?;
        let insecure = config.insecure_client;
        let (name, data_dir) = (config.node.name.clone(), config.node.data_dir.clone());
        let mut node = begin(config.node).await.map_err(|error| refusal(&error))?;
        if insecure {
            tracing::warn!("clients of other machines are served in plain text, and nobody asks who they are (--insecure-client)");
        }
        admin::serve(&data_dir, node.handle())?;
        let (client, peer) = (node.client_address(), node.peer_address());
        tracing::info!(node = %node.identity().node, name, client, peer, "serving");
        let handle = node.handle();
        let (gone, failed) = tokio::select! {
            biased;
            signal = stop.received() => {
                tracing::info!(signal, "stopping");
                (false, None)
            }
            () = handle.wait_gone() => {
                tracing::info!("this node is no member of its cluster any more; stopping");
                (true, None)
            }
            error = node.failed() => {
                tracing::error!(%error, "this node cannot go on; stopping");
                (false, Some(error))
            }
        };
        if gone {
            // Whoever asked for it still waits for the answer.
            tokio::time::sleep(FAREWELL).await;
        }
        node.stop().await;
        if gone {
            let vacated = handle.directory().vacate();
            vacated.context(Exit::DataDirectory, "marking the directory as left")?;
        }
        tracing::info!("stopped");
        failed.map_or(Ok(()), |error| Err(refusal(&error)))
    })
}

/// The two ways in which a node is asked to stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Before the node starts: a signal that comes while it does is not lost.
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).context(Exit::Failed, "listening for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn received(mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The code that a script gets for a node that did not start.
fn refusal(error: &NodeError) -> Failure {
    let exit = match error {
        NodeError::Directory(DirectoryError::InUse { .. }) => Exit::InUse,
        NodeError::Listen { error, .. } if error.kind() == io::ErrorKind::AddrInUse => Exit::InUse,
        NodeError::Listen { .. } => Exit::Failed,
        NodeError::Start(StartError::Raft(_)) | NodeError::Tls(_) | NodeError::Unasked => {
            Exit::Failed
        }
        NodeError::Directory(_)
        | NodeError::Start(_)
        | NodeError::Join(
            JoinError::Disk(_) | JoinError::Failed(JoinFailure::OtherCluster { .. }),
        ) => Exit::DataDirectory,
        NodeError::Join(JoinError::Failed(JoinFailure::OutOfTime { .. })) => Exit::Unreachable,
        NodeError::Join(JoinError::Failed(_)) => Exit::Refused,
    };
    Failure::new(exit, error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        join: JoinArguments,
    }

    #[test]
    fn a_typed_line_is_never_shown() {
        let cli = Cli::try_parse_from(["join", "a:1/SECRET/c/p/check"]).unwrap();
        assert_eq!(cli.join.line.0, "a:1/SECRET/c/p/check");
        assert!(!format!("{cli:?}").contains("SECRET"));
    }

    #[test]
    fn members_on_other_machines_must_be_able_to_dial_back() {
        let line = |texts: &[&str]| -> Vec<Address> {
            let parsed = texts.iter().map(|text| Address::parse(text).unwrap());
            parsed.collect()
        };
        let checked = |members: &[&str], own: &str| check_reach(&line(members), &[own.to_owned()]);
        for (members, own) in [
            (&["127.0.0.1:1"][..], "127.0.0.1:2"),
            (&["127.0.0.1:1"], "10.0.0.2:2"),
            (&["10.0.0.1:1"], "10.0.0.2:2"),
            (&["10.0.0.1:1"], "node-2.lan:2"),
        ] {
            checked(members, own).unwrap();
        }
        for members in [&["10.0.0.1:1"][..], &["127.0.0.1:1", "10.0.0.1:1"]] {
            let refused = checked(members, "127.0.0.1:2380").unwrap_err();
            let text = refused.to_string();
            assert!(
                text.contains("10.0.0.1:1") && text.contains("--advertise-peer"),
                "{text}"
            );
        }
    }
}
