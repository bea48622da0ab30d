//! What a run leaves behind, for people and for programs.
//!
//! | file | noun |
//! |---|---|
//! | [`run`] | [`RunReport`], all that is known about one run; [`Counts`] of its operations |
//! | [`json`] | one line for programs, and back |
//! | [`text`] | a page for people |
//! | [`exit`] | [`Exit`], the status that a program ends with |
//!
//! This crate knows neither the datastore nor a simulator: it is told what happened and writes it down.

pub mod exit;
pub mod json;
pub mod run;
pub mod text;

pub use exit::Exit;
pub use quorate_jepsen_style::check::Verdict;
pub use run::{Counts, RunReport};

/// For tests: a run in which something was found.
#[cfg(test)]
fn example() -> RunReport {
    RunReport {
        format: run::FORMAT,
        scenario: "partitions".to_owned(),
        seed: 7,
        world: "madsim".to_owned(),
        verdict: Verdict::Fail,
        reason: "history: object 2: 5 was read but never written".to_owned(),
        evidence: vec!["process 3: read 2 -> 5".to_owned()],
        trace_digest: "00c0ffee00c0ffee".to_owned(),
        trace_events: 1234,
        simulated_seconds: 31.5,
        cpu_seconds: 0.75,
        operations: Counts {
            ok: 120,
            failed: 7,
            unknown: 3,
        },
        faults: [("link-blocked".to_owned(), 4)].into(),
        recoveries: [("led".to_owned(), 3)].into(),
        options: "nodes=3 faults=partition:1".to_owned(),
        repeat: "chaos run partitions --seed 7 --world madsim".to_owned(),
    }
}
