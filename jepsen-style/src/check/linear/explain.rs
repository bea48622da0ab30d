//! Why a history is not linearizable, for a person to read.
//!
//! A million operations that cannot be ordered explain nothing. The shortest prefix that cannot be ordered ends with one
//! answer, and before that answer all was well: so the explanation is that answer, an order of everything before it, the
//! states that any such order leaves, and the calls that were still open and could not help.

use serde::Serialize;

use super::bounds::now;
use super::plan::Plan;
use super::search::{Foresight, Found, search};
use super::{Bounds, Linearizability, Partition};
use crate::history::{History, Operation, Outcome, Value};
use crate::model::{Decision, Model, OPEN, Timed};

/// How many operations of the order before the failure are told.
const ORDER_TOLD: usize = 12;

/// Objects with more operations are not cut to a prefix when an algorithm has already said why they fail.
const CUT_AT_MOST: usize = 200_000;

/// The calls of each object that is looked at.
type Cells<C> = Vec<Vec<Timed<C>>>;

/// The longest prefix that does not fail, and the shortest that does.
struct Border<C> {
    good: Cells<C>,
    bad: Cells<C>,
}

/// An order, as numbers of operations, and states in which something was tried after it.
struct Placed {
    order: Vec<u32>,
    states: Vec<String>,
}

