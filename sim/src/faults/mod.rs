//! Faults as values: a name, a target, and how long.
//!
//! [`Kind`] is what a seed chooses among; [`Fault`] is one of a kind with its target, drawn from the seed when it is due;
//! `inject` puts it into a world, whichever that is, and says whether that did anything. Every fault ends: either it is over
//! at once, or it is put on the world's agenda to be taken back. How each is done: `link`, `process`, `disk`, `clock`, `member`,
//! `damage`. Whose data may be destroyed is `atlas`; when what happens is `schedule`, which asks it.

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

use crate::world::{Outcome, World};

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
    /// A node is stopped in order and started again.
    Restart,
    /// A node is to lead.
    Lead,
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

    /// What an operator does to members meanwhile.
    pub const OF_OPERATORS: [Self; 5] = [
        Self::Join,
        Self::Leave,
        Self::Remove,
        Self::Restart,
        Self::Lead,
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
            Self::Restart => "restart",
            Self::Lead => "lead",
        }
    }

    /// What is counted when a fault of this kind has struck, and not only been made: any of these.
    #[must_use]
    pub const fn strikes(self) -> &'static [&'static str] {
        match self {
            Self::Crash | Self::CrashAll => &["crash"],
            Self::CrashAtWrite => &["disk-fuse-blown"],
            Self::Kill => &["kill"],
            Self::Pause => &["pause"],
            Self::Partition | Self::OneWay | Self::Ring | Self::Bridge | Self::Clog => {
                &["link-blocked"]
            }
            Self::Delay => &["link-delay"],
            Self::LongTail => &["link-long-tail"],
            Self::Loss => &["link-loss"],
            Self::Narrow => &["link-bandwidth"],
            Self::Reset => &["link-reset"],
            Self::HalfOpen => &["link-half-open"],
            Self::Forget => &["link-forgotten"],
            Self::Refuse => &["link-refused"],
            Self::SlowDisk => &["disk-slowed"],
            Self::StalledDisk => &["disk-stall"],
            Self::FullDisk => &["disk-out-of-space"],
            Self::DiskErrors => &["disk-read-error", "disk-write-error", "disk-sync-error"],
            Self::Drift => &["clock-drift"],
            Self::Jump => &["clock-jump"],
            Self::WallBump => &["clock-bump"],
            Self::WallStrobe => &["clock-strobe"],
            Self::Join => &["member-joined"],
            Self::Leave => &["member-left"],
            Self::Remove => &["member-removed"],
            Self::Wipe => &["wiped-in-use"],
            Self::StaleImage => &["disk-stale-image"],
            Self::BitRot => &["disk-bit-rot"],
            Self::LostWrites => &["disk-lost-write"],
            Self::MisdirectedWrites => &["disk-misdirected-write"],
            Self::Restart => &["restarted"],
            Self::Lead => &["asked-to-lead"],
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
    /// Puts the fault into a world, to be over after `lasts`. What the world cannot do it says to be unsupported.
    pub fn inject<W: World + ?Sized>(&self, world: &mut W, lasts: Duration) -> Outcome {
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::disk::DiskSpeed;
    use crate::host::HostId;
    use crate::options::Options;
    use crate::seed::Seed;
    use crate::trace::Place;
    use crate::world::{Later, PauseId};

    const ONE: HostId = HostId::new(1);
    const TWO: HostId = HostId::new(2);
    const SECOND: Duration = Duration::from_secs(1);

    /// A world of processes and nothing else, without a clock. It notes what it has done.
    #[derive(Default)]
    struct Processes {
        running: BTreeSet<HostId>,
        paused: BTreeMap<HostId, PauseId>,
        pauses: u64,
        agenda: Vec<Later>,
        notes: Vec<String>,
    }

    impl Processes {
        fn of(hosts: &[HostId]) -> Self {
            Self {
                running: hosts.iter().copied().collect(),
                ..Self::default()
            }
        }

        fn note(&mut self, what: &str, host: HostId) -> Outcome {
            self.notes.push(format!("{what} {host}"));
            Outcome::Installed
        }

        /// Everything that was to be done later is done.
        fn keep_appointments(&mut self) {
            for due in std::mem::take(&mut self.agenda) {
                assert_eq!(self.carry_out(due), Outcome::Installed);
            }
        }
    }

    impl World for Processes {
        fn start(&mut self, host: HostId) -> Outcome {
            if !self.running.insert(host) {
                return Outcome::Skipped("runs already");
            }
            self.note("start", host)
        }

        fn kill(&mut self, host: HostId) -> Outcome {
            if !self.running.remove(&host) {
                return Outcome::Skipped("is down");
            }
            self.paused.remove(&host);
            self.note("kill", host)
        }

        fn pause(&mut self, host: HostId) -> (Outcome, Option<PauseId>) {
            if !self.is_running(host) || self.paused.contains_key(&host) {
                return (Outcome::Skipped("does not run"), None);
            }
            self.pauses += 1;
            let pause = PauseId::new(self.pauses);
            self.paused.insert(host, pause);
            (self.note("pause", host), Some(pause))
        }

        fn resume(&mut self, host: HostId) -> Outcome {
            if self.paused.remove(&host).is_none() {
                return Outcome::Skipped("is not paused");
            }
            self.note("resume", host)
        }

        fn end_pause(&mut self, host: HostId, pause: PauseId) -> Outcome {
            if self.paused.get(&host) != Some(&pause) {
                return Outcome::Skipped("is not in this pause");
            }
            self.resume(host)
        }

        fn is_running(&self, host: HostId) -> bool {
            self.running.contains(&host)
        }

        fn heal(&mut self) -> Outcome {
            self.paused.clear();
            Outcome::Installed
        }

        fn later(&mut self, _delay: Duration, what: Later) {
            self.agenda.push(what);
        }

        fn count(&mut self, _place: Place, fault: &'static str, _detail: String) {
            self.notes.push(fault.to_owned());
        }
    }

    /// A world need not be known when the faults are compiled.
    fn inject(fault: &Fault, world: &mut dyn World) -> Outcome {
        fault.inject(world, SECOND)
    }

    #[test]
    fn faults_of_processes_are_installed_where_there_are_only_processes_and_end() {
        let mut world = Processes::of(&[ONE, TWO]);
        let kill = Fault::Process(ProcessFault::Kill(ONE));
        let pause = Fault::Process(ProcessFault::Pause(TWO));
        assert_eq!(inject(&kill, &mut world), Outcome::Installed);
        assert_eq!(inject(&kill, &mut world), Outcome::Skipped("is down"));
        assert_eq!(inject(&pause, &mut world), Outcome::Installed);
        assert_eq!(inject(&pause, &mut world), Outcome::Skipped("does not run"));
        world.keep_appointments();
        let notes = ["kill n1", "pause n2", "start n1", "resume n2"];
        assert_eq!(world.notes, notes);
    }

    #[test]
    fn fault_that_a_world_cannot_do_is_unsupported_and_not_counted() {
        let mut world = Processes::of(&[ONE, TWO]);
        let slow = DiskSpeed::syncing_in(SECOND);
        for fault in [
            Fault::Disk(DiskTrouble::Slow(ONE, slow)),
            Fault::Disk(DiskTrouble::Stalled(ONE)),
            Fault::Disk(DiskTrouble::Full(ONE, 100)),
            Fault::Clock(ClockFault::Jump(ONE, SECOND)),
            Fault::Damage(Damage::Wiped(ONE)),
            Fault::Link(LinkFault::Reset(ONE, TWO)),
        ] {
            let outcome = inject(&fault, &mut world);
            assert_eq!(outcome, Outcome::Unsupported, "{fault:?}");
        }
        assert!(world.agenda.is_empty() && world.notes.is_empty());
    }

    #[test]
    fn whatever_a_seed_draws_is_done_or_unsupported() {
        let nodes: Vec<HostId> = (1..=5).map(HostId::new).collect();
        let damaging = [Kind::Wipe, Kind::StaleImage, Kind::BitRot, Kind::LostWrites];
        let operators = Kind::OF_OPERATORS;
        let kinds = Kind::SURVIVABLE
            .into_iter()
            .chain(damaging)
            .chain(operators);
        let options = Options {
            faults: kinds.map(|kind| (kind, 1)).collect(),
            ..Options::none(5)
        };
        let mut world = Processes::of(&nodes);
        for planned in Schedule::new(&options, &nodes, Seed::new(1)).take(600) {
            let wanted = match planned.fault {
                Fault::Process(ProcessFault::Kill(_) | ProcessFault::Pause(_)) => {
                    Outcome::Installed
                }
                _ => Outcome::Unsupported,
            };
            let outcome = inject(&planned.fault, &mut world);
            assert_eq!(outcome, wanted, "{:?}", planned.fault);
            world.keep_appointments();
        }
    }
}
