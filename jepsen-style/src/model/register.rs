//! A register: one value that is read and written, and in the richer kind compared-and-set.
//!
//! Functions: `read` (answer: the value), `write` (argument: the value), `cas` (argument: `[expected new]`; an answer of
//! `false` says that the comparison failed, any other that it held).
//!
//! Where every write writes another value, reading says who wrote, and the whole is decided in the time of a sort
//! ([`Model::decide`]). The way is Gibbons and Korach's (*Testing Shared Memories*, 1997, section 4). A write and its
//! reads form a cluster; no other cluster's operation may come between them in the order sought. Between the first
//! return in a cluster and its last invocation, if they come in that order, the register certainly held its value: a
//! *forward* zone. Otherwise the cluster can sit at any one moment between the two: a *backward* zone. An order exists
//! exactly if no two forward zones overlap and no backward zone lies within a forward one.

use rustc_hash::FxHashMap;

use super::{Decision, Model, OPEN, Timed};
use crate::history::{Operation, Outcome, Value};

/// A register with `read`, `write` and `cas`.
#[derive(Debug, Clone, Default)]
pub struct CasRegister {
    initial: Value,
}

/// A register with `read` and `write` only.
#[derive(Debug, Clone, Default)]
pub struct Register(CasRegister);

/// What can be asked of a register.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// It answered this value.
    Read(Value),
    /// This value was written.
    Write(Value),
    /// Set `new` if `expected` is there.
    Cas {
        /// What must be there.
        expected: Value,
        /// What is put there.
        new: Value,
        /// Whether it was there; `None` when nobody knows.
        held: Option<bool>,
    },
}

impl CasRegister {
    /// A register that holds `initial` at first; the default holds nothing.
    pub fn starting(initial: impl Into<Value>) -> Self {
        Self {
            initial: initial.into(),
        }
    }
}

impl Register {
    /// A register that holds `initial` at first; the default holds nothing.
    pub fn starting(initial: impl Into<Value>) -> Self {
        Self(CasRegister::starting(initial))
    }
}

impl Model for CasRegister {
    type State = Value;
    type Call = Call;

    fn init(&self) -> Value {
        self.initial.clone()
    }

    fn call(&self, operation: &Operation) -> Result<Option<Call>, String> {
        match operation.function.as_str() {
            "read" | "get" => Ok(operation
                .is_ok()
                .then(|| Call::Read(operation.output.clone()))),
            "write" | "put" => Ok(Some(Call::Write(operation.input.clone()))),
            "cas" => match operation.input.as_list() {
                Some([expected, new]) => {
                    let held = (operation.outcome == Outcome::Ok)
                        .then_some(operation.output != Value::Bool(false));
                    Ok(Some(Call::Cas {
                        expected: expected.clone(),
                        new: new.clone(),
                        held,
                    }))
                }
                _ => Err("the argument of cas is [expected new]".to_owned()),
            },
            other => Err(format!("a register knows read, write and cas, not {other}")),
        }
    }

    fn step(&self, state: &Value, call: &Call) -> Option<Value> {
        match call {
            Call::Read(seen) => (seen == state).then(|| state.clone()),
            Call::Write(value) => Some(value.clone()),
            Call::Cas {
                expected,
                new,
                held,
            } => match (expected == state, held) {
                (true, Some(true) | None) => Some(new.clone()),
                (false, Some(false) | None) => Some(state.clone()),
                (true, Some(false)) | (false, Some(true)) => None,
            },
        }
    }

    fn part<'a>(&self, operation: &'a Operation) -> Option<&'a Value> {
        Some(&operation.key)
    }

    fn is_pure(&self, call: &Call) -> bool {
        matches!(
            call,
            Call::Read(_)
                | Call::Cas {
                    held: Some(false),
                    ..
                }
        )
    }

    fn decide(&self, calls: &[Timed<Call>]) -> Option<Decision> {
        decide(&self.initial, calls)
    }

    fn describe(&self, state: &Value) -> String {
        state.to_string()
    }
}

impl Model for Register {
    type State = Value;
    type Call = Call;

    fn init(&self) -> Value {
        self.0.init()
    }

