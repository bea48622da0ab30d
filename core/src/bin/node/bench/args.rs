//! The arguments of `quorate bench`, as typed.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// The long help of `quorate bench`.
pub(crate) const ABOUT: &str = "\
Measure any etcd v3 endpoints, or compare a cluster of ours with one of etcd's.

Each load is a closed loop: every client has one request in flight. A run ends after a number of operations or of \
seconds, whichever comes first, and prints one line of JSON: throughput, latency percentiles in microseconds, errors, \
and with --server-pids what the servers spent. Only loopback addresses are accepted unless --anywhere is given: a load \
can bring down the cluster that it is pointed at.";

/// `quorate bench ...`
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(super) target: Target,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(super) enum Target {
    #[command(flatten)]
    Load(Load),
    /// Start three nodes of etcd and three of ours in turn, run the same loads on both, and print a table.
    Compare(Compare),
}

/// One load; every variant carries the settings that all of them share.
#[derive(Debug, Subcommand)]
pub(super) enum Load {
    /// Put keys.
    Put {
        #[command(flatten)]
        common: Common,
        /// Which key each put writes.
        #[arg(long, value_enum, default_value_t = Keys::Sequential)]
        keys: Keys,
    },
    /// Get random keys that an earlier put load wrote, or that --preload writes first.
    Get {
        #[command(flatten)]
        common: Common,
        /// Read what the contacted node has, without asking the others whether it is the newest.
        #[arg(long)]
        serializable: bool,
        /// Put this many keys first, outside the measurement.
        #[arg(long, default_value_t = 0)]
        preload: u64,
    },
    /// Read ranges from the start of the prefix.
    Range {
        #[command(flatten)]
        common: Common,
        /// Read what the contacted node has, without asking the others whether it is the newest.
        #[arg(long)]
        serializable: bool,
        /// Keys a range returns.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Put this many keys first, outside the measurement.
        #[arg(long, default_value_t = 0)]
        preload: u64,
    },
    /// Transactions in the two forms that Kubernetes uses: create and guarded update.
    Txn {
        #[command(flatten)]
        common: Common,
        /// What the transaction guards against.
        #[arg(long, value_enum, default_value_t = TxnKind::Create)]
        kind: TxnKind,
        /// Updates: all clients share the keys, so that some compares fail.
        #[arg(long)]
        contend: bool,
    },
    /// A mixed load as from a Kubernetes API server: gets, lists, creates, updates, deletes, watches.
    Mixed {
        #[command(flatten)]
        common: Common,
        /// Objects put before the measurement.
        #[arg(long, default_value_t = 5_000)]
        objects: u64,
        /// Watches open meanwhile, a stream each.
        #[arg(long, default_value_t = 20)]
        watches: usize,
        /// Objects that a list returns.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Watch fan-out: the time from the start of a put to its event at each watcher.
    Watch {
        #[command(flatten)]
        common: Common,
        /// Watchers, a stream each; every one sees every put.
        #[arg(long, default_value_t = 100)]
        watchers: usize,
        /// Puts a second; 0 is as fast as one client can.
        #[arg(long, default_value_t = 100)]
        rate: u32,
    },
    /// Lease keep-alives: a lease and a stream for each client.
    Lease {
        #[command(flatten)]
        common: Common,
        /// Seconds that each lease lives.
        #[arg(long, default_value_t = 60)]
        ttl: u32,
    },
    /// Write at every endpoint while one process is killed, and measure the outage.
    Failover {
        #[command(flatten)]
        common: Common,
        /// The process to end, usually the leader's.
        #[arg(long)]
        kill_pid: u32,
        /// How to end it.
        #[arg(long, value_enum, default_value_t = Signal::Kill)]
        signal: Signal,
        /// Milliseconds of writing before the signal.
        #[arg(long, default_value_t = 500)]
        kill_after_ms: u64,
        /// A write starts at every endpoint this often.
        #[arg(long, default_value_t = 10)]
        probe_ms: u64,
    },
}

impl Load {
    pub(super) fn common(&self) -> &Common {
        match self {
            Load::Put { common, .. }
            | Load::Get { common, .. }
            | Load::Range { common, .. }
            | Load::Txn { common, .. }
            | Load::Mixed { common, .. }
            | Load::Watch { common, .. }
            | Load::Lease { common, .. }
            | Load::Failover { common, .. } => common,
        }
    }
}

/// Which keys a put load writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Keys {
    /// Each key once, in order.
    Sequential,
    /// Drawn from --key-space, so that keys are written again.
    Random,
}

