//! A place in a text.

use rustc_hash::FxHashSet;

use crate::history::{Event, EventKind, Name, Operation, Pairing, Process, Text, Value};

/// How deep values may nest: far more than a recording needs, far less than the stack bears.
const DEPTH: u32 = 128;

/// What is wrong with a recording, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct ReadError {
    /// Whether the recording is to blame.
    pub fault: Fault,
    /// The line, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
}

/// Whose fault it is that a recording was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is no recording, or an event of it is longer than the reader was told to take.
    Recording,
    /// It may be well formed, but takes more memory than the reader was given.
    Memory,
    /// The input itself broke off.
    Input,
}

impl ReadError {
    pub(super) fn at_start(problem: &str) -> Self {
        Self {
            fault: Fault::Recording,
            line: 1,
            column: 1,
            problem: problem.to_owned(),
        }
    }

    /// The input failed somewhere in `line`.
    pub(super) fn broken(error: &std::io::Error, line: usize) -> Self {
        Self {
            fault: Fault::Input,
            line,
            column: 1,
            problem: format!("cannot read: {error}"),
        }
    }
}

/// What went wrong at a byte of the text. Boxed, so that the way without errors moves less.
pub(super) struct Problem {
    fault: Fault,
    at: usize,
    what: String,
}

pub(super) type Parsed<T> = Result<T, Box<Problem>>;

/// The text in `bytes`, or the place of the first byte that is none.
pub(super) fn text(bytes: &[u8], first_line: usize) -> Result<&str, ReadError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let good = std::str::from_utf8(good).expect("valid up to here");
        let problem = Problem {
            fault: Fault::Recording,
            at: good.len(),
            what: "this is not UTF-8".to_owned(),
        };
        Cursor::new(good, Room::unbounded()).error(problem, first_line)
    })
}

/// Walks over a text. Every reader of a value is a method or function over this.
pub(super) struct Cursor<'a> {
    /// What can be seen: all of `whole`, or its beginning.
    text: &'a str,
    whole: &'a str,
    at: usize,
    depth: u32,
    room: Room,
}

