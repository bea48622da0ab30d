//! Why a history is not linearizable, for a person to read.
//!
//! A million operations that cannot be ordered explain nothing. The shortest prefix that cannot be ordered ends with one
//! answer, and before that answer all was well: so the explanation is that answer, an order of everything before it, the
//! states that any such order leaves, and the calls that were still open and could not help.

use serde::Serialize;

use super::bounds::now;
use super::plan::Plan;
use super::search::{Foresight, Found, Stuck, search};
use super::{Bounds, Linearizability, Partition};
use crate::history::{History, Operation, Value};
use crate::model::{Decision, Model, OPEN, Timed};

/// How many operations of the order before the failure are told.
const ORDER_TOLD: usize = 12;

/// Objects with more operations are not cut to a prefix when an algorithm has already said why they fail.
const CUT_AT_MOST: usize = 200_000;

/// Why a history is not linearizable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// How many operations of the object the shortest failing prefix has; 0 if it was not sought.
    pub prefix: usize,
    /// The answer that makes the prefix fail; the last thing in it.
    pub culprit: Option<Bar>,
    /// An order of what was placed before it: the longest linearizable prefix, its last part.
    pub order: Vec<Bar>,
    /// The states in which the culprit was tried, and could not have its answer.
    pub states: Vec<String>,
    /// What was open at that moment and had not been placed: none of it could make way.
    pub open: Vec<Bar>,
}

/// An operation as a bar on the time line of its process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// Who asked.
    pub process: String,
    /// The operation in one line.
    pub label: String,
    /// The order of its invocation.
    pub invoked: u32,
    /// The order of its return; `None` for an unknown outcome.
    pub returned: Option<u32>,
    /// Its place among all operations of the history.
    pub operation: usize,
}

impl Bar {
    fn of(operations: &[Operation], number: u32) -> Self {
        let operation = &operations[number as usize];
        Self {
            process: operation.process.to_string(),
            label: operation.to_string(),
            invoked: operation.invoked.order,
            returned: operation.returned().map(|moment| moment.order),
            operation: number as usize,
        }
    }
}

impl Explanation {
    fn unsought() -> Self {
        Self {
            prefix: 0,
            culprit: None,
            order: Vec::new(),
            states: Vec::new(),
            open: Vec::new(),
        }
    }

    /// The failure in one sentence.
    pub fn reason(&self) -> String {
        let Some(culprit) = &self.culprit else {
            return "no order explains every answer".to_owned();
        };
        format!("no order explains the answer of {}", culprit.label)
    }

    /// The explanation, line by line.
    pub fn lines(&self) -> Vec<String> {
        let Some(culprit) = &self.culprit else {
            return Vec::new();
        };
        let mut lines = vec![format!(
            "the first {} operations cannot be ordered; all before this can:",
            self.prefix
        )];
        lines.push(format!("  {}", culprit.label));
        if !self.order.is_empty() {
            lines.push("an order of what came before (its end):".to_owned());
            lines.extend(self.order.iter().map(|bar| format!("  {}", bar.label)));
        }
        if !self.states.is_empty() {
            lines.push(format!(
                "states in which it was tried: {}",
                self.states.join(", ")
            ));
        }
        if !self.open.is_empty() {
            lines.push("open then, and no help:".to_owned());
            lines.extend(self.open.iter().map(|bar| format!("  {}", bar.label)));
        }
        lines
    }
}

