//! Strings of a history.
//!
//! Most strings in a recording are short, and there are millions of them: [`Text`] keeps up to 22 bytes inside itself.
//! The names of functions and EDN's keywords are few and come again and again: [`Name`] shares one copy.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

const INLINE: usize = Text::INLINE;

/// An immutable string of 24 bytes, stored inline when it is short.
#[derive(Clone)]
pub struct Text(Form);

#[derive(Clone)]
enum Form {
    /// `bytes[..length]` is valid UTF-8, because only [`Text::from`] a `str` makes one.
    Inline {
        length: u8,
        bytes: [u8; INLINE],
    },
    Heap(Box<str>),
}

impl Text {
    /// The longest string that needs no allocation, in bytes.
    pub const INLINE: usize = 22;

    /// The string.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Inline { length, bytes } => std::str::from_utf8(&bytes[..usize::from(*length)])
                .expect("inline text was copied from a str"),
            Form::Heap(text) => text,
        }
    }

    /// The bytes of the string.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Form::Heap(text) => text.as_bytes(),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        if text.len() > INLINE {
            return Self(Form::Heap(text.into()));
        }
        let mut bytes = [0; INLINE];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Self(Form::Inline {
            length: text.len() as u8,
            bytes,
        })
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.len() > INLINE {
            Self(Form::Heap(text.into_boxed_str()))
        } else {
            Self::from(text.as_str())
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), formatter)
    }
}

/// A shared string: the name of a function (`read`, `cas`) or an EDN keyword without its colon.
///
/// Cloning copies a pointer. Two names are equal when their letters are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, ":{}", self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_length_is_what_was_put_in() {
        for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 200] {
            let letters = "ö".repeat(length / 2) + &"x".repeat(length % 2);
            assert_eq!(Text::from(letters.as_str()).as_str(), letters);
            assert_eq!(Text::from(letters.clone()), Text::from(letters.as_str()));
        }
    }

    #[test]
    fn text_sorts_as_its_letters_do_whatever_its_form() {
        let long = "b".repeat(INLINE + 1);
        assert!(Text::from("a") < Text::from(long.as_str()));
        assert!(Text::from(long.as_str()) < Text::from("c"));
    }
}
