//! Histories of distributed systems, and checkers that judge them.
//!
//! This crate stands alone: it knows nothing of the datastore it was written for. Record what your clients asked and
//! what they were told ([`history`]), name what your system promises ([`check`]), and read a verdict with the
//! evidence for it. The approach is the one that Kyle Kingsbury's Jepsen made popular; hence the name.
//!
//! | module | what it holds |
//! |---|---|
//! | [`history`] | operations, their outcomes, pairing of events, readers and the writer |
//! | [`check`] | verdicts, the [`Checker`](check::Checker) trait, composition by name, every checker |
//! | [`generator`] | what is asked, when and by whom: pure values |
//! | [`client`] | how a test speaks to the system, and what an answer means |
//! | [`interpreter`] | runs a generator against clients over any runtime, and records |
//! | [`workload`] | what to ask and how to judge it, in one piece |
//! | [`nemesis`] | the words for faults, and schedules of them |
//! | [`deadline`] | when reading and judging are given up |
//! | [`random`] | random numbers that a seed determines |
//! | [`model`] | what a system promises: a state and steps over it |
//!
//! The one idea they share: *an operation whose outcome nobody learned stays open for ever*. It may take effect at any
//! later moment or never, and every checker here treats it so.

pub mod check;
pub mod client;
pub mod deadline;
pub mod generator;
pub mod history;
pub mod interpreter;
pub mod model;
pub mod nemesis;
pub mod random;
pub mod workload;
