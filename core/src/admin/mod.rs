//! What an operator asks of the node on his own machine.
//!
//! | file | what it holds |
//! |---|---|
//! | `service.rs` | [`AdminService`]: the calls, over a node |
//!
//! The service knows nothing of who calls: whoever serves it sees to it that only the node's owner can (T28). The binary does so
//! with a unix socket in a directory of its own; a simulation calls the methods directly.

mod service;

pub use service::AdminService;
