//! Raft over SQLite, by openraft.
//!
//! openraft decides; this folder stores, sends and applies for it. What must be durable before what:
//!
//! 1. A vote and an entry are on this node's disk before this node says so to anyone ([`log`]).
//! 2. An entry is applied after a majority has it *and* this node's own log has it ([`machine`]).
//! 3. A client is answered when its command is applied, and whoever reads the state has that committed first ([`unseen`]).
//! 4. The log is purged behind a durable point of the state, never behind what is merely applied.
//!
//! | file | what it holds |
//! |---|---|
//! | `types.rs` | the only spelling of openraft's generics |
//! | `runtime.rs` | openraft's runtime over ours |
//! | `config.rs` | times and limits |
//! | `convert.rs`, `answer.rs` | our protobuf, for disk and wire |
//! | `journal.rs` | the log in SQLite, synchronous |
//! | `log.rs` | openraft's log store: queue, group commit, memory |
//! | `length.rs` | how many bytes the log has, and where it is cut |
//! | `machine.rs` | openraft's state machine: batches onto the state |
//! | `telling.rs` | what applying tells a simulator |
//! | `snapshot.rs` | the state on its way to a follower |
//! | `unseen.rs` | what is applied and not yet committed, and how readers come to see it |
//! | `peers.rs` | addresses and channels |
//! | `network.rs`, `server.rs` | messages out and in |
//! | `line.rs` | a stream of appends that stays open |
//! | `notices.rs` | what is not worth a message of its own |
//! | `proposer.rs` | writes from any node |
//! | `barrier.rs` | linearizable reads from any node |
//! | `marks.rs` | whether a node has forgotten what it said |
//! | `replica.rs` | all of it together, as something that can end and start again |

pub mod answer;
pub mod barrier;
pub mod config;
pub mod convert;
pub mod journal;
pub mod length;
pub mod line;
pub mod log;
pub mod machine;
pub mod marks;
pub mod network;
pub mod notices;
pub mod peers;
pub mod proposer;
pub mod replica;
pub mod runtime;
pub mod server;
pub mod snapshot;
mod telling;
pub mod types;
pub mod unseen;
