//! What an operation carried.
//!
//! [`Value`] says everything that JSON and EDN can say, in 24 bytes: a history of a million operations holds several
//! millions of them. Its order and equality are total (floats by their bits), so that values can be keys.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use super::text::{Name, Text};

/// A value as recorded.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing: JSON's `null`, EDN's `nil`, or a field that was not there.
    #[default]
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that fits 64 bits.
    Integer(i64),
    /// Any other number of JSON or EDN's floats, by the order of its bits.
    Float(Float),
    /// A whole or exact number too big for 64 bits (also EDN's `1/3` and `1.5M`), as it was written.
    Number(Box<str>),
    /// A string; also EDN's characters, as a string of one.
    Text(Text),
    /// EDN's `:keyword`, without the colon.
    Keyword(Name),
    /// EDN's symbols.
    Symbol(Name),
    /// A JSON array, an EDN vector or an EDN list: EDN holds the last two equal.
    List(Box<[Value]>),
    /// EDN's `#{…}`, sorted and without duplicates.
    Set(Box<[Value]>),
    /// A JSON object or an EDN map, sorted by key; keys differ.
    Map(Box<[(Value, Value)]>),
    /// EDN's `#tag value`.
    Tagged(Box<(Name, Value)>),
}

/// A float that can be compared and hashed: equal when its bits are, ordered as IEEE 754's total order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Float(u64);

impl Float {
    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl From<f64> for Float {
    fn from(number: f64) -> Self {
        Self(number.to_bits())
    }
}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.get().total_cmp(&other.get())
    }
}

impl Value {
    /// A list of `values`.
    pub fn list(values: impl IntoIterator<Item = Self>) -> Self {
        Self::List(values.into_iter().collect())
    }

    /// A set of `values`: sorted, each once.
    pub fn set(values: impl IntoIterator<Item = Self>) -> Self {
        let mut values: Vec<Self> = values.into_iter().collect();
        values.sort();
        values.dedup();
        Self::Set(values.into_boxed_slice())
    }

    /// A map of `entries`; of two entries with one key the later holds.
    pub fn map(entries: impl IntoIterator<Item = (Self, Self)>) -> Self {
        let mut entries: Vec<(Self, Self)> = entries.into_iter().collect();
        if !entries.is_sorted_by(|left, right| left.0 < right.0) {
            entries.sort_by(|left, right| left.0.cmp(&right.0));
            let mut kept: Vec<(Self, Self)> = Vec::with_capacity(entries.len());
            for entry in entries {
                match kept.last_mut() {
                    Some(last) if last.0 == entry.0 => *last = entry,
                    _ => kept.push(entry),
                }
            }
            entries = kept;
        }
        Self::Map(entries.into_boxed_slice())
    }

    /// Whether there is nothing here.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// The whole number, if this is one that fits 64 bits.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The letters of a string, a keyword or a symbol: JSON writes `"read"` where EDN writes `:read`.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            Self::Keyword(name) | Self::Symbol(name) => Some(name.as_str()),
            _ => None,
        }
    }

    /// The elements of a list or a set.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) | Self::Set(values) => Some(values),
            _ => None,
        }
    }

    /// The entries of a map, sorted by key.
    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// What a map holds under a name, be it a string or a keyword there.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let entries = self.as_map()?;
        entries
            .iter()
            .find(|(key, _)| key.as_text() == Some(name))
            .map(|(_, value)| value)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Self::List(values.into_boxed_slice())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

