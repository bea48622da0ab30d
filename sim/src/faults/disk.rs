//! Faults of disks that a node is expected to live through. What destroys data is in `damage.rs`: no node survives the loss
//! of what it has promised.

use std::time::Duration;

use crate::disk::{DiskFaults, DiskSpeed, Trouble};
use crate::host::HostId;
use crate::simulator::Simulator;
use crate::trace::Place;
use crate::world::{Later, Outcome, Simulation, World};

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
    pub(super) fn inject<M: Simulator>(
        &self,
        world: &mut Simulation<M>,
        lasts: Duration,
    ) -> Outcome {
        let (host, name) = match self {
            Self::Slow(host, _) => (*host, "disk-slow"),
            Self::Stalled(host) => (*host, "disk-stalled"),
            Self::Full(host, _) => (*host, "disk-full"),
            Self::Errors(host, _) => (*host, "disk-errors"),
        };
        if !world.is_running(host) {
            return Outcome::Skipped("is down");
        }
        let disk = world.machine(host).disk().clone();
        let trouble = match self {
            Self::Slow(_, speed) => Some(Trouble::Slow(*speed)),
            Self::Full(_, left) => Some(Trouble::Full(disk.stored() + left)),
            Self::Errors(_, faults) => Some(Trouble::Errors(*faults)),
            Self::Stalled(_) => {
                disk.stall(lasts);
                None
            }
        };
        if let Some(trouble) = trouble {
            let begun = disk.begin(trouble);
            world.later(lasts, Later::EndDiskTrouble(host, begun));
        }
        world.count(Place::Host(host), name, format!("{self:?}"));
        Outcome::Installed
    }
}
