//! The node over the real runtime, by name.
//!
//! Nothing here decides anything. It stands in the library so that the compiler makes the machine code of a whole node
//! once, here, and shares it with the binary and with every test that runs one: each of them took minutes before.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::config::{Beginning, NodeConfig};
use crate::join::JoinLine;
use crate::node::{self, Node, NodeError, Wipe};
use crate::proto::join::RoleWanted;
use crate::raft::peers::Identity;
use crate::runtime::tokio::TokioRuntime;

/// A node over tokio, real sockets and real files.
pub type RealNode = Node<TokioRuntime>;

/// See [`Node::start`].
///
/// # Errors
/// As there.
pub fn start(
    config: NodeConfig,
    beginning: Beginning,
) -> BoxFuture<'static, Result<RealNode, NodeError>> {
    Box::pin(RealNode::start(config, beginning))
}

/// See [`node::join`].
///
/// # Errors
/// As there.
pub fn join(
    config: &NodeConfig,
    line: JoinLine,
    role: RoleWanted,
    wipe: Wipe,
    patience: Duration,
) -> BoxFuture<'_, Result<Identity, NodeError>> {
    Box::pin(node::join::<TokioRuntime>(
        config, line, role, wipe, patience,
    ))
}

/// See [`Node::stop`].
pub fn stop(node: RealNode) -> BoxFuture<'static, ()> {
    Box::pin(node.stop())
}
