//! What happened, in order, so that two runs of one seed can be compared line by line.
//!
//! An event holds the simulated time, its number, the place, its kind and what it was about: lengths, counts, digests of
//! plaintext. Never ciphertext: the keys of a TLS connection come from outside the seed, so that the bytes on the wire
//! differ from run to run and only their number does not.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::host::HostId;
use crate::sync::guard;

/// A running digest: FNV-1a over 64 bits. Not against adversaries, only against accidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Goes on with these bytes and their number, so that two pieces are not one.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.number(bytes.len() as u64);
    }

    /// Goes on with a number.
    pub fn number(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The digest so far.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The digest of one piece.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = Self::new();
        digest.update(bytes);
        digest
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the world: a fault, a heal, a phase.
    World,
    /// On one machine.
    Host(HostId),
    /// On the way from one machine to another.
    Link(HostId, HostId),
}

impl Place {
    fn number(self) -> u64 {
        match self {
            Self::World => 0,
            Self::Host(host) => 1 << 32 | u64::from(host.number()),
            Self::Link(from, to) => {
                2 << 32 | u64::from(from.number()) << 16 | u64::from(to.number())
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World => f.write_str("world"),
            Self::Host(host) => write!(f, "{host}"),
            Self::Link(from, to) => write!(f, "{from}>{to}"),
        }
    }
}

/// What an event was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// A length, a count or a digest; cheap enough for every message.
    Number(u64),
    /// Words.
    Text(String),
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[derive(Debug, Clone)]
struct Event {
    time: Duration,
    number: u64,
    place: Place,
    kind: &'static str,
    detail: Detail,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            time,
            number,
            place,
            kind,
            detail,
        } = self;
        write!(
            f,
            "{:>14.9} {number:>7} {place} {kind} {detail}",
            time.as_secs_f64()
        )
    }
}

/// How much of a trace is kept beside its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// So many events, for the report of a failure.
    Last(usize),
    /// Every event, to be compared with those of another run.
    All,
}

/// The trace of a run. Clones write to the same trace.
#[derive(Clone)]
pub struct Trace {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    digest: Digest,
    events: u64,
    keep: Keep,
    kept: VecDeque<Event>,
}

impl Trace {
    /// An empty trace.
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        let inner = Inner {
            digest: Digest::new(),
            events: 0,
            keep,
            kept: VecDeque::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Writes down that `kind` happened.
    pub fn record(&self, time: Duration, place: Place, kind: &'static str, detail: Detail) {
        let mut inner = guard(&self.inner);
        inner.events += 1;
        let number = inner.events;
        let digest = &mut inner.digest;
        digest.number(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        digest.number(place.number());
        digest.update(kind.as_bytes());
        match &detail {
            Detail::Number(number) => digest.number(*number),
            Detail::Text(text) => digest.update(text.as_bytes()),
        }
        if let Keep::Last(count) = inner.keep
            && inner.kept.len() >= count.max(1)
        {
            inner.kept.pop_front();
        }
        inner.kept.push_back(Event {
            time,
            number,
            place,
            kind,
            detail,
        });
    }

    /// The digest of all events so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        guard(&self.inner).digest
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        guard(&self.inner).events
    }

    /// The events that were kept, a line each, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        guard(&self.inner)
            .kept
            .iter()
            .map(Event::to_string)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_covers_events_that_are_no_longer_kept() {
        let trace = |first: &'static str| {
            let trace = Trace::new(Keep::Last(2));
            for kind in [first, "b", "c"] {
                trace.record(
                    Duration::from_millis(5),
                    Place::World,
                    kind,
                    Detail::Number(7),
                );
            }
            trace
        };
        assert_eq!(trace("a").digest(), trace("a").digest());
        assert_ne!(trace("a").digest(), trace("x").digest());
        assert_eq!(trace("a").lines(), trace("x").lines());
        assert_eq!(trace("a").lines().len(), 2);
        assert_eq!(trace("a").events(), 3);
    }

    #[test]
    fn pieces_are_told_from_their_concatenation() {
        let mut split = Digest::new();
        split.update(b"ab");
        split.update(b"c");
        assert_ne!(split, Digest::of(b"abc"));
    }
}
