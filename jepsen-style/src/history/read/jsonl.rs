//! JSON Lines.
//!
//! One event a line:
//!
//! ```json
//! {"story": "a read misses a write that was answered before it"}
//! {"process": 0, "type": "invoke", "f": "write", "key": "x", "value": 1, "time": 1200}
//! {"process": 0, "type": "ok", "f": "write", "key": "x", "value": 1, "time": 5300}
//! ```
//!
//! `process`, `type` and `f` must be there. The format is meant to be written as things happen: a crash costs at most
//! the last line, and a cut line is an error that names it.

use std::io::BufRead;

use super::ReadError;
use super::cursor::{Cursor, Names, Parsed, Room};
use super::fields::{Field, Fields};
use super::limits::Limits;
use super::lines::Lines;
use crate::history::{Event, History, Pairing, Value};

/// Reads events line by line, so that the text of a long recording is never in memory as a whole.
pub(super) fn read(input: impl BufRead, limits: Limits) -> Result<History, ReadError> {
    let mut reader = Reader::default();
    let mut lines = Lines::new(input, limits);
    let mut room = Room::of(limits.memory);
    while let Some((number, line)) = lines.next()? {
        let mut cursor = Cursor::new(line, room);
        reader
            .line(&mut cursor, number)
            .map_err(|problem| cursor.error(*problem, number))?;
        room = cursor.room();
    }
    Ok(reader.pairing.finish().with_story(reader.story))
}

/// Reads a text that is one value.
pub(super) fn value(text: &str) -> Result<Value, ReadError> {
    let mut cursor = Cursor::new(text, Room::unbounded());
    let mut whole = || {
        blank(&mut cursor);
        let value = any(&mut cursor)?;
        end(&mut cursor)?;
        Ok(value)
    };
    whole().map_err(|problem: Box<_>| cursor.error(*problem, 1))
}

#[derive(Default)]
struct Reader {
    names: Names,
    pairing: Pairing,
    story: String,
}

/// What a line holds.
enum Line {
    Event(Event),
    Story(String),
}

/// Where in its object a field stands: an object that begins with a story is one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Later,
}

impl Reader {
    fn line(&mut self, cursor: &mut Cursor<'_>, number: usize) -> Parsed<()> {
        blank(cursor);
        if cursor.peek().is_none() {
            return Ok(());
        }
        let start = cursor.at();
        match self.object(cursor)? {
            Line::Event(event) => cursor.pair(&mut self.pairing, event, start)?,
            Line::Story(story) if number == 1 => self.story = story,
            Line::Story(_) => {
                return Err(cursor.problem_at(start, "a story stands in the first line only"));
            }
        }
        end(cursor)
    }

    fn object(&mut self, cursor: &mut Cursor<'_>) -> Parsed<Line> {
        let start = cursor.at();
        let mut fields = Fields::default();
        let mut place = Place::First;
        cursor.expect(b'{')?;
        blank(cursor);
        if cursor.peek() == Some(b'}') {
            return Err(cursor.problem_at(start, "this event has no fields"));
        }
        loop {
            if let Some(story) = self.field(cursor, &mut fields, place)? {
                blank(cursor);
                cursor.expect(b'}')?;
                return Ok(Line::Story(story));
            }
            place = Place::Later;
            blank(cursor);
            match cursor.peek() {
                Some(b',') => cursor.advance(1),
                Some(b'}') => break,
                _ => return Err(cursor.unexpected("',' or '}'")),
            }
            blank(cursor);
        }
        cursor.advance(1);
        Ok(Line::Event(fields.finish(cursor, start)?))
    }

