//! `quorate`: a small, highly available datastore behind the etcd v3 API.
//!
//! SQLite replicated by Raft. Everything is written against the abstract [`runtime`], so that the very same code runs in
//! production and inside deterministic simulators.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ids`] | identifiers and counters as types |
//! | [`config`] | what a node is told |
//! | [`runtime`] | what a node needs of the world |
//! | [`database`] | how every SQLite file is opened |
//! | `frames` | SQLite's write-ahead log, read as far as it takes to see a hole in it |
//! | [`directory`] | the data directory: whose it is, and whether a node may start on it |
//! | [`state`] | the replicated state machine, pure and synchronous |
//! | [`readers`] | connections that read the state |
//! | [`raft`] | openraft over SQLite |
//! | [`membership`] | roles, the planner, and the driver that carries its steps out |
//! | [`join`] | how a machine becomes a member, and what every member knows of the others |
//! | [`tls`] | keys, certificates, and whom a handshake lets in |
//! | [`etcd`] | the etcd v3 services over any node |
//! | `backend` | the node behind the etcd services |
//! | [`transport`] | HTTP/2 over any runtime's streams |
//! | [`admin`] | what an operator asks of the node on his own machine |
//! | [`node`] | all of it together |
//! | `real` | the node over the real runtime, compiled once |
//! | [`proto`] | the generated protobuf types |

pub mod admin;
mod backend;
pub mod config;
pub mod database;
pub mod directory;
pub mod etcd;
mod frames;
pub mod ids;
pub mod join;
pub mod membership;
pub mod node;
pub mod proto;
pub mod raft;
pub mod readers;
#[cfg(not(test))]
pub mod real;
pub mod runtime;
pub mod state;
pub mod tls;
pub mod transport;
