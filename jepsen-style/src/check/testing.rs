//! Histories written down in tests: an operation a line.

use crate::history::{History, Moment, Name, Operation, Outcome, Process, Value};

/// Events of test histories are a second apart.
pub(super) const SECOND: u64 = 1_000_000_000;

fn moment(order: u32) -> Moment {
    Moment {
        order,
        nanoseconds: u64::from(order) * SECOND,
    }
}

fn operation(
    process: u32,
    span: (u32, u32),
    function: &str,
    input: Value,
    output: Value,
    outcome: Outcome,
) -> Operation {
    Operation {
        process: Process::Client(process),
        function: Name::from(function),
        key: Value::Nil,
        input,
        output,
        outcome,
        invoked: moment(span.0),
        ended: Some(moment(span.1)),
        details: None,
    }
}

/// An operation that was answered.
pub(super) fn ok(
    process: u32,
    span: (u32, u32),
    function: &str,
    input: impl Into<Value>,
    output: impl Into<Value>,
) -> Operation {
    operation(
        process,
        span,
        function,
        input.into(),
        output.into(),
        Outcome::Ok,
    )
}

/// An operation that had no effect.
pub(super) fn failed(
    process: u32,
    span: (u32, u32),
    function: &str,
    input: impl Into<Value>,
) -> Operation {
    operation(
        process,
        span,
        function,
        input.into(),
        Value::Nil,
        Outcome::Failed,
    )
}

/// An operation of which nobody knows.
pub(super) fn unknown(
    process: u32,
    span: (u32, u32),
    function: &str,
    input: impl Into<Value>,
) -> Operation {
    operation(
        process,
        span,
        function,
        input.into(),
        Value::Nil,
        Outcome::Unknown,
    )
}

/// The same on a key.
pub(super) fn on(key: impl Into<Value>, operation: Operation) -> Operation {
    Operation {
        key: key.into(),
        ..operation
    }
}

/// A list of whole numbers.
pub(super) fn numbers(numbers: &[i64]) -> Value {
    Value::list(numbers.iter().map(|number| Value::from(*number)))
}

/// The history of these operations.
pub(super) fn history(operations: impl IntoIterator<Item = Operation>) -> History {
    History::new(operations.into_iter().collect())
}
