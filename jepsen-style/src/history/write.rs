//! Writes histories as JSON Lines, an event a line, in the order in which things happened.
//!
//! What JSON has no word for is written as the nearest that it has: a keyword becomes a string, a set an array.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Event, History, Process};

/// Writes the whole history, its story first if it has one.
pub fn write(history: &History, mut output: impl Write) -> io::Result<()> {
    if !history.story().is_empty() {
        serde_json::to_writer(
            &mut output,
            &serde_json::json!({ "story": history.story() }),
        )?;
        output.write_all(b"\n")?;
    }
    for event in history.events() {
        write_event(&event, &mut output)?;
    }
    output.flush()
}

/// Writes one event as one line: what a recorder does as things happen.
pub fn write_event(event: &Event, mut output: impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut output, event)?;
    output.write_all(b"\n")
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("process", &self.process)?;
        map.serialize_entry("type", self.kind.word())?;
        map.serialize_entry("f", self.function.as_str())?;
        if !self.key.is_nil() {
            map.serialize_entry("key", &self.key)?;
        }
        if !self.value.is_nil() {
            map.serialize_entry("value", &self.value)?;
        }
        if self.nanoseconds != 0 {
            map.serialize_entry("time", &self.nanoseconds)?;
        }
        if let Some(details) = &self.details {
            if !details.error.is_nil() {
                map.serialize_entry("error", &details.error)?;
            }
            if !details.node.is_nil() {
                map.serialize_entry("node", &details.node)?;
            }
            for (name, value) in &details.others {
                map.serialize_entry(name.as_str(), value)?;
            }
        }
        map.end()
    }
}

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Client(number) => serializer.serialize_u32(*number),
            Self::Nemesis => serializer.serialize_str("nemesis"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::read::{Format, read};

    #[test]
    fn what_is_written_reads_back_the_same() {
        let text = concat!(
            "{\"story\":\"a write whose outcome nobody learned\"}\n",
            "{\"process\":1,\"type\":\"invoke\",\"f\":\"write\",\"key\":\"x\",\"value\":[1,\"\\n\",{\"a\":1.5}],\"time\":7}\n",
            "{\"process\":\"nemesis\",\"type\":\"invoke\",\"f\":\"cut\"}\n",
            "{\"process\":1,\"type\":\"info\",\"f\":\"write\",\"key\":\"x\",\"time\":9,\"error\":\"late\",\"node\":\"n1\",\"hue\":2}\n",
        );
        let history = read(text.as_bytes(), Some(Format::JsonLines)).unwrap();
        let mut written = Vec::new();
        write(&history, &mut written).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), text);
    }
}
