//! `quorate`: a small, highly available datastore behind the etcd v3 API.
//!
//! | module | what it holds |
//! |---|---|
//! | `ids` | the identifiers and counters, each a type of its own |
//! | `runtime` | what a node asks of the world, and tokio's answer |
//! | `database` | how every SQLite file is opened |
//! | `state` | the replicated keyspace, pure and synchronous |
//! | `membership` | who votes: the planner and what it observes |
//! | `transport` | gRPC over any runtime's streams |
//! | `etcd` | the API, one service to a file |
//! | `proto` | the generated messages: etcd's and our own |
//!
//! The `quorate` command stands in `bin/node`. ARCHITECTURE.md, at the root, tells how a request travels.

pub mod database;
pub mod etcd;
pub mod ids;
pub mod membership;
pub mod proto;
pub mod runtime;
pub mod state;
pub mod transport;
