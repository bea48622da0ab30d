//! A place in a text.

use rustc_hash::FxHashSet;

use crate::history::{Name, PairError};

/// How deep values may nest: far more than a recording needs, far less than the stack bears.
const DEPTH: u32 = 128;

/// What is wrong with a recording, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct ReadError {
    /// The line, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
}

impl ReadError {
    pub(super) fn at_start(problem: &str) -> Self {
        Self {
            line: 1,
            column: 1,
            problem: problem.to_owned(),
        }
    }

    pub(super) fn broken(error: &std::io::Error) -> Self {
        Self::at_start(&format!("cannot read: {error}"))
    }
}

/// What went wrong at a byte of the text. Boxed, so that the way without errors moves less.
pub(super) struct Problem {
    at: usize,
    what: String,
}

pub(super) type Parsed<T> = Result<T, Box<Problem>>;

/// The text in `bytes`, or the place of the first byte that is none.
pub(super) fn text(bytes: &[u8], first_line: usize) -> Result<&str, ReadError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let good = std::str::from_utf8(good).expect("valid up to here");
        Cursor::new(good).located(good.len(), "this is not UTF-8".to_owned(), first_line)
    })
}

/// Walks over a text. Every reader of a value is a method or function over this.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
        }
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
            at,
            what: what.into(),
        })
    }

    pub(super) fn pairing(&self, at: usize, error: &PairError) -> Box<Problem> {
        self.problem_at(at, error.to_string())
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

    pub(super) fn error(&self, problem: Problem, first_line: usize) -> ReadError {
        self.located(problem.at, problem.what, first_line)
    }

    fn located(&self, at: usize, problem: String, first_line: usize) -> ReadError {
        let before = &self.text[..at.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = first_line + before.bytes().filter(|byte| *byte == b'\n').count();
        ReadError {
            line,
            column: before[line_start..].chars().count() + 1,
            problem,
        }
    }
}

/// Shares the few names that come again and again.
#[derive(Default)]
pub(super) struct Names {
    known: FxHashSet<Name>,
    /// The names that came last: nearly always the next is one of them.
    recent: [Option<Name>; 2],
}

impl Names {
    #[inline]
    pub(super) fn name(&mut self, letters: &str) -> Name {
        for recent in self.recent.iter().flatten() {
            if recent.as_str() == letters {
                return recent.clone();
            }
        }
        self.look_up(letters)
    }

    fn look_up(&mut self, letters: &str) -> Name {
        let name = match self.known.get(letters) {
            Some(name) => name.clone(),
            None => {
                let name = Name::from(letters);
                self.known.insert(name.clone());
                name
            }
        };
        self.recent.rotate_right(1);
        self.recent[0] = Some(name.clone());
        name
    }
}
