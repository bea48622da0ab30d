//! Faults that destroy what a machine has promised to keep. A cluster survives them on the machines that its
//! [`Atlas`](super::Atlas) allows, and on no others, whatever else is well.

use std::time::Duration;

use crate::disk::CrashMode;
use crate::host::HostId;
use crate::simulator::Simulator;
use crate::world::{Later, Outcome, Simulation, World};

/// What is destroyed, on which machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The power goes, and comes back over an empty disk.
    Wiped(HostId),
    /// After a while the power goes, and comes back over the disk as it is now.
    Stale(HostId),
}

impl Damage {
    /// Whose disk it is.
    #[must_use]
    pub const fn host(self) -> HostId {
        let (Self::Wiped(host) | Self::Stale(host)) = self;
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
        }
        Outcome::Installed
    }
}
