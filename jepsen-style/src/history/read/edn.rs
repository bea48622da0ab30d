//! EDN, the notation of Clojure's data, in which Jepsen saves its histories.
//!
//! Read in full: maps, vectors, lists, sets, strings, characters, keywords, symbols, numbers of every kind, tags,
//! discards (`#_`), comments, and what Clojure's printer adds (`#:namespace{…}`, `##Inf`). A recording is a sequence of
//! maps or vectors of maps, each an event, tagged (`#jepsen.history.Op{…}`) or not.

use super::ReadError;
use super::cursor::{Cursor, Names, Parsed, Room};
use super::fields::{Field, Fields};
use super::limits::{Limits, Pace};
use crate::history::{History, Name, Pairing, Value};

pub(super) fn read(text: &str, limits: Limits) -> Result<History, ReadError> {
    let room = Room::of(limits.memory.saturating_sub(text.len() as u64));
    let mut cursor = Cursor::new(text, room);
    let mut reader = Reader::default();
    match reader.recording(&mut cursor, limits) {
        Ok(()) => Ok(reader.pairing.finish()),
        Err(problem) => Err(cursor.error(*problem, 1)),
    }
}

/// Reads a text that is one value.
pub(super) fn value(text: &str) -> Result<Value, ReadError> {
    let mut cursor = Cursor::new(text, Room::unbounded());
    value_alone(&mut cursor, &mut Names::default()).map_err(|problem| cursor.error(*problem, 1))
}

/// Reads one value with nothing after it.
pub(super) fn value_alone(cursor: &mut Cursor<'_>, names: &mut Names) -> Parsed<Value> {
    blank(cursor, names)?;
    let value = any(cursor, names)?;
    blank(cursor, names)?;
    if cursor.peek().is_some() {
        return Err(cursor.unexpected("the end"));
    }
    Ok(value)
}

#[derive(Default)]
struct Reader {
    names: Names,
    pairing: Pairing,
}

/// Whether there is more to read.
#[derive(PartialEq, Eq)]
enum Next {
    On,
    End,
}

impl Reader {
    fn recording(&mut self, cursor: &mut Cursor<'_>, limits: Limits) -> Parsed<()> {
        let mut open = Vec::new();
        let mut pace = Pace::default();
        loop {
            let start = cursor.at();
            // Beyond the longest event there is nothing to be seen for now: whoever comes to that end has found a longer one.
            cursor.see(limits.event);
            let next = self.next(cursor, &mut open);
            if cursor.is_at_horizon(next.is_err()) {
                let problem = format!(
                    "the event from here on is longer than {} bytes",
                    limits.event
                );
                return Err(cursor.problem_at(start, problem));
            }
            pace.went(cursor.at() - start);
            if next? == Next::End {
                return Ok(());
            }
        }
    }

    /// Reads an event with what stands before it, or one letter of what is around events.
    fn next(&mut self, cursor: &mut Cursor<'_>, open: &mut Vec<u8>) -> Parsed<Next> {
        blank(cursor, &mut self.names)?;
        match cursor.peek() {
            None if open.is_empty() => return Ok(Next::End),
            Some(b'[') if open.is_empty() => open.push(b']'),
            Some(b'(') if open.is_empty() => open.push(b')'),
            Some(byte) if open.last() == Some(&byte) => {
                open.pop();
            }
            Some(b'#') => {
                // The tag of an event says what its fields say already.
                cursor.advance(1);
                if token(cursor).is_empty() {
                    return Err(cursor.unexpected("an event"));
                }
                return Ok(Next::On);
            }
            Some(b'{') => {
                self.event(cursor)?;
                return Ok(Next::On);
            }
            _ => return Err(cursor.unexpected("an event")),
        }
        cursor.advance(1);
        Ok(Next::On)
    }

    fn event(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        let start = cursor.at();
        cursor.advance(1);
        let mut fields = Fields::default();
        loop {
            blank(cursor, &mut self.names)?;
            if cursor.peek() == Some(b'}') {
                cursor.advance(1);
                break;
            }
            self.field(cursor, &mut fields)?;
        }
        let event = fields.finish(cursor, start)?;
        cursor.pair(&mut self.pairing, event, start)
    }

