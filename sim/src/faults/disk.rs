//! Faults of disks that a node is expected to live through. What destroys data is in `damage.rs`: no node survives the loss
//! of what it has promised.

use std::time::Duration;

use crate::disk::{DiskFaults, DiskSpeed, Trouble};
use crate::host::HostId;
use crate::trace::Place;
use crate::world::{Later, Outcome, World};

/// Trouble with the disk of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskTrouble {
    /// Everything takes longer.
    Slow(HostId, DiskSpeed),
    /// The next operation takes very long.
    Stalled(HostId),
    /// So many bytes are left.
    Full(HostId, u64),
    /// Some operations fail.
    Errors(HostId, DiskFaults),
}

impl DiskTrouble {
    pub(super) fn inject<W: World + ?Sized>(&self, world: &mut W, lasts: Duration) -> Outcome {
        let (host, name) = match self {
            Self::Slow(host, _) => (*host, "disk-slow"),
            Self::Stalled(host) => (*host, "disk-stalled"),
            Self::Full(host, _) => (*host, "disk-full"),
            Self::Errors(host, _) => (*host, "disk-errors"),
        };
        let outcome = match self {
            Self::Slow(_, speed) => trouble(world, host, Trouble::Slow(*speed), lasts),
            Self::Full(_, left) => match world.stored(host) {
                Ok(stored) => trouble(world, host, Trouble::Full(stored + left), lasts),
                Err(outcome) => outcome,
            },
            Self::Errors(_, faults) => trouble(world, host, Trouble::Errors(*faults), lasts),
            Self::Stalled(_) => world.stall_disk(host, lasts),
        };
        if outcome == Outcome::Installed {
            world.count(Place::Host(host), name, format!("{self:?}"));
        }
        outcome
    }
}

fn trouble<W: World + ?Sized>(
    world: &mut W,
    host: HostId,
    trouble: Trouble,
    lasts: Duration,
) -> Outcome {
    let (outcome, begun) = world.begin_disk_trouble(host, trouble);
    if let Some(begun) = begun {
        world.later(lasts, Later::EndDiskTrouble(host, begun));
    }
    outcome
}
