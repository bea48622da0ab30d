//! The unix socket by which commands reach the node on their own machine.
//!
//! * `path` where it is
//! * `server` serves the admin service on it
//! * `client` how a command calls it
//! * `commands` `add-node` and `token`

pub(crate) mod client;
pub(crate) mod commands;
mod path;
mod server;

pub(crate) use server::serve;
