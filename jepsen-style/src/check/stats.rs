//! Statistics: how often what worked, and how long it took.
//!
//! They judge nothing about the system, only whether there was anything to judge: if an operation never once succeeded, what
//! the other checkers say of it is empty, and the verdict is *unknown*.

use std::collections::BTreeMap;

use serde_json::json;

use super::latency;
use super::{Checker, Report};
use crate::history::{History, Outcome};

/// Counts operations by function and outcome.
#[derive(Clone, Copy, Debug)]
pub struct Stats;

/// The operations of one function.
#[derive(Default)]
struct Count {
    ok: u64,
    failed: u64,
    unknown: u64,
    latencies: Vec<u64>,
}

impl Checker for Stats {
    fn check(&self, history: &History) -> Report {
        let mut functions: BTreeMap<&str, Count> = BTreeMap::new();
        for operation in history.clients() {
            let count = functions.entry(operation.function.as_str()).or_default();
            match operation.outcome {
                Outcome::Ok => {
                    count.ok += 1;
                    count.latencies.extend(operation.latency());
                }
                Outcome::Failed => count.failed += 1,
                Outcome::Unknown => count.unknown += 1,
            }
        }
        let silent: Vec<&str> = functions
            .iter()
            .filter(|(_, count)| count.ok == 0)
            .map(|(name, _)| *name)
            .collect();
        let report = match silent.is_empty() {
            _ if functions.is_empty() => Report::unknown("nothing was done"),
            true => Report::pass(),
            false => Report::unknown(format!("never once succeeded: {}", silent.join(", "))),
        };
        functions.into_iter().fold(report, |report, (name, count)| {
            let row = json!({
                "ok": count.ok,
                "failed": count.failed,
                "unknown": count.unknown,
                "latency": latency::summary(count.latencies),
            });
            report.with(name, row)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::testing::{failed, history, ok, unknown};
    use super::*;
    use crate::history::Value;

    #[test]
    fn outcomes_are_counted_by_function_with_their_latencies() {
        let report = Stats.check(&history([
            ok(0, (0, 1), "read", Value::Nil, 1),
            ok(0, (2, 5), "read", Value::Nil, 1),
            ok(1, (3, 4), "write", 1, 1),
            failed(0, (6, 7), "read", Value::Nil),
            unknown(1, (8, 9), "write", 2),
        ]));
        assert_eq!(report.verdict, Verdict::Pass);
        assert_eq!(report.details["read"]["ok"], 2);
        assert_eq!(report.details["read"]["failed"], 1);
        assert_eq!(report.details["write"]["unknown"], 1);
        assert_eq!(report.details["read"]["latency"]["max_ms"], 3_000.0);
    }

    #[test]
    fn a_function_that_never_worked_leaves_doubt() {
        let report = Stats.check(&history([failed(0, (0, 1), "read", Value::Nil)]));
        assert_eq!(report.verdict, Verdict::Unknown);
    }
}
