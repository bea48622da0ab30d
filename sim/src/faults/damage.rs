//! Faults that destroy what a machine has promised to keep. A cluster survives them on the machines that its
//! [`Atlas`](super::Atlas) allows, and on no others, whatever else is well.
//!
//! What rots, is lost or lands elsewhere is hidden at first: the process has it in memory, or does not look. So each of these
//! ends with a loss of power, after which only the disk is left to read from.

use std::time::Duration;

use crate::disk::{CrashMode, DiskFaults, Rate, Trouble};
use crate::host::HostId;
use crate::simulator::Simulator;
use crate::trace::{Detail, Place};
use crate::world::{Later, Outcome, SimulatedTime, Simulation, World};

/// What is destroyed, on which machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The power goes, and comes back over an empty disk.
    Wiped(HostId),
    /// After a while the power goes, and comes back over the disk as it is now.
    Stale(HostId),
    /// Bits of a file turn, and after a while the power goes and comes back.
    Rotten(HostId, Rot),
    /// For a while some writes are acknowledged and do not arrive; then the power goes and comes back.
    Lost(HostId, Rate),
    /// For a while some writes arrive in another place of their file; then the power goes and comes back.
    Misdirected(HostId, Rate),
}

/// What rots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rot {
    /// Which file, by a number that is counted around the files that there are.
    pub file: usize,
    /// How many bits.
    pub bits: u32,
}

impl Damage {
    /// Whose disk it is.
    #[must_use]
    pub const fn host(self) -> HostId {
        let (Self::Wiped(host)
        | Self::Stale(host)
        | Self::Rotten(host, _)
        | Self::Lost(host, _)
        | Self::Misdirected(host, _)) = self;
        host
    }

    pub(super) fn inject<M: Simulator>(
        self,
        world: &mut Simulation<M>,
        lasts: Duration,
    ) -> Outcome {
        let host = self.host();
        if !world.is_running(host) {
            return Outcome::Skipped("is down");
        }
        let none = DiskFaults::none();
        match self {
            Self::Wiped(_) => {
                let _ = world.crash(host, CrashMode::Nothing);
                let _ = world.wipe(host);
                world.later(lasts, Later::Start(host));
            }
            Self::Stale(_) => {
                let image = Box::new(world.machine(host).disk().save());
                world.later(lasts, Later::PutBack(host, image));
            }
            Self::Rotten(_, rot) => return rotten(world, host, rot, lasts),
            Self::Lost(_, lost_write) => {
                let faults = DiskFaults { lost_write, ..none };
                lying(world, host, faults, lasts);
            }
            Self::Misdirected(_, misdirected_write) => {
                let faults = DiskFaults {
                    misdirected_write,
                    ..none
                };
                lying(world, host, faults, lasts);
            }
        }
        Outcome::Installed
    }
}

fn rotten<M: Simulator>(
    world: &mut Simulation<M>,
    host: HostId,
    rot: Rot,
    lasts: Duration,
) -> Outcome {
    let disk = world.machine(host).disk().clone();
    let files = disk.files();
    let Some(file) = files.get(rot.file % files.len().max(1)) else {
        return Outcome::Skipped("has no files");
    };
    if disk.rot(file, rot.bits) == 0 {
        return Outcome::Skipped("the file is empty");
    }
    let detail = Detail::Text(format!("{} bits of {file}", rot.bits));
    world
        .trace()
        .record(world.now(), Place::Host(host), "bit-rot", detail);
    world.doubt(host);
    world.later(lasts, Later::Reboot(host));
    Outcome::Installed
}

/// Writes go wrong for a while.
fn lying<M: Simulator>(
    world: &mut Simulation<M>,
    host: HostId,
    faults: DiskFaults,
    lasts: Duration,
) {
    let begun = world.machine(host).disk().begin(Trouble::Errors(faults));
    world.doubt(host);
    world.later(lasts, Later::EndDiskTrouble(host, begun));
    world.later(lasts, Later::Reboot(host));
}
