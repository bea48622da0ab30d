//! Linearizability: is there one order of all operations, true to the order in which they really followed each other,
//! in which every answer is what the model would have answered?
//!
//! | file | noun |
//! |---|---|
//! | [`bounds`] | time, memory and threads that a search may use |
//! | `plan` | a history laid out for the search |
//! | `space` | states under small numbers |
//! | `below` | the next number of a row that is below a bound |
//! | `mask` | sets of open calls |
//! | `doubt` | sets of used calls of unknown outcome |
//! | `search` | the search itself, and what it does better than trying |
//! | `race` | the objects of a history over threads; the first illegal one ends all |
//! | [`explain`] | the shortest prefix that fails, what could be placed and what could not |
//! | [`shrink`] | a smaller history with the same verdict |
//!
//! # From a history to a verdict
//!
//! 1. Failed operations are dropped: they did not happen. The rest is read by the model and split by object
//!    ([`Model::part`]), because linearizability is local.
//! 2. For each object the model may know a way to decide without a search ([`Model::decide`]): log-linear algorithms for
//!    unique values and for answers that carry revisions.
//! 3. Otherwise the object is laid out and searched, several at a time.
//! 4. A history that fails is cut to the shortest prefix that fails, by halving: every prefix of a linearizable history is
//!    linearizable. That prefix is explained.
//!
//! With [`Partition::Off`] the objects are searched together, as one state. Each alone is still judged first, because a
//! history cannot be linearizable if a projection of it is not; what passes that is searched whole.

mod below;
pub mod bounds;
mod doubt;
pub mod explain;
mod mask;
mod plan;
mod race;
mod search;
pub mod shrink;
mod space;

use rustc_hash::FxHashMap;

pub use bounds::Bounds;
pub use explain::Explanation;

use self::search::{Foresight, Found};
use super::{Checker, Report};
use crate::deadline;
use crate::history::{History, Operation, Outcome, Process, Value};
use crate::model::{Model, OPEN, Timed};

/// Whether independent objects are judged apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// Each object by itself.
    ByPart,
    /// All objects in one search.
    Off,
}

/// Judges whether a history is linearizable with respect to a model.
pub struct Linearizability<M> {
    model: M,
    partition: Partition,
    bounds: Bounds,
}

/// What the search came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// There is an order that explains every answer.
    Linearizable,
    /// There is none: in the history of this object (all objects if they were searched together) alone.
    Illegal {
        /// The object; [`Value::Nil`] if the model has no parts.
        part: Value,
        /// Why, if a special algorithm found it; empty after a search.
        reason: String,
    },
    /// It could not be told, for this reason.
    Unknown(String),
}

impl<M: Model> Linearizability<M> {
    /// With respect to `model`, object by object, with [generous](Bounds::generous) bounds.
    pub fn of(model: M) -> Self {
        Self {
            model,
            partition: Partition::ByPart,
            bounds: Bounds::generous(),
        }
    }

    /// The same within `bounds`.
    #[must_use]
    pub fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// The same with another way to treat independent objects.
    #[must_use]
    pub fn partitioned(mut self, partition: Partition) -> Self {
        self.partition = partition;
        self
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Judges without explaining.
    pub fn judge(&self, history: &History) -> Judgement {
        match self.parts(history.operations()) {
            Ok(parts) => race::judge(&self.model, &parts, self.partition, &self.bounds),
            Err(reason) => Judgement::Unknown(reason),
        }
    }

    /// An order that explains every answer: numbers of operations of `history`, first to last. Unknown operations that
    /// need not have happened are not in it. `None` if there is no such order, or none was found within the bounds.
    pub fn order(&self, history: &History) -> Option<Vec<usize>> {
        let parts = self.parts(history.operations()).ok()?;
        let plan = plan::Plan::new(&self.model, &parts.calls);
        match search::search(
            &self.model,
            &plan,
            Foresight::Use,
            &self.bounds.afresh(),
            bounds::now(),
        ) {
            Found::Order(order) => Some(
                order
                    .into_iter()
                    .map(|entry| plan.entries[entry as usize].operation as usize)
                    .collect(),
            ),
            Found::Nothing(_) | Found::GaveUp(_) => None,
        }
    }

    /// Reads the operations and splits them by object.
    fn parts<'a>(&self, operations: &'a [Operation]) -> Result<Parts<'a, M::Call>, String> {
        let mut parts = Parts {
            keys: Vec::new(),
            calls: Vec::new(),
        };
        let mut known: FxHashMap<&Value, usize> = FxHashMap::default();
        for (number, operation) in (0..).zip(operations) {
            deadline::look();
            if operation.process == Process::Nemesis || operation.outcome == Outcome::Failed {
                continue;
            }
            let read = self
                .model
                .call(operation)
                .map_err(|error| format!("{operation}: {error}"))?;
            let Some(call) = read else { continue };
            let key = self.model.part(operation).unwrap_or(NIL);
            // Most histories stay with one object for a while, and many have one only.
            let part = match parts.keys.last() {
                Some(last) if *last == key => parts.keys.len() - 1,
                _ => *known.entry(key).or_insert_with(|| {
                    parts.keys.push(key);
                    parts.calls.push(Vec::new());
                    parts.keys.len() - 1
                }),
            };
            parts.calls[part].push(Timed {
                call,
                invoked: operation.invoked.order,
                returned: operation.returned().map_or(OPEN, |moment| moment.order),
                operation: number,
            });
        }
        Ok(parts)
    }
}

const NIL: &Value = &Value::Nil;

/// The calls of each object, by invocation.
struct Parts<'a, C> {
    keys: Vec<&'a Value>,
    calls: Vec<Vec<Timed<C>>>,
}

impl<M: Model> Checker for Linearizability<M> {
    fn check(&self, history: &History) -> Report {
        let report = match self.judge(history) {
            Judgement::Linearizable => Report::pass(),
            Judgement::Unknown(reason) => Report::unknown(reason),
            Judgement::Illegal { part, reason } => {
                // That it fails is known; if time ends now, it is said without an explanation.
                let explained =
                    deadline::within(deadline::current(), || self.explain(history, &part));
                let said = match &explained {
                    _ if !reason.is_empty() => reason,
                    Ok(explanation) => explanation.reason(),
                    Err(_) => {
                        "not linearizable; time was over before it could be explained".to_owned()
                    }
                };
                let said = if part.is_nil() {
                    said
                } else {
                    format!("object {part}: {said}")
                };
                match explained {
                    Err(_) => Report::fail(said),
                    Ok(explanation) => {
                        let picture = serde_json::to_value(&explanation).unwrap_or_default();
                        Report::fail(said)
                            .with_witness(explanation.lines())
                            .with("explanation", picture)
                    }
                }
            }
        };
        report.with("operations", history.len())
    }
}
