//! Lines of a recording, one at a time.

use std::io::{BufRead, Read};

use super::cursor::{Fault, ReadError, text};
use super::limits::{Limits, Pace};

/// Gives line after line, none longer than the limit, and holds no more than one.
pub(super) struct Lines<R> {
    input: R,
    limits: Limits,
    pace: Pace,
    line: Vec<u8>,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, limits: Limits) -> Self {
        Self {
            input,
            limits,
            pace: Pace::default(),
            line: Vec::new(),
            number: 0,
        }
    }

    /// The next line without its end, with its number, from 1; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<(usize, &str)>, ReadError> {
        self.line.clear();
        self.number += 1;
        // A line of the greatest length, and its end.
        let most = self.limits.event.saturating_add(1);
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
