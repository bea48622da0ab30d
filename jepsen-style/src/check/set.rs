//! Sets: what was added stays.
//!
//! Operations: `add VALUE`, and `read` whose answer lists the elements. Each element lives through this: it is *known* from
//! the moment at which its add was acknowledged or a read that shows it was answered, whichever came first; every read that
//! begins after that should show it. If a later read shows it again, a read that missed it was *stale* (how stale is
//! measured); if none does, the element is *lost*. An element that no read could have shown, since none began after it was
//! known, was *never read* and nothing is claimed of it.
//!
//! What a read shows that was never added, or whose add failed, is an error too.

use rustc_hash::FxHashMap;

use super::latency;
use super::{Checker, Report};
use crate::deadline;
use crate::history::{History, Operation, Outcome, Value};

/// Whether a read may miss what it should show, if it shows up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    /// Eventual visibility is all that is promised.
    Allowed,
    /// Every read shows everything that was known before it began.
    Forbidden,
}

/// Judges adds to one set.
#[derive(Clone, Copy, Debug)]
pub struct SetFull {
    /// What is promised of reads.
    pub staleness: Staleness,
}

/// What is known of an element.
#[derive(Clone, Copy)]
struct Element {
    outcome: Outcome,
    /// When it was first known to be there (order, nanoseconds).
    known: Option<(u32, u64)>,
    /// The last completion of a read that shows it.
    last_seen: Option<u32>,
    /// The last invocation of a read that should show it and does not (order, nanoseconds).
    last_missed: Option<(u32, u64)>,
    /// The last read (by its place) that shows it.
    stamp: usize,
    is_read: bool,
}

impl Checker for SetFull {
    fn check(&self, history: &History) -> Report {
        let reads: Vec<&Operation> = history
            .clients()
            .filter(|operation| operation.function.as_str() == "read" && operation.is_ok())
            .collect();
        if reads.is_empty() {
            return Report::unknown("the set was never read");
        }
        let mut elements = added(history);
        let unexpected = see(&reads, &mut elements);
        miss(&reads, &mut elements);
        self.judge(elements, unexpected)
    }
}

/// Every element that was to be added.
fn added(history: &History) -> FxHashMap<&Value, Element> {
    let mut elements: FxHashMap<&Value, Element> = FxHashMap::default();
    for operation in history
        .clients()
        .filter(|operation| operation.function.as_str() == "add")
    {
        let acknowledged = operation.ended.filter(|_| operation.is_ok());
        let element = elements.entry(&operation.input).or_insert(Element {
            outcome: operation.outcome,
            known: None,
            last_seen: None,
            last_missed: None,
            stamp: usize::MAX,
            is_read: false,
        });
        // Added twice: it is there if either add worked, and perhaps if either may have.
        if element.outcome == Outcome::Failed || operation.is_ok() {
            element.outcome = operation.outcome;
        }
        element.known = earlier(
            element.known,
            acknowledged.map(|moment| (moment.order, moment.nanoseconds)),
        );
    }
    elements
}

fn earlier(one: Option<(u32, u64)>, other: Option<(u32, u64)>) -> Option<(u32, u64)> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Notes what the reads show; returns what they should not.
fn see(reads: &[&Operation], elements: &mut FxHashMap<&Value, Element>) -> Vec<String> {
    let mut unexpected = Vec::new();
    for read in reads {
        let Some(ended) = read.ended else { continue };
        for value in read.output.as_list().unwrap_or_default() {
            deadline::look();
            match elements.get_mut(value) {
                Some(element) if element.outcome != Outcome::Failed => {
                    element.known = earlier(element.known, Some((ended.order, ended.nanoseconds)));
                    element.last_seen = element.last_seen.max(Some(ended.order));
                }
                Some(_) => unexpected.push(format!(
                    "{value} was read, but its add failed: {}",
                    brief(read)
                )),
                None => unexpected.push(format!(
                    "{value} was read, but never added: {}",
                    brief(read)
                )),
            }
        }
    }
    unexpected
}

fn brief(read: &Operation) -> String {
    format!(
        "the read of process {} invoked at {}",
        read.process, read.invoked.order
    )
}

/// Notes what the reads should show and do not.
fn miss(reads: &[&Operation], elements: &mut FxHashMap<&Value, Element>) {
    for (place, read) in reads.iter().enumerate() {
        for value in read.output.as_list().unwrap_or_default() {
            deadline::look();
            if let Some(element) = elements.get_mut(value) {
                element.stamp = place;
            }
        }
        let invoked = (read.invoked.order, read.invoked.nanoseconds);
        for element in elements.values_mut() {
            deadline::look();
            if element.known.is_some_and(|known| known.0 < invoked.0) {
                element.is_read = true;
                if element.stamp != place {
                    element.last_missed = element.last_missed.max(Some(invoked));
                }
            }
        }
    }
}

