//! Counters: every read lies between what must have been added and what may have been.
//!
//! Operations: `add NUMBER` (negative to subtract), and `read` answered with a number. An add that was over before a read
//! began must be in it, an add that may have taken effect before the read was over may be. The bounds are what every
//! counter keeps, linearizable or not; they cost one sort.

use super::{Checker, Report};
use crate::history::{History, Outcome};

/// Judges reads of one counter that began at zero.
#[derive(Clone, Copy, Debug)]
pub struct Counter;

/// A change of what is certain or possible, or a read that asks for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// An add that was over: it must be in all later reads.
    Certain(i64),
    /// An add that began: it may be in reads that are still open.
    Possible(i64),
    Begin(usize),
    End(usize),
}

/// A read, with the least and greatest that it may show.
struct Read {
    shown: i64,
    /// Wide enough that no number of additions goes beyond it.
    least: i128,
    greatest: i128,
    invoked: u32,
}

impl Checker for Counter {
    fn check(&self, history: &History) -> Report {
        let mut steps: Vec<(u32, Step)> = Vec::new();
        let mut reads: Vec<Read> = Vec::new();
        for operation in history.clients() {
            match (
                operation.function.as_str(),
                operation.outcome,
                operation.ended,
            ) {
                ("add", Outcome::Failed, _) | ("read", Outcome::Failed | Outcome::Unknown, _) => {}
                ("add", outcome, ended) => {
                    let Some(number) = operation.input.as_integer() else {
                        return Report::unknown(format!("no whole number: {operation}"));
                    };
                    steps.push((operation.invoked.order, Step::Possible(number)));
                    if let (Outcome::Ok, Some(ended)) = (outcome, ended) {
                        steps.push((ended.order, Step::Certain(number)));
                    }
                }
                ("read", Outcome::Ok, Some(ended)) => {
                    let Some(shown) = operation.output.as_integer() else {
                        return Report::fail(format!("no whole number: {operation}"));
                    };
                    let invoked = operation.invoked.order;
                    steps.push((invoked, Step::Begin(reads.len())));
                    steps.push((ended.order, Step::End(reads.len())));
                    reads.push(Read {
                        shown,
                        least: 0,
                        greatest: 0,
                        invoked,
                    });
                }
                _ => {}
            }
        }
        steps.sort_unstable();
        bound(&steps, &mut reads);
        judge(&reads)
    }
}

/// Four sums tell the bounds: what is certain and what possible, of additions and of subtractions. What makes the value
/// greater is certain from when a read begins and possible until it ends; what makes it less, the other way round.
fn bound(steps: &[(u32, Step)], reads: &mut [Read]) {
    let (mut certain, mut possible) = ([0_i128; 2], [0_i128; 2]);
    for (_, step) in steps {
        match *step {
            Step::Certain(number) => certain[usize::from(number < 0)] += i128::from(number),
            Step::Possible(number) => possible[usize::from(number < 0)] += i128::from(number),
            Step::Begin(read) => {
                reads[read].least += certain[0];
                reads[read].greatest += certain[1];
            }
            Step::End(read) => {
                reads[read].least += possible[1];
                reads[read].greatest += possible[0];
            }
        }
    }
}

fn judge(reads: &[Read]) -> Report {
    let wrong = |read: &&Read| !(read.least..=read.greatest).contains(&i128::from(read.shown));
    let words = |read: &Read| {
        format!(
            "the read invoked at {} shows {}, not {} to {}",
            read.invoked, read.shown, read.least, read.greatest
        )
    };
    let count = reads.iter().filter(wrong).count();
    let report = match reads.iter().find(wrong) {
        _ if reads.is_empty() => Report::unknown("the counter was never read"),
        None => Report::pass(),
        Some(first) => {
            Report::fail(words(first)).with_witness(reads.iter().filter(wrong).take(8).map(words))
        }
    };
    report.with("reads", reads.len()).with("wrong", count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verdict;
    use super::super::testing::{history, ok, unknown};
    use super::*;
    use crate::history::{Operation, Value};

    /// Whether some order of adds (those of unknown outcome may be left out) and this one read explains it: an add is in or
    /// out, must be in if it was over before, must be out if it began after.
    fn explained(operations: &[Operation], read: &Operation) -> bool {
        let adds: Vec<&Operation> = operations
            .iter()
            .filter(|operation| operation.function.as_str() == "add")
            .collect();
        (0..1_u32 << adds.len()).any(|mask| {
            let is_in = |place: usize| mask >> place & 1 == 1;
            let sum: i64 = (0..adds.len())
                .filter(|place| is_in(*place))
                .filter_map(|place| adds[place].input.as_integer())
                .sum();
            let fits = adds
                .iter()
                .enumerate()
                .all(|(place, add)| match is_in(place) {
                    true => !read.precedes(add),
                    false => !add.precedes(read),
                });
            fits && read.output.as_integer() == Some(sum)
        })
    }

    proptest! {
        /// All values within the bounds cannot be reached (adds of 5 alone never make 3); but with adds of one in size the
        /// bounds are exact.
        #[test]
        fn bounds_are_exact_for_steps_of_one(
            drawn in prop::collection::vec((0_u32..10, 1_u32..6, 0_u8..6, -2_i64..4), 1..7)
        ) {
            let operations: Vec<Operation> = (0_u32..)
                .zip(&drawn)
                .map(|(place, (start, length, kind, shown))| {
                    // Moments differ: what is simultaneous is ordered nowhere.
                    let span = (start * 32 + place, (start + length) * 32 + 8 + place);
                    match kind {
                        0 | 1 => ok(place, span, "add", 1, 1),
                        2 => ok(place, span, "add", -1, -1),
                        3 => unknown(place, span, "add", 1),
                        _ => ok(place, span, "read", Value::Nil, *shown),
                    }
                })
                .collect();
            let mut reads = operations.iter().filter(|operation| operation.function.as_str() == "read").peekable();
            prop_assume!(reads.peek().is_some());
            let expected = if reads.all(|read| explained(&operations, read)) { Verdict::Pass } else { Verdict::Fail };
            let report = Counter.check(&history(operations.clone()));
            prop_assert_eq!(report.verdict, expected, "{}", report);
        }
    }
}
