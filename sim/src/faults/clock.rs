//! Faults of clocks.

use std::time::Duration;

use crate::clock::{ClockTrouble, Strobe};
use crate::host::HostId;
use crate::trace::Place;
use crate::world::{Later, Outcome, World};

/// A fault of one machine's clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClockFault {
    /// They run faster or slower by so many millionths.
    Drift(HostId, i32),
    /// They jump forward.
    Jump(HostId, Duration),
    /// Wall time is set off by so many milliseconds.
    Bump(HostId, i64),
    /// Wall time is set forth and back.
    Strobe(HostId, Strobe),
}

impl ClockFault {
    pub(super) fn inject<W: World + ?Sized>(&self, world: &mut W, lasts: Duration) -> Outcome {
        let (host, name, trouble) = match *self {
            Self::Drift(host, per_million) => {
                (host, "clock-drift", ClockTrouble::Drift(per_million))
            }
            Self::Jump(host, by) => (host, "clock-jump", ClockTrouble::Jump(by)),
            Self::Bump(host, millis) => (host, "clock-bump", ClockTrouble::Bump(millis)),
            Self::Strobe(host, strobe) => (host, "clock-strobe", ClockTrouble::Strobe(strobe)),
        };
        let (outcome, begun) = world.begin_clock_trouble(host, trouble);
        if let Some(begun) = begun {
            world.later(lasts, Later::EndClockTrouble(host, begun));
            world.count(Place::Host(host), name, format!("{self:?}"));
        }
        outcome
    }
}
