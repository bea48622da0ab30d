//! A counter: `add` of a number (`increment` and `decrement` of one), `read` (answer: the sum).
//!
//! Where every addition is of one, a read says how many came before it, and it does not matter which: they are given out
//! soonest return first, the rule that loses no schedule of equal tasks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::set::Blocks;
use super::{Decision, Model, OPEN, Timed};
use crate::history::Operation;

/// A counter that begins at 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counter;

/// What can be asked of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// This number was added.
    Add(i64),
    /// This was the sum.
    Read(i64),
}

impl Model for Counter {
    /// Wide enough that no number of additions goes beyond it.
    type State = i128;
    type Call = Call;

    fn init(&self) -> i128 {
        0
    }

    fn call(&self, operation: &Operation) -> Result<Option<Call>, String> {
        let number = || operation.input.as_integer();
        match operation.function.as_str() {
            "add" => Ok(Some(Call::Add(number().ok_or("add takes a whole number")?))),
            "increment" | "inc" => Ok(Some(Call::Add(number().unwrap_or(1)))),
            "decrement" | "dec" => {
                let less = number().unwrap_or(1).checked_neg();
                Ok(Some(Call::Add(less.ok_or("decrement takes a number")?)))
            }
            "read" if operation.is_ok() => Ok(Some(Call::Read(
                operation
                    .output
                    .as_integer()
                    .ok_or("read answers a whole number")?,
            ))),
            "read" => Ok(None),
            other => Err(format!("a counter knows add and read, not {other}")),
        }
    }

    fn step(&self, state: &i128, call: &Call) -> Option<i128> {
        match call {
            Call::Add(number) => state.checked_add(i128::from(*number)),
            Call::Read(seen) => (i128::from(*seen) == *state).then_some(*state),
        }
    }

    fn part<'a>(&self, operation: &'a Operation) -> Option<&'a crate::history::Value> {
        Some(&operation.key)
    }

    fn is_pure(&self, call: &Call) -> bool {
        matches!(call, Call::Read(_) | Call::Add(0))
    }

    fn decide(&self, calls: &[Timed<Call>]) -> Option<Decision> {
        decide(calls)
    }

    fn describe(&self, state: &i128) -> String {
        state.to_string()
    }
}

/// Decides if every addition is of one; `None` otherwise.
fn decide(calls: &[Timed<Call>]) -> Option<Decision> {
    let mut additions: Vec<(u32, u32)> = Vec::new();
    let mut reads: Vec<(i64, u32, u32)> = Vec::new();
    for timed in calls {
        match timed.call {
            Call::Add(1) => additions.push((timed.invoked, timed.returned)),
            Call::Add(_) => return None,
            Call::Read(seen) => reads.push((seen, timed.invoked, timed.returned)),
        }
    }
    reads.sort_unstable();
    let illegal = |reason: String| Some(Decision::Illegal(reason));
    let mut additions = Additions::new(additions);
    let mut blocks = Blocks::default();
    let mut reached: i64 = 0;
    // What comes before a read must have been invoked before that read, or one of a larger sum, returned.
    let mut first_returns: Vec<u32> = reads.iter().map(|read| read.2).collect();
    for earlier in (1..first_returns.len()).rev() {
        first_returns[earlier - 1] = first_returns[earlier - 1].min(first_returns[earlier]);
    }
    let mut first_returns = first_returns.as_slice();
    for of_one_sum in reads.chunk_by(|one, other| one.0 == other.0) {
        let sum = of_one_sum[0].0;
        let first_return = first_returns[0];
        first_returns = &first_returns[of_one_sum.len()..];
        let last_invocation = of_one_sum.iter().map(|read| read.1).max().unwrap_or(0);
        let Ok(wanted) = usize::try_from(sum - reached) else {
            return illegal(format!("a read of {sum} is less than the counter can be"));
        };
        additions.invoke_until(first_return);
        for _ in 0..wanted {
            let Some((invoked, returned)) = additions.take() else {
                return illegal(format!(
                    "a read of {sum} counts more than was added by then"
                ));
            };
            if !blocks.place(invoked, returned) {
                return illegal(format!(
                    "a read of less than {sum} misses what was added before it"
                ));
            }
        }
        blocks.close();
        if of_one_sum.iter().any(|read| !blocks.place(read.1, read.2)) {
            return illegal(format!(
                "a read of {sum} returned before what a larger sum was read after"
            ));
        }
        blocks.close();
        if additions.soonest_return() < last_invocation {
            return illegal(format!("a read of {sum} misses what was added before it"));
        }
        reached = sum;
    }
    Some(Decision::Linearizable)
}

/// Additions that are still to be placed.
struct Additions {
    /// By invocation, latest first.
    coming: Vec<(u32, u32)>,
    /// Invoked, by return.
    open: BinaryHeap<Reverse<(u32, u32)>>,
    /// The soonest return among `coming[..=i]`.
    soonest: Vec<u32>,
}

impl Additions {
    fn new(mut coming: Vec<(u32, u32)>) -> Self {
        coming.sort_unstable_by_key(|addition| Reverse(addition.0));
        let mut soonest = OPEN;
        let soonest = coming
            .iter()
            .map(|(_, returned)| {
                soonest = soonest.min(*returned);
                soonest
            })
            .collect();
        Self {
            coming,
            open: BinaryHeap::new(),
            soonest,
        }
    }

    fn invoke_until(&mut self, moment: u32) {
        while let Some((invoked, returned)) = self.coming.pop_if(|addition| addition.0 < moment) {
            self.open.push(Reverse((returned, invoked)));
        }
    }

    fn take(&mut self) -> Option<(u32, u32)> {
        self.open
            .pop()
            .map(|Reverse((returned, invoked))| (invoked, returned))
    }

    fn soonest_return(&self) -> u32 {
        let open = self
            .open
            .peek()
            .map_or(OPEN, |Reverse((returned, _))| *returned);
        let coming = self
            .coming
            .len()
            .checked_sub(1)
            .map_or(OPEN, |last| self.soonest[last]);
        open.min(coming)
    }
}
