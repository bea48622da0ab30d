//! Many keys at once: `txn` with steps `[r key value]` and `[w key value]`, all at one moment; and `read` and `write` of
//! the operation's key.
//!
//! An order in real time of whole transactions is strict serializability. The search for one is exponential where many
//! transactions are open at a time; the checkers of dependency cycles scale further and say less in doubtful cases.

use std::collections::BTreeMap;

use super::Model;
use crate::history::{Operation, Value};

/// Many keys at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct MultiKeyMap;

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// The key held this value then.
    Read(Value, Value),
    /// The key holds this value from then on.
    Write(Value, Value),
}

/// The steps of a transaction. Reads without an answer are left out.
pub type Call = Vec<Step>;

impl Model for MultiKeyMap {
    type State = BTreeMap<Value, Value>;
    type Call = Call;

    fn init(&self) -> Self::State {
        BTreeMap::new()
    }

    fn call(&self, operation: &Operation) -> Result<Option<Call>, String> {
        let answered = operation.is_ok();
        let steps = match operation.function.as_str() {
            "txn" => {
                let said = if answered {
                    &operation.output
                } else {
                    &operation.input
                };
                let steps = said.as_list().ok_or("a transaction is a list of steps")?;
                steps
                    .iter()
                    .filter_map(|said| step(said, answered).transpose())
                    .collect::<Result<_, _>>()?
            }
            "read" | "get" if answered => {
                vec![Step::Read(operation.key.clone(), operation.output.clone())]
            }
            "read" | "get" => Vec::new(),
            "write" | "put" => vec![Step::Write(operation.key.clone(), operation.input.clone())],
            other => return Err(format!("a map knows txn, read and write, not {other}")),
        };
        Ok((!steps.is_empty()).then_some(steps))
    }

    fn step(&self, state: &Self::State, call: &Call) -> Option<Self::State> {
        let mut after = state.clone();
        for step in call {
            match step {
                Step::Read(key, seen) if after.get(key).unwrap_or(&Value::Nil) == seen => {}
                Step::Read(..) => return None,
                Step::Write(key, value) => {
                    after.insert(key.clone(), value.clone());
                }
            }
        }
        Some(after)
    }

    fn is_pure(&self, call: &Call) -> bool {
        call.iter().all(|step| matches!(step, Step::Read(..)))
    }

    fn owned(&self, state: &Self::State) -> usize {
        // A node of the tree is three quarters full.
        state.len() * size_of::<(Value, Value)>() * 4 / 3
    }

    fn describe(&self, state: &Self::State) -> String {
        Value::map(state.clone()).to_string()
    }
}

fn step(said: &Value, answered: bool) -> Result<Option<Step>, String> {
    let Some([function, key, value]) = said.as_list() else {
        return Err(format!("{said} is no step"));
    };
    match function.as_text() {
        Some("r") => Ok(answered.then(|| Step::Read(key.clone(), value.clone()))),
        Some("w") => Ok(Some(Step::Write(key.clone(), value.clone()))),
        _ => Err(format!("a step is r or w, not {function}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_sees_what_it_wrote_itself() {
        let read = |value: i64| Step::Read("x".into(), value.into());
        let write = |value: i64| Step::Write("x".into(), value.into());
        let before = BTreeMap::from([("x".into(), 1.into())]);
        let step = |steps: &[Step]| MultiKeyMap.step(&before, &steps.to_vec());
        assert!(step(&[read(1), write(2), read(2)]).is_some());
        assert!(step(&[write(2), read(1)]).is_none());
        assert!(step(&[read(2), write(2)]).is_none());
    }
}
