//! Faults of clocks.

use std::time::Duration;

use crate::clock::Strobe;
use crate::host::HostId;
use crate::simulator::Simulator;
use crate::trace::Place;
use crate::world::{Later, Outcome, SimulatedTime, Simulation};

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
    pub(super) fn inject<M: Simulator>(
        &self,
        world: &mut Simulation<M>,
        lasts: Duration,
    ) -> Outcome {
        let now = world.now();
        let (host, name) = match self {
            Self::Drift(host, per_million) => {
                world.machine(*host).clock().drift(now, *per_million);
                (*host, "clock-drift")
            }
            Self::Jump(host, by) => {
                world.machine(*host).clock().jump(*by);
                (*host, "clock-jump")
            }
            Self::Bump(host, millis) => {
                world.machine(*host).clock().bump_wall(*millis);
                (*host, "clock-bump")
            }
            Self::Strobe(host, strobe) => {
                world.machine(*host).clock().strobe_wall(Some(*strobe));
                (*host, "clock-strobe")
            }
        };
        world.later(lasts, Later::HealClock(host));
        world.count(Place::Host(host), name, format!("{self:?}"));
        Outcome::Installed
    }
}
