//! One line of a recording.

use super::op::{Details, Process};
use super::text::Name;
use super::value::Value;

/// What a line says: that an operation began, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// An operation begins.
    Invoke,
    /// It took effect.
    Ok,
    /// It did not take effect and never will.
    Fail,
    /// The process stopped waiting and does not know.
    Info,
}

impl EventKind {
    /// The word for it in JSON Lines and EDN.
    pub fn word(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        }
    }

    /// The kind that `word` names.
    pub fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "invoke" => Self::Invoke,
            "ok" => Self::Ok,
            "fail" => Self::Fail,
            "info" => Self::Info,
            _ => return None,
        })
    }
}

/// An invocation or a completion. Its order is its place in the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Who acted.
    pub process: Process,
    /// Begin or end.
    pub kind: EventKind,
    /// What was asked.
    pub function: Name,
    /// Which object it was about, if that is said apart from the value.
    pub key: Value,
    /// The argument in an invocation, the answer in a completion.
    pub value: Value,
    /// Nanoseconds since the start of the run; 0 where the recording has no clock.
    pub nanoseconds: u64,
    /// Everything else that the line said.
    pub details: Option<Box<Details>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_word() {
        for kind in [
            EventKind::Invoke,
            EventKind::Ok,
            EventKind::Fail,
            EventKind::Info,
        ] {
            assert_eq!(EventKind::of_word(kind.word()), Some(kind));
        }
        assert_eq!(EventKind::of_word("begin"), None);
    }
}