/// Why a history is not linearizable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// How many operations of the object the shortest failing prefix has; 0 if it was not sought.
    pub prefix: usize,
    /// The answer that makes the prefix fail; the last thing in it.
    pub culprit: Option<Bar>,
    /// An order of the longest linearizable prefix, its last part. The culprit is in it if nothing else explains what came
    /// before: then with another answer than it got.
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
            lines.extend(self.order.iter().map(|bar| {
                let aside = match bar == culprit {
                    true => ", if it had been answered otherwise",
                    false => "",
                };
                format!("  {}{aside}", bar.label)
            }));
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
        let cells: Cells<M::Call> = match parts.keys.iter().position(|key| *key == part) {
            Some(number) => vec![parts.calls[number].clone()],
            None if self.partition == Partition::Off => parts.calls,
            None => return Explanation::unsought(),
        };
        if cells.iter().map(Vec::len).sum::<usize>() > CUT_AT_MOST {
            return Explanation::unsought();
        }
        let Some(Border { good, bad }) = self.shortest_failing(operations, &cells) else {
            return Explanation::unsought();
        };
        let plan = Plan::new(&self.model, &bad);
        let placed = self.placed(&plan, &good);
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

    /// Halves until the border is found; `None` if a search does not end within its bounds.
    fn shortest_failing(
        &self,
        operations: &[Operation],
        cells: &Cells<M::Call>,
    ) -> Option<Border<M::Call>> {
        let mut returns: Vec<u32> = cells.iter().flatten().map(|timed| timed.returned).collect();
        returns.retain(|returned| *returned != OPEN);
        returns.sort_unstable();
        let (mut good, mut bad) = (0, returns.len());
        while bad - good > 1 {
            let middle = good.midpoint(bad);
            match self.is_legal(&self.cut(operations, cells, returns[middle - 1]))? {
                true => good = middle,
                false => bad = middle,
            }
        }
        let longer = *returns.get(bad.checked_sub(1)?)?;
        let shorter = good.checked_sub(1).map_or(0, |last| returns[last]);
        Some(Border {
            good: self.cut(operations, cells, shorter),
            bad: self.cut(operations, cells, longer),
        })
    }

    /// The history up to the return at `end`. What had not begun is gone. What had not returned is read again as an operation
    /// of unknown outcome: its answer is not yet there, and may be what tells that it came too late to help.
    fn cut(&self, operations: &[Operation], cells: &Cells<M::Call>, end: u32) -> Cells<M::Call> {
        let cut_one = |timed: &Timed<M::Call>| {
            if timed.returned <= end || timed.is_open() {
                return Some(timed.clone());
            }
            let mut operation = operations[timed.operation as usize].clone();
            operation.outcome = Outcome::Unknown;
            operation.output = Value::Nil;
            let call = self.model.call(&operation).ok()??;
            Some(Timed {
                call,
                returned: OPEN,
                ..*timed
            })
        };
        let cut_cell = |calls: &Vec<Timed<M::Call>>| {
            let begun = calls.iter().filter(|timed| timed.invoked < end);
            begun.filter_map(cut_one).collect()
        };
        cells.iter().map(cut_cell).collect()
    }

    fn is_legal(&self, cells: &Cells<M::Call>) -> Option<bool> {
        if let [calls] = cells.as_slice()
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

    /// An order of what came before the last return of `plan`, and the states in which its call was tried. `good` is the
    /// prefix that ends just before that return.
    fn placed(&self, plan: &Plan<M::Call>, good: &Cells<M::Call>) -> Placed {
        // Without foresight the search usually comes to that return, but may not end; with it, it ends.
        let bounds = Bounds::generous().within(std::time::Duration::from_secs(2));
        let mut found = search(&self.model, plan, Foresight::Ignore, &bounds, now());
        if !matches!(found, Found::Nothing(_)) {
            let bounds = self.bounds.afresh();
            found = search(&self.model, plan, Foresight::Use, &bounds, now());
        }
        match found {
            Found::Nothing(stuck) if stuck.level + 1 == plan.levels() => Placed {
                order: plan.operations(&stuck.order),
                states: stuck.states,
            },
            // The answer may make one of before impossible: then the search does not come as far as to its return.
            _ => self.placed_before(plan, good),
        }
    }

    /// An order of the prefix that does not fail, if there is one without the operation that makes it fail; otherwise one in
    /// which that operation had another answer.
    fn placed_before(&self, plan: &Plan<M::Call>, good: &Cells<M::Call>) -> Placed {
        let mut placed = Placed {
            order: Vec::new(),
            states: Vec::new(),
        };
        let Some(last) = plan.returns.last() else {
            return placed;
        };
        let last = plan.entries[*last as usize];
        let mut others = good.clone();
        for calls in &mut others {
            calls.retain(|timed| timed.operation != last.operation);
        }
        for cells in [&others, good] {
            let plan = Plan::new(&self.model, cells);
            let bounds = self.bounds.afresh();
            let found = search(&self.model, &plan, Foresight::Use, &bounds, now());
            let Found::Order(order) = found else { continue };
            placed.order = plan.operations(&order);
            let entries = order.iter().map(|entry| plan.entries[*entry as usize]);
            let before = entries
                .take_while(|entry| entry.operation != last.operation)
                .filter(|entry| entry.cell == last.cell);
            let state = before.fold(self.model.init(), |state, entry| {
                let after = self.model.step(&state, &plan.calls[entry.call as usize]);
                after.unwrap_or(state)
            });
            placed.states = vec![self.model.describe(&state)];
            return placed;
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::read::{Format, read};
    use crate::model::register::CasRegister;

    #[test]
    fn of_a_long_order_the_end_is_told() {
        let mut log = String::new();
        let mut one = |function: &str, value: u32| {
            for kind in ["invoke", "ok"] {
                log += &format!(
                    "{{\"process\":1,\"type\":\"{kind}\",\"f\":\"{function}\",\"value\":{value}}}\n"
                );
            }
        };
        // A value comes again, so that it takes a search.
        (0..40).for_each(|round| one("write", round % 30));
        one("read", 30);
        one("write", 77);
        let history = read(log.as_bytes(), Some(Format::JsonLines)).unwrap();
        let explanation =
            Linearizability::of(CasRegister::default()).explain(&history, &Value::Nil);
        assert_eq!(explanation.prefix, 41);
        let told: Vec<usize> = explanation.order.iter().map(|bar| bar.operation).collect();
        assert_eq!(told, (28..40).collect::<Vec<_>>());
        assert_eq!(explanation.culprit.map(|bar| bar.operation), Some(40));
        assert_eq!(
            (explanation.states, explanation.open),
            (vec!["9".to_owned()], vec![])
        );
    }
}
