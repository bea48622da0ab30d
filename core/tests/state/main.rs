//! The state machine from outside: the same entries a Raft log would bring, on a database in a temporary directory.

mod driver;
mod model;
mod random;
mod replay;
