//! Nodes as real child processes on loopback: what `quorate demo` and `quorate bench compare` run.
//!
//! * `program` which program a node is, and its command line
//! * `node` one node: its ports, its directory, its process
//! * `cluster` several of them
//! * `ports` loopback ports that nobody uses
//! * `interrupt` what happens when the user has seen enough

mod cluster;
mod interrupt;
mod node;
mod ports;
mod program;

pub(crate) use cluster::Cluster;
pub(crate) use interrupt::or_interrupted;
pub(crate) use program::Program;
