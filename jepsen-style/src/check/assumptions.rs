//! Assumptions: what the other checkers take for granted, checked first.
//!
//! A history that breaks one is not the history of a wrong system but of a wrong test, and every other verdict on it would
//! mean nothing; so these say *unknown*, never fail. Put them into a [`Composition`](super::Composition) with `assuming`.

use std::collections::BTreeMap;

use super::{Checker, Report};
use crate::history::{History, Outcome, Process, Value};

/// Each process does one thing at a time, and nothing is over before it began.
#[derive(Clone, Copy, Debug)]
pub struct SingleThreaded;

impl Checker for SingleThreaded {
    fn check(&self, history: &History) -> Report {
        let mut free: BTreeMap<Process, u32> = BTreeMap::new();
        for operation in history.clients() {
            let invoked = operation.invoked.order;
            if operation.ended.is_some_and(|ended| ended.order < invoked) {
                return Report::unknown(format!("over before it began, at {invoked}: {operation}"));
            }
            let before = free.insert(
                operation.process,
                operation.ended.map_or(u32::MAX, |ended| ended.order),
            );
            if before.is_some_and(|before| before > invoked) {
                return Report::unknown(format!("the process was busy at {invoked}: {operation}"));
            }
        }
        Report::pass()
    }
}

/// No value is written twice to one key: then a read names its write. An operation that failed wrote nothing.
#[derive(Clone, Debug)]
pub struct UniqueWrites {
    /// The functions that write their input.
    pub functions: Vec<String>,
}

impl Checker for UniqueWrites {
    fn check(&self, history: &History) -> Report {
        let mut written: BTreeMap<(&Value, &Value), u32> = BTreeMap::new();
        for operation in history
            .clients()
            .filter(|operation| operation.outcome != Outcome::Failed)
        {
            if !self
                .functions
                .iter()
                .any(|function| function == operation.function.as_str())
            {
                continue;
            }
            if let Some(before) =
                written.insert((&operation.key, &operation.input), operation.invoked.order)
            {
                return Report::unknown(format!("written at {before} already: {operation}"));
            }
        }
        Report::pass().with("writes", written.len())
    }
}

/// Clock readings do not contradict the order of events. Checkers of leases and latencies go by the clock.
#[derive(Clone, Copy, Debug)]
pub struct ClockFollowsOrder;

impl Checker for ClockFollowsOrder {
    fn check(&self, history: &History) -> Report {
        let ends = history
            .operations()
            .iter()
            .filter_map(|operation| operation.ended);
        let begins = history
            .operations()
            .iter()
            .map(|operation| operation.invoked);
        let mut moments: Vec<_> = begins.chain(ends).collect();
        moments.sort_unstable();
        match moments
            .windows(2)
            .find(|pair| pair[1].nanoseconds < pair[0].nanoseconds)
        {
            Some(pair) => Report::unknown(format!(
                "the clock goes back from {} ns at {} to {} ns at {}",
                pair[0].nanoseconds, pair[0].order, pair[1].nanoseconds, pair[1].order
            )),
            None if moments.iter().all(|moment| moment.nanoseconds == 0) => {
                Report::unknown("there is no clock")
            }
            None => Report::pass(),
        }
    }
}

/// Enough succeeded for the other verdicts to mean something.
#[derive(Clone, Copy, Debug)]
pub struct Substance {
    /// How many operations must have succeeded.
    pub least: usize,
}

impl Checker for Substance {
    fn check(&self, history: &History) -> Report {
        let count = history
            .clients()
            .filter(|operation| operation.is_ok())
            .count();
        let report = if count < self.least {
            Report::unknown(format!(
                "{count} operations succeeded, fewer than {}",
                self.least
            ))
        } else {
            Report::pass()
        };
        report.with("succeeded", count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::testing::{failed, history, ok, on};
    use super::*;
    use crate::history::{Moment, Operation};

    fn read(process: u32, span: (u32, u32)) -> Operation {
        ok(process, span, "read", Value::Nil, 1)
    }

    #[test]
    fn a_process_with_two_open_operations_is_a_wrong_test() {
        let verdict =
            |operations: [Operation; 2]| SingleThreaded.check(&history(operations)).verdict;
        assert_eq!(verdict([read(0, (0, 1)), read(0, (2, 3))]), Verdict::Pass);
        assert_eq!(verdict([read(0, (0, 3)), read(1, (1, 2))]), Verdict::Pass);
        assert_eq!(
            verdict([read(0, (0, 3)), read(0, (1, 2))]),
            Verdict::Unknown
        );
        assert_eq!(
            verdict([read(0, (1, 0)), read(0, (2, 3))]),
            Verdict::Unknown
        );
    }

    #[test]
    fn a_value_may_be_written_again_elsewhere_or_after_a_failure() {
        let checker = UniqueWrites {
            functions: vec!["write".to_owned()],
        };
        let write = |key: &str, at: u32| on(key, ok(0, (at, at + 1), "write", 1, 1));
        assert_eq!(
            checker
                .check(&history([write("x", 0), write("y", 2)]))
                .verdict,
            Verdict::Pass
        );
        assert_eq!(
            checker
                .check(&history([write("x", 0), write("x", 2)]))
                .verdict,
            Verdict::Unknown
        );
        let refused = on("x", failed(0, (0, 1), "write", 1));
        assert_eq!(
            checker.check(&history([refused, write("x", 2)])).verdict,
            Verdict::Pass
        );
    }

    #[test]
    fn a_clock_that_goes_back_is_noticed() {
        let good = read(0, (1, 2));
        assert_eq!(
            ClockFollowsOrder.check(&history([good.clone()])).verdict,
            Verdict::Pass
        );
        let back = Operation {
            ended: Some(Moment {
                order: 2,
                nanoseconds: 5,
            }),
            ..good.clone()
        };
        assert_eq!(
            ClockFollowsOrder.check(&history([back])).verdict,
            Verdict::Unknown
        );
        let none = Operation {
            invoked: Moment::at(1),
            ended: Some(Moment::at(2)),
            ..good
        };
        assert_eq!(
            ClockFollowsOrder.check(&history([none])).verdict,
            Verdict::Unknown
        );
    }

    #[test]
    fn too_little_is_no_evidence() {
        let history = history([read(0, (0, 1))]);
        assert_eq!(
            Substance { least: 1 }.check(&history).verdict,
            Verdict::Pass
        );
        assert_eq!(
            Substance { least: 2 }.check(&history).verdict,
            Verdict::Unknown
        );
    }
}
