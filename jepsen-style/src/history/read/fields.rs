//! The fields of an event, in whatever notation they came.

use super::cursor::{Cursor, Parsed};
use crate::history::{Details, Event, EventKind, Name, Process, Text, Value};

/// What has been read of one event so far.
#[derive(Default)]
pub(super) struct Fields {
    process: Option<Process>,
    kind: Option<EventKind>,
    pub(super) function: Option<Name>,
    pub(super) key: Value,
    pub(super) value: Value,
    pub(super) nanoseconds: u64,
    details: Option<Box<Details>>,
    /// Which fields have been met, a bit each.
    met: u16,
}

/// A field that means something, by its name in every format.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Process,
    Kind,
    Function,
    Key,
    Value,
    Time,
    Error,
    Node,
    Index,
}

impl Field {
    #[inline]
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "process" => Self::Process,
            "type" => Self::Kind,
            "f" => Self::Function,
            "value" => Self::Value,
            "time" => Self::Time,
            "key" => Self::Key,
            "index" => Self::Index,
            "error" => Self::Error,
            "node" => Self::Node,
            _ => return None,
        })
    }
}

impl Fields {
    /// Notes that a field was met; twice in one event is an error, since one of the two would be lost.
    #[inline]
    pub(super) fn once(&mut self, cursor: &Cursor<'_>, at: usize, field: Field) -> Parsed<()> {
        let bit = 1 << field as u16;
        if self.met & bit != 0 {
            return Err(cursor.problem_at(at, "this event has a field twice"));
        }
        self.met |= bit;
        Ok(())
    }

    /// The number of a process.
    #[inline]
    pub(super) fn client(&mut self, cursor: &Cursor<'_>, at: usize, number: i64) -> Parsed<()> {
        let fits = u32::try_from(number)
            .map_err(|_| cursor.problem_at(at, format!("process {number} does not fit 32 bits")))?;
        self.process = Some(Process::Client(fits));
        Ok(())
    }

    /// A number or a word for the process.
    #[inline]
    pub(super) fn process(&mut self, cursor: &Cursor<'_>, at: usize, value: &Value) -> Parsed<()> {
        self.process = Some(match value {
            Value::Integer(number) => return self.client(cursor, at, *number),
            other if other.as_text() == Some("nemesis") => Process::Nemesis,
            other => {
                return Err(
                    cursor.problem_at(at, format!("a process is a number or nemesis, not {other}"))
                );
            }
        });
        Ok(())
    }

    #[inline]
    pub(super) fn kind(&mut self, cursor: &Cursor<'_>, at: usize, word: &str) -> Parsed<()> {
        let kind = EventKind::of_word(word).ok_or_else(|| {
            cursor.problem_at(
                at,
                format!("a type is invoke, ok, fail or info, not {word}"),
            )
        })?;
        self.kind = Some(kind);
        Ok(())
    }

    pub(super) fn time(&mut self, cursor: &Cursor<'_>, at: usize, value: &Value) -> Parsed<()> {
        let time = value.as_integer().and_then(|time| u64::try_from(time).ok());
        // Jepsen's clock starts before its first operation, but a recording may say -1 for "no reading".
        self.nanoseconds = match (time, value) {
            (Some(time), _) => time,
            (None, Value::Nil | Value::Integer(-1)) => 0,
            _ => {
                return Err(cursor.problem_at(
                    at,
                    format!("a time is nanoseconds since the start, not {value}"),
                ));
            }
        };
        Ok(())
    }

    /// An index that says what the place of the line says anyway is dropped.
    pub(super) fn index(
        &mut self,
        cursor: &mut Cursor<'_>,
        at: usize,
        value: Value,
        events: u32,
    ) -> Parsed<()> {
        if value == Value::Integer(i64::from(events)) {
            return Ok(());
        }
        self.other(cursor, at, "index", value)
    }

    pub(super) fn error(&mut self, cursor: &mut Cursor<'_>, value: Value) -> Parsed<()> {
        self.details(cursor)?.error = value;
        Ok(())
    }

    pub(super) fn node(&mut self, cursor: &mut Cursor<'_>, value: Value) -> Parsed<()> {
        self.details(cursor)?.node = value;
        Ok(())
    }

    /// A field that means nothing here, whose value stood at `at`.
    pub(super) fn other(
        &mut self,
        cursor: &mut Cursor<'_>,
        at: usize,
        name: &str,
        value: Value,
    ) -> Parsed<()> {
        cursor.take_room(size_of::<(Text, Value)>())?;
        cursor.take_room_for_text(name.len())?;
        let others = &mut self.details(cursor)?.others;
        if others.iter().any(|(other, _)| other.as_str() == name) {
            return Err(cursor.problem_at(at, "this event has a field twice"));
        }
        others.push((Text::from(name), value));
        Ok(())
    }

    fn details(&mut self, cursor: &mut Cursor<'_>) -> Parsed<&mut Details> {
        if self.details.is_none() {
            cursor.take_room(size_of::<Details>())?;
        }
        Ok(self.details.get_or_insert_with(Box::default))
    }

    /// The event, if nothing is missing. `start` is where it began.
    pub(super) fn finish(self, cursor: &Cursor<'_>, start: usize) -> Parsed<Event> {
        let missing = |field: &str| cursor.problem_at(start, format!("this event has no {field}"));
        Ok(Event {
            process: self.process.ok_or_else(|| missing("process"))?,
            kind: self.kind.ok_or_else(|| missing("type"))?,
            function: self.function.ok_or_else(|| missing("f"))?,
            key: self.key,
            value: self.value,
            nanoseconds: self.nanoseconds,
            details: self.details,
        })
    }
}