impl SetFull {
    fn judge(&self, elements: FxHashMap<&Value, Element>, unexpected: Vec<String>) -> Report {
        let (mut lost, mut stale, mut never_read, mut stable) =
            (Vec::new(), Vec::new(), 0_u64, 0_u64);
        let mut latencies = Vec::new();
        let mut sorted: Vec<(&Value, Element)> = elements.into_iter().collect();
        sorted.sort_unstable_by_key(|(value, _)| *value);
        for (value, element) in sorted {
            let Some(known) = element.known else { continue };
            match (element.is_read, element.last_missed) {
                (false, _) => never_read += 1,
                (true, None) => stable += 1,
                // Seen by no read that was still open when the one that misses it began: it is gone.
                (true, Some(missed)) if element.last_seen.is_none_or(|seen| seen < missed.0) => {
                    lost.push(format!(
                        "{value} was known at {} and is missing in the read invoked at {}",
                        known.0, missed.0
                    ));
                }
                (true, Some(missed)) => {
                    latencies.push(missed.1.saturating_sub(known.1));
                    stale.push(format!(
                        "{value} was known at {} and missing in the read invoked at {}",
                        known.0, missed.0
                    ));
                }
            }
        }
        let counts = [
            ("lost", lost.len()),
            ("stale", stale.len()),
            ("unexpected", unexpected.len()),
        ];
        let is_strict = self.staleness == Staleness::Forbidden;
        let report = if !unexpected.is_empty() {
            Report::fail(format!(
                "{} unexpected elements were read",
                unexpected.len()
            ))
            .with_witness(first(unexpected))
        } else if !lost.is_empty() {
            Report::fail(format!("{} elements were lost", lost.len())).with_witness(first(lost))
        } else if is_strict && !stale.is_empty() {
            Report::fail(format!("{} elements were stale", stale.len())).with_witness(first(stale))
        } else if stable == 0 && stale.is_empty() {
            Report::unknown("no element was known before a read began")
        } else {
            Report::pass()
        };
        let report = counts
            .into_iter()
            .fold(report, |report, (name, count)| report.with(name, count));
        report
            .with("never-read", never_read)
            .with("stable", stable)
            .with("staleness", latency::summary(latencies))
    }
}

/// As many lines as a person reads.
fn first(lines: Vec<String>) -> impl Iterator<Item = String> {
    lines.into_iter().take(8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verdict;
    use super::super::testing::{history, numbers, ok, unknown};
    use super::*;

    const STRICT: SetFull = SetFull {
        staleness: Staleness::Forbidden,
    };
    const EVENTUAL: SetFull = SetFull {
        staleness: Staleness::Allowed,
    };

    #[test]
    fn a_read_that_overlaps_the_add_may_miss_it() {
        let history = history([
            ok(0, (0, 3), "add", 1, 1),
            ok(1, (1, 2), "read", Value::Nil, numbers(&[])),
            ok(1, (4, 5), "read", Value::Nil, numbers(&[1])),
        ]);
        assert_eq!(STRICT.check(&history).verdict, Verdict::Pass);
    }

    #[test]
    fn an_element_that_comes_back_was_stale_and_not_lost() {
        let history = history([
            ok(0, (0, 1), "add", 1, 1),
            ok(1, (2, 3), "read", Value::Nil, numbers(&[])),
            ok(1, (4, 5), "read", Value::Nil, numbers(&[1])),
        ]);
        assert_eq!(EVENTUAL.check(&history).verdict, Verdict::Pass);
        assert_eq!(STRICT.check(&history).verdict, Verdict::Fail);
    }

    #[test]
    fn an_unknown_add_is_known_once_it_was_seen() {
        let lost = history([
            unknown(0, (0, 1), "add", 1),
            ok(1, (2, 3), "read", Value::Nil, numbers(&[1])),
            ok(1, (4, 5), "read", Value::Nil, numbers(&[])),
        ]);
        assert_eq!(EVENTUAL.check(&lost).verdict, Verdict::Fail);
    }

    proptest! {
        /// The twin asks each element and each pair of reads.
        #[test]
        fn verdicts_agree_with_every_pair_of_reads(
            adds in prop::collection::vec((0_u32..8, 1_u32..6, 0_u8..3), 1..4),
            reads in prop::collection::vec((0_u32..12, 1_u32..6, 0_u8..8), 1..4),
        ) {
            let mut operations = Vec::new();
            for (value, (start, length, outcome)) in (0_i64..).zip(&adds) {
                let span = (*start, start + length);
                operations.push(match outcome {
                    0 => unknown(0, span, "add", value),
                    _ => ok(0, span, "add", value, value),
                });
            }
            for (start, length, mask) in &reads {
                let shown: Vec<i64> =
                    (0_i64..).take(adds.len()).filter(|value| mask >> value & 1 == 1).collect();
                operations.push(ok(1, (*start, start + length), "read", Value::Nil, numbers(&shown)));
            }
            let (mut lost, mut stale) = (false, false);
            for (value, (start, length, outcome)) in adds.iter().enumerate() {
                let shows = |mask: &u8| mask >> value & 1 == 1;
                let acknowledged = (*outcome != 0).then_some(start + length);
                let seen = reads.iter().filter(|read| shows(&read.2)).map(|read| read.0 + read.1);
                let Some(known) = seen.chain(acknowledged).min() else { continue };
                for missing in reads.iter().filter(|read| !shows(&read.2) && known < read.0) {
                    let again = reads.iter().any(|read| shows(&read.2) && read.0 + read.1 >= missing.0);
                    lost |= !again;
                    stale = true;
                }
            }
            let history = history(operations);
            prop_assert_eq!(EVENTUAL.check(&history).verdict == Verdict::Fail, lost);
            prop_assert_eq!(STRICT.check(&history).verdict == Verdict::Fail, stale);
        }
    }
}
