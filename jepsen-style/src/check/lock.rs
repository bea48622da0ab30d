//! Locks: safe by fencing.
//!
//! A lock that rests on leases cannot keep a paused holder from believing that it still holds it; what keeps the data safe is
//! the *fencing token*, a number that grows with every acquisition and that the guarded store compares. Operations: `acquire`,
//! answered with the token; `release TOKEN`; and `guarded TOKEN`, a write under the lock, which is ok if the store took it and
//! failed if it refused.
//!
//! * Tokens grow: an acquisition that began after another was over has the greater token, and no token is given twice.
//! * Fencing holds: a guarded write is not taken if, before it began, one with a greater token had been taken.
//! * A guarded write is under a token that was given out, or may have been.
//! * If the lock promises more than fencing: no two hold it at a time.

use std::collections::BTreeMap;

use super::{Checker, Report};
use crate::deadline;
use crate::history::{History, Operation, Outcome};

/// What a lock promises beside fencing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holders {
    /// A holder may not know yet that it lost the lock.
    MayOverlap,
    /// From when an acquisition is answered until its release begins nobody else acquires.
    Exclude,
}

/// Judges one lock and what it guards.
#[derive(Clone, Copy, Debug)]
pub struct FencedLock {
    /// What is promised beside fencing.
    pub holders: Holders,
}

impl Checker for FencedLock {
    fn check(&self, history: &History) -> Report {
        let of = |function: &'static str| {
            history
                .clients()
                .filter(move |operation| operation.function.as_str() == function)
        };
        let acquired: Vec<(&Operation, i64)> = of("acquire")
            .filter(|operation| operation.is_ok())
            .filter_map(|operation| Some((operation, operation.output.as_integer()?)))
            .collect();
        let taken: Vec<(&Operation, i64)> = of("guarded")
            .filter(|operation| operation.is_ok())
            .filter_map(|operation| Some((operation, operation.input.as_integer()?)))
            .collect();
        if acquired.is_empty() {
            return Report::unknown("the lock was never acquired");
        }
        let mut broken = backwards("tokens do not grow", &acquired, Equal::IsWrong);
        broken.extend(backwards("fencing does not hold", &taken, Equal::IsRight));
        // An acquisition of unknown outcome may have told its token by other ways.
        if of("acquire").all(|operation| operation.outcome != Outcome::Unknown) {
            broken.extend(unknown_tokens(&acquired, &taken));
        }
        let overlaps = overlaps(&acquired, &of("release").collect::<Vec<_>>());
        let count = overlaps.len();
        if self.holders == Holders::Exclude {
            broken.extend(overlaps);
        }
        let report = match broken.first() {
            None => Report::pass(),
            Some(first) => Report::fail(first.clone()).with_witness(broken.into_iter().take(8)),
        };
        report
            .with("acquisitions", acquired.len())
            .with("overlaps", count)
    }
}

/// What two operations with one token are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Equal {
    IsRight,
    IsWrong,
}

/// Operations (in the order of their invocations) whose token is behind that of one that was over before they began; for
/// acquisitions also a token that stands twice.
fn backwards(problem: &str, operations: &[(&Operation, i64)], equal: Equal) -> Vec<String> {
    let mut by_end: Vec<(u32, i64)> = operations
        .iter()
        .filter_map(|(operation, token)| Some((operation.ended?.order, *token)))
        .collect();
    by_end.sort_unstable();
    let mut ended = by_end.into_iter().peekable();
    let mut greatest = i64::MIN;
    let mut seen: BTreeMap<i64, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (operation, token) in operations {
        while let Some((_, before)) = ended.next_if(|(order, _)| *order < operation.invoked.order) {
            greatest = greatest.max(before);
        }
        let is_repeated =
            equal == Equal::IsWrong && seen.insert(*token, operation.invoked.order).is_some();
        if *token < greatest || is_repeated {
            wrong.push(format!(
                "{problem}: {token} at {}, after {greatest}",
                operation.invoked.order
            ));
        }
    }
    wrong
}

fn unknown_tokens(acquired: &[(&Operation, i64)], taken: &[(&Operation, i64)]) -> Vec<String> {
    let given = |token: i64, write: &Operation| {
        acquired.iter().any(|(operation, given)| {
            deadline::look();
            *given == token && operation.invoked.order < write.invoked.order
        })
    };
    taken
        .iter()
        .filter(|(write, token)| !given(*token, write))
        .map(|(write, token)| {
            format!("a write under token {token}, which nobody was given: {write}")
        })
        .collect()
}

