//! A set: `add` and `remove` of an element, `contains` (answer: `true` or `false`), `read` (answer: all elements).
//!
//! Where elements are only added, each once, and the set is read as a whole, the answers give the order away: reads form
//! a chain, and an element was added between the last read without it and the first with it. What is left to check is
//! that this order, block by block, agrees with real time.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::{Decision, Model, Timed};
use crate::history::{Operation, Value};

/// A set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Set;

/// What can be asked of a set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// This element was added.
    Add(Value),
    /// This element was removed.
    Remove(Value),
    /// Whether the element was there.
    Contains(Value, bool),
    /// All elements, sorted.
    Read(Box<[Value]>),
}

impl Model for Set {
    type State = BTreeSet<Value>;
    type Call = Call;

    fn init(&self) -> Self::State {
        BTreeSet::new()
    }

    fn call(&self, operation: &Operation) -> Result<Option<Call>, String> {
        let argument = || operation.input.clone();
        Ok(match operation.function.as_str() {
            "add" => Some(Call::Add(argument())),
            "remove" => Some(Call::Remove(argument())),
            "contains" if operation.is_ok() => {
                let there = operation
                    .output
                    .as_bool()
                    .ok_or("contains answers true or false")?;
                Some(Call::Contains(argument(), there))
            }
            "read" if operation.is_ok() => {
                let elements = match &operation.output {
                    Value::Nil => &[],
                    output => output.as_list().ok_or("read answers a list of elements")?,
                };
                let Value::Set(elements) = Value::set(elements.iter().cloned()) else {
                    unreachable!("Value::set makes a set")
                };
                Some(Call::Read(elements))
            }
            "contains" | "read" => None,
            other => {
                return Err(format!(
                    "a set knows add, remove, contains and read, not {other}"
                ));
            }
        })
    }

    fn step(&self, state: &Self::State, call: &Call) -> Option<Self::State> {
        let mut after = state.clone();
        match call {
            Call::Add(element) => {
                after.insert(element.clone());
            }
            Call::Remove(element) => {
                after.remove(element);
            }
            Call::Contains(element, there) if state.contains(element) == *there => {}
            Call::Read(seen) if seen.iter().eq(state) => {}
            Call::Contains(..) | Call::Read(_) => return None,
        }
        Some(after)
    }

    fn part<'a>(&self, operation: &'a Operation) -> Option<&'a Value> {
        Some(&operation.key)
    }

    fn is_pure(&self, call: &Call) -> bool {
        matches!(call, Call::Contains(..) | Call::Read(_))
    }

    fn decide(&self, calls: &[Timed<Call>]) -> Option<Decision> {
        decide(calls)
    }

    fn owned(&self, state: &Self::State) -> usize {
        // A node of the tree is three quarters full.
        state.len() * size_of::<Value>() * 4 / 3
    }

    fn describe(&self, state: &Self::State) -> String {
        Value::set(state.iter().cloned()).to_string()
    }
}

/// Decides if elements are only added, each once, and the set is read whole; `None` otherwise.
fn decide(calls: &[Timed<Call>]) -> Option<Decision> {
    let mut adds: FxHashMap<&Value, &Timed<Call>> = FxHashMap::default();
    let mut reads: Vec<(&[Value], &Timed<Call>)> = Vec::new();
    for timed in calls {
        match &timed.call {
            Call::Add(element) => {
                if adds.insert(element, timed).is_some() {
                    return None;
                }
            }
            Call::Read(seen) => reads.push((seen, timed)),
            Call::Remove(_) | Call::Contains(..) => return None,
        }
    }
    reads.sort_by_key(|(seen, _)| seen.len());
    let illegal = |reason: String| Some(Decision::Illegal(reason));
    let mut blocks = Blocks::default();
    let mut before: &[Value] = &[];
    for (seen, read) in reads {
        if !is_subset(before, seen) {
            return illegal(
                "two reads contradict each other: neither holds all of the other".to_owned(),
            );
        }
        for element in difference(seen, before) {
            let Some(add) = adds.remove(element) else {
                return illegal(format!("{element} was read but never added"));
            };
            if !blocks.place(add.invoked, add.returned) {
                return illegal(format!(
                    "{element} was seen too late: a read that began after it was added missed it"
                ));
            }
        }
        // A block may hold elements that were added in any order, but the read comes after all of them.
        blocks.close();
        if !blocks.place(read.invoked, read.returned) {
            return illegal(format!(
                "a read of {} elements returned before one of them was added",
                seen.len()
            ));
        }
        blocks.close();
        before = seen;
    }
    for (element, add) in adds.iter().filter(|(_, add)| !add.is_open()) {
        if !blocks.place(add.invoked, add.returned) {
            return illegal(format!(
                "{element} was lost: a read that began after it was added missed it"
            ));
        }
    }
    Some(Decision::Linearizable)
}

/// Operations that must stand in a given order of blocks, in any order within a block. They can, exactly if none returned
/// before one of an earlier block was invoked.
#[derive(Default)]
pub(super) struct Blocks {
    /// The latest invocation in the blocks that are closed.
    latest: Option<u32>,
    open_latest: Option<u32>,
}

impl Blocks {
    /// Puts an operation into the open block, if it can be there.
    pub(super) fn place(&mut self, invoked: u32, returned: u32) -> bool {
        self.open_latest = self.open_latest.max(Some(invoked));
        self.latest.is_none_or(|latest| returned > latest)
    }

    /// Begins the next block.
    pub(super) fn close(&mut self) {
        self.latest = self.latest.max(self.open_latest);
    }
}

/// Both are sorted.
fn is_subset(small: &[Value], large: &[Value]) -> bool {
    let mut large = large.iter();
    small
        .iter()
        .all(|element| large.any(|other| other == element))
}

/// What `large` has and `small` has not; both are sorted.
fn difference<'a>(large: &'a [Value], small: &'a [Value]) -> impl Iterator<Item = &'a Value> {
    let mut small = small.iter().peekable();
    large
        .iter()
        .filter(move |element| small.next_if_eq(element).is_none())
}
