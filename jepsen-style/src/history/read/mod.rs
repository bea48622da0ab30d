//! Readers of recordings.
//!
//! | file | noun |
//! |---|---|
//! | [`cursor`] | a place in a text, and the error that names it by line and column |
//! | [`fields`] | what the lines of every format have in common: the fields of an event |
//! | [`jsonl`] | JSON Lines, the format of our own |
//! | [`edn`] | EDN, as Jepsen saves histories (one map a line, or one vector of maps) |
//! | [`etcd_log`] | the log lines of Jepsen's first etcd test |
//! | [`limits`] | how much text and memory a reader takes |
//! | [`lines`] | one line at a time, none too long |
//!
//! Nothing is skipped silently: what a reader does not understand is an error with its line and column, and a field that
//! it understands but has no use for is kept in [`Details::others`](super::Details).
//!
//! The readers are written by hand because reading must not be what one waits for: most numbers are accumulated and most
//! strings sliced on the one pass over the bytes, and an event is built without a tree in between.

mod cursor;
mod edn;
mod etcd_log;
mod fields;
mod jsonl;
pub mod limits;
mod lines;

use std::fmt;
use std::io::{BufRead, ErrorKind};
use std::str::FromStr;

pub use cursor::{Fault, ReadError};
pub use limits::Limits;

use super::{History, Value};

/// The formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON Lines: an event a line, with `process`, `type`, `f`, and optionally `key`, `value`, `time`, `error`, `node`.
    /// The first line may be `{"story": "…"}`.
    JsonLines,
    /// EDN maps with the same keys as keywords, or a vector of them.
    Edn,
    /// `INFO  jepsen.util - 4  :invoke  :read  nil`.
    EtcdLog,
}

impl Format {
    /// The format that a recording beginning with `start` is in.
    ///
    /// A brace is where two formats meet: JSON goes on with a quotation mark, EDN with a colon.
    pub fn recognise(start: &[u8]) -> Option<Self> {
        let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        let mut rest = start.iter().copied().skip_while(blank);
        match rest.next()? {
            b'{' => match rest.find(|byte| !blank(byte))? {
                b'"' | b'}' => Some(Self::JsonLines),
                _ => Some(Self::Edn),
            },
            b'[' | b'(' | b'#' | b';' => Some(Self::Edn),
            b'I' | b'W' | b'D' => Some(Self::EtcdLog),
            _ => None,
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "jsonl" => Ok(Self::JsonLines),
            "edn" => Ok(Self::Edn),
            "etcd-log" => Ok(Self::EtcdLog),
            _ => Err(format!(
                "{name} is no format; there are jsonl, edn and etcd-log"
            )),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::JsonLines => "jsonl",
            Self::Edn => "edn",
            Self::EtcdLog => "etcd-log",
        })
    }
}

/// Reads a recording in a format that is known, or recognised if `format` is `None`, within [generous](Limits::generous)
/// limits.
pub fn read(input: impl BufRead, format: Option<Format>) -> Result<History, ReadError> {
    read_within(input, format, Limits::generous())
}

/// Reads a recording within `limits`, and within the [deadline](crate::deadline) of this thread, which is looked at with every
/// mebibyte of text. An input that gives nothing at all, as a pipe to which nobody writes, is waited for.
///
/// JSON Lines and logs are read as they come; EDN may be one single value and is read whole.
pub fn read_within(
    mut input: impl BufRead,
    format: Option<Format>,
    limits: Limits,
) -> Result<History, ReadError> {
    let format = match format {
        Some(format) => format,
        None => {
            let start = input
                .fill_buf()
                .map_err(|error| ReadError::broken(&error, 1))?;
            if start.is_empty() {
                return Err(ReadError::at_start("the recording is empty"));
            }
            Format::recognise(start)
                .ok_or_else(|| ReadError::at_start("this is none of jsonl, edn and etcd-log"))?
        }
    };
    match format {
        Format::JsonLines => jsonl::read(input, limits),
        Format::Edn => edn::read(cursor::text(&whole(input, limits)?, 1)?, limits),
        Format::EtcdLog => etcd_log::read(input, limits),
    }
}

/// All bytes of an input, if they are no more than the memory that there is.
fn whole(mut input: impl BufRead, limits: Limits) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let mut pace = limits::Pace::default();
    loop {
        let there = match input.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            there => there.map_err(|error| ReadError::broken(&error, 1))?,
        };
        let taken = there.len();
        if taken == 0 {
            return Ok(bytes);
        }
        if (bytes.len() + taken) as u64 > limits.memory {
            return Err(ReadError {
                fault: Fault::Memory,
                line: 1 + bytes.iter().filter(|byte| **byte == b'\n').count(),
                column: 1,
                problem: format!(
                    "EDN is read whole, and this is more than {} MiB of it",
                    limits.memory >> 20
                ),
            });
        }
        bytes.extend_from_slice(there);
        input.consume(taken);
        pace.went(taken);
    }
}

/// Reads one EDN value.
pub fn edn_value(text: &str) -> Result<Value, ReadError> {
    edn::value(text)
}

