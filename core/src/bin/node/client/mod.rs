//! A client of etcd v3 endpoints, for the commands that talk to nodes.
//!
//! * `endpoint` where a server listens
//! * `channel` one connection to it, and etcd's clients on that
//! * `leader` which of several is the leader

mod channel;
mod endpoint;
mod leader;

pub(crate) use channel::Channel;
pub(crate) use endpoint::{Endpoint, is_loopback};
pub(crate) use leader::leader;
