//! What a node is told before it starts; checked by whoever made it, so that nothing here can be senseless.

use std::path::PathBuf;
use std::time::Duration;

use crate::membership::Policy;
use crate::raft::config::Timing;

/// A node's configuration. There is no default: each value is a decision of whoever starts the node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The node's name, unique in its cluster.
    pub name: String,
    /// Where clients are served: `host:port`, or `unix:PATH` for a socket of this machine.
    pub listen_client: String,
    /// Where the other nodes are served, `host:port`.
    pub listen_peer: String,
    /// How the other nodes reach this one, the best first.
    pub advertise_peer: Vec<String>,
    /// How clients reach this one, as URLs; none when only this machine's can.
    pub advertise_client: Vec<String>,
    /// Nodes of one domain fail together: a rack, a room, a site.
    pub failure_domain: String,
    /// What the planner aims at when this node leads; the same on every node.
    pub policy: Policy,
    /// Raft's times, before they are fitted to the disk, and when its log is cut.
    pub timing: Timing,
    /// How clients are told apart from everybody else.
    pub client_access: ClientAccess,
    /// Connections of clients at a time.
    pub max_client_connections: u32,
    /// Below this much free space the node takes no writes.
    pub min_free_bytes: u64,
    /// Given back when the disk is full, so that what is in flight still fits.
    pub reserve_bytes: u64,
    /// How long a stopping node waits for requests in progress.
    pub drain: Duration,
}

/// How clients are told apart from everybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAccess {
    /// Not at all, and in plain text: right where only this machine's own processes can connect.
    Anyone,
    /// By the operating system: they are served in plain text on a socket in the file system.
    SameUser,
    /// By a certificate of the cluster, over TLS.
    Certificate,
}

/// What starting is allowed to do with the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Go on with what is there; make a new cluster only where no directory is.
    Usual,
    /// Make a new cluster in a directory that is missing or empty.
    Bootstrap,
    /// Go on with what is there, and never make anything: for services, where a missing directory is a volume that was not
    /// mounted.
    Existing,
}