    fn field(&mut self, cursor: &mut Cursor<'_>, fields: &mut Fields) -> Parsed<()> {
        let name = if cursor.peek() == Some(b':') {
            cursor.advance(1);
            NameOfField::Slice(token(cursor))
        } else {
            NameOfField::Owned(any(cursor, &mut self.names)?.to_string())
        };
        blank(cursor, &mut self.names)?;
        let at = cursor.at();
        let field = Field::of_name(name.as_str());
        if let Some(field) = field {
            fields.once(cursor, at, field)?;
        }
        if let (Some(Field::Kind | Field::Function), Some(b':')) = (field, cursor.peek()) {
            // In nearly every event these are keywords, and need not become values first.
            cursor.advance(1);
            let word = token(cursor);
            return match field {
                Some(Field::Kind) => fields.kind(cursor, at, word),
                _ if word.is_empty() => Err(cursor.unexpected("a keyword")),
                _ => {
                    fields.function = Some(self.names.name(cursor, word)?);
                    Ok(())
                }
            };
        }
        let value = any(cursor, &mut self.names)?;
        match field {
            Some(Field::Process) => fields.process(cursor, at, &value)?,
            Some(Field::Kind) => fields.kind(cursor, at, value.as_text().unwrap_or("a value"))?,
            Some(Field::Function) => fields.function = Some(self.function(cursor, at, &value)?),
            Some(Field::Key) => fields.key = value,
            Some(Field::Value) => fields.value = value,
            Some(Field::Time) => fields.time(cursor, at, &value)?,
            Some(Field::Error) => fields.error(cursor, value)?,
            Some(Field::Node) => fields.node(cursor, value)?,
            Some(Field::Index) => fields.index(cursor, at, value, self.pairing.events())?,
            None => fields.other(cursor, at, name.as_str(), value)?,
        }
        Ok(())
    }

    fn function(&mut self, cursor: &mut Cursor<'_>, at: usize, value: &Value) -> Parsed<Name> {
        match value {
            Value::Keyword(name) | Value::Symbol(name) => Ok(name.clone()),
            Value::Text(text) => self.names.name(cursor, text.as_str()),
            other => Err(cursor.problem_at(at, format!("a function is a keyword, not {other}"))),
        }
    }
}

/// The name of a field: nearly always a slice of the text.
enum NameOfField<'a> {
    Slice(&'a str),
    Owned(String),
}

impl NameOfField<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Slice(slice) => slice,
            Self::Owned(owned) => owned,
        }
    }
}

/// Passes white space, commas, comments and discarded values.
#[inline]
fn blank(cursor: &mut Cursor<'_>, names: &mut Names) -> Parsed<()> {
    loop {
        match cursor.peek() {
            Some(b' ' | b',' | b'\n' | b'\t' | b'\r' | 0x0b | 0x0c) => cursor.advance(1),
            Some(b';') => {
                cursor.take_while(|byte| byte != b'\n');
            }
            Some(b'#') if cursor.second() == Some(b'_') => {
                cursor.advance(2);
                cursor.enter()?;
                blank(cursor, names)?;
                any(cursor, names)?;
                cursor.leave();
            }
            _ => return Ok(()),
        }
    }
}

/// Letters up to the next delimiter.
#[inline]
fn token<'a>(cursor: &mut Cursor<'a>) -> &'a str {
    cursor.take_while(|byte| !ENDS_A_TOKEN[usize::from(byte)])
}

/// Whether a byte ends a keyword, a symbol or a number: a look-up is cheaper than fifteen comparisons a letter.
const ENDS_A_TOKEN: [bool; 256] = {
    let delimiters = b" ,\n\t\r\x0b\x0c()[]{}\";";
    let mut table = [false; 256];
    let mut next = 0;
    while next < delimiters.len() {
        table[delimiters[next] as usize] = true;
        next += 1;
    }
    table
};

fn any(cursor: &mut Cursor<'_>, names: &mut Names) -> Parsed<Value> {
    match cursor.peek() {
        Some(b'0'..=b'9') => number(cursor),
        Some(b'-' | b'+') if cursor.second().is_some_and(|byte| byte.is_ascii_digit()) => {
            number(cursor)
        }
        Some(b':') => keyword(cursor, names),
        Some(b'"') => string(cursor),
        Some(b'[') => Ok(sequence(cursor, names, b']')?.into()),
        Some(b'(') => Ok(sequence(cursor, names, b')')?.into()),
        Some(b'{') => map(cursor, names, None),
        Some(b'#') => hash(cursor, names),
        Some(b'\\') => character(cursor),
        _ => symbol(cursor, names),
    }
}

