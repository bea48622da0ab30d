//! All that is known about one run.

use std::collections::BTreeMap;

use quorate_jepsen_style::check::Verdict;
use serde::{Deserialize, Serialize};

/// The format that is written. A reader refuses any other: guessing what a field of another version meant is how numbers
/// that nobody measured get into a table.
pub const FORMAT: u32 = 1;

/// One run. The order of the fields is the order on a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunReport {
    /// The version of this format.
    pub format: u32,
    /// What was run.
    pub scenario: String,
    /// From which seed.
    pub seed: u64,
    /// In which world.
    pub world: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Why, in one sentence; empty for a pass.
    pub reason: String,
    /// What a person should look at first to believe it, one line each.
    pub evidence: Vec<String>,
    /// The digest of everything that happened: two runs of one seed have the same.
    pub trace_digest: String,
    /// How many events that was.
    pub trace_events: u64,
    /// How long the world ran, by its own time.
    pub simulated_seconds: f64,
    /// What that cost.
    pub cpu_seconds: f64,
    /// The operations of clients by outcome.
    pub operations: Counts,
    /// How often each fault really happened.
    pub faults: BTreeMap<String, u64>,
    /// How often nodes told each thing about themselves, recovery paths among it.
    pub recoveries: BTreeMap<String, u64>,
    /// Everything that the run varied.
    pub options: String,
    /// The command that repeats the run.
    pub repeat: String,
}

/// Operations by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// They took effect.
    pub ok: u64,
    /// They did not and never will.
    pub failed: u64,
    /// Nobody knows.
    pub unknown: u64,
}
