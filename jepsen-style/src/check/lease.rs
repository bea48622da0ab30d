//! Leases: never early, late only so much, never back.
//!
//! Operations, keyed by the lease: `grant SECONDS`, answered with the seconds granted; `keepalive`, answered with the seconds
//! that it now has (0 or nil if it is gone); `revoke`; and `alive`, answered with true or false. Times are the clock readings
//! of the recording, so it needs one.
//!
//! * *Never early*: a lease was last refreshed at the earliest when its last acknowledged grant or keepalive was *invoked*;
//!   nobody may see it gone before that moment and its time to live have passed, unless a revoke had begun.
//! * *Bounded late*: it was refreshed at the latest when the last grant or keepalive that may have worked was *over*; nobody
//!   who asks later than that, its time to live and the allowed delay, may see it alive. One of unknown outcome may still
//!   work at any time, and then nothing is late.
//! * *Never revived*: who asks after somebody was told that it is gone, is told the same.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Checker, Report};
use crate::deadline;
use crate::history::{History, Operation, Outcome, Value};

/// Judges when leases end.
#[derive(Clone, Copy, Debug)]
pub struct Leases {
    /// How much the clocks of store and recorder may drift apart while a lease lives.
    pub drift: Duration,
    /// How long after its time a lease may still be there: an election, a scan.
    pub delay: Duration,
}

/// What an operation says of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// It was refreshed to live so long.
    Refreshed(u64),
    /// It may have been refreshed; nobody knows.
    Perhaps,
    Alive,
    Gone,
    /// It was or may have been revoked.
    Revoked,
    Nothing,
}

const SECOND: u64 = 1_000_000_000;

fn said(operation: &Operation) -> Said {
    // Every walk over the operations of a lease, and there are walks within walks, asks this of each.
    deadline::look();
    let seconds = operation
        .output
        .as_integer()
        .and_then(|seconds| u64::try_from(seconds).ok())
        .unwrap_or(0);
    match (operation.function.as_str(), operation.outcome) {
        ("grant" | "keepalive", Outcome::Unknown) => Said::Perhaps,
        ("grant" | "keepalive", Outcome::Ok) if seconds > 0 => {
            Said::Refreshed(seconds.saturating_mul(SECOND))
        }
        ("keepalive", Outcome::Ok) => Said::Gone,
        ("revoke", Outcome::Ok | Outcome::Unknown) => Said::Revoked,
        ("alive", Outcome::Ok) if operation.output.as_bool() == Some(true) => Said::Alive,
        ("alive", Outcome::Ok) => Said::Gone,
        _ => Said::Nothing,
    }
}

impl Checker for Leases {
    fn check(&self, history: &History) -> Report {
        let leases = history.by_key();
        if leases
            .values()
            .flatten()
            .all(|operation| said(operation) == Said::Nothing)
        {
            return Report::unknown("nothing was said of any lease");
        }
        let mut broken: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (lease, operations) in &leases {
            for (name, words) in self.broken(lease, operations) {
                broken.entry(name).or_default().push(words);
            }
        }
        let names: Vec<&str> = broken.keys().copied().collect();
        let report = if names.is_empty() {
            Report::pass()
        } else {
            Report::fail(format!("leases: {}", names.join(", "))).with_witness(
                broken
                    .values()
                    .flat_map(|lines| lines.iter().take(4).cloned()),
            )
        };
        report.with("leases", leases.len())
    }
}

impl Leases {
    /// What one lease did wrong; its operations stand in the order of their invocations.
    fn broken(&self, lease: &Value, operations: &[&Operation]) -> Vec<(&'static str, String)> {
        let mut broken = Vec::new();
        let over = |operation: &Operation| {
            operation
                .ended
                .map_or((u32::MAX, u64::MAX), |end| (end.order, end.nanoseconds))
        };
        let first_gone = operations
            .iter()
            .filter(|operation| said(operation) == Said::Gone)
            .map(|operation| over(operation).0)
            .min();
        for operation in operations {
            let (asked, answered) = (operation.invoked, over(operation));
            match said(operation) {
                Said::Gone => {
                    if let Some(due) = self
                        .earliest_end(operations, answered.0)
                        .filter(|due| answered.1 < *due)
                    {
                        let words = format!(
                            "{lease} was gone at {} ns, before {due} ns: {operation}",
                            answered.1
                        );
                        broken.push(("early", words));
                    }
                }
                Said::Alive | Said::Refreshed(_) if operation.function.as_str() != "grant" => {
                    if first_gone.is_some_and(|gone| gone < asked.order) {
                        broken.push((
                            "revived",
                            format!("{lease} was gone and is back: {operation}"),
                        ));
                    }
                    if let Some(due) = self
                        .latest_end(operations, operation)
                        .filter(|due| asked.nanoseconds > *due)
                    {
                        let words = format!(
                            "{lease} lived at {} ns, after {due} ns: {operation}",
                            asked.nanoseconds
                        );
                        broken.push(("late", words));
                    }
                }
                _ => {}
            }
        }
        broken
    }

