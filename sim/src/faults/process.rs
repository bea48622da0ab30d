//! Faults of processes and of the power of machines.

use std::time::Duration;

use crate::disk::CrashMode;
use crate::host::HostId;
use crate::trace::Place;
use crate::world::{Later, Outcome, World};

/// A fault of a process, or of several at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessFault {
    /// The power goes and comes back.
    Crash(Vec<HostId>, CrashMode),
    /// The power goes at the write, sync or rename after so many others; it comes back when the world finds it gone.
    CrashAtWrite(HostId, u64),
    /// The process is killed and started again.
    Kill(HostId),
    /// The process is stopped and goes on.
    Pause(HostId),
}

impl ProcessFault {
    pub(super) fn inject<W: World + ?Sized>(&self, world: &mut W, lasts: Duration) -> Outcome {
        match self {
            Self::Crash(hosts, mode) => {
                let mut outcome = Outcome::Skipped("all are down");
                for host in hosts {
                    match world.crash(*host, *mode) {
                        Outcome::Installed => {
                            world.later(lasts, Later::Start(*host));
                            outcome = Outcome::Installed;
                        }
                        Outcome::Skipped(_) => {}
                        Outcome::Unsupported => return Outcome::Unsupported,
                    }
                }
                outcome
            }
            Self::CrashAtWrite(host, operations) => {
                let outcome = world.light_fuse(*host, *operations, lasts);
                if outcome == Outcome::Installed {
                    world.count(Place::Host(*host), "fuse-lit", operations.to_string());
                }
                outcome
            }
            Self::Kill(host) => {
                let outcome = world.kill(*host);
                if outcome == Outcome::Installed {
                    world.later(lasts, Later::Start(*host));
                }
                outcome
            }
            Self::Pause(host) => {
                let (outcome, pause) = world.pause(*host);
                if let Some(pause) = pause {
                    world.later(lasts, Later::Resume(*host, pause));
                }
                outcome
            }
        }
    }
}
