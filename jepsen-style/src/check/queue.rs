//! Queues: what goes in comes out, once.
//!
//! Operations: `enqueue VALUE`; `dequeue`, answered with a value or nil for an empty queue; `drain`, answered with the list of
//! all that was left. Order is not judged here (a model of linearizability does that), only the sum: every acknowledged
//! element comes out, nothing comes out more often than it may have gone in, and nothing comes out that was never put in.
//!
//! An element that did not come out is lost only if somebody found the queue empty after it went in and nobody may have
//! taken it unseen: a dequeue of unknown outcome may have taken one element with it.

use std::collections::BTreeMap;

use super::{Checker, Report};
use crate::deadline;
use crate::history::{History, Operation, Outcome, Value};

/// Judges one queue by its sum.
#[derive(Clone, Copy, Debug)]
pub struct TotalQueue;

/// What happened to one value.
#[derive(Clone, Copy, Default)]
struct Account {
    acknowledged: u64,
    attempted: u64,
    taken: u64,
    /// When the last acknowledged enqueue was over.
    settled: u32,
}

impl Checker for TotalQueue {
    fn check(&self, history: &History) -> Report {
        let mut accounts: BTreeMap<&Value, Account> = BTreeMap::new();
        let (mut found_empty, mut taken_unseen) = (None, 0_u64);
        for operation in history.clients() {
            match operation.function.as_str() {
                "enqueue" => enqueue(accounts.entry(&operation.input).or_default(), operation),
                "dequeue" | "drain" if operation.outcome == Outcome::Unknown => taken_unseen += 1,
                "dequeue" if operation.is_ok() && !operation.output.is_nil() => {
                    accounts.entry(&operation.output).or_default().taken += 1;
                }
                "dequeue" | "drain" if operation.is_ok() => {
                    for value in operation.output.as_list().unwrap_or_default() {
                        deadline::look();
                        accounts.entry(value).or_default().taken += 1;
                    }
                    found_empty = found_empty.max(Some(operation.invoked.order));
                }
                _ => {}
            }
        }
        judge(&accounts, found_empty, taken_unseen)
    }
}

fn enqueue(account: &mut Account, operation: &Operation) {
    account.attempted += u64::from(operation.outcome != Outcome::Failed);
    if let (true, Some(ended)) = (operation.is_ok(), operation.ended) {
        account.acknowledged += 1;
        account.settled = account.settled.max(ended.order);
    }
}

fn judge(
    accounts: &BTreeMap<&Value, Account>,
    found_empty: Option<u32>,
    taken_unseen: u64,
) -> Report {
    let (mut unexpected, mut duplicated, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lost_count, mut remaining, mut recovered) = (0_u64, 0_u64, 0_u64);
    for (value, account) in accounts {
        deadline::look();
        if account.taken > account.attempted {
            match account.attempted {
                0 => unexpected.push(format!("{value} came out and never went in")),
                times => duplicated.push(format!(
                    "{value} came out {} times and went in {times}",
                    account.taken
                )),
            }
        }
        let missing = account.acknowledged.saturating_sub(account.taken);
        if missing > 0 && found_empty.is_some_and(|empty| account.settled < empty) {
            lost.push(format!(
                "{value} went in before {} and never came out",
                account.settled
            ));
            lost_count += missing;
        } else {
            remaining += missing;
        }
        recovered += account
            .taken
            .min(account.attempted)
            .saturating_sub(account.acknowledged);
    }
    let report = if !unexpected.is_empty() {
        Report::fail(format!("{} unexpected values", unexpected.len()))
            .with_witness(unexpected.into_iter().take(8))
    } else if !duplicated.is_empty() {
        Report::fail(format!("{} duplicated values", duplicated.len()))
            .with_witness(duplicated.into_iter().take(8))
    } else if lost_count > taken_unseen {
        Report::fail(format!(
            "{lost_count} elements were lost, and at most {taken_unseen} were taken unseen"
        ))
        .with_witness(lost.into_iter().take(8))
    } else if lost_count > 0 {
        Report::unknown(format!(
            "{lost_count} elements are missing; dequeues of unknown outcome may have taken them"
        ))
    } else if remaining > 0 {
        Report::unknown(format!(
            "{remaining} elements did not come out, and nobody found the queue empty after them"
        ))
    } else {
        Report::pass()
    };
    report
        .with("lost", lost_count)
        .with("remaining", remaining)
        .with("recovered", recovered)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verdict;
    use super::super::testing::{history, numbers, ok, unknown};
    use super::*;

    #[test]
    fn a_queue_that_was_never_emptied_proves_no_loss() {
        let history = history([ok(0, (0, 1), "enqueue", 1, 1)]);
        assert_eq!(TotalQueue.check(&history).verdict, Verdict::Unknown);
    }

    #[test]
    fn an_unknown_dequeue_excuses_one_missing_element_and_not_two() {
        let run = |count: i64| {
            let puts = (0..count).map(|value| ok(0, (0, 1), "enqueue", value, value));
            let end = [
                unknown(1, (2, 3), "dequeue", Value::Nil),
                ok(2, (4, 5), "drain", Value::Nil, numbers(&[])),
            ];
            TotalQueue.check(&history(puts.chain(end))).verdict
        };
        assert_eq!((run(1), run(2)), (Verdict::Unknown, Verdict::Fail));
    }

    proptest! {
        /// A queue that is drained at the end passes; one theft, one copy or one invention is found.
        #[test]
        fn a_drained_queue_passes_until_it_is_tampered_with(
            values in prop::collection::vec(0_i64..5, 1..8), taken in 0_usize..8, crime in 0_u8..4
        ) {
            let mut out = values.clone();
            match crime {
                0 => {}
                1 => {
                    out.pop();
                }
                2 => out.push(values[0]),
                _ => out.push(9),
            }
            let split = taken.min(out.len());
            let puts = values.iter().map(|value| ok(0, (0, 1), "enqueue", *value, *value));
            let takes = out[..split].iter().map(|value| ok(1, (2, 3), "dequeue", Value::Nil, *value));
            let drain = ok(1, (4, 5), "drain", Value::Nil, numbers(&out[split..]));
            let report = TotalQueue.check(&history(puts.chain(takes).chain([drain])));
            let expected = if crime == 0 { Verdict::Pass } else { Verdict::Fail };
            prop_assert_eq!(report.verdict, expected, "{}", report);
        }
    }
}
