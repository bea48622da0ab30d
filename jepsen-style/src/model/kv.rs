//! Keys with strings: `get`, `put` and `append`, each about the one key of its operation.
//!
//! A key that was never written holds the empty string. What a `get` answered begins with all that was there before, back
//! to the last `put`: the model says so as a goal, and appends fall into their places without a search.

use super::Model;
use crate::history::{Operation, Text, Value};

/// Keys with strings.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyValue;

/// What can be asked of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// It answered this string.
    Get(Text),
    /// This string was put in place of the old.
    Put(Text),
    /// This string was added at the end.
    Append(Text),
}

impl Model for KeyValue {
    type State = Text;
    type Call = Call;

    fn init(&self) -> Text {
        Text::from("")
    }

    fn call(&self, operation: &Operation) -> Result<Option<Call>, String> {
        match operation.function.as_str() {
            "get" | "read" if !operation.is_ok() => Ok(None),
            "get" | "read" => Ok(Some(Call::Get(text(&operation.output)?))),
            "put" | "write" => Ok(Some(Call::Put(text(&operation.input)?))),
            "append" => Ok(Some(Call::Append(text(&operation.input)?))),
            other => Err(format!("a key knows get, put and append, not {other}")),
        }
    }

    fn step(&self, state: &Text, call: &Call) -> Option<Text> {
        match call {
            Call::Get(seen) => (seen == state).then(|| state.clone()),
            Call::Put(value) => Some(value.clone()),
            Call::Append(value) => Some(Text::from([state.as_str(), value.as_str()].concat())),
        }
    }

    fn part<'a>(&self, operation: &'a Operation) -> Option<&'a Value> {
        Some(&operation.key)
    }

    fn is_pure(&self, call: &Call) -> bool {
        matches!(call, Call::Get(_))
    }

    fn is_goal(&self, call: &Call) -> bool {
        matches!(call, Call::Get(_))
    }

    fn leads_to(&self, state: &Text, goal: &Call) -> bool {
        match goal {
            Call::Get(seen) => seen.as_bytes().starts_with(state.as_bytes()),
            Call::Put(_) | Call::Append(_) => true,
        }
    }

    fn resets(&self, call: &Call, goal: &Call) -> bool {
        match (call, goal) {
            (Call::Put(value), Call::Get(seen)) => seen.as_bytes().starts_with(value.as_bytes()),
            _ => false,
        }
    }

    fn owned(&self, state: &Text) -> usize {
        match state.as_bytes().len() {
            inline if inline <= Text::INLINE => 0,
            bytes => bytes,
        }
    }

    fn describe(&self, state: &Text) -> String {
        format!("{state:?}")
    }
}

/// The string that a value is; a whole number stands for its digits.
fn text(value: &Value) -> Result<Text, String> {
    match value {
        Value::Nil => Ok(Text::from("")),
        Value::Text(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(Text::from(number.to_string())),
        other => Err(format!("keys hold strings, not {other}")),
    }
}
