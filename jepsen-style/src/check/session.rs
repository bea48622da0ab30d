//! Session guarantees: what a process may expect of its own past (Terry et al., 1994).
//!
//! Operations on keys: `write`, answered with the revision that it made, and `read`, answered with the revision of the version
//! that it saw (0 for none). Revisions are those of a key, or of the whole store; greater is later.
//!
//! * *Read your writes*: a read sees the process's last write to the key or something later.
//! * *Monotonic reads*: a read sees the version of the process's last read of the key or something later.
//! * *Monotonic writes*: a write is later than the process's last write to the key.
//! * *Writes follow reads*: a write is later than the version that the process last read at the key.
//!
//! A write of unknown outcome has no revision and binds nobody. Two processes that share a session are one process here.

use std::collections::BTreeMap;

use super::{Checker, Report};
use crate::history::{History, Operation, Process, Value};

/// Judges the four guarantees.
#[derive(Clone, Copy, Debug)]
pub struct SessionGuarantees;

/// What a process last did at a key.
#[derive(Clone, Copy, Default)]
struct Past {
    written: i64,
    read: i64,
}

const READ_YOUR_WRITES: &str = "read-your-writes";
const MONOTONIC_READS: &str = "monotonic-reads";
const MONOTONIC_WRITES: &str = "monotonic-writes";
const WRITES_FOLLOW_READS: &str = "writes-follow-reads";

impl Checker for SessionGuarantees {
    fn check(&self, history: &History) -> Report {
        let mut pasts: BTreeMap<(Process, &Value), Past> = BTreeMap::new();
        let mut broken: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut count = 0_u64;
        for operation in history.clients().filter(|operation| operation.is_ok()) {
            let is_read = match operation.function.as_str() {
                "read" => true,
                "write" => false,
                _ => continue,
            };
            let Some(revision) = operation.output.as_integer() else {
                return Report::unknown(format!("no revision: {operation}"));
            };
            count += 1;
            let past = pasts
                .entry((operation.process, &operation.key))
                .or_default();
            for (guarantee, bound) in broken_by(*past, is_read, revision) {
                broken
                    .entry(guarantee)
                    .or_default()
                    .push(words(guarantee, operation, revision, bound));
            }
            let last = if is_read {
                &mut past.read
            } else {
                &mut past.written
            };
            *last = revision.max(*last);
        }
        report(&broken, count)
    }
}

/// The guarantees that an operation breaks, with the revision that it should not have been behind.
fn broken_by(past: Past, is_read: bool, revision: i64) -> Vec<(&'static str, i64)> {
    let bounds = if is_read {
        [
            (READ_YOUR_WRITES, past.written, revision < past.written),
            (MONOTONIC_READS, past.read, revision < past.read),
        ]
    } else {
        [
            (MONOTONIC_WRITES, past.written, revision <= past.written),
            (WRITES_FOLLOW_READS, past.read, revision <= past.read),
        ]
    };
    bounds
        .into_iter()
        .filter(|(.., is_broken)| *is_broken)
        .map(|(guarantee, bound, _)| (guarantee, bound))
        .collect()
}

fn words(guarantee: &str, operation: &Operation, revision: i64, bound: i64) -> String {
    format!(
        "{guarantee}: process {} at {}: {} of {} has revision {revision}, after it had seen {bound}",
        operation.process, operation.invoked.order, operation.function, operation.key
    )
}

fn report(broken: &BTreeMap<&str, Vec<String>>, count: u64) -> Report {
    let names: Vec<&str> = broken.keys().copied().collect();
    let report = match names.is_empty() {
        _ if count == 0 => Report::unknown("nothing was read or written"),
        true => Report::pass(),
        false => Report::fail(format!("not kept: {}", names.join(", "))).with_witness(
            broken
                .values()
                .flat_map(|lines| lines.iter().take(4).cloned()),
        ),
    };
    let report = report.with("operations", count);
    broken.iter().fold(report, |report, (guarantee, lines)| {
        report.with(guarantee, lines.len())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verdict;
    use super::super::testing::{history, ok, on};
    use super::*;

    proptest! {
        /// The twin asks every pair of operations of a process on a key for the guarantee that binds the two.
        #[test]
        fn each_guarantee_agrees_with_every_pair(
            drawn in prop::collection::vec((0_u32..2, any::<bool>(), 0_i64..5, 0_i64..2), 1..8)
        ) {
            let operations: Vec<Operation> = (0_u32..)
                .zip(&drawn)
                .map(|(place, (process, is_read, revision, key))| {
                    let function = if *is_read { "read" } else { "write" };
                    on(*key, ok(*process, (2 * place, 2 * place + 1), function, Value::Nil, *revision))
                })
                .collect();
            let report = SessionGuarantees.check(&history(operations.clone()));
            for (guarantee, first, second) in [
                (READ_YOUR_WRITES, "write", "read"),
                (MONOTONIC_READS, "read", "read"),
                (MONOTONIC_WRITES, "write", "write"),
                (WRITES_FOLLOW_READS, "read", "write"),
            ] {
                let is_broken = operations.iter().any(|one| operations.iter().any(|other| {
                    one.process == other.process
                        && one.key == other.key
                        && one.precedes(other)
                        && (one.function.as_str(), other.function.as_str()) == (first, second)
                        && (other.output < one.output || second == "write" && other.output == one.output)
                }));
                // The initial version, 0, is no version that a write could fail to be later than, but a write of 0 is none.
                let is_broken = is_broken || second == "write" && operations.iter().any(|other| {
                    other.function.as_str() == "write" && other.output <= Value::from(0)
                });
                prop_assert_eq!(report.details.contains_key(guarantee), is_broken, "{}: {}", guarantee, report);
            }
            prop_assert_ne!(report.verdict, Verdict::Unknown);
        }
    }
}