    /// Reads one name and its value into `fields`; gives the story if it is that.
    fn field(
        &mut self,
        cursor: &mut Cursor<'_>,
        fields: &mut Fields,
        place: Place,
    ) -> Parsed<Option<String>> {
        let (field, name) = match usual(cursor) {
            Some(field) => (Some(field), Letters::Slice("")),
            None => {
                let name = string(cursor)?;
                blank(cursor);
                cursor.expect(b':')?;
                (Field::of_name(name.as_ref()), name)
            }
        };
        blank(cursor);
        let at = cursor.at();
        if let Some(field) = field {
            fields.once(cursor, at, field)?;
        }
        match field {
            Some(Field::Process) => match small(cursor) {
                Some(number) => fields.client(cursor, at, number)?,
                None => {
                    let process = any(cursor)?;
                    fields.process(cursor, at, &process)?;
                }
            },
            Some(Field::Kind) => {
                let word = string(cursor)?;
                fields.kind(cursor, at, word.as_ref())?;
            }
            Some(Field::Function) => {
                let function = string(cursor)?;
                fields.function = Some(self.names.name(cursor, function.as_ref())?);
            }
            Some(Field::Key) => fields.key = any(cursor)?,
            Some(Field::Value) => fields.value = any(cursor)?,
            Some(Field::Time) => match small(cursor) {
                Some(nanoseconds) => fields.nanoseconds = nanoseconds.unsigned_abs(),
                None => {
                    let time = any(cursor)?;
                    fields.time(cursor, at, &time)?;
                }
            },
            Some(Field::Error) => {
                let error = any(cursor)?;
                fields.error(cursor, error)?;
            }
            Some(Field::Node) => {
                let node = any(cursor)?;
                fields.node(cursor, node)?;
            }
            Some(Field::Index) => {
                let index = any(cursor)?;
                fields.index(cursor, at, index, self.pairing.events())?;
            }
            None if name.as_ref() == "story" && place == Place::First => {
                return Ok(Some(string(cursor)?.into_string()));
            }
            None => {
                let value = any(cursor)?;
                fields.other(cursor, at, name.as_ref(), value)?;
            }
        }
        Ok(None)
    }
}

/// Passes a name and its colon if they stand as every writer but a person writes them: most names are recognised so,
/// without being read.
#[inline]
fn usual(cursor: &mut Cursor<'_>) -> Option<Field> {
    // Each comparison is of a length that the compiler knows, and so without a loop.
    fn passes<const LENGTH: usize>(
        cursor: &mut Cursor<'_>,
        name: &[u8; LENGTH],
        field: Field,
    ) -> Option<Field> {
        let passed = cursor.rest().first_chunk() == Some(name);
        passed.then(|| {
            cursor.advance(LENGTH);
            field
        })
    }
    match cursor.second()? {
        b'p' => passes(cursor, b"\"process\":", Field::Process),
        b't' => passes(cursor, b"\"time\":", Field::Time)
            .or_else(|| passes(cursor, b"\"type\":", Field::Kind)),
        b'f' => passes(cursor, b"\"f\":", Field::Function),
        b'v' => passes(cursor, b"\"value\":", Field::Value),
        b'k' => passes(cursor, b"\"key\":", Field::Key),
        _ => None,
    }
}

#[inline]
fn blank(cursor: &mut Cursor<'_>) {
    // What is no blank is nearly always seen at the first look.
    if cursor.peek() > Some(b' ') {
        return;
    }
    while matches!(cursor.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        cursor.advance(1);
    }
}

fn end(cursor: &mut Cursor<'_>) -> Parsed<()> {
    blank(cursor);
    if cursor.peek().is_some() {
        Err(cursor.unexpected("the end"))
    } else {
        Ok(())
    }
}

/// A string, sliced from the text unless it holds escapes.
enum Letters<'a> {
    Slice(&'a str),
    Built(String),
}

impl Letters<'_> {
    fn into_string(self) -> String {
        match self {
            Self::Slice(slice) => slice.to_owned(),
            Self::Built(built) => built,
        }
    }

    fn into_value(self, cursor: &mut Cursor<'_>) -> Parsed<Value> {
        cursor.take_room_for_text(self.as_ref().len())?;
        Ok(match self {
            Self::Slice(slice) => Value::from(slice),
            Self::Built(built) => Value::from(built),
        })
    }
}