    /// Before when nobody may be told (by an answer at place `order`) that the lease is gone; none if it may be any time.
    fn earliest_end(&self, operations: &[&Operation], order: u32) -> Option<u64> {
        let revoked = operations
            .iter()
            .any(|operation| said(operation) == Said::Revoked && operation.invoked.order < order);
        if revoked {
            return None;
        }
        let refreshed = |operation: &&Operation| match said(operation) {
            Said::Refreshed(life) if operation.ended.is_some_and(|end| end.order < order) => {
                Some(operation.invoked.nanoseconds.saturating_add(life))
            }
            _ => None,
        };
        let due = operations.iter().filter_map(refreshed).max()?;
        Some(due.saturating_sub(nanoseconds(self.drift)))
    }

    /// After when nobody who asks may be told that the lease lives; none if that is not known.
    fn latest_end(&self, operations: &[&Operation], asking: &Operation) -> Option<u64> {
        let mut due = None;
        let before = |operation: &&&Operation| operation.invoked.order < asking.invoked.order;
        for operation in operations.iter().filter(before) {
            match (said(operation), operation.ended) {
                (Said::Perhaps, _) => return None,
                (Said::Refreshed(_), None) => return None,
                (Said::Refreshed(life), Some(end)) => {
                    due = due.max(Some(end.nanoseconds.saturating_add(life)));
                }
                _ => {}
            }
        }
        // Others that are still open may refresh it while this one asks; they only count if they were invoked before it was over.
        let overlaps = operations.iter().any(|operation| {
            matches!(said(operation), Said::Refreshed(_) | Said::Perhaps)
                && !std::ptr::eq(*operation, asking)
                && !asking.precedes(operation)
                && !operation.precedes(asking)
        });
        due.filter(|_| !overlaps).map(|due| {
            let slack = nanoseconds(self.drift).saturating_add(nanoseconds(self.delay));
            due.saturating_add(slack)
        })
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verdict;
    use super::super::testing::{history, ok, on, unknown};
    use super::*;

    const LEASES: Leases = Leases {
        drift: Duration::ZERO,
        delay: Duration::from_secs(2),
    };

    fn verdict(operations: impl IntoIterator<Item = Operation>) -> String {
        let report = LEASES.check(&history(
            operations.into_iter().map(|operation| on(7, operation)),
        ));
        if report.verdict == Verdict::Pass {
            "pass".to_owned()
        } else {
            report.reason
        }
    }

    fn grant(at: u32, seconds: i64) -> Operation {
        ok(0, (at, at + 1), "grant", seconds, seconds)
    }

    #[test]
    fn each_wrong_is_called_by_its_name() {
        let alive = |at: u32, answer: bool| ok(1, (at, at + 1), "alive", Value::Nil, answer);
        assert_eq!(
            verdict([grant(0, 10), alive(4, true), alive(10, false)]),
            "pass"
        );
        assert_eq!(verdict([grant(0, 10), alive(6, false)]), "leases: early");
        assert_eq!(verdict([grant(0, 10), alive(14, true)]), "leases: late");
        assert_eq!(
            verdict([grant(0, 10), alive(10, false), alive(12, true)]),
            "leases: revived"
        );
    }

    #[test]
    fn a_revoke_may_end_it_early_and_an_unknown_keepalive_may_keep_it() {
        let gone = ok(1, (6, 7), "alive", Value::Nil, false);
        assert_eq!(
            verdict([grant(0, 10), unknown(2, (3, 4), "revoke", Value::Nil), gone]),
            "pass"
        );
        let late = ok(1, (20, 21), "alive", Value::Nil, true);
        assert_eq!(
            verdict([
                grant(0, 10),
                unknown(2, (3, 4), "keepalive", Value::Nil),
                late
            ]),
            "pass"
        );
    }

    proptest! {
        /// A store that ends a lease at a moment within the bounds is never called wrong, one that ends it outside always is,
        /// if somebody asked at a time that shows it.
        #[test]
        fn the_moment_of_the_end_decides(
            life in 1_u32..10, refreshed in 0_u32..8, end in 0_u32..40, asked in prop::collection::vec(0_u32..40, 1..6)
        ) {
            // Invoked at the even second, over at the odd one: refreshed in between.
            let at = 2 * refreshed;
            let (least, most) = (at + life, at + 1 + life + 2);
            let mut operations = vec![grant(at, i64::from(life))];
            let mut shows = false;
            for (process, moment) in (1_u32..).zip(&asked) {
                let moment = at + 2 + 2 * moment;
                let is_alive = moment < at + 2 + end;
                shows |= is_alive && moment > most || !is_alive && moment + 1 < least;
                operations.push(ok(process, (moment, moment + 1), "alive", Value::Nil, is_alive));
            }
            prop_assert_eq!(verdict(operations) != "pass", shows);
        }
    }
}
