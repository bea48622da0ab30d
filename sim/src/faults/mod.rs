//! Faults as values: a name, a target, and how long.
//!
//! [`Kind`] is what a seed chooses among; [`Fault`] is one of a kind with its target, drawn from the seed when it is due;
//! `inject` puts it into a world and says whether that did anything. Every fault ends: either it is over at once, or it
//! is put on the world's agenda to be taken back. How each is done: `link`, `process`, `disk`, `clock`, `member`, `damage`. Whose
//! data may be destroyed is `atlas`; when what happens is `schedule`, which asks it.

mod atlas;
mod clock;
mod damage;
mod disk;
mod link;
mod member;
mod process;
mod schedule;

use std::time::Duration;

pub use self::atlas::Atlas;
pub use self::clock::ClockFault;
pub use self::damage::{Damage, Rot};
pub use self::disk::DiskTrouble;
pub use self::link::{LinkFault, Shape};
pub use self::member::MemberChange;
pub use self::process::ProcessFault;
pub use self::schedule::{Planned, Schedule};

use crate::simulator::Simulator;
use crate::world::{Outcome, Simulation};

/// What kinds of faults there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The power of a machine goes.
    Crash,
    /// It goes at a certain write or sync.
    CrashAtWrite,
    /// The power of all machines goes.
    CrashAll,
    /// A process is killed.
    Kill,
    /// A process is stopped for a while.
    Pause,
    /// The machines are cut into groups.
    Partition,
    /// One direction of links is cut.
    OneWay,
    /// Each machine reaches another majority.
    Ring,
    /// One machine alone reaches both halves.
    Bridge,
    /// One link swallows and delivers in bursts.
    Clog,
    /// Messages take longer.
    Delay,
    /// Some messages take very long.
    LongTail,
    /// Packets are lost.
    Loss,
    /// Links are narrow.
    Narrow,
    /// Connections are reset.
    Reset,
    /// One end forgets its connections.
    HalfOpen,
    /// Connections fall silent for good.
    Forget,
    /// Connections are refused.
    Refuse,
    /// A disk is slow.
    SlowDisk,
    /// A disk does nothing for a while.
    StalledDisk,
    /// A disk is full.
    FullDisk,
    /// A disk answers errors.
    DiskErrors,
    /// A clock runs at another rate.
    Drift,
    /// A clock jumps forward.
    Jump,
    /// Wall time is set wrong.
    WallBump,
    /// Wall time goes forth and back.
    WallStrobe,
    /// A machine joins.
    Join,
    /// A member leaves.
    Leave,
    /// A member dies and is removed.
    Remove,
    /// A disk is replaced by an empty one.
    Wipe,
    /// A disk is put back to what it was.
    StaleImage,
    /// Stored bits turn.
    BitRot,
    /// Writes are acknowledged and never arrive.
    LostWrites,
    /// Writes land elsewhere in their file.
    MisdirectedWrites,
}

impl Kind {
    /// What a cluster has to survive on any of its machines, on all of them at once where that can be: none of it destroys
    /// what was synced. New kinds are added at the end.
    pub const SURVIVABLE: [Self; 26] = [
        Self::Crash,
        Self::CrashAtWrite,
        Self::CrashAll,
        Self::Kill,
        Self::Pause,
        Self::Partition,
        Self::OneWay,
        Self::Ring,
        Self::Bridge,
        Self::Clog,
        Self::Delay,
        Self::LongTail,
        Self::Loss,
        Self::Narrow,
        Self::Reset,
        Self::HalfOpen,
        Self::Forget,
        Self::Refuse,
        Self::SlowDisk,
        Self::StalledDisk,
        Self::FullDisk,
        Self::DiskErrors,
        Self::Drift,
        Self::Jump,
        Self::WallBump,
        Self::WallStrobe,
    ];

    /// The name on command lines and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::CrashAtWrite => "crash-at-write",
            Self::CrashAll => "crash-all",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::Ring => "ring",
            Self::Bridge => "bridge",
            Self::Clog => "clog",
            Self::Delay => "delay",
            Self::LongTail => "long-tail",
            Self::Loss => "loss",
            Self::Narrow => "narrow",
            Self::Reset => "reset",
            Self::HalfOpen => "half-open",
            Self::Forget => "forget",
            Self::Refuse => "refuse",
            Self::SlowDisk => "slow-disk",
            Self::StalledDisk => "stalled-disk",
            Self::FullDisk => "full-disk",
            Self::DiskErrors => "disk-errors",
            Self::Drift => "drift",
            Self::Jump => "jump",
            Self::WallBump => "wall-bump",
            Self::WallStrobe => "wall-strobe",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Remove => "remove",
            Self::Wipe => "wipe",
            Self::StaleImage => "stale-image",
            Self::BitRot => "bit-rot",
            Self::LostWrites => "lost-writes",
            Self::MisdirectedWrites => "misdirected-writes",
        }
    }
}

/// One fault with its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Of links.
    Link(LinkFault),
    /// Of processes and the power of machines.
    Process(ProcessFault),
    /// Of disks.
    Disk(DiskTrouble),
    /// Of clocks.
    Clock(ClockFault),
    /// Of what was to be kept.
    Damage(Damage),
    /// Of nothing: members come and go.
    Member(MemberChange),
}

impl Fault {
    /// Puts the fault into a world, to be over after `lasts`.
    pub fn inject<M: Simulator>(&self, world: &mut Simulation<M>, lasts: Duration) -> Outcome {
        match self {
            Self::Link(fault) => fault.inject(world, lasts),
            Self::Process(fault) => fault.inject(world, lasts),
            Self::Disk(fault) => fault.inject(world, lasts),
            Self::Clock(fault) => fault.inject(world, lasts),
            Self::Damage(damage) => damage.inject(world, lasts),
            // Only a cluster knows members.
            Self::Member(_) => Outcome::Unsupported,
        }
    }
}
