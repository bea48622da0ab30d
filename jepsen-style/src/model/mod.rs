//! What a system promises, as a state and steps over it.
//!
//! | file | noun |
//! |---|---|
//! | [`register`] | one value that is read, written and compared-and-set |
//! | [`kv`] | keys with strings: get, put, append; each key by itself |
//! | [`map`] | many keys at once: transactions of gets and puts |
//! | [`set`] | a set that grows and shrinks |
//! | [`queue`] | first in, first out |
//! | [`counter`] | a number that is added to |
//! | [`etcd`] | etcd: keys with versions, transactions, revisions, leases |
//! | [`lock`] | a lock whose grants carry growing fencing numbers |
//!
//! A [`Model`] is all that linearizability needs to know of a system, and a dozen lines make one:
//!
//! ```
//! use quorate_jepsen_style::check::{Checker, Verdict, linear::Linearizability};
//! use quorate_jepsen_style::history::{Operation, read::read};
//! use quorate_jepsen_style::model::Model;
//!
//! struct Light; // It is switched and looked at.
//!
//! impl Model for Light {
//!     type State = bool;
//!     type Call = Option<bool>; // What was seen by a look; nothing by a switch.
//!     fn init(&self) -> bool { false }
//!     fn call(&self, operation: &Operation) -> Result<Option<Self::Call>, String> {
//!         match operation.function.as_str() {
//!             "switch" => Ok(Some(None)),
//!             "look" => Ok(operation.output.as_bool().map(Some)), // A look that was not answered says nothing.
//!             other => Err(format!("a light cannot {other}")),
//!         }
//!     }
//!     fn step(&self, on: &bool, call: &Self::Call) -> Option<bool> {
//!         call.map_or(Some(!on), |seen| (seen == *on).then_some(*on))
//!     }
//! }
//! let log = r#"{"process":1,"type":"invoke","f":"switch"}
//! {"process":1,"type":"ok","f":"switch"}
//! {"process":2,"type":"invoke","f":"look"}
//! {"process":2,"type":"ok","f":"look","value":false}"#;
//! let report = Linearizability::of(Light).check(&read(log.as_bytes(), None).unwrap());
//! assert_eq!(report.verdict, Verdict::Fail);
//! ```

pub mod counter;
pub mod etcd;
pub mod kv;
pub mod lock;
pub mod map;
pub mod queue;
pub mod register;
pub mod set;

use std::hash::Hash;

use crate::history::{Operation, Value};

/// A sequential specification.
///
/// The first three methods are the meaning; all others are hints that make the search faster and may be left out.
/// A hint must be true: a wrong one makes wrong verdicts.
pub trait Model: Send + Sync {
    /// What the system remembers.
    type State: Clone + Eq + Hash;
    /// An operation with its answer, or without one when the outcome is unknown.
    type Call: Clone + Eq + Hash + Send + Sync;

    /// The state before anything happened.
    fn init(&self) -> Self::State;

    /// Reads a recorded operation. It is never asked about failed ones: they did not happen.
    ///
    /// `Ok(None)` says that the operation has no bearing, as a read that was never answered. An error makes the verdict
    /// *unknown*: the history is not of this model.
    fn call(&self, operation: &Operation) -> Result<Option<Self::Call>, String>;

    /// The state after `call`, or `None` if it cannot have its answer in `state`. A call of unknown outcome has no answer
    /// that could be wrong.
    fn step(&self, state: &Self::State, call: &Self::Call) -> Option<Self::State>;

    /// Which independent object the operation is about. Objects are judged apart, because a history is linearizable
    /// exactly if it is for each of them (Herlihy & Wing 1990, section 3.1).
    fn part<'a>(&self, operation: &'a Operation) -> Option<&'a Value> {
        let _ = operation;
        None
    }

    /// Whether `call` leaves every state as it is. Such a call can be placed at the first moment at which its answer is
    /// right, and nothing else need be tried.
    fn is_pure(&self, call: &Self::Call) -> bool {
        let _ = call;
        false
    }

    /// Whether the answer of `call` says so much about the state that [`Model::leads_to`] is worth asking.
    fn is_goal(&self, call: &Self::Call) -> bool {
        let _ = call;
        false
    }

    /// Whether `goal` can come true from `state` by any calls that do not [reset](Model::resets) it.
    fn leads_to(&self, state: &Self::State, goal: &Self::Call) -> bool {
        let _ = (state, goal);
        true
    }

    /// Whether `call` may make way for `goal` whatever the state before it was.
    fn resets(&self, call: &Self::Call, goal: &Self::Call) -> bool {
        let _ = (call, goal);
        true
    }

    /// A way to decide the whole of one object without a search, where the model knows one for histories of this kind.
    /// `calls` are in the order of invocation; those that are open are of unknown outcome and were read without an answer.
    fn decide(&self, calls: &[Timed<Self::Call>]) -> Option<Decision> {
        let _ = calls;
        None
    }

    /// Bytes that `state` owns beyond its own size, about: the bound of a search's memory counts them.
    fn owned(&self, state: &Self::State) -> usize {
        let _ = state;
        0
    }

    /// `state` for a person to read.
    fn describe(&self, state: &Self::State) -> String {
        let _ = state;
        String::new()
    }
}

/// A call with its place in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed<C> {
    /// What was called.
    pub call: C,
    /// The order of its invocation.
    pub invoked: u32,
    /// The order of its return; [`OPEN`] for an unknown outcome.
    pub returned: u32,
    /// Which operation of the history this is.
    pub operation: u32,
}

/// The return of a call that may still take effect, or never: later than everything.
pub const OPEN: u32 = u32::MAX;

impl<C> Timed<C> {
    /// Whether nobody knows if it took effect.
    pub fn is_open(&self) -> bool {
        self.returned == OPEN
    }
}

/// What a [`Model::decide`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// There is an order that explains every answer.
    Linearizable,
    /// There is none, for this reason.
    Illegal(String),
}
