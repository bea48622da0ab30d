//! The state machine from outside: the same entries a Raft log would bring, on a database in a temporary directory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod driver;
mod golden;
mod held;
mod model;
mod random;
mod replay;
mod scripts;
mod snapshots;