impl AsRef<str> for Letters<'_> {
    #[inline]
    fn as_ref(&self) -> &str {
        match self {
            Self::Slice(slice) => slice,
            Self::Built(built) => built,
        }
    }
}

fn any(cursor: &mut Cursor<'_>) -> Parsed<Value> {
    match cursor.peek() {
        Some(b'"') => string(cursor)?.into_value(cursor),
        Some(b'-' | b'0'..=b'9') => number(cursor),
        Some(b'[') => list(cursor),
        Some(b'{') => map(cursor),
        Some(b'n') => word(cursor, "null", Value::Nil),
        Some(b't') => word(cursor, "true", Value::Bool(true)),
        Some(b'f') => word(cursor, "false", Value::Bool(false)),
        _ => Err(cursor.unexpected("a value")),
    }
}

fn word(cursor: &mut Cursor<'_>, word: &str, value: Value) -> Parsed<Value> {
    if !cursor.rest().starts_with(word.as_bytes()) {
        return Err(cursor.unexpected(word));
    }
    cursor.advance(word.len());
    Ok(value)
}

fn list(cursor: &mut Cursor<'_>) -> Parsed<Value> {
    cursor.enter()?;
    cursor.advance(1);
    let mut values = Vec::new();
    blank(cursor);
    if cursor.peek() != Some(b']') {
        loop {
            cursor.take_room(size_of::<Value>())?;
            values.push(any(cursor)?);
            blank(cursor);
            match cursor.peek() {
                Some(b',') => cursor.advance(1),
                Some(b']') => break,
                _ => return Err(cursor.unexpected("',' or ']'")),
            }
            blank(cursor);
        }
    }
    cursor.advance(1);
    cursor.leave();
    Ok(values.into())
}

fn map(cursor: &mut Cursor<'_>) -> Parsed<Value> {
    cursor.enter()?;
    let start = cursor.at();
    cursor.advance(1);
    let mut entries = Vec::new();
    blank(cursor);
    if cursor.peek() != Some(b'}') {
        loop {
            cursor.take_room(size_of::<(Value, Value)>())?;
            let key = string(cursor)?.into_value(cursor)?;
            blank(cursor);
            cursor.expect(b':')?;
            blank(cursor);
            entries.push((key, any(cursor)?));
            blank(cursor);
            match cursor.peek() {
                Some(b',') => cursor.advance(1),
                Some(b'}') => break,
                _ => return Err(cursor.unexpected("',' or '}'")),
            }
            blank(cursor);
        }
    }
    cursor.advance(1);
    cursor.leave();
    cursor.map(start, entries)
}

/// The most digits that fit 64 bits whatever they are; nearly every number has fewer.
const DIGITS: usize = 18;

/// Passes a whole number as most are: no sign, and few digits. Whatever else is there is left there.
#[inline]
fn small(cursor: &mut Cursor<'_>) -> Option<i64> {
    let rest = cursor.rest();
    let mut number = 0;
    let mut length = 0;
    let after = loop {
        let byte = *rest.get(length)?;
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break byte;
        }
        if length == DIGITS {
            return None;
        }
        number = number * 10 + i64::from(digit);
        length += 1;
    };
    let is_written_well = length == 1 || (length > 1 && rest.first() != Some(&b'0'));
    if !is_written_well || matches!(after, b'.' | b'e' | b'E') {
        return None;
    }
    cursor.advance(length);
    Some(number)
}

fn number(cursor: &mut Cursor<'_>) -> Parsed<Value> {
    if let Some(number) = small(cursor) {
        return Ok(Value::Integer(number));
    }
    let start = cursor.at();
    if cursor.peek() == Some(b'-') {
        cursor.advance(1);
    }
    let digits = cursor.take_while(|byte| byte.is_ascii_digit());
    if digits.is_empty() {
        return Err(cursor.unexpected("a digit"));
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return Err(cursor.problem_at(start, "a number does not begin with 0"));
    }
    if matches!(cursor.peek(), Some(b'.' | b'e' | b'E')) {
        return fraction(cursor, start);
    }
    let written = cursor.since(start);
    if let Ok(number) = written.parse() {
        return Ok(Value::Integer(number));
    }
    cursor.take_room(written.len())?;
    Ok(Value::Number(written.into()))
}