fn symbol(cursor: &mut Cursor<'_>, names: &mut Names) -> Parsed<Value> {
    let word = token(cursor);
    Ok(match word {
        "" => return Err(cursor.unexpected("a value")),
        "nil" => Value::Nil,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => Value::Symbol(names.name(cursor, word)?),
    })
}

fn keyword(cursor: &mut Cursor<'_>, names: &mut Names) -> Parsed<Value> {
    cursor.advance(1);
    let word = token(cursor);
    if word.is_empty() {
        return Err(cursor.unexpected("a keyword"));
    }
    Ok(Value::Keyword(names.name(cursor, word)?))
}

fn sequence(cursor: &mut Cursor<'_>, names: &mut Names, close: u8) -> Parsed<Vec<Value>> {
    cursor.enter()?;
    cursor.advance(1);
    let mut values = Vec::new();
    loop {
        blank(cursor, names)?;
        if cursor.peek() == Some(close) {
            cursor.advance(1);
            cursor.leave();
            return Ok(values);
        }
        cursor.take_room(size_of::<Value>())?;
        values.push(any(cursor, names)?);
    }
}

/// A map; `namespace` is put before the keys that have none (`#:a{:b 1}` is `{:a/b 1}`).
fn map(cursor: &mut Cursor<'_>, names: &mut Names, namespace: Option<&str>) -> Parsed<Value> {
    cursor.enter()?;
    let start = cursor.at();
    cursor.advance(1);
    let mut entries: Vec<(Value, Value)> = Vec::new();
    loop {
        blank(cursor, names)?;
        if cursor.peek() == Some(b'}') {
            break;
        }
        cursor.take_room(size_of::<(Value, Value)>())?;
        let mut key = any(cursor, names)?;
        if let (Some(namespace), Value::Keyword(name)) = (namespace, &key)
            && !name.as_str().contains('/')
        {
            key = Value::Keyword(names.name(cursor, &format!("{namespace}/{name}"))?);
        }
        blank(cursor, names)?;
        if cursor.peek() == Some(b'}') {
            return Err(cursor.problem("this map has a key without a value"));
        }
        entries.push((key, any(cursor, names)?));
    }
    cursor.advance(1);
    cursor.leave();
    cursor.map(start, entries)
}

/// What begins with `#`: a set, a namespaced map, a symbolic number, or a tag.
fn hash(cursor: &mut Cursor<'_>, names: &mut Names) -> Parsed<Value> {
    let start = cursor.at();
    cursor.advance(1);
    match cursor.peek() {
        Some(b'{') => {
            let values = sequence(cursor, names, b'}')?;
            let written = values.len();
            let set = Value::set(values);
            if set.as_list().is_some_and(|values| values.len() < written) {
                return Err(cursor.problem_at(start, "this set has a value twice"));
            }
            Ok(set)
        }
        Some(b':') => {
            cursor.advance(1);
            let namespace = token(cursor);
            blank(cursor, names)?;
            if cursor.peek() != Some(b'{') || namespace.is_empty() {
                return Err(cursor.unexpected("a namespace and its map"));
            }
            map(cursor, names, Some(namespace))
        }
        Some(b'#') => {
            cursor.advance(1);
            match token(cursor) {
                "Inf" => Ok(Value::from(f64::INFINITY)),
                "-Inf" => Ok(Value::from(f64::NEG_INFINITY)),
                "NaN" => Ok(Value::from(f64::NAN)),
                other => Err(cursor.problem_at(start, format!("##{other} is no number"))),
            }
        }
        _ => tagged(cursor, names),
    }
}

fn tagged(cursor: &mut Cursor<'_>, names: &mut Names) -> Parsed<Value> {
    let tag = token(cursor);
    if !tag.starts_with(char::is_alphabetic) {
        return Err(cursor.unexpected("a tag"));
    }
    let tag = names.name(cursor, tag)?;
    cursor.take_room(size_of::<(Name, Value)>())?;
    cursor.enter()?;
    blank(cursor, names)?;
    let value = any(cursor, names)?;
    cursor.leave();
    Ok(Value::Tagged(Box::new((tag, value))))
}

