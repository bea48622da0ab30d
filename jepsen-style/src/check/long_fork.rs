//! Long forks: two readers who disagree on which of two writes came first.
//!
//! Operations: `txn` of `[["w", KEY, VALUE]]`, each key written once, and `txn` of several `["r", KEY, VALUE or nil]`. Each read
//! shows a set of keys that were written. If there is one order of writes, of any two reads of the same keys one shows all
//! that the other shows. Parallel snapshot isolation allows forks; snapshot isolation does not.
//!
//! Sets that form a chain are found by sorting: put in order of size, each must hold the one before it. So one sort a group
//! of keys decides, where pairs would be quadratic.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checker, Report};
use crate::deadline;
use crate::history::{History, Operation, Outcome, Value};

/// Judges reads of groups of keys that are written once.
#[derive(Clone, Copy, Debug)]
pub struct LongFork;

/// The keys of a group that one read shows as written.
type Shown<'a> = (BTreeSet<&'a Value>, &'a Operation);

impl Checker for LongFork {
    fn check(&self, history: &History) -> Report {
        let mut written: BTreeMap<&Value, &Value> = BTreeMap::new();
        let mut groups: BTreeMap<Vec<&Value>, Vec<Shown<'_>>> = BTreeMap::new();
        for operation in history.clients() {
            let told = if operation.is_ok() {
                &operation.output
            } else {
                &operation.input
            };
            let mut shown = BTreeMap::new();
            for micro in told.as_list().unwrap_or_default() {
                deadline::look();
                let Some([function, key, value]) = micro.as_list() else {
                    return Report::unknown(format!("not understood: {micro}"));
                };
                match function.as_text() {
                    Some("w") if operation.outcome == Outcome::Failed => {}
                    Some("w") => {
                        if written.insert(key, value).is_some() {
                            return Report::unknown(format!("{key} is written more than once"));
                        }
                    }
                    Some("r") => {
                        shown.insert(key, value);
                    }
                    _ => return Report::unknown(format!("not understood: {micro}")),
                }
            }
            if operation.is_ok() && !shown.is_empty() {
                let keys = shown.keys().copied().collect();
                let seen = shown
                    .into_iter()
                    .filter(|(_, value)| !value.is_nil())
                    .map(|(key, _)| key)
                    .collect();
                groups.entry(keys).or_default().push((seen, operation));
            }
        }
        judge(groups)
    }
}

fn judge(groups: BTreeMap<Vec<&Value>, Vec<Shown<'_>>>) -> Report {
    let reads: usize = groups.values().map(Vec::len).sum();
    let forks: Vec<String> = groups.into_values().flat_map(forks).collect();
    let report = match forks.len() {
        _ if reads == 0 => Report::unknown("nothing was read"),
        0 => Report::pass(),
        count => Report::fail(format!("{count} forks: {}", forks[0]))
            .with_witness(forks.into_iter().take(8)),
    };
    report.with("reads", reads)
}

/// Neighbours by size of which the larger does not hold the smaller.
fn forks(mut reads: Vec<Shown<'_>>) -> Vec<String> {
    reads.sort_by_key(|(seen, operation)| (seen.len(), operation.invoked.order));
    reads
        .windows(2)
        .filter(|pair| !pair[0].0.is_subset(&pair[1].0))
        .map(|pair| format!("neither holds the other: {} and {}", pair[0].1, pair[1].1))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verdict;
    use super::super::testing::{history, ok};
    use super::*;

    fn read(place: u32, mask: u8) -> Operation {
        let micros = (0_i64..3).map(|key| {
            let value = if mask >> key & 1 == 1 {
                1.into()
            } else {
                Value::Nil
            };
            Value::list(["r".into(), key.into(), value])
        });
        ok(
            place,
            (2 * place, 2 * place + 1),
            "txn",
            Value::Nil,
            Value::list(micros),
        )
    }

    proptest! {
        /// The twin compares every pair of reads.
        #[test]
        fn a_fork_is_a_pair_that_disagrees(masks in prop::collection::vec(0_u8..8, 1..7)) {
            let disagree = |one: u8, other: u8| one & !other != 0 && other & !one != 0;
            let forks = masks.iter().any(|one| masks.iter().any(|other| disagree(*one, *other)));
            let reads = (0_u32..).zip(&masks).map(|(place, mask)| read(place, *mask));
            prop_assert_eq!(LongFork.check(&history(reads)).verdict == Verdict::Fail, forks);
        }
    }
}