/// The transactions that Kubernetes writes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TxnKind {
    /// Put if the key does not exist.
    Create,
    /// Put if the key is at the revision last seen.
    Update,
}

/// How a failover load ends the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Signal {
    /// SIGKILL: the process has no chance to hand anything over.
    Kill,
    /// SIGTERM: a planned stop.
    Term,
}

/// What all loads share.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    /// Endpoints, separated by commas; plain HTTP/2.
    #[arg(long, default_value = "127.0.0.1:2379", value_delimiter = ',')]
    pub(super) endpoints: Vec<String>,
    /// Allow endpoints that are not loopback addresses.
    #[arg(long)]
    pub(super) anywhere: bool,
    /// Use only the endpoint that says it is the leader.
    #[arg(long)]
    pub(super) leader: bool,
    /// Concurrent clients.
    #[arg(long, default_value_t = 16)]
    pub(super) clients: usize,
    /// Connections, spread over the endpoints; 0 is the smaller of --clients and 16.
    #[arg(long, default_value_t = 0)]
    pub(super) connections: usize,
    /// Stop after this many operations.
    #[arg(long, default_value_t = 100_000)]
    pub(super) total: u64,
    /// Stop after this many seconds.
    #[arg(long, default_value_t = 60)]
    pub(super) seconds: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    pub(super) value_size: usize,
    /// Bytes of a key: shorter keys are padded, longer ones are not cut.
    #[arg(long, default_value_t = 0)]
    pub(super) key_size: usize,
    /// What every key starts with.
    #[arg(long, default_value = "/load/")]
    pub(super) prefix: String,
    /// Random keys are drawn from this many.
    #[arg(long, default_value_t = 100_000)]
    pub(super) key_space: u64,
    /// The seed of every random choice.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Threads of the load itself.
    #[arg(long, default_value_t = 2)]
    pub(super) threads: usize,
    /// Time limit of one request, in milliseconds.
    #[arg(long, default_value_t = 10_000)]
    pub(super) timeout_ms: u64,
    /// Processes of this machine that serve the endpoints: report their CPU, memory and bytes written.
    #[arg(long, value_delimiter = ',')]
    pub(super) server_pids: Vec<u32>,
}

/// `quorate bench compare`
#[derive(Debug, Args)]
pub(super) struct Compare {
    /// The etcd to compare with: a path, or a name to look for in PATH. Without one, ours is measured alone.
    #[arg(long, default_value = "etcd")]
    pub(super) etcd: PathBuf,
    /// Do not measure our own nodes.
    #[arg(long)]
    pub(super) etcd_only: bool,
    /// Where the data directories go, on a real disk: a fresh directory is made in it and removed at the end.
    #[arg(long, default_value = "target")]
    pub(super) directory: PathBuf,
    /// Rounds; each runs everything once on both systems and the table shows the median.
    #[arg(long, default_value_t = 3)]
    pub(super) rounds: usize,
    /// Seconds of each load.
    #[arg(long, default_value_t = 5)]
    pub(super) seconds: u64,
    /// Seconds of the load that counts bytes written, long enough for checkpoints to fall into it.
    #[arg(long, default_value_t = 60)]
    pub(super) write_seconds: u64,
    /// Seconds without requests before idle cost is measured, and seconds that it is measured for.
    #[arg(long, default_value_t = 60)]
    pub(super) idle_seconds: u64,
    /// Times that the leader is killed, and times that it is stopped.
    #[arg(long, default_value_t = 5)]
    pub(super) kills: usize,
}
