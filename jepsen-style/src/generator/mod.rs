//! What is asked of a system, when and by whom: values that yield invocations.
//!
//! | file | noun |
//! |---|---|
//! | [`source`] | where invocations come from: lists, functions, unique values |
//! | [`mix`](mod@mix) | several generators as one: by weight, whichever is ready, each its own processes |
//! | [`pace`] | how fast and how long: stagger, limits of number and time |
//! | [`phase`] | one after the other, each waiting for all before it |
//! | [`keys`] | the same workload on many independent keys |
//!
//! A [`Generator`] is plain data with one method. It does not wait, spawn or look at a clock: it is told the time and which
//! processes are free, and says what comes next ([`Next`]). So a workload can be printed, cloned, run by another
//! interpreter, and is determined by the seed in its [`Context`].

pub mod keys;
pub mod mix;
pub mod pace;
pub mod phase;
pub mod source;

use std::time::Duration;

pub use keys::per_key;
pub use mix::{any, mix, reserve};
pub use pace::{limit, stagger, time_limit};
pub use phase::phases;
pub use source::{Unique, each, forever, from_fn};

use crate::history::{Name, Operation, Process, Value};
use crate::random::Random;

/// What a process is to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What: `read`, `write` …
    pub function: Name,
    /// Of which object; [`Value::Nil`] if there is one only.
    pub key: Value,
    /// With which argument.
    pub input: Value,
}

impl Ask {
    /// `function` without an argument.
    pub fn new(function: &str) -> Self {
        Self {
            function: function.into(),
            key: Value::Nil,
            input: Value::Nil,
        }
    }

    /// The same with an argument.
    #[must_use]
    pub fn with(mut self, input: impl Into<Value>) -> Self {
        self.input = input.into();
        self
    }

    /// The same of an object.
    #[must_use]
    pub fn of(mut self, key: impl Into<Value>) -> Self {
        self.key = key.into();
        self
    }
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// This process asks this now.
    Ask(Process, Ask),
    /// Nothing before this time, unless an operation completes.
    Wait(Duration),
    /// Nothing until an operation completes.
    Blocked,
    /// Nothing ever.
    Done,
}

/// What a generator is told.
pub struct Context<'a> {
    /// The time since the start of the run.
    pub now: Duration,
    /// Processes that have nothing open, in order.
    pub free: &'a [Process],
    /// How many operations are open.
    pub open: usize,
    /// How many client processes there are at a time; process `p` runs on thread `p % clients`.
    pub clients: u32,
    /// Where choices come from.
    pub random: &'a mut Random,
}

impl Context<'_> {
    /// The first client that is free.
    pub fn client(&self) -> Option<Process> {
        self.free
            .iter()
            .copied()
            .find(|process| *process != Process::Nemesis)
    }

    /// The same context in which only these processes are free.
    pub fn among<'b>(&'b mut self, free: &'b [Process]) -> Context<'b> {
        Context {
            now: self.now,
            free,
            open: self.open,
            clients: self.clients,
            random: self.random,
        }
    }
}

/// Yields invocations.
pub trait Generator: Send {
    /// What comes next. An answer of [`Next::Ask`] is carried out; it is not asked again.
    fn next(&mut self, context: &mut Context<'_>) -> Next;

    /// Is told of every operation that completed.
    fn completed(&mut self, operation: &Operation) {
        let _ = operation;
    }
}

impl Generator for Box<dyn Generator> {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        (**self).next(context)
    }

    fn completed(&mut self, operation: &Operation) {
        (**self).completed(operation);
    }
}

/// The sooner of two answers of which neither is an invocation.
fn sooner(one: Next, other: Next) -> Next {
    match (one, other) {
        (Next::Wait(one), Next::Wait(other)) => Next::Wait(one.min(other)),
        (Next::Wait(until), _) | (_, Next::Wait(until)) => Next::Wait(until),
        (Next::Done, other) => other,
        (one, _) => one,
    }
}
