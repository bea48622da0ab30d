//! Monotonic reads: what only grows is never seen to shrink.
//!
//! Operations: `read`, answered with a whole number, on a key or on none. The number is something that only grows: a
//! revision, an applied index, a counter that nobody decrements. A read must not show less than a read of the same key that
//! was over before it began: by the same process, or by anyone.

use std::collections::BTreeMap;

use super::{Checker, Report};
use crate::history::{History, Operation, Process, Value};

/// Whose earlier reads bind a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The process's own, as a session promises.
    Process,
    /// Everybody's, as real time promises.
    RealTime,
}

/// Judges reads of numbers that only grow.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicReads {
    /// Whose earlier reads bind.
    pub scope: Scope,
}

/// What binds together: reads of one key, and if only the process's own reads bind, of one process.
type Line<'a> = (&'a Value, Option<Process>);

impl Checker for MonotonicReads {
    fn check(&self, history: &History) -> Report {
        let mut lines: BTreeMap<Line<'_>, Vec<(&Operation, i64)>> = BTreeMap::new();
        let mut count = 0_u64;
        for read in history
            .clients()
            .filter(|operation| operation.function.as_str() == "read" && operation.is_ok())
        {
            let Some(number) = read.output.as_integer() else {
                return Report::unknown(format!("no whole number: {read}"));
            };
            count += 1;
            let process = (self.scope == Scope::Process).then_some(read.process);
            lines
                .entry((&read.key, process))
                .or_default()
                .push((read, number));
        }
        let wrong: Vec<String> = lines.values().flat_map(|line| shrinks(line)).collect();
        let report = match wrong.len() {
            _ if count == 0 => Report::unknown("nothing was read"),
            0 => Report::pass(),
            times => Report::fail(format!("{times} reads went back: {}", wrong[0]))
                .with_witness(wrong.into_iter().take(8)),
        };
        report.with("reads", count)
    }
}

/// The reads of a line (in the order of their invocations) that show less than one that was over before.
fn shrinks(line: &[(&Operation, i64)]) -> Vec<String> {
    let mut by_end: Vec<(u32, &Operation, i64)> = line
        .iter()
        .filter_map(|(read, number)| Some((read.ended?.order, *read, *number)))
        .collect();
    by_end.sort_unstable_by_key(|(ended, ..)| *ended);
    let mut ended = by_end.into_iter().peekable();
    let mut greatest: Option<(&Operation, i64)> = None;
    let mut wrong = Vec::new();
    for (read, number) in line {
        while let Some((_, before, seen)) = ended.next_if(|(order, ..)| *order < read.invoked.order)
        {
            if greatest.is_none_or(|(_, greatest)| seen > greatest) {
                greatest = Some((before, seen));
            }
        }
        if let Some((before, seen)) = greatest.filter(|(_, greatest)| number < greatest) {
            wrong.push(format!(
                "process {} read {number} at {}, after process {} had read {seen} at {}",
                read.process, read.invoked.order, before.process, before.invoked.order
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verdict;
    use super::super::testing::{history, ok, on};
    use super::*;

    proptest! {
        /// The twin asks every pair of reads.
        #[test]
        fn verdicts_agree_with_every_pair(
            drawn in prop::collection::vec((0_u32..3, 0_u32..12, 1_u32..5, 0_i64..4, 0_i64..2), 1..8)
        ) {
            let reads: Vec<Operation> = drawn
                .iter()
                .map(|(process, start, length, number, key)| {
                    on(*key, ok(*process, (*start, start + length), "read", Value::Nil, *number))
                })
                .collect();
            for scope in [Scope::Process, Scope::RealTime] {
                let goes_back = reads.iter().any(|first| {
                    reads.iter().any(|second| {
                        first.key == second.key
                            && (scope == Scope::RealTime || first.process == second.process)
                            && first.precedes(second)
                            && first.output > second.output
                    })
                });
                let report = MonotonicReads { scope }.check(&history(reads.clone()));
                prop_assert_eq!(report.verdict == Verdict::Fail, goes_back, "{:?}: {}", scope, report);
            }
        }
    }
}
