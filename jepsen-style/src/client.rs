//! How a test speaks to the system, and what an answer means.

use std::future::Future;
use std::pin::Pin;

use crate::generator::Ask;
use crate::history::{Outcome, Process, Value};

/// A future that anyone can poll: the clients of a run are of different kinds.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection of one process to the system under test; the nemesis is one too, to the faults.
///
/// An operation that failed in a way that nobody understands is [`Answer::unknown`]. A client never asks again by itself:
/// two requests under one invocation can both take effect.
pub trait Client: Send {
    /// Asks, and waits for the answer as long as this client thinks right.
    fn invoke<'a>(&'a mut self, ask: &'a Ask) -> Pending<'a, Answer>;
}

/// Makes a client for a process. A process whose operation ended with an unknown outcome is never used again; its thread
/// goes on as another process with another client.
pub trait Clients: Send {
    /// A new client for `process`.
    fn open(&mut self, process: Process) -> Box<dyn Client>;
}

impl<F: FnMut(Process) -> Box<dyn Client> + Send> Clients for F {
    fn open(&mut self, process: Process) -> Box<dyn Client> {
        self(process)
    }
}

/// What a client learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What became of the operation.
    pub outcome: Outcome,
    /// What was answered.
    pub output: Value,
    /// Why it failed or is unknown.
    pub error: Value,
    /// Which node was asked.
    pub node: Value,
}

impl Answer {
    /// It took effect and answered this.
    pub fn ok(output: impl Into<Value>) -> Self {
        Self {
            outcome: Outcome::Ok,
            output: output.into(),
            error: Value::Nil,
            node: Value::Nil,
        }
    }

    /// It did not and never will take effect, because of this.
    pub fn failed(error: impl Into<Value>) -> Self {
        Self {
            outcome: Outcome::Failed,
            output: Value::Nil,
            error: error.into(),
            node: Value::Nil,
        }
    }

    /// Nobody knows, because of this.
    pub fn unknown(error: impl Into<Value>) -> Self {
        Self {
            outcome: Outcome::Unknown,
            output: Value::Nil,
            error: error.into(),
            node: Value::Nil,
        }
    }

    /// The same from a node.
    #[must_use]
    pub fn from_node(mut self, node: impl Into<Value>) -> Self {
        self.node = node.into();
        self
    }

    /// What an error means for a request that changes nothing: a read that was not answered has simply failed.
    #[must_use]
    pub fn of_read(mut self) -> Self {
        if self.outcome == Outcome::Unknown {
            self.outcome = Outcome::Failed;
        }
        self
    }
}