/// Reads one JSON value.
pub fn json_value(text: &str) -> Result<Value, ReadError> {
    jsonl::value(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_recognised_by_their_first_letters() {
        assert_eq!(
            Format::recognise(b"{\"process\": 1}"),
            Some(Format::JsonLines)
        );
        assert_eq!(Format::recognise(b"\n{:process 1}"), Some(Format::Edn));
        assert_eq!(Format::recognise(b"[{:process 1}]"), Some(Format::Edn));
        assert_eq!(
            Format::recognise(b"#jepsen.history.Op{:process 1}"),
            Some(Format::Edn)
        );
        assert_eq!(
            Format::recognise(b"INFO  jepsen.util - 4"),
            Some(Format::EtcdLog)
        );
        assert_eq!(Format::recognise(b"<html>"), None);
    }

    #[test]
    fn an_empty_file_is_no_history() {
        assert!(read(&b""[..], None).is_err());
    }

    const LINE: &str =
        r#"{"process":1,"type":"invoke","f":"write","value":"a string of many letters"}"#;
    const FORM: &str = r#"{:process 1 :type :invoke :f :write :value "a string of many letters"}"#;
    const LOG: &str = "INFO  jepsen.util - 1\t:invoke\t:write\t\"a string of many letters\"";

    fn error(text: &str, format: Format, limits: Limits) -> ReadError {
        read_within(text.as_bytes(), Some(format), limits).unwrap_err()
    }

    #[test]
    fn an_event_may_be_as_long_as_the_limit_and_no_longer() {
        for (format, event) in [
            (Format::JsonLines, LINE),
            (Format::Edn, FORM),
            (Format::EtcdLog, LOG),
        ] {
            let fits = Limits::generous().with_events_of(event.len());
            for end in ["", "\n"] {
                let text = format!("{event}{end}");
                assert!(
                    read_within(text.as_bytes(), Some(format), fits).is_ok(),
                    "{format}"
                );
            }
            // Cut short anywhere, the error is that of its length and where it begins.
            for most in 1..event.len() {
                let limits = Limits::generous().with_events_of(most);
                let error = error(&format!("\n{event}\n"), format, limits);
                assert_eq!(error.fault, Fault::Recording);
                let (line, column) = if format == Format::Edn {
                    (1, 1)
                } else {
                    (2, 1)
                };
                assert_eq!(
                    (error.line, error.column),
                    (line, column),
                    "{format} {error}"
                );
                assert!(error.problem.contains("is longer than"), "{format} {error}");
            }
        }
    }

    #[test]
    fn a_comment_that_never_ends_is_too_long_as_well() {
        let comment = format!("{FORM};{}", "x".repeat(5000));
        let error = error(
            &comment,
            Format::Edn,
            Limits::generous().with_events_of(1000),
        );
        assert_eq!(
            error.to_string(),
            format!(
                "line 1, column {}: the event from here on is longer than 1000 bytes",
                FORM.len() + 1
            )
        );
    }

    #[test]
    fn a_history_that_takes_more_memory_than_there_is_ends_where_it_does() {
        let one = size_of::<crate::history::Operation>() as u64 + 24;
        for (format, event) in [(Format::JsonLines, LINE), (Format::EtcdLog, LOG)] {
            let text = [event; 3].join("\n").replacen("1", "2", 1);
            // Names of functions take something too, a little.
            let limits = Limits::generous().remembering(one + one / 4 + 80);
            let error = error(&text, format, limits);
            assert_eq!(
                (error.fault, error.line),
                (Fault::Memory, 2),
                "{format} {error}"
            );
        }
        let text = format!("{FORM}\n{}", FORM.replace('1', "2"));
        let limits = Limits::generous().remembering(one + one / 2 + text.len() as u64 + 100);
        assert_eq!(error(&text, Format::Edn, limits).fault, Fault::Memory);
        let whole = error(&text, Format::Edn, Limits::generous().remembering(30));
        assert_eq!(whole.fault, Fault::Memory);
        assert!(whole.problem.contains("EDN is read whole"), "{whole}");
    }

    #[test]
    fn values_are_counted_as_they_are_read_and_not_when_it_is_too_late() {
        let numbers = "[1,2,3,4,5,6,7,8,9]".replace(',', " ").repeat(100);
        let lists = format!("[{}]", numbers.replace("][", "] ["));
        let edn = FORM.replace("\"a string of many letters\"", &lists);
        let json = LINE.replace("\"a string of many letters\"", &lists.replace(' ', ","));
        let log = LOG.replace("\"a string of many letters\"", &lists);
        for (format, text, taken) in [
            (Format::JsonLines, &json, 0),
            (Format::Edn, &edn, edn.len()),
            (Format::EtcdLog, &log, 0),
        ] {
            let needed = 1000 * size_of::<Value>();
            let little = Limits::generous().remembering((needed + taken) as u64);
            let error = error(text, format, little.remembering(little.memory - 100));
            assert_eq!(error.fault, Fault::Memory, "{format}");
            // It is known inside the event, before the operation is made.
            assert!(error.column > 100, "{format} {error}");
            let enough = little.remembering(little.memory + 1000);
            assert!(
                read_within(text.as_bytes(), Some(format), enough).is_ok(),
                "{format}"
            );
        }
    }

    #[test]
    fn an_endless_input_ends_with_its_time() {
        for (format, again) in [
            (Format::JsonLines, &b"\n"[..]),
            (Format::EtcdLog, b"\n"),
            (Format::Edn, b" "),
            (Format::Edn, b"#_1 "),
        ] {
            let soon = crate::deadline::now() + std::time::Duration::from_millis(20);
            let endless = std::io::BufReader::with_capacity(again.len() * 1000, Endless(again));
            let passed = crate::deadline::within(Some(soon), || {
                read_within(
                    endless,
                    Some(format),
                    Limits::generous().remembering(u64::MAX),
                )
            });
            assert_eq!(passed, Err(crate::deadline::Passed), "{format}");
        }
    }

    /// The same bytes again and again.
    struct Endless(&'static [u8]);

    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let whole = buffer.len() / self.0.len() * self.0.len();
            for chunk in buffer[..whole].chunks_mut(self.0.len()) {
                chunk.copy_from_slice(self.0);
            }
            Ok(whole)
        }
    }
}
