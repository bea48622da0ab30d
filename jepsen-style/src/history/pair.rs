//! Makes operations of events.
//!
//! A completion belongs to the one open invocation of its process. What stays open at the end, and what ends with
//! *info*, has an unknown outcome. The nemesis is freer, as it is in recordings made by others: its *info* lines come
//! in pairs (began, done) or alone, and nobody judges them.

use rustc_hash::FxHashMap;

use super::History;
use super::event::{Event, EventKind};
use super::op::{Details, Moment, Operation, Outcome, Process};
use crate::deadline;

/// Collects events in the order in which they happened.
#[derive(Debug, Default)]
pub struct Pairing {
    operations: Vec<Operation>,
    /// Where in `operations` the open invocation of a process stands.
    open: Open,
    events: u32,
}

/// Where the open invocation of each process stands. Numbers of processes are small in most recordings: those are looked
/// up in an array.
#[derive(Debug, Default)]
struct Open {
    small: Vec<Option<u32>>,
    others: FxHashMap<Process, u32>,
}

/// Processes below this number have a place in the array.
const SMALL: u32 = 4096;

impl Open {
    /// Opens; gives what was open before.
    #[inline]
    fn insert(&mut self, process: Process, place: u32) -> Option<u32> {
        match process {
            Process::Client(number) if number < SMALL => {
                let number = number as usize;
                if self.small.len() <= number {
                    self.small.resize(number + 1, None);
                }
                self.small[number].replace(place)
            }
            _ => self.others.insert(process, place),
        }
    }

    /// Closes; gives what was open.
    #[inline]
    fn remove(&mut self, process: Process) -> Option<u32> {
        match process {
            Process::Client(number) if number < SMALL => {
                self.small.get_mut(number as usize)?.take()
            }
            _ => self.others.remove(&process),
        }
    }
}

/// A recording that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// A process asked again before it was answered.
    #[error("process {process} invokes {function} while its {open} is still open")]
    TwoOpen {
        /// The process.
        process: Process,
        /// What it invokes now.
        function: String,
        /// What it had invoked before.
        open: String,
    },
    /// A completion that no invocation came before.
    #[error("process {process} completes {function} but has nothing open")]
    NothingOpen {
        /// The process.
        process: Process,
        /// What it completes.
        function: String,
    },
    /// A completion of something else than what was invoked.
    #[error("process {process} completes {function} but its open operation is {open}")]
    OtherFunction {
        /// The process.
        process: Process,
        /// What it completes.
        function: String,
        /// What it had invoked.
        open: String,
    },
    /// A completion of an operation on another key than was invoked.
    #[error("process {process} completes {function} of {key} but invoked it of {open}")]
    OtherKey {
        /// The process.
        process: Process,
        /// What it completes.
        function: String,
        /// The key it completes it of.
        key: String,
        /// The key it had invoked it of.
        open: String,
    },
    /// More than 2³² events.
    #[error("more events than an order of 32 bits can number")]
    TooMany,
}

impl Pairing {
    /// Takes the next event.
    pub fn push(&mut self, event: Event) -> Result<(), PairError> {
        deadline::look();
        let moment = Moment {
            order: self.events,
            nanoseconds: event.nanoseconds,
        };
        self.events = self.events.checked_add(1).ok_or(PairError::TooMany)?;
        if event.process == Process::Nemesis {
            self.nemesis(event, moment);
            return Ok(());
        }
        match event.kind {
            EventKind::Invoke => self.invoke(event, moment),
            EventKind::Ok => self.complete(event, moment, Outcome::Ok),
            EventKind::Fail => self.complete(event, moment, Outcome::Failed),
            EventKind::Info => self.complete(event, moment, Outcome::Unknown),
        }
    }

    /// How many events have been taken.
    pub fn events(&self) -> u32 {
        self.events
    }

    /// The history. What is open stays so, with an unknown outcome.
    pub fn finish(self) -> History {
        // They stand in the order of their invocations already.
        History {
            operations: self.operations,
            story: String::new(),
        }
    }

    fn invoke(&mut self, event: Event, moment: Moment) -> Result<(), PairError> {
        if let Some(open) = self
            .open
            .insert(event.process, self.operations.len() as u32)
        {
            return Err(PairError::TwoOpen {
                process: event.process,
                function: event.function.to_string(),
                open: self.operations[open as usize].function.to_string(),
            });
        }
        self.begin(event, moment);
        Ok(())
    }

    fn begin(&mut self, event: Event, moment: Moment) {
        self.operations.push(Operation {
            process: event.process,
            function: event.function,
            key: event.key,
            input: event.value,
            output: super::Value::Nil,
            outcome: Outcome::Unknown,
            invoked: moment,
            ended: None,
            details: event.details,
        });
    }

    fn complete(
        &mut self,
        event: Event,
        moment: Moment,
        outcome: Outcome,
    ) -> Result<(), PairError> {
        let Some(open) = self.open.remove(event.process) else {
            return Err(PairError::NothingOpen {
                process: event.process,
                function: event.function.to_string(),
            });
        };
        let operation = &mut self.operations[open as usize];
        if operation.function != event.function {
            return Err(PairError::OtherFunction {
                process: event.process,
                function: event.function.to_string(),
                open: operation.function.to_string(),
            });
        }
        // Some recordings name the key only in the invocation, some only in the completion.
        if !event.key.is_nil() && !operation.key.is_nil() && event.key != operation.key {
            return Err(PairError::OtherKey {
                process: event.process,
                function: event.function.to_string(),
                key: event.key.to_string(),
                open: operation.key.to_string(),
            });
        }
        close(operation, event, moment, outcome);
        Ok(())
    }

