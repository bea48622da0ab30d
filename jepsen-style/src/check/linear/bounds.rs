//! How long and how large a search may grow.
//!
//! Deciding linearizability is NP-complete (Gibbons & Korach 1997): some histories cannot be decided in any time that
//! one would wait. A search that meets a bound says *unknown*.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::deadline;
pub(super) use crate::deadline::now;

/// What a search may use.
#[derive(Debug)]
pub struct Bounds {
    /// Wall time for the whole history; `None` for as long as it takes.
    pub time: Option<Duration>,
    /// Bytes that a search may remember, about; shared by the threads of a race.
    pub memory: u64,
    /// Threads that search at a time; more than there are objects help nobody.
    pub jobs: usize,
    /// Ends every search of a race: the verdict is known.
    pub(super) stop: AtomicBool,
}

impl Bounds {
    /// One thread, four gigabytes, as long as it takes.
    pub fn generous() -> Self {
        Self {
            time: None,
            memory: 4 << 30,
            jobs: 1,
            stop: AtomicBool::new(false),
        }
    }

    /// The same bounds with a limit of wall time.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// The same bounds with a limit of memory, in bytes.
    #[must_use]
    pub fn remembering(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// The same bounds for `jobs` threads.
    #[must_use]
    pub fn on(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// The same bounds for another search: nothing has stopped it yet.
    pub(super) fn afresh(&self) -> Self {
        Self {
            time: self.time,
            memory: self.memory,
            jobs: self.jobs,
            stop: AtomicBool::new(false),
        }
    }
}

impl Clone for Bounds {
    fn clone(&self) -> Self {
        self.afresh()
    }
}

/// Why a search gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exhausted {
    Time,
    Memory,
    Open,
    /// Another part of the race has the verdict.
    Stopped,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Time => "the search did not end within its time",
            Self::Memory => "the search did not end within its memory",
            Self::Open => "more operations are open at a time than a search can hold",
            Self::Stopped => "the search was stopped",
        })
    }
}

/// What one search has used. Asks the clock rarely: a step takes less time than asking.
pub(super) struct Budget<'a> {
    bounds: &'a Bounds,
    /// When time is over: that of the bounds, or what is left of the time of the work that this search is a part of.
    end: Option<Instant>,
    steps: u32,
}

/// Steps between two looks at the clock.
const STRIDE: u32 = 2048;

impl<'a> Budget<'a> {
    pub(super) fn new(bounds: &'a Bounds, started: Instant) -> Self {
        // A time too long to add is no bound.
        let end = bounds.time.and_then(|time| started.checked_add(time));
        let outer = deadline::current();
        Self {
            bounds,
            end: end
                .zip(outer)
                .map(|(end, outer)| end.min(outer))
                .or(end)
                .or(outer),
            steps: 0,
        }
    }

    #[inline]
    pub(super) fn spend(&mut self) -> Result<(), Exhausted> {
        self.steps = self.steps.wrapping_add(1);
        if !self.steps.is_multiple_of(STRIDE) {
            return Ok(());
        }
        if self.bounds.stop.load(Ordering::Relaxed) {
            return Err(Exhausted::Stopped);
        }
        match self.end {
            Some(end) if now() > end => Err(Exhausted::Time),
            _ => Ok(()),
        }
    }

    #[inline]
    pub(super) fn is_time_to_weigh(&self) -> bool {
        self.steps.is_multiple_of(STRIDE)
    }

    /// Bytes for one thread of the race.
    pub(super) fn memory(&self) -> u64 {
        self.bounds.memory / self.bounds.jobs as u64
    }
}
