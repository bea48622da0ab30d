//! Lines of a recording, one at a time.

use std::io::{BufRead, Read};

use memchr::memchr;

use super::cursor::{Fault, ReadError, text};
use super::limits::{Limits, Pace};

/// Gives line after line, none longer than the limit, and holds no more than one.
pub(super) struct Lines<R> {
    input: R,
    limits: Limits,
    pace: Pace,
    /// Bytes of the input's buffer that the line given last takes, with its end.
    given: usize,
    /// A line that the input did not have in its buffer as a whole.
    line: Vec<u8>,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, limits: Limits) -> Self {
        Self {
            input,
            limits,
            pace: Pace::default(),
            given: 0,
            line: Vec::new(),
            number: 0,
        }
    }

    /// The next line without its end, with its number, from 1; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<(usize, &str)>, ReadError> {
        self.input.consume(std::mem::take(&mut self.given));
        self.number += 1;
        let number = self.number;
        // Most lines are given as they lie in the buffer. Errors of the input come again below, where they are met.
        let there = self.input.fill_buf().unwrap_or_default();
        let near = &there[..there.len().min(most(self.limits))];
        let Some(length) = memchr(b'\n', near) else {
            return self.assembled();
        };
        self.given = length + 1;
        self.pace.went(self.given);
        // There is no reading in this: the buffer is not empty.
        let there = self.input.fill_buf();
        let there = there.map_err(|error| ReadError::broken(&error, number))?;
        Ok(Some((number, text(&there[..length], number)?)))
    }

    /// The next line, copied together from more than one filling of the buffer, or the last one, or too long.
    fn assembled(&mut self) -> Result<Option<(usize, &str)>, ReadError> {
        self.line.clear();
        let most = most(self.limits);
        let read = (&mut self.input)
            .take(most as u64)
            .read_until(b'\n', &mut self.line)
            .map_err(|error| ReadError::broken(&error, self.number))?;
        self.pace.went(read);
        if read == 0 {
            return Ok(None);
        }
        if read == most && self.line.last() != Some(&b'\n') {
            return Err(self.too_long());
        }
        // Without its end, or what is wrong there would be on the next line.
        let end = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some((self.number, text(end, self.number)?)))
    }

    #[cold]
    fn too_long(&self) -> ReadError {
        ReadError {
            fault: Fault::Recording,
            line: self.number,
            column: 1,
            problem: format!("this line is longer than {} bytes", self.limits.event),
        }
    }
}

/// Bytes of a line of the greatest length, and its end.
fn most(limits: Limits) -> usize {
    limits.event.saturating_add(1)
}
