//! One operation: what a process asked, and what became of it.

use std::fmt;

use super::event::{Event, EventKind};
use super::text::{Name, Text};
use super::value::Value;

/// Who acted. A client process is a logical thread: it never has two operations open at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// A client of the system under test.
    Client(u32),
    /// The part of the test that brings faults. Its operations are not judged.
    Nemesis,
}

impl fmt::Display for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(number) => write!(formatter, "{number}"),
            Self::Nemesis => formatter.write_str("nemesis"),
        }
    }
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It took effect, at one moment between invocation and completion.
    Ok,
    /// It did not and never will take effect.
    Failed,
    /// Nobody knows: it may take effect at any moment from its invocation on, or never. It stays open for ever.
    Unknown,
}

/// When an event happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// The position of the event among all events of the history. This is the order that checkers go by.
    pub order: u32,
    /// Nanoseconds since the start of the run, simulated or real; 0 where the recording has no clock.
    pub nanoseconds: u64,
}

impl Moment {
    /// The moment of the event at `order`, with no clock reading.
    pub const fn at(order: u32) -> Self {
        Self {
            order,
            nanoseconds: 0,
        }
    }
}

/// An invocation with its completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub process: Process,
    /// What was asked: `read`, `write`, `cas`, `txn` …
    pub function: Name,
    /// Which object it was about; [`Value::Nil`] when the history is of one object, or when the input says it.
    pub key: Value,
    /// The argument, as invoked.
    pub input: Value,
    /// The answer, as completed; [`Value::Nil`] while there is none.
    pub output: Value,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was invoked.
    pub invoked: Moment,
    /// When the process stopped waiting: with an answer, a failure, or without knowing ([`Outcome::Unknown`], which a
    /// timeout records as an event of its own). `None` if the recording ends before. For order use
    /// [`Operation::returned`].
    pub ended: Option<Moment>,
    /// Everything else that was recorded; most operations have none.
    pub details: Option<Box<Details>>,
}

/// What some operations carry beside the usual.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Why it failed, or why its outcome is unknown.
    pub error: Value,
    /// Which node was asked.
    pub node: Value,
    /// Fields of the recording that have no meaning here, kept as they were.
    pub others: Vec<(Text, Value)>,
}

impl Operation {
    /// When the operation was over for certain: `None` for an unknown outcome, which stays open for ever.
    pub fn returned(&self) -> Option<Moment> {
        match self.outcome {
            Outcome::Unknown => None,
            Outcome::Ok | Outcome::Failed => self.ended,
        }
    }

    /// Whether it took effect for certain.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// Whether it was over before `other` began, so that no order may put it after.
    pub fn precedes(&self, other: &Self) -> bool {
        self.returned()
            .is_some_and(|moment| moment.order < other.invoked.order)
    }

    /// Nanoseconds from invocation to completion.
    pub fn latency(&self) -> Option<u64> {
        self.ended
            .map(|ended| ended.nanoseconds.saturating_sub(self.invoked.nanoseconds))
    }

    /// Why it failed or is unknown; [`Value::Nil`] when nothing was said.
    pub fn error(&self) -> &Value {
        const NIL: &Value = &Value::Nil;
        self.details.as_ref().map_or(NIL, |details| &details.error)
    }

    /// The event that began it. What else was recorded goes with the one that ended it, if there is one.
    pub fn invocation(&self) -> Event {
        Event {
            process: self.process,
            kind: EventKind::Invoke,
            function: self.function.clone(),
            key: self.key.clone(),
            value: self.input.clone(),
            nanoseconds: self.invoked.nanoseconds,
            details: match self.ended {
                Some(_) => None,
                None => self.details.clone(),
            },
        }
    }

    /// The event that ended it, if one was recorded.
    pub fn completion(&self) -> Option<Event> {
        let ended = self.ended?;
        let kind = match self.outcome {
            Outcome::Ok => EventKind::Ok,
            Outcome::Failed => EventKind::Fail,
            Outcome::Unknown => EventKind::Info,
        };
        Some(Event {
            process: self.process,
            kind,
            function: self.function.clone(),
            key: self.key.clone(),
            value: self.output.clone(),
            nanoseconds: ended.nanoseconds,
            details: self.details.clone(),
        })
    }
}

/// One line: `3 cas 1 [2 4] -> true (ok)`.
impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {}: {}", self.process, self.function)?;
        if !self.key.is_nil() {
            write!(formatter, " {}", self.key)?;
        }
        if !self.input.is_nil() {
            write!(formatter, " {}", self.input)?;
        }
        match self.outcome {
            Outcome::Ok if self.output == self.input => formatter.write_str(" -> ok"),
            Outcome::Ok => write!(formatter, " -> {}", self.output),
            Outcome::Failed => formatter.write_str(" -> failed"),
            Outcome::Unknown => formatter.write_str(" -> unknown"),
        }
    }
}
