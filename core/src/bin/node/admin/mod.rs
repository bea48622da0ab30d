//! The unix socket by which commands reach the node on their own machine.
//!
//! * `path` where it is
//! * `server` serves the admin service on it
//! * `client` how a command calls it
//! * `commands` those that change the cluster
//! * `client_cert` issues a certificate for a client

pub(crate) mod client;
pub(crate) mod client_cert;
pub(crate) mod commands;
mod path;
mod server;

pub(crate) use server::serve;
