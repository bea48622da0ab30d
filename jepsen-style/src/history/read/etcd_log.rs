//! The log lines of Jepsen's first etcd test, which other checkers publish as their test data.
//!
//! ```text
//! INFO  jepsen.util - 4  :invoke  :cas  [1 2]
//! INFO  jepsen.util - 4  :fail    :cas  [1 2]
//! ```
//!
//! The columns are separated by tabs. In this format a failed `cas` that repeats its argument is an *answer*: the server
//! compared and found another value. It is read as a `cas` that went well and answered `false`, so that the comparison
//! itself is judged. Any other failure (`:fail :read :timed-out`) says nothing about the state.

use std::io::BufRead;

use super::ReadError;
use super::cursor::{Cursor, Names, Parsed, Room};
use super::edn::value_alone;
use super::limits::Limits;
use super::lines::Lines;
use crate::history::{Details, Event, EventKind, History, Pairing, Process, Value};

pub(super) fn read(input: impl BufRead, limits: Limits) -> Result<History, ReadError> {
    let mut names = Names::default();
    let mut pairing = Pairing::default();
    let mut lines = Lines::new(input, limits);
    let mut room = Room::of(limits.memory);
    while let Some((number, line)) = lines.next()? {
        let mut cursor = Cursor::new(line, room);
        let mut whole = || {
            if let Some(event) = event(&mut cursor, &mut names)? {
                cursor.pair(&mut pairing, event, 0)?;
            }
            Ok(())
        };
        whole().map_err(|problem: Box<_>| cursor.error(*problem, number))?;
        room = cursor.room();
    }
    Ok(pairing.finish())
}

fn event(cursor: &mut Cursor<'_>, names: &mut Names) -> Parsed<Option<Event>> {
    blank(cursor);
    if cursor.peek().is_none() {
        return Ok(None);
    }
    for wanted in ["INFO", "jepsen.util", "-"] {
        let at = cursor.at();
        if cursor.take_while(|byte| !byte.is_ascii_whitespace()) != wanted {
            return Err(cursor.problem_at(at, format!("expected {wanted}")));
        }
        blank(cursor);
    }
    let process = process(cursor)?;
    let kind_at = cursor.at();
    let kind = EventKind::of_word(keyword(cursor)?)
        .ok_or_else(|| cursor.problem_at(kind_at, "expected :invoke, :ok, :fail or :info"))?;
    let word = keyword(cursor)?;
    let function = names.name(cursor, word)?;
    let value = value_alone(cursor, names)?;
    let mut event = Event {
        process,
        kind,
        function,
        key: Value::Nil,
        value,
        nanoseconds: 0,
        details: None,
    };
    settle(&mut event);
    if event.details.is_some() {
        cursor.take_room(size_of::<Details>())?;
    }
    Ok(Some(event))
}

/// Gives the completion its meaning; see the head of this file.
fn settle(event: &mut Event) {
    let repeats_argument = matches!(event.value, Value::List(_));
    match event.kind {
        EventKind::Fail if event.function == "cas" && repeats_argument => {
            event.kind = EventKind::Ok;
            event.value = Value::Bool(false);
        }
        EventKind::Ok if event.function == "cas" => event.value = Value::Bool(true),
        EventKind::Fail | EventKind::Info if event.process != Process::Nemesis => {
            let error = std::mem::take(&mut event.value);
            event.details = Some(Box::new(Details {
                error,
                ..Details::default()
            }));
        }
        _ => {}
    }
}

fn process(cursor: &mut Cursor<'_>) -> Parsed<Process> {
    let at = cursor.at();
    let word = cursor.take_while(|byte| !byte.is_ascii_whitespace());
    blank(cursor);
    if word == ":nemesis" {
        return Ok(Process::Nemesis);
    }
    let number = word
        .parse()
        .map_err(|_| cursor.problem_at(at, "expected the number of a process"))?;
    Ok(Process::Client(number))
}

fn keyword<'a>(cursor: &mut Cursor<'a>) -> Parsed<&'a str> {
    cursor.expect(b':')?;
    let word = cursor.take_while(|byte| !byte.is_ascii_whitespace());
    blank(cursor);
    Ok(word)
}

fn blank(cursor: &mut Cursor<'_>) {
    cursor.take_while(|byte| byte.is_ascii_whitespace());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Outcome;

    fn read(text: &str) -> Result<History, ReadError> {
        super::read(text.as_bytes(), Limits::generous())
    }

    #[test]
    fn a_comparison_that_failed_is_an_answer() {
        let history = read(concat!(
            "INFO  jepsen.util - 4\t:invoke\t:cas\t[1 2]\n",
            "INFO  jepsen.util - 3\t:invoke\t:write\t3\n",
            "INFO  jepsen.util - 4\t:fail\t:cas\t[1 2]\n",
            "INFO  jepsen.util - 3\t:info\t:write\t:timed-out\n",
            "INFO  jepsen.util - 4\t:invoke\t:read\tnil\n",
            "INFO  jepsen.util - 4\t:fail\t:read\t:timed-out\n",
        ))
        .unwrap();
        let [cas, write, read] = history.operations() else {
            panic!("three operations")
        };
        assert_eq!(
            (cas.outcome, &cas.output),
            (Outcome::Ok, &Value::Bool(false))
        );
        assert_eq!(
            (write.outcome, write.error().to_string().as_str()),
            (Outcome::Unknown, ":timed-out")
        );
        assert_eq!(read.outcome, Outcome::Failed);
    }

    #[test]
    fn a_line_of_another_kind_is_an_error() {
        let error = read("INFO  jepsen.util - 4\t:invoke\t:read\tnil\nINFO  jepsen.core - x\n")
            .unwrap_err();
        assert_eq!(error.to_string(), "line 2, column 7: expected jepsen.util");
    }
}