/// The longest piece that is looked at as one, `\uXXXX\uXXXX`: who stops nearer to the horizon may have been stopped by it.
const PIECE: usize = 12;

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, room: Room) -> Self {
        Self {
            text,
            whole: text,
            at: 0,
            depth: 0,
            room,
        }
    }

    /// Sees the next `bytes` and one more, and nothing beyond.
    pub(super) fn see(&mut self, bytes: usize) {
        let horizon = self.at.saturating_add(bytes).saturating_add(1);
        self.text = &self.whole[..self.whole.ceil_char_boundary(horizon)];
    }

    /// Whether more was wanted than could be seen, though there is more.
    pub(super) fn is_at_horizon(&self, failed: bool) -> bool {
        let near = if failed { PIECE } else { 0 };
        self.text.len() < self.whole.len() && self.at + near >= self.text.len()
    }

    /// The room that is left, for the cursor over the next line.
    pub(super) fn room(&self) -> Room {
        self.room
    }

    /// Takes `bytes` of the memory that the reader was given.
    #[inline]
    pub(super) fn take_room(&mut self, bytes: usize) -> Parsed<()> {
        match self.room.left.checked_sub(bytes as u64) {
            Some(left) => {
                self.room.left = left;
                Ok(())
            }
            None => Err(self.no_room()),
        }
    }

    /// Takes room for a string of so many bytes, which is none if it is stored inline.
    #[inline]
    pub(super) fn take_room_for_text(&mut self, bytes: usize) -> Parsed<()> {
        if bytes > Text::INLINE {
            return self.take_room(bytes);
        }
        Ok(())
    }

    #[cold]
    fn no_room(&self) -> Box<Problem> {
        let given = self.room.given >> 20;
        let what = format!("the history up to here takes more than {given} MiB of memory");
        Box::new(Problem {
            fault: Fault::Memory,
            ..*self.problem(what)
        })
    }

    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    pub(super) fn second(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at + 1).copied()
    }

    #[inline]
    pub(super) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Goes on while `wanted` and gives what was passed. Stops before a byte, so it must not accept a part of a character.
    #[inline]
    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        let length = self
            .rest()
            .iter()
            .position(|byte| !wanted(*byte))
            .unwrap_or(self.rest().len());
        self.at += length;
        &self.text[start..self.at]
    }

    /// The text from `start` to here.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// The next character.
    pub(super) fn character(&mut self) -> Option<char> {
        let character = self.text[self.at..].chars().next()?;
        self.at += character.len_utf8();
        Some(character)
    }

    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Parsed<()> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected(&format!("{:?}", char::from(byte))))
    }

    #[cold]
    pub(super) fn unexpected(&self, wanted: &str) -> Box<Problem> {
        let found = self.text[self.at..].chars().next();
        let found = found.map_or_else(
            || "the end".to_owned(),
            |character| format!("{character:?}"),
        );
        self.problem(format!("expected {wanted}, found {found}"))
    }

    #[cold]
    pub(super) fn problem(&self, what: impl Into<String>) -> Box<Problem> {
        self.problem_at(self.at, what)
    }

    #[cold]
    pub(super) fn problem_at(&self, at: usize, what: impl Into<String>) -> Box<Problem> {
        Box::new(Problem {
            fault: Fault::Recording,
            at,
            what: what.into(),
        })
    }

    /// Gives an event that began at `start` to `pairing`.
    #[inline]
    pub(super) fn pair(&mut self, pairing: &mut Pairing, event: Event, start: usize) -> Parsed<()> {
        if event.kind == EventKind::Invoke || event.process == Process::Nemesis {
            self.take_room(size_of::<Operation>())?;
        }
        pairing
            .push(event)
            .map_err(|error| self.problem_at(start, error.to_string()))
    }

    /// The map of `entries`, which was written at `start`.
    pub(super) fn map(&self, start: usize, entries: Vec<(Value, Value)>) -> Parsed<Value> {
        let written = entries.len();
        let map = Value::map(entries);
        if map.as_map().is_some_and(|entries| entries.len() < written) {
            return Err(self.problem_at(start, "this map has a key twice"));
        }
        Ok(map)
    }

    /// Goes one level into a value.
    #[inline]
    pub(super) fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.problem(format!("values nest deeper than {DEPTH}")));
        }
        Ok(())
    }

    #[inline]
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Four hexadecimal digits, as after `\u`.
    pub(super) fn hexadecimal(&mut self) -> Parsed<u32> {
        let digits = self
            .rest()
            .get(..4)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else {
            return Err(self.unexpected("four hexadecimal digits"));
        };
        let number = digits.iter().fold(0, |number, digit| {
            number * 16
                + char::from(*digit)
                    .to_digit(16)
                    .expect("a hexadecimal digit")
        });
        self.advance(4);
        Ok(number)
    }

    /// The problem with its place: the text begins with the line of that number.
    pub(super) fn error(&self, problem: Problem, first_line: usize) -> ReadError {
        let before = &self.text[..problem.at.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = first_line + before.bytes().filter(|byte| *byte == b'\n').count();
        ReadError {
            fault: problem.fault,
            line,
            column: before[line_start..].chars().count() + 1,
            problem: problem.what,
        }
    }
}

/// Memory that a history may still take. What is counted is what stays: operations, and what their values own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    given: u64,
    left: u64,
}

impl Room {
    pub(super) fn of(bytes: u64) -> Self {
        Self {
            given: bytes,
            left: bytes,
        }
    }

    pub(super) fn unbounded() -> Self {
        Self::of(u64::MAX)
    }
}

/// What a name takes beside its letters: two counts, and its place in the table.
const NAME: usize = 56;

/// Shares the few names that come again and again.
#[derive(Default)]
pub(super) struct Names {
    known: FxHashSet<Name>,
    /// The names that came last: nearly always the next is one of them.
    recent: [Option<Name>; 2],
}

impl Names {
    #[inline]
    pub(super) fn name(&mut self, cursor: &mut Cursor<'_>, letters: &str) -> Parsed<Name> {
        for recent in self.recent.iter().flatten() {
            if recent.as_str() == letters {
                return Ok(recent.clone());
            }
        }
        self.look_up(cursor, letters)
    }

    fn look_up(&mut self, cursor: &mut Cursor<'_>, letters: &str) -> Parsed<Name> {
        let name = match self.known.get(letters) {
            Some(name) => name.clone(),
            None => {
                cursor.take_room(letters.len() + NAME)?;
                let name = Name::from(letters);
                self.known.insert(name.clone());
                name
            }
        };
        self.recent.rotate_right(1);
        self.recent[0] = Some(name.clone());
        Ok(name)
    }
}