    fn nemesis(&mut self, event: Event, moment: Moment) {
        let outcome = match event.kind {
            EventKind::Ok | EventKind::Info | EventKind::Invoke => Outcome::Ok,
            EventKind::Fail => Outcome::Failed,
        };
        match self.open.remove(Process::Nemesis) {
            Some(open)
                if event.kind != EventKind::Invoke
                    && self.operations[open as usize].function == event.function =>
            {
                close(&mut self.operations[open as usize], event, moment, outcome);
            }
            _ => {
                self.open
                    .insert(Process::Nemesis, self.operations.len() as u32);
                self.begin(event, moment);
            }
        }
    }
}

fn close(operation: &mut Operation, event: Event, moment: Moment, outcome: Outcome) {
    operation.output = event.value;
    operation.outcome = outcome;
    operation.ended = Some(moment);
    if let Some(later) = event.details {
        match &mut operation.details {
            Some(details) => join(details, *later),
            details => *details = Some(later),
        }
    }
    if operation.key.is_nil() {
        operation.key = event.key;
    }
}

/// Adds to what the invocation carried what the completion carries; where both say something, the completion is right.
fn join(details: &mut Details, later: Details) {
    if !later.error.is_nil() {
        details.error = later.error;
    }
    if !later.node.is_nil() {
        details.node = later.node;
    }
    for (name, value) in later.others {
        match details.others.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => details.others.push((name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Name, Value};

    fn event(process: u32, kind: EventKind, function: &str, value: i64) -> Event {
        Event {
            process: Process::Client(process),
            kind,
            function: Name::from(function),
            key: Value::Nil,
            value: value.into(),
            nanoseconds: 0,
            details: None,
        }
    }

    #[test]
    fn completions_find_the_invocation_of_their_process() {
        let history = History::from_events([
            event(1, EventKind::Invoke, "write", 1),
            event(2, EventKind::Invoke, "read", 0),
            event(2, EventKind::Ok, "read", 7),
            event(1, EventKind::Fail, "write", 1),
        ])
        .unwrap();
        let [write, read] = history.operations() else {
            panic!("two operations")
        };
        assert_eq!(
            (write.outcome, write.returned()),
            (Outcome::Failed, Some(Moment::at(3)))
        );
        assert_eq!(
            (read.outcome, &read.output),
            (Outcome::Ok, &Value::Integer(7))
        );
    }

    #[test]
    fn what_nobody_learned_stays_open() {
        let history = History::from_events([
            event(1, EventKind::Invoke, "write", 1),
            event(1, EventKind::Info, "write", 1),
            event(1, EventKind::Invoke, "write", 2),
        ])
        .unwrap();
        for operation in history.operations() {
            assert_eq!(
                (operation.outcome, operation.returned()),
                (Outcome::Unknown, None)
            );
        }
        assert_eq!(history.operations()[0].ended, Some(Moment::at(1)));
    }

    #[test]
    fn contradictions_are_errors() {
        let twice = [
            event(1, EventKind::Invoke, "read", 0),
            event(1, EventKind::Invoke, "write", 0),
        ];
        assert!(matches!(
            History::from_events(twice),
            Err(PairError::TwoOpen { .. })
        ));
        let stray = [event(1, EventKind::Ok, "read", 0)];
        assert!(matches!(
            History::from_events(stray),
            Err(PairError::NothingOpen { .. })
        ));
        let other = [
            event(1, EventKind::Invoke, "read", 0),
            event(1, EventKind::Ok, "write", 0),
        ];
        assert!(matches!(
            History::from_events(other),
            Err(PairError::OtherFunction { .. })
        ));
    }

    #[test]
    fn one_operation_is_about_one_key() {
        let of = |kind, key: &str| Event {
            key: key.into(),
            ..event(1, kind, "write", 1)
        };
        let two = [of(EventKind::Invoke, "x"), of(EventKind::Ok, "y")];
        assert!(matches!(
            History::from_events(two),
            Err(PairError::OtherKey { .. })
        ));
        for (first, second) in [("x", "x"), ("x", "")] {
            let mut ends = of(EventKind::Ok, second);
            if second.is_empty() {
                ends.key = Value::Nil;
            }
            let history = History::from_events([of(EventKind::Invoke, first), ends]).unwrap();
            assert_eq!(history.operations()[0].key, Value::from("x"));
        }
    }

    #[test]
    fn what_the_invocation_said_is_kept_beside_what_the_completion_says() {
        let with = |kind, error: &str, node: &str, other: &str| {
            let value = |text: &str| {
                if text.is_empty() {
                    Value::Nil
                } else {
                    Value::from(text)
                }
            };
            Event {
                details: Some(Box::new(Details {
                    error: value(error),
                    node: value(node),
                    others: vec![(other.into(), Value::Bool(true))],
                })),
                ..event(1, kind, "write", 1)
            }
        };
        let history = History::from_events([
            with(EventKind::Invoke, "", "n1", "first"),
            with(EventKind::Info, "timeout", "", "last"),
        ])
        .unwrap();
        let details = history.operations()[0].details.as_ref().unwrap();
        assert_eq!(details.error, Value::from("timeout"));
        assert_eq!(details.node, Value::from("n1"));
        assert_eq!(details.others.len(), 2);
    }

    #[test]
    fn events_of_a_history_pair_to_the_same_history() {
        let events = vec![
            event(1, EventKind::Invoke, "write", 1),
            event(2, EventKind::Invoke, "read", 0),
            event(1, EventKind::Info, "write", 1),
            event(2, EventKind::Ok, "read", 7),
        ];
        let history = History::from_events(events.clone()).unwrap();
        assert_eq!(history.events(), events);
    }
}
