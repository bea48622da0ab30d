//! Faults of disks that a node is expected to live through. What destroys data is not here: no node survives the loss of
//! what it has promised, so that a scenario asks for it by name, on machines that the atlas allows.

use std::time::Duration;

use crate::disk::{DiskFaults, DiskSpeed};
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
        match self {
            Self::Slow(_, speed) => {
                let usual = disk.speed();
                disk.set_speed(*speed);
                world.later(lasts, Later::DiskSpeed(host, usual));
            }
            Self::Stalled(_) => disk.stall(lasts),
            Self::Full(_, left) => {
                disk.set_capacity(Some(disk.stored() + left));
                world.later(lasts, Later::HealDisk(host));
            }
            Self::Errors(_, faults) => {
                disk.set_faults(*faults);
                world.later(lasts, Later::HealDisk(host));
            }
        }
        world.count(Place::Host(host), name, format!("{self:?}"));
        Outcome::Installed
    }
}