/// Acquisitions that were answered while another holder had not begun to release.
fn overlaps(acquired: &[(&Operation, i64)], releases: &[&Operation]) -> Vec<String> {
    let released: BTreeMap<i64, u32> = releases
        .iter()
        .filter_map(|release| Some((release.input.as_integer()?, release.invoked.order)))
        .collect();
    let mut holds: Vec<(u32, u32, i64)> = acquired
        .iter()
        .filter_map(|(operation, token)| {
            Some((
                operation.ended?.order,
                released.get(token).copied().unwrap_or(u32::MAX),
                *token,
            ))
        })
        .collect();
    holds.sort_unstable();
    let mut last: Option<(u32, i64)> = None;
    let mut overlaps = Vec::new();
    for (from, until, token) in holds {
        if let Some((held_until, holder)) = last.filter(|(held_until, _)| from < *held_until) {
            overlaps.push(format!(
                "{token} was acquired at {from}, while {holder} was held until {held_until}"
            ));
        }
        last = last.max(Some((until, token)));
    }
    overlaps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verdict;
    use super::super::testing::{failed, history, ok};
    use super::*;
    use crate::history::Value;

    const FENCED: FencedLock = FencedLock {
        holders: Holders::MayOverlap,
    };
    const EXCLUSIVE: FencedLock = FencedLock {
        holders: Holders::Exclude,
    };

    fn acquire(process: u32, at: u32, token: i64) -> Operation {
        ok(process, (at, at + 1), "acquire", Value::Nil, token)
    }

    #[test]
    fn a_paused_holder_is_fenced_off_though_it_still_holds() {
        let history = history([
            acquire(0, 0, 1),
            acquire(1, 2, 2),
            ok(1, (4, 5), "guarded", 2, 2),
            failed(0, (6, 7), "guarded", 1),
        ]);
        assert_eq!(FENCED.check(&history).verdict, Verdict::Pass);
        assert_eq!(EXCLUSIVE.check(&history).verdict, Verdict::Fail);
    }

    #[test]
    fn a_token_out_of_the_air_is_noticed() {
        let history = history([acquire(0, 0, 1), ok(0, (2, 3), "guarded", 5, 5)]);
        assert_eq!(FENCED.check(&history).verdict, Verdict::Fail);
    }

    proptest! {
        /// The twin asks every pair: of acquisitions, of guarded writes, and of holders.
        #[test]
        fn verdicts_agree_with_every_pair(
            locks in prop::collection::vec((0_u32..10, 1_u32..5, 0_i64..4, 1_u32..8), 1..5),
            writes in prop::collection::vec((0_u32..16, 1_u32..5, 0_usize..4), 0..5),
        ) {
            let acquires: Vec<Operation> = locks
                .iter()
                .map(|(start, length, token, _)| ok(0, (*start, start + length), "acquire", Value::Nil, *token))
                .collect();
            let guarded: Vec<Operation> = writes
                .iter()
                .map(|(start, length, lock)| {
                    let token = locks[lock % locks.len()].2;
                    // Far behind, so that each token was given out before.
                    ok(1, (100 + start, 100 + start + length), "guarded", token, token)
                })
                .collect();
            // A token may stand twice, and then releases cannot be told apart: holders are compared only without that.
            let tokens: std::collections::BTreeSet<i64> = locks.iter().map(|lock| lock.2).collect();
            let is_unique = tokens.len() == locks.len();
            let releases: Vec<Operation> = locks
                .iter()
                .map(|(start, length, token, hold)| {
                    let at = start + length + hold;
                    ok(2, (at, at + 1), "release", *token, Value::Nil)
                })
                .collect();
            let behind = |operations: &[Operation], token: &dyn Fn(&Operation) -> Value| {
                operations.iter().any(|one| {
                    operations.iter().any(|other| one.precedes(other) && token(other) < token(one))
                })
            };
            let is_wrong = !is_unique
                || behind(&acquires, &|operation| operation.output.clone())
                || behind(&guarded, &|operation| operation.input.clone());
            let holds: Vec<(u32, u32)> =
                locks.iter().map(|(start, length, _, hold)| (start + length, start + length + hold)).collect();
            let overlap = (0..holds.len()).any(|one| (0..holds.len()).any(|other| {
                one != other && holds[one].0 <= holds[other].0 && holds[other].0 < holds[one].1
            }));
            let history = history(acquires.into_iter().chain(guarded).chain(releases));
            prop_assert_eq!(FENCED.check(&history).verdict == Verdict::Fail, is_wrong);
            if is_unique {
                prop_assert_eq!(EXCLUSIVE.check(&history).verdict == Verdict::Fail, is_wrong || overlap);
            }
        }
    }
}