impl<M: Model> Linearizability<M> {
    /// Explains why the object `part` is not linearizable (all objects, if they are searched together and `part` is nil).
    pub fn explain(&self, history: &History, part: &Value) -> Explanation {
        let operations = history.operations();
        let Ok(parts) = self.parts(operations) else {
            return Explanation::unsought();
        };
        let cells: Vec<Vec<Timed<M::Call>>> = match parts.keys.iter().position(|key| *key == part) {
            Some(number) => vec![parts.calls[number].clone()],
            None if self.partition == Partition::Off => parts.calls,
            None => return Explanation::unsought(),
        };
        if cells.iter().map(Vec::len).sum::<usize>() > CUT_AT_MOST {
            return Explanation::unsought();
        }
        let Some(prefix) = self.shortest_failing(&cells) else {
            return Explanation::unsought();
        };
        let plan = Plan::new(&self.model, &prefix);
        let placed = self.placed(&plan);
        let last = plan
            .returns
            .last()
            .map(|entry| plan.entries[*entry as usize].operation);
        let open = plan.entries.iter().map(|entry| entry.operation);
        let open =
            open.filter(|operation| Some(*operation) != last && !placed.order.contains(operation));
        let told = placed.order.len().saturating_sub(ORDER_TOLD);
        Explanation {
            prefix: plan.entries.len(),
            culprit: last.map(|operation| Bar::of(operations, operation)),
            order: placed.order[told..]
                .iter()
                .map(|operation| Bar::of(operations, *operation))
                .collect(),
            states: placed.states,
            open: open
                .map(|operation| Bar::of(operations, operation))
                .collect(),
        }
    }

    /// Halves until the shortest prefix that fails is found; `None` if the search does not end within its bounds.
    fn shortest_failing(&self, cells: &[Vec<Timed<M::Call>>]) -> Option<Vec<Vec<Timed<M::Call>>>> {
        let mut returns: Vec<u32> = cells.iter().flatten().map(|timed| timed.returned).collect();
        returns.retain(|returned| *returned != OPEN);
        returns.sort_unstable();
        let (mut good, mut bad) = (0, returns.len());
        while bad - good > 1 {
            let middle = good.midpoint(bad);
            match self.is_legal(&cut(cells, returns[middle - 1]))? {
                true => good = middle,
                false => bad = middle,
            }
        }
        Some(cut(cells, *returns.get(bad.checked_sub(1)?)?))
    }

    fn is_legal(&self, cells: &[Vec<Timed<M::Call>>]) -> Option<bool> {
        if let [calls] = cells
            && let Some(decision) = self.model.decide(calls)
        {
            return Some(decision == Decision::Linearizable);
        }
        let plan = Plan::new(&self.model, cells);
        match search(
            &self.model,
            &plan,
            Foresight::Use,
            &self.bounds.afresh(),
            now(),
        ) {
            Found::Order(_) => Some(true),
            Found::Nothing(_) => Some(false),
            Found::GaveUp(_) => None,
        }
    }

    /// What could be placed of a prefix that fails with its last return. Without foresight the search is sure to come to
    /// that return, but may not end; with it, it ends.
    fn placed(&self, plan: &Plan<M::Call>) -> Stuck {
        let bounds = Bounds::generous().within(std::time::Duration::from_secs(2));
        let mut found = search(&self.model, plan, Foresight::Ignore, &bounds, now());
        if !matches!(found, Found::Nothing(_)) {
            found = search(
                &self.model,
                plan,
                Foresight::Use,
                &self.bounds.afresh(),
                now(),
            );
        }
        let Found::Nothing(mut stuck) = found else {
            return Stuck {
                level: 0,
                order: Vec::new(),
                states: Vec::new(),
            };
        };
        for entry in &mut stuck.order {
            *entry = plan.entries[*entry as usize].operation;
        }
        stuck
    }
}

/// The history up to the return at `end`: what had not returned by then is open, what had not begun is gone.
fn cut<C: Clone>(cells: &[Vec<Timed<C>>], end: u32) -> Vec<Vec<Timed<C>>> {
    let cut_one = |calls: &Vec<Timed<C>>| {
        let begun = calls.iter().filter(|timed| timed.invoked < end).cloned();
        begun
            .map(|timed| Timed {
                returned: if timed.returned > end {
                    OPEN
                } else {
                    timed.returned
                },
                ..timed
            })
            .collect()
    };
    cells.iter().map(cut_one).collect()
}