fn fraction(cursor: &mut Cursor<'_>, start: usize) -> Parsed<Value> {
    if cursor.peek() == Some(b'.') {
        cursor.advance(1);
        if cursor.take_while(|byte| byte.is_ascii_digit()).is_empty() {
            return Err(cursor.unexpected("a digit"));
        }
    }
    if matches!(cursor.peek(), Some(b'e' | b'E')) {
        cursor.advance(1);
        if matches!(cursor.peek(), Some(b'+' | b'-')) {
            cursor.advance(1);
        }
        if cursor.take_while(|byte| byte.is_ascii_digit()).is_empty() {
            return Err(cursor.unexpected("a digit"));
        }
    }
    let number: f64 = cursor
        .since(start)
        .parse()
        .map_err(|_| cursor.problem_at(start, "this is no number"))?;
    Ok(Value::from(number))
}

#[inline]
fn string<'a>(cursor: &mut Cursor<'a>) -> Parsed<Letters<'a>> {
    cursor.expect(b'"')?;
    let slice = cursor.take_while(|byte| byte != b'"' && byte != b'\\' && byte >= b' ');
    if cursor.peek() == Some(b'"') {
        cursor.advance(1);
        return Ok(Letters::Slice(slice));
    }
    built(cursor, slice.to_owned()).map(Letters::Built)
}

fn built(cursor: &mut Cursor<'_>, mut letters: String) -> Parsed<String> {
    loop {
        letters.push_str(cursor.take_while(|byte| byte != b'"' && byte != b'\\' && byte >= b' '));
        match cursor.peek() {
            Some(b'"') => {
                cursor.advance(1);
                return Ok(letters);
            }
            Some(b'\\') => {
                cursor.advance(1);
                letters.push(escape(cursor)?);
            }
            Some(_) => {
                return Err(cursor.problem("a control character inside a string must be escaped"));
            }
            None => return Err(cursor.unexpected("the end of the string")),
        }
    }
}

fn escape(cursor: &mut Cursor<'_>) -> Parsed<char> {
    let start = cursor.at();
    let Some(letter) = cursor.character() else {
        return Err(cursor.unexpected("an escape"));
    };
    Ok(match letter {
        '"' | '\\' | '/' => letter,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode(cursor, start),
        _ => return Err(cursor.problem_at(start, format!("\\{letter} is no escape"))),
    })
}