fn number(cursor: &mut Cursor<'_>) -> Parsed<Value> {
    let start = cursor.at();
    let word = token(cursor);
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    let negative = word.starts_with('-');
    if digits.len() <= 18 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = digits
            .bytes()
            .fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        return Ok(Value::Integer(if negative { -number } else { number }));
    }
    cursor.take_room_for_text(word.len())?;
    unusual_number(word).ok_or_else(|| cursor.problem_at(start, format!("{word} is no number")))
}

/// Big integers (`…N`), exact decimals (`…M`), ratios and floats.
fn unusual_number(word: &str) -> Option<Value> {
    let signed_digits = |text: &str| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let whole = word.strip_suffix('N').unwrap_or(word);
    if signed_digits(whole) {
        let plain = whole.strip_prefix('+').unwrap_or(whole);
        return Some(
            plain
                .parse()
                .map_or_else(|_| Value::Number(plain.into()), Value::Integer),
        );
    }
    if let Some((above, below)) = word.split_once('/') {
        let good = signed_digits(above) && !below.starts_with(['-', '+']) && signed_digits(below);
        return good.then(|| Value::Number(word.into()));
    }
    let float_letters =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+');
    let exact = word.strip_suffix('M');
    let written = exact.unwrap_or(word);
    let number: f64 = written
        .bytes()
        .all(float_letters)
        .then(|| written.parse().ok())??;
    Some(if exact.is_some() {
        Value::Number(word.into())
    } else {
        Value::from(number)
    })
}

fn string(cursor: &mut Cursor<'_>) -> Parsed<Value> {
    cursor.advance(1);
    let plain = |byte| byte != b'"' && byte != b'\\';
    let slice = cursor.take_while(plain);
    if cursor.peek() == Some(b'"') {
        cursor.advance(1);
        cursor.take_room_for_text(slice.len())?;
        return Ok(Value::from(slice));
    }
    let mut letters = slice.to_owned();
    loop {
        letters.push_str(cursor.take_while(plain));
        match cursor.peek() {
            Some(b'"') => {
                cursor.advance(1);
                cursor.take_room_for_text(letters.len())?;
                return Ok(Value::from(letters));
            }
            Some(_) => {
                cursor.advance(1);
                letters.push(escape(cursor)?);
            }
            None => return Err(cursor.unexpected("the end of the string")),
        }
    }
}

fn escape(cursor: &mut Cursor<'_>) -> Parsed<char> {
    let start = cursor.at();
    Ok(match cursor.peek() {
        Some(b'0'..=b'7') => return octal(cursor),
        Some(b'u') => {
            cursor.advance(1);
            return code(cursor, start);
        }
        _ => match cursor.character() {
            Some('t') => '\t',
            Some('r') => '\r',
            Some('n') => '\n',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some(letter @ ('\\' | '"')) => letter,
            Some(letter) => {
                return Err(cursor.problem_at(start, format!("\\{letter} is no escape")));
            }
            None => return Err(cursor.unexpected("an escape")),
        },
    })
}

fn octal(cursor: &mut Cursor<'_>) -> Parsed<char> {
    let start = cursor.at();
    let digits = cursor.take_while(|byte| matches!(byte, b'0'..=b'7'));
    let number = digits
        .bytes()
        .take(4)
        .fold(0, |number, digit| number * 8 + u32::from(digit - b'0'));
    if digits.len() > 3 || number > 0o377 {
        return Err(cursor.problem_at(start, "an octal escape ends at \\377"));
    }
    Ok(char::from_u32(number).expect("below 256"))
}

/// The character of four hexadecimal digits, or of a surrogate pair of such escapes, as Java writes it.
fn code(cursor: &mut Cursor<'_>, start: usize) -> Parsed<char> {
    let first = cursor.hexadecimal()?;
    if !(0xd800..0xe000).contains(&first) {
        return Ok(char::from_u32(first).expect("no surrogate and below 0x10000"));
    }
    if first < 0xdc00 && cursor.rest().starts_with(b"\\u") {
        cursor.advance(2);
        let second = cursor.hexadecimal()?;
        if (0xdc00..0xe000).contains(&second) {
            let joined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok(char::from_u32(joined).expect("a surrogate pair names a character"));
        }
    }
    Err(cursor.problem_at(start, "half of a surrogate pair"))
}

