//! The words for faults, and schedules of them.
//!
//! | file | noun |
//! |---|---|
//! | [`fault`] | [`Fault`]: what can be done to a system, as data, and how a history says it |
//! | [`package`] | [`Package`]: one kind of fault with its schedule and its end |
//!
//! This crate does not know how to cut a wire. It knows what to ask for, and a nemesis (a [`Client`](crate::client::Client)
//! for [`Process::Nemesis`](crate::history::Process::Nemesis)) does it, in a simulator or to real processes. What it
//! answers is recorded like any other operation: *ok* when the fault is there, *failed* when it could not be brought
//! about. A run whose faults never happened must not look like one that survived them.

pub mod fault;
pub mod package;

pub use fault::{Fault, Shape, Target};
pub use package::{Package, packages};
