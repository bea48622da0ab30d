//! Readers of recordings.
//!
//! | file | noun |
//! |---|---|
//! | [`cursor`] | a place in a text, and the error that names it by line and column |
//! | [`fields`] | what the lines of every format have in common: the fields of an event |
//! | [`jsonl`] | JSON Lines, the format of our own |
//! | [`edn`] | EDN, as Jepsen saves histories (one map a line, or one vector of maps) |
//! | [`etcd_log`] | the log lines of Jepsen's first etcd test |
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

use std::fmt;
use std::io::{BufRead, Read};
use std::str::FromStr;

pub use cursor::ReadError;

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

/// Reads a recording in a format that is known, or recognised if `format` is `None`.
///
/// JSON Lines are read as they come; the other formats may be one single value and are read whole.
pub fn read(mut input: impl BufRead, format: Option<Format>) -> Result<History, ReadError> {
    let format = match format {
        Some(format) => format,
        None => {
            let start = input
                .fill_buf()
                .map_err(|error| ReadError::broken(&error))?;
            if start.is_empty() {
                return Err(ReadError::at_start("the recording is empty"));
            }
            Format::recognise(start)
                .ok_or_else(|| ReadError::at_start("this is none of jsonl, edn and etcd-log"))?
        }
    };
    if format == Format::JsonLines {
        return jsonl::read(input);
    }
    let mut bytes = Vec::new();
    Read::read_to_end(&mut input, &mut bytes).map_err(|error| ReadError::broken(&error))?;
    let text = cursor::text(&bytes, 1)?;
    match format {
        Format::JsonLines | Format::Edn => edn::read(text),
        Format::EtcdLog => etcd_log::read(text),
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
}
