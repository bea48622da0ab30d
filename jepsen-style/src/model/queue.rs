//! A queue, first in first out: `enqueue` of an element, `dequeue` (answer: the element, or nil when it was empty).
//!
//! Where every element is enqueued once, a history is linearizable exactly if none of four bad patterns is in it
//! (Bouajjani, Emmi, Enea & Hamza, *On Reducing Linearizability to State Reachability*, 2015): an element that comes out
//! and was never put in; one that comes out twice; one that overtakes another; and an empty answer while at every moment
//! some element was certainly there. Each is found in the time of a sort.

use rustc_hash::FxHashMap;

use super::{Decision, Model, OPEN, Timed};
use crate::history::{Operation, Value};

/// A first-in-first-out queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct Queue;

/// What can be asked of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// This element was put at the end.
    Enqueue(Value),
    /// This element was taken from the front; [`Value::Nil`]: there was none.
    Dequeue(Value),
    /// Nobody knows what was taken, if anything.
    DequeueUnknown,
}

impl Model for Queue {
    type State = Vec<Value>;
    type Call = Call;

    fn init(&self) -> Vec<Value> {
        Vec::new()
    }

    fn call(&self, operation: &Operation) -> Result<Option<Call>, String> {
        match operation.function.as_str() {
            "enqueue" => Ok(Some(Call::Enqueue(operation.input.clone()))),
            "dequeue" if operation.is_ok() => Ok(Some(Call::Dequeue(operation.output.clone()))),
            "dequeue" => Ok(Some(Call::DequeueUnknown)),
            other => Err(format!("a queue knows enqueue and dequeue, not {other}")),
        }
    }

    fn step(&self, state: &Vec<Value>, call: &Call) -> Option<Vec<Value>> {
        match call {
            Call::Enqueue(element) => {
                let mut after = state.clone();
                after.push(element.clone());
                Some(after)
            }
            Call::Dequeue(Value::Nil) => state.is_empty().then(Vec::new),
            Call::Dequeue(element) => (state.first() == Some(element)).then(|| state[1..].to_vec()),
            Call::DequeueUnknown => Some(state.get(1..).unwrap_or_default().to_vec()),
        }
    }

    fn part<'a>(&self, operation: &'a Operation) -> Option<&'a Value> {
        Some(&operation.key)
    }

    fn is_pure(&self, call: &Call) -> bool {
        *call == Call::Dequeue(Value::Nil)
    }

    fn decide(&self, calls: &[Timed<Call>]) -> Option<Decision> {
        decide(calls)
    }

    fn owned(&self, state: &Vec<Value>) -> usize {
        state.capacity() * size_of::<Value>()
    }

    fn describe(&self, state: &Vec<Value>) -> String {
        Value::list(state.iter().cloned()).to_string()
    }
}

/// The life of one element.
struct Life<'a> {
    element: &'a Value,
    enqueued: (u32, u32),
    /// `None` if it was never taken out.
    dequeued: Option<(u32, u32)>,
}

/// Decides if elements differ and no dequeue is doubtful; `None` otherwise.
fn decide(calls: &[Timed<Call>]) -> Option<Decision> {
    let mut lives: Vec<Life<'_>> = Vec::new();
    let mut of_element: FxHashMap<&Value, usize> = FxHashMap::default();
    for timed in calls {
        match &timed.call {
            Call::Enqueue(element) => {
                if of_element.insert(element, lives.len()).is_some() || element.is_nil() {
                    return None;
                }
                lives.push(Life {
                    element,
                    enqueued: (timed.invoked, timed.returned),
                    dequeued: None,
                });
            }
            // It may have taken anything: more cases than patterns.
            Call::DequeueUnknown => return None,
            Call::Dequeue(_) => {}
        }
    }
    let illegal = |reason: String| Some(Decision::Illegal(reason));
    let mut empties = Vec::new();
    for timed in calls {
        let Call::Dequeue(element) = &timed.call else {
            continue;
        };
        if element.is_nil() {
            empties.push((timed.invoked, timed.returned));
            continue;
        }
        let Some(&life) = of_element.get(element) else {
            return illegal(format!("{element} came out but was never put in"));
        };
        let life = &mut lives[life];
        if life.dequeued.is_some() {
            return illegal(format!("{element} came out twice"));
        }
        if timed.returned < life.enqueued.0 {
            return illegal(format!("{element} came out before it was put in"));
        }
        life.dequeued = Some((timed.invoked, timed.returned));
    }
    // An enqueue that nobody knows of and nobody saw need not have happened.
    lives.retain(|life| life.enqueued.1 != OPEN || life.dequeued.is_some());
    if let Some(reason) = overtaken(&mut lives) {
        return illegal(reason);
    }
    Some(covered(&lives, &empties).map_or(Decision::Linearizable, Decision::Illegal))
}

/// An element that was put in after another and came out before it, both for certain.
fn overtaken(lives: &mut [Life<'_>]) -> Option<String> {
    // For each life: among those enqueued wholly before it, was one dequeued wholly after it, or never?
    let mut by_return: Vec<usize> = (0..lives.len()).collect();
    by_return.sort_unstable_by_key(|life| lives[*life].enqueued.1);
    let mut by_invocation: Vec<usize> = (0..lives.len()).collect();
    by_invocation.sort_unstable_by_key(|life| lives[*life].enqueued.0);
    let taken_out = |life: &Life<'_>| life.dequeued.map_or(OPEN, |(invoked, _)| invoked);
    let mut earlier = by_return.into_iter().peekable();
    let mut last: Option<usize> = None;
    for life in by_invocation {
        let life = &lives[life];
        while let Some(before) =
            earlier.next_if(|before| lives[*before].enqueued.1 < life.enqueued.0)
        {
            if last.is_none_or(|last| taken_out(&lives[last]) < taken_out(&lives[before])) {
                last = Some(before);
            }
        }
        let (Some(last), Some((_, out))) = (last, life.dequeued) else {
            continue;
        };
        if out < taken_out(&lives[last]) {
            return Some(format!(
                "{} came out before {}, which was put in earlier",
                life.element, lives[last].element
            ));
        }
    }
    None
}

/// An empty answer while some element was certainly there at every moment.
fn covered(lives: &[Life<'_>], empties: &[(u32, u32)]) -> Option<String> {
    // An element is certainly there from the return of its enqueue to the invocation of its dequeue.
    let mut there: Vec<(u32, u32)> = lives
        .iter()
        .map(|life| {
            (
                life.enqueued.1,
                life.dequeued.map_or(OPEN, |(invoked, _)| invoked),
            )
        })
        .filter(|(from, to)| from < to)
        .collect();
    there.sort_unstable();
    let mut stretches: Vec<(u32, u32)> = Vec::new();
    for (from, to) in there {
        match stretches.last_mut() {
            Some(last) if from < last.1 => last.1 = last.1.max(to),
            _ => stretches.push((from, to)),
        }
    }
    let covering = |empty: &&(u32, u32)| {
        let after = stretches.partition_point(|stretch| stretch.0 < empty.0);
        after > 0 && stretches[after - 1].1 > empty.1
    };
    empties
        .iter()
        .find(covering)
        .map(|_| "a dequeue found nothing while some element was certainly there".to_owned())
}