fn unicode(cursor: &mut Cursor<'_>, start: usize) -> Parsed<char> {
    let first = cursor.hexadecimal()?;
    let lone = || cursor.problem_at(start, "half of a surrogate pair");
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).ok_or_else(lone);
    }
    if !cursor.rest().starts_with(b"\\u") {
        return Err(lone());
    }
    cursor.advance(2);
    let second = cursor.hexadecimal()?;
    if !(0xdc00..0xe000).contains(&second) {
        return Err(cursor.problem_at(start, "half of a surrogate pair"));
    }
    let joined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    Ok(char::from_u32(joined).expect("a surrogate pair names a character"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Outcome, Process};

    fn parse(text: &str) -> Result<History, ReadError> {
        read(text.as_bytes(), Limits::generous())
    }

    #[test]
    fn events_become_operations_with_everything_that_was_said() {
        let history = parse(concat!(
            "{\"story\": \"one write\"}\n",
            "{\"process\":3,\"type\":\"invoke\",\"f\":\"write\",\"key\":\"x\",\"value\":[1,null,{\"a\":-2.5}],\"time\":5}\n",
            "\n",
            "{\"index\":1,\"process\":3,\"type\":\"info\",\"f\":\"write\",\"time\":9,\"error\":\"timeout\",\"hue\":true}\n",
        ))
        .unwrap();
        assert_eq!(history.story(), "one write");
        let [write] = history.operations() else {
            panic!("one operation")
        };
        assert_eq!(
            (write.process, write.outcome),
            (Process::Client(3), Outcome::Unknown)
        );
        assert_eq!(write.key, Value::from("x"));
        assert_eq!(write.input.to_string(), r#"[1 nil {"a" -2.5}]"#);
        assert_eq!(write.error(), &Value::from("timeout"));
        assert_eq!(
            write.details.as_ref().unwrap().others,
            [("hue".into(), Value::Bool(true))]
        );
        assert_eq!(write.latency(), Some(4));
    }

    #[test]
    fn an_error_names_its_line_and_column() {
        let error = parse(
            "{\"process\":1,\"type\":\"invoke\",\"f\":\"read\"}\n{\"process\":1,\"type\":}\n",
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2, column 21: expected '\"', found '}'"
        );
        let error = parse("\n{\"process\":\"ö\",\"type\":\"begin\",\"f\":\"read\"}\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2, column 12: a process is a number or nemesis, not \"ö\""
        );
    }

    #[test]
    fn a_column_counts_characters_and_not_their_bytes() {
        let error = parse("{\"node\":\"zürich 😀\",\"process\":x}\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1, column 30: expected a value, found 'x'"
        );
    }

    #[test]
    fn what_is_cut_or_left_over_is_an_error() {
        for bad in [
            "{\"process\":1,\"type\":\"invoke\",\"f\":\"re",
            "{\"process\":1,\"type\":\"invoke\"}",
            "{\"process\":1,\"type\":\"invoke\",\"f\":\"read\"} x",
            "{\"process\":1,\"type\":\"ok\",\"f\":\"read\"}",
            "{\"process\":1,\"type\":\"invoke\",\"f\":\"read\",\"value\":01}",
            "{\"process\":1,\"type\":\"invoke\",\"f\":\"read\",\"value\":\"\\ud800\"}",
            "{\"process\":1,\"type\":\"invoke\",\"f\":\"read\",\"process\":1}",
            "{\"process\":1,\"type\":\"invoke\",\"f\":\"read\",\"hue\":1,\"hue\":2}",
            "{\"process\":1,\"type\":\"invoke\",\"f\":\"read\",\"value\":{\"a\":1,\"a\":2}}",
            "{\"process\":-1,\"type\":\"invoke\",\"f\":\"read\"}",
            "{}",
            "[]",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let deep = "[".repeat(100_000);
        assert!(value(&deep).unwrap_err().problem.contains("deeper"));
    }

    #[test]
    fn strings_and_numbers_are_what_json_says() {
        assert_eq!(
            value(r#""a\u00e9\ud83d\ude00\n""#).unwrap(),
            Value::from("aé😀\n")
        );
        assert_eq!(
            value("9223372036854775807").unwrap(),
            Value::Integer(i64::MAX)
        );
        assert_eq!(
            value("-9223372036854775808").unwrap(),
            Value::Integer(i64::MIN)
        );
        assert_eq!(
            value("18446744073709551615").unwrap(),
            Value::Number("18446744073709551615".into())
        );
        assert_eq!(value("1e3").unwrap(), Value::from(1000.0));
        for number in ["0", "7", "999999999999999999", "1000000000000000000"] {
            for (sign, written) in [("", number.to_owned()), ("-", format!("-{number}"))] {
                let listed = value(&format!("[{written}, {sign}{number}]")).unwrap();
                let number: i64 = written.parse().unwrap();
                assert_eq!(listed, vec![Value::Integer(number); 2].into());
            }
        }
        assert_eq!(
            value("9999999999999999999").unwrap(),
            Value::Number("9999999999999999999".into())
        );
        for bad in ["[00]", "[01]", "[-01]", "[1.]", "[1e]", "[-]", "[1x]"] {
            assert!(value(bad).is_err(), "{bad}");
        }
    }
}