/// As EDN writes it: short, and what people who read histories are used to.
impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => formatter.write_str("nil"),
            Self::Bool(truth) => write!(formatter, "{truth}"),
            Self::Integer(number) => write!(formatter, "{number}"),
            Self::Float(number) => write!(formatter, "{:?}", number.get()),
            Self::Number(digits) => formatter.write_str(digits),
            Self::Text(text) => write!(formatter, "{text:?}"),
            Self::Keyword(name) => write!(formatter, ":{name}"),
            Self::Symbol(name) => write!(formatter, "{name}"),
            Self::List(values) => write_all(formatter, "[", values, "]"),
            Self::Set(values) => write_all(formatter, "#{", values, "}"),
            Self::Map(entries) => {
                formatter.write_str("{")?;
                for (position, (key, value)) in entries.iter().enumerate() {
                    let comma = if position == 0 { "" } else { ", " };
                    write!(formatter, "{comma}{key} {value}")?;
                }
                formatter.write_str("}")
            }
            Self::Tagged(tagged) => write!(formatter, "#{} {}", tagged.0, tagged.1),
        }
    }
}

fn write_all(
    formatter: &mut fmt::Formatter<'_>,
    open: &str,
    values: &[Value],
    close: &str,
) -> fmt::Result {
    formatter.write_str(open)?;
    for (position, value) in values.iter().enumerate() {
        let space = if position == 0 { "" } else { " " };
        write!(formatter, "{space}{value}")?;
    }
    formatter.write_str(close)
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// As JSON says it; what JSON has no word for (keywords, sets, tags) becomes the nearest that it has.
impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Float(number) if number.get().is_finite() => {
                serializer.serialize_f64(number.get())
            }
            Self::Float(number) => serializer.collect_str(&number.get()),
            Self::Number(digits) => serializer.serialize_str(digits),
            Self::Text(text) => serializer.serialize_str(text.as_str()),
            Self::Keyword(name) | Self::Symbol(name) => serializer.serialize_str(name.as_str()),
            Self::List(values) | Self::Set(values) => serializer.collect_seq(values),
            Self::Map(entries) => {
                let names = names(entries);
                let values = entries.iter().map(|(_, value)| value);
                serializer.collect_map(names.iter().zip(values))
            }
            Self::Tagged(tagged) => serializer.collect_map([(format!("#{}", tagged.0), &tagged.1)]),
        }
    }
}

/// The names under which a JSON object holds the entries of a map: `:a` and `"a"` are two keys, and so are their names.
fn names(entries: &[(Value, Value)]) -> Vec<Cow<'_, str>> {
    let mut names: Vec<Cow<'_, str>> = Vec::with_capacity(entries.len());
    let are_texts = entries.iter().all(|(key, _)| matches!(key, Value::Text(_)));
    let mut known = BTreeSet::new();
    for (key, _) in entries {
        let mut name = key.as_key();
        // Keys of one kind differ as they are; nearly all maps have such keys.
        while !are_texts && !known.insert(name.clone()) {
            name.to_mut().push('\'');
        }
        names.push(name);
    }
    names
}

impl Value {
    /// The key of a JSON object that stands for this value.
    fn as_key(&self) -> Cow<'_, str> {
        self.as_text()
            .map_or_else(|| self.to_string().into(), Cow::Borrowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_takes_three_words() {
        assert_eq!(size_of::<Value>(), 24);
        assert_eq!(size_of::<Option<Value>>(), 24);
    }

    #[test]
    fn maps_are_sorted_and_the_later_entry_holds() {
        let map = Value::map([
            ("b".into(), 1.into()),
            ("a".into(), 2.into()),
            ("b".into(), 3.into()),
        ]);
        assert_eq!(map.to_string(), r#"{"a" 2, "b" 3}"#);
        assert_eq!(map.get("b"), Some(&Value::Integer(3)));
    }

    #[test]
    fn sets_hold_each_value_once() {
        assert_eq!(
            Value::set([2.into(), 1.into(), 2.into()]).to_string(),
            "#{1 2}"
        );
    }

    #[test]
    fn keys_that_differ_are_written_under_names_that_differ() {
        let map = Value::map([
            (Value::Keyword("a".into()), 1.into()),
            (Value::from("a"), 2.into()),
            (Value::Symbol("a".into()), 3.into()),
        ]);
        let written = serde_json::to_value(&map).unwrap();
        assert_eq!(written.as_object().unwrap().len(), 3, "{written}");
    }
}
