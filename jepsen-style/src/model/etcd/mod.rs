//! A model of etcd: keys with versions, transactions, revisions, leases.
//!
//! | file | noun |
//! |---|---|
//! | [`call`] | [`Call`]: a request with what was answered, and how a recording says it |
//! | [`state`] | [`State`]: keys, revision and leases, and what a request does to them |
//! | `fork` | histories whose answers carry revisions, decided without a search |
//! | `shown` | what answers show of who made a revision |
//! | [`expiry`] | leases that may run out at any moment |
//!
//! Written from the protocol's description alone; it shares no line with a server, so that one mistake cannot hide in both.
//!
//! # What is judged
//!
//! Every field of an answer that was recorded: revisions, values, counts, versions, which branch a transaction took. A
//! field that was not recorded is not judged. A request that was refused is recorded as failed and did not happen. A
//! *serializable* read may be stale and has no bearing here; a read at an old revision is judged by the revision that it
//! came with, not by its keys. An unknown request may have happened or not: wherever the order is not yet known the
//! search holds both, and where revisions tell the order, a set of states is carried along.

pub mod call;
pub mod expiry;
mod fork;
mod shown;
pub mod state;

pub use call::{Answer, Call, Compare, Request, Response};
pub use state::{KeyValue, State};

use super::{Decision, Model, Timed};
use crate::history::Operation;

/// The model of one etcd cluster.
#[derive(Debug, Clone, Copy)]
pub struct Etcd {
    revision: i64,
}

impl Default for Etcd {
    /// A new cluster: no keys, at revision 1.
    fn default() -> Self {
        Self { revision: 1 }
    }
}

impl Etcd {
    /// A cluster without keys at `revision`: one that was used and emptied.
    pub fn at(revision: i64) -> Self {
        Self { revision }
    }
}

impl Etcd {
    /// The state after `call`, made of the one before it. Maps that nobody else holds are changed where they are, so that a
    /// replay of a long history does not copy every key for every put.
    fn step_in_place(&self, state: State, call: &Call) -> Option<State> {
        let (after, answer) = state.apply(&call.request)?;
        match &call.answer {
            Some(recorded) if !recorded.agrees_with(&answer) => None,
            _ => Some(after),
        }
    }
}

impl Model for Etcd {
    type State = State;
    type Call = Call;

    fn init(&self) -> State {
        State::at(self.revision)
    }

    fn call(&self, operation: &Operation) -> Result<Option<Call>, String> {
        call::read(operation)
    }

    fn step(&self, state: &State, call: &Call) -> Option<State> {
        self.step_in_place(state.clone(), call)
    }

    fn is_pure(&self, call: &Call) -> bool {
        call.is_pure()
    }

    fn is_goal(&self, call: &Call) -> bool {
        call.revision().is_some()
    }

    fn leads_to(&self, state: &State, goal: &Call) -> bool {
        goal.revision()
            .is_none_or(|revision| state.revision <= revision)
    }

    fn resets(&self, _: &Call, _: &Call) -> bool {
        // Revisions only grow.
        false
    }

    fn decide(&self, calls: &[Timed<Call>]) -> Option<Decision> {
        fork::decide(self, calls)
    }

    fn owned(&self, state: &State) -> usize {
        state.owned()
    }

    fn describe(&self, state: &State) -> String {
        state.to_string()
    }
}
