//! How much a reader takes before it says no.
//!
//! A recording may come from anywhere, and one that never ends its first line, or holds a list of a thousand million
//! numbers, must not take the machine with it. So nothing is held that was not counted: an event is at most so many bytes of
//! text, and a history at most so many bytes of memory.

use crate::deadline;

/// What a reader may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text from one event to the next: a line of JSON Lines or of a log, a map of EDN with what stands before it. A
    /// longer one is an error at its beginning.
    pub event: usize,
    /// Bytes that the history may take, about, and for EDN, which is read whole, its text besides. The one event that is being
    /// read comes on top.
    pub memory: u64,
}

impl Limits {
    /// Events of 64 MiB, and four gigabytes: more than recordings take, less than machines have.
    pub const fn generous() -> Self {
        Self {
            event: 64 << 20,
            memory: 4 << 30,
        }
    }

    /// The same limits for events of at most `bytes`.
    #[must_use]
    pub const fn with_events_of(mut self, bytes: usize) -> Self {
        self.event = bytes;
        self
    }

    /// The same limits with so many bytes of memory.
    #[must_use]
    pub const fn remembering(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }
}

/// Bytes read between two looks at the clock: a few milliseconds of work.
const STRIDE: usize = 1 << 20;

/// Looks at the deadline once in so many bytes, however they are spread over lines.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since_look: usize,
}

impl Pace {
    /// Notes that `bytes` have been dealt with.
    #[inline]
    pub(super) fn went(&mut self, bytes: usize) {
        self.since_look += bytes;
        if self.since_look >= STRIDE {
            self.since_look = 0;
            deadline::look_closely();
        }
    }
}