fn character(cursor: &mut Cursor<'_>) -> Parsed<Value> {
    let start = cursor.at();
    cursor.advance(1);
    let Some(first) = cursor.character() else {
        return Err(cursor.unexpected("a character"));
    };
    let after = cursor.at();
    // `\(` is a character though `(` ends every other token.
    token(cursor);
    let letter = match &cursor.since(start)[1..] {
        "newline" => '\n',
        "return" => '\r',
        "space" => ' ',
        "tab" => '\t',
        "backspace" => '\u{8}',
        "formfeed" => '\u{c}',
        word if cursor.at() == after => word.chars().next().unwrap_or(first),
        word => {
            let code = word.strip_prefix('u').filter(|digits| digits.len() == 4);
            let code = code
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .and_then(char::from_u32);
            code.ok_or_else(|| cursor.problem_at(start, format!("\\{word} is no character")))?
        }
    };
    Ok(Value::from(letter.encode_utf8(&mut [0; 4]) as &str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<History, ReadError> {
        super::read(text, Limits::generous())
    }
    use crate::history::{Outcome, Process};

    fn shown(text: &str) -> String {
        value(text).unwrap().to_string()
    }

    #[test]
    fn every_kind_of_value_is_read() {
        assert_eq!(
            shown(r#"[nil true -7 +7 1.5 :a/b sym "x\ty" #{2 1} {:k [1], "s" ()} #inst "2020"]"#),
            r##"[nil true -7 7 1.5 :a/b sym "x\ty" #{1 2} {"s" [], :k [1]} #inst "2020"]"##
        );
        assert_eq!(
            shown(r"[\a \newline \( \u0041 \space]"),
            r#"["a" "\n" "(" "A" " "]"#
        );
        assert_eq!(
            shown("[99999999999999999999N 1/3 1.50M 12N 1e3]"),
            "[99999999999999999999 1/3 1.50M 12 1000.0]"
        );
        assert_eq!(shown("#:a{:b 1 :c/d 2}"), "{:a/b 1, :c/d 2}");
        assert_eq!(shown("[##Inf ##-Inf] ; the end"), "[inf -inf]");
        assert_eq!(shown("[1 #_ 2 #_#_ 3 4 5]"), "[1 5]");
        assert_eq!(shown(r#""\u00e9\101""#), "\"éA\"");
    }

    #[test]
    fn what_is_not_edn_is_an_error() {
        for bad in [
            "",
            "[1 2",
            "{:a}",
            "{:a 1 :a 2}",
            "#{1 1}",
            "\"abc",
            ":",
            "#",
            "1x",
            "\\nonsense",
            "1 2",
            "]",
            "\"\\q\"",
            "\"\\400\"",
            "\"\\1234\"",
            "##Nope",
            "#_",
            "#_1",
            "1/",
            "#1 2",
            "\"\\ud800\"",
        ] {
            assert!(value(bad).is_err(), "{bad}");
        }
        assert!(
            value(&"[".repeat(100_000))
                .unwrap_err()
                .problem
                .contains("deeper")
        );
        assert!(
            value(&"#_ ".repeat(100_000))
                .unwrap_err()
                .problem
                .contains("deeper")
        );
    }

    #[test]
    fn histories_are_lines_of_maps_or_one_vector() {
        let events = concat!(
            "{:process 1, :type :invoke, :f :write, :value 4, :time 10, :index 0}\n",
            "#jepsen.history.Op{:process :nemesis, :type :info, :f :start, :value nil}\n",
            "{:process 1, :type :info, :f :write, :value 4, :time 30, :error [:timed-out \"x\"]}\n",
        );
        for text in [
            events.to_owned(),
            format!("[{events}]"),
            format!("({events})"),
        ] {
            let history = read(&text).unwrap();
            let [write, start] = history.operations() else {
                panic!("two operations")
            };
            assert_eq!(
                (write.process, write.outcome),
                (Process::Client(1), Outcome::Unknown)
            );
            assert_eq!(write.error().to_string(), "[:timed-out \"x\"]");
            assert_eq!(start.process, Process::Nemesis);
        }
    }

    #[test]
    fn an_error_names_its_line_and_column() {
        let error =
            read("{:process 1, :type :invoke, :f :read}\n{:process 1, :type :done, :f :read}")
                .unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2, column 20: a type is invoke, ok, fail or info, not done"
        );
        let error = read("[{:process 1, :type :ok, :f :read}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1, column 2: process 1 completes read but has nothing open"
        );
    }
}