    fn call(&self, operation: &Operation) -> Result<Option<Call>, String> {
        match operation.function.as_str() {
            "cas" => Err("a register knows read and write, not cas; cas-register does".to_owned()),
            _ => self.0.call(operation),
        }
    }

    fn step(&self, state: &Value, call: &Call) -> Option<Value> {
        self.0.step(state, call)
    }

    fn part<'a>(&self, operation: &'a Operation) -> Option<&'a Value> {
        self.0.part(operation)
    }

    fn is_pure(&self, call: &Call) -> bool {
        self.0.is_pure(call)
    }

    fn decide(&self, calls: &[Timed<Call>]) -> Option<Decision> {
        self.0.decide(calls)
    }

    fn describe(&self, state: &Value) -> String {
        self.0.describe(state)
    }
}

/// A write with its reads. Times are moved up by one, so that the initial value can be written before all.
struct Cluster {
    written: u32,
    first_return: u32,
    last_invocation: u32,
    /// An unknown write that nobody read need not have happened.
    certain: bool,
}

/// Decides if every write writes another value and nothing is compared; `None` otherwise.
fn decide(initial: &Value, calls: &[Timed<Call>]) -> Option<Decision> {
    if calls
        .iter()
        .any(|timed| matches!(timed.call, Call::Cas { .. }))
    {
        return None;
    }
    let mut clusters = vec![Cluster {
        written: 0,
        first_return: 0,
        last_invocation: 0,
        certain: true,
    }];
    let mut of_value: FxHashMap<&Value, u32> = FxHashMap::default();
    of_value.insert(initial, 0);
    for timed in calls {
        match &timed.call {
            Call::Write(value) => {
                if of_value.insert(value, clusters.len() as u32).is_some() {
                    return None;
                }
                clusters.push(Cluster {
                    written: timed.invoked + 1,
                    first_return: if timed.is_open() {
                        OPEN
                    } else {
                        timed.returned + 1
                    },
                    last_invocation: timed.invoked + 1,
                    certain: !timed.is_open(),
                });
            }
            Call::Read(_) | Call::Cas { .. } => {}
        }
    }
    for timed in calls {
        let Call::Read(value) = &timed.call else {
            continue;
        };
        let Some(cluster) = of_value.get(value) else {
            return Some(Decision::Illegal(format!(
                "{value} was read but never written"
            )));
        };
        let cluster = &mut clusters[*cluster as usize];
        if timed.returned + 1 < cluster.written {
            return Some(Decision::Illegal(format!(
                "{value} was read before it was written"
            )));
        }
        cluster.first_return = cluster.first_return.min(timed.returned + 1);
        cluster.last_invocation = cluster.last_invocation.max(timed.invoked + 1);
        cluster.certain = true;
    }
    Some(judge_zones(&clusters, |cluster| {
        let value = of_value
            .iter()
            .find(|(_, number)| **number as usize == cluster);
        value.map_or_else(String::new, |(value, _)| value.to_string())
    }))
}

fn judge_zones(clusters: &[Cluster], name: impl Fn(usize) -> String) -> Decision {
    let is_forward = |cluster: &Cluster| cluster.first_return < cluster.last_invocation;
    let certain = || {
        clusters
            .iter()
            .enumerate()
            .filter(|(_, cluster)| cluster.certain)
    };
    let mut forward: Vec<(u32, u32, usize)> = certain()
        .filter(|(_, cluster)| is_forward(cluster))
        .map(|(number, cluster)| (cluster.first_return, cluster.last_invocation, number))
        .collect();
    forward.sort_unstable();
    for pair in forward.windows(2) {
        if pair[1].0 < pair[0].1 {
            let (one, other) = (name(pair[0].2), name(pair[1].2));
            return Decision::Illegal(format!(
                "the register must have held {one} and {other} at the same time"
            ));
        }
    }
    for (number, cluster) in certain().filter(|(_, cluster)| !is_forward(cluster)) {
        let before = forward.partition_point(|zone| zone.0 < cluster.last_invocation);
        let Some(zone) = before.checked_sub(1).map(|zone| forward[zone]) else {
            continue;
        };
        if cluster.first_return < zone.1 {
            let (inner, outer) = (name(number), name(zone.2));
            return Decision::Illegal(format!(
                "{inner} was there only while the register must have held {outer}"
            ));
        }
    }
    Decision::Linearizable
}
