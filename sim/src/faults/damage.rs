//! Faults that destroy what a machine has promised to keep. A cluster survives them on the machines that its
//! [`Atlas`](super::Atlas) allows, and on no others, whatever else is well.
//!
//! What rots, is lost or lands elsewhere is hidden at first: the process has it in memory, or does not look. So each of these
//! ends with a loss of power, after which only the disk is left to read from.

use std::time::Duration;

use crate::disk::{CrashMode, DiskFaults, Rate, Trouble};
use crate::host::HostId;
use crate::trace::Place;
use crate::world::{Later, Outcome, World};

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

    pub(super) fn inject<W: World + ?Sized>(self, world: &mut W, lasts: Duration) -> Outcome {
        let host = self.host();
        if !world.is_running(host) {
            return Outcome::Skipped("is down");
        }
        let none = DiskFaults::none();
        match self {
            Self::Wiped(_) => wiped(world, host, lasts),
            Self::Stale(_) => stale(world, host, lasts),
            Self::Rotten(_, rot) => rotten(world, host, rot, lasts),
            Self::Lost(_, lost_write) => {
                let faults = DiskFaults { lost_write, ..none };
                lying(world, host, faults, lasts)
            }
            Self::Misdirected(_, misdirected_write) => {
                let faults = DiskFaults {
                    misdirected_write,
                    ..none
                };
                lying(world, host, faults, lasts)
            }
        }
    }
}

/// The machine comes back even where its disk cannot be replaced.
fn wiped<W: World + ?Sized>(world: &mut W, host: HostId, lasts: Duration) -> Outcome {
    let crashed = world.crash(host, CrashMode::Nothing);
    if crashed != Outcome::Installed {
        return crashed;
    }
    let outcome = world.wipe(host);
    if outcome == Outcome::Installed {
        // An operator wipes disks as well, and those count for nothing here.
        world.count(Place::Host(host), "wiped-in-use", String::new());
    }
    world.later(lasts, Later::Start(host));
    outcome
}

fn stale<W: World + ?Sized>(world: &mut W, host: HostId, lasts: Duration) -> Outcome {
    let (outcome, image) = world.save_disk(host);
    if let Some(image) = image {
        world.later(lasts, Later::PutBack(host, image));
    }
    outcome
}

fn rotten<W: World + ?Sized>(world: &mut W, host: HostId, rot: Rot, lasts: Duration) -> Outcome {
    let outcome = world.rot(host, rot.file, rot.bits);
    if outcome == Outcome::Installed {
        world.doubt(host);
        world.later(lasts, Later::Reboot(host));
    }
    outcome
}

/// Writes go wrong for a while.
fn lying<W: World + ?Sized>(
    world: &mut W,
    host: HostId,
    faults: DiskFaults,
    lasts: Duration,
) -> Outcome {
    let (outcome, begun) = world.begin_disk_trouble(host, Trouble::Errors(faults));
    if let Some(begun) = begun {
        world.doubt(host);
        world.later(lasts, Later::EndDiskTrouble(host, begun));
        world.later(lasts, Later::Reboot(host));
    }
    outcome
}
