//! What can be done to a world of machines.
//!
//! [`World`] is what a scenario needs and what real processes can offer as well, each in its own way, or say that they
//! cannot; faults are put into any of them. [`SimulatedTime`] is what only a simulation has, and no fault asks for it.
//! [`Simulation`](crate::simulation::Simulation) is both.

use std::time::Duration;

use crate::clock::{ClockTrouble, ClockTroubleId};
use crate::disk::{CrashMode, Trouble, TroubleId};
use crate::host::HostId;
use crate::net::{Rule, RuleId};
use crate::trace::Place;

/// What became of a request to a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is so now.
    Installed,
    /// There was nothing to do it to: the machine runs already, is down already, has no such thing.
    Skipped(&'static str),
    /// This world cannot do it.
    Unsupported,
}

/// A pause of a process, to end it and no later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PauseId(u64);

impl PauseId {
    /// The pause of this number; a world gives each of a machine's pauses another one.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// What a disk held at some moment, to put it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageId(u64);

impl ImageId {
    /// The image of this number; a world gives each another one.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// What is done later by itself.
#[derive(Debug, Clone)]
pub enum Later {
    /// Rules are taken back.
    Mend(Vec<RuleId>),
    /// A machine is started.
    Start(HostId),
    /// The power of a machine goes and comes back over this older image of its disk.
    PutBack(HostId, ImageId),
    /// The power of a machine goes and comes back.
    Reboot(HostId),
    /// A machine is resumed, if it is still this pause.
    Resume(HostId, PauseId),
    /// A trouble of a disk ends.
    EndDiskTrouble(HostId, TroubleId),
    /// A trouble of a clock ends.
    EndClockTrouble(HostId, ClockTroubleId),
}

/// Machines and links that can be made to fail.
///
/// Every world has processes and keeps an agenda, by which faults end; what else it cannot do it leaves as it stands here.
/// What begins something that is taken back by itself answers an id as well, which is there if it is installed.
pub trait World {
    /// Starts the software of a machine.
    fn start(&mut self, host: HostId) -> Outcome;
    /// Kills the process; the machine stays, and its kernel says goodbye on its connections.
    fn kill(&mut self, host: HostId) -> Outcome;
    /// Stops the process without ending it.
    fn pause(&mut self, host: HostId) -> (Outcome, Option<PauseId>);
    /// Lets a paused process go on.
    fn resume(&mut self, host: HostId) -> Outcome;
    /// Lets a paused process go on, unless it has gone on since that pause and is in another one.
    fn end_pause(&mut self, host: HostId, pause: PauseId) -> Outcome;
    /// Whether a machine's process runs.
    fn is_running(&self, host: HostId) -> bool;
    /// Takes back every fault of links, clocks and disks, and resumes what is paused. What is down stays down.
    fn heal(&mut self) -> Outcome;

    /// Does something later, as [`carry_out`](World::carry_out) does it. There is no world that cannot: every fault ends by it.
    fn later(&mut self, delay: Duration, what: Later);
    /// Writes down that a fault fired, and counts it. A fault that is not counted has not happened, to who reads the report.
    fn count(&mut self, place: Place, fault: &'static str, detail: String);

    /// Does what was to be done later: for a world to call when it is due.
    fn carry_out(&mut self, what: Later) -> Outcome {
        match what {
            Later::Mend(rules) => self.mend(&rules),
            Later::Start(host) => self.start(host),
            Later::PutBack(host, image) => self.restore_disk(host, image),
            Later::Reboot(host) => self.reboot(host),
            Later::Resume(host, pause) => self.end_pause(host, pause),
            Later::EndDiskTrouble(host, trouble) => self.end_disk_trouble(host, trouble),
            Later::EndClockTrouble(host, trouble) => self.end_clock_trouble(host, trouble),
        }
    }

    /// Cuts the power of a machine; what its disk had not synced survives in this mode.
    fn crash(&mut self, _host: HostId, _mode: CrashMode) -> Outcome {
        Outcome::Unsupported
    }

    /// Cuts the power of a machine that runs, and starts it again over what its disk holds.
    fn reboot(&mut self, host: HostId) -> Outcome {
        match self.crash(host, CrashMode::Nothing) {
            Outcome::Installed => self.start(host),
            outcome => outcome,
        }
    }

    /// Lights a fuse: the power of a machine that runs goes at the write, sync or rename after so many others, and the machine
    /// is started again when it has been `dark` for so long.
    fn light_fuse(&mut self, _host: HostId, _operations: u64, _dark: Duration) -> Outcome {
        Outcome::Unsupported
    }

    /// Puts rules on links; they can be taken back by what is answered.
    fn cut(&mut self, _rules: Vec<Rule>) -> (Outcome, Vec<RuleId>) {
        (Outcome::Unsupported, Vec::new())
    }

    /// Takes rules back.
    fn mend(&mut self, _rules: &[RuleId]) -> Outcome {
        Outcome::Unsupported
    }

    /// Resets the connections between two machines, so that both ends learn it, and counts that with how many there were.
    fn reset(&mut self, _one: HostId, _other: HostId) -> Outcome {
        Outcome::Unsupported
    }

    /// Lets a machine forget its connections with another, which is told nothing, and counts that with how many there were.
    fn half_open(&mut self, _forgetful: HostId, _other: HostId) -> Outcome {
        Outcome::Unsupported
    }

    /// Something goes wrong with the disk of a machine that runs, beside what is wrong already.
    fn begin_disk_trouble(
        &mut self,
        _host: HostId,
        _trouble: Trouble,
    ) -> (Outcome, Option<TroubleId>) {
        (Outcome::Unsupported, None)
    }

    /// One trouble of a disk ends and no other. Nothing happens when a heal has ended it before.
    fn end_disk_trouble(&mut self, _host: HostId, _trouble: TroubleId) -> Outcome {
        Outcome::Unsupported
    }

    /// Lets the next operation on the disk of a machine that runs take so much longer.
    fn stall_disk(&mut self, _host: HostId, _time: Duration) -> Outcome {
        Outcome::Unsupported
    }

    /// How many bytes the disk of a machine that runs stores.
    ///
    /// # Errors
    /// With what became of the question, when that cannot be told.
    fn stored(&self, _host: HostId) -> Result<u64, Outcome> {
        Err(Outcome::Unsupported)
    }

    /// Turns so many bits of a file of a machine, for good, and writes down which file it was. The number is counted around the
    /// files that there are.
    fn rot(&mut self, _host: HostId, _file: usize, _bits: u32) -> Outcome {
        Outcome::Unsupported
    }

    /// Replaces the disk of a machine that is down by an empty one.
    fn wipe(&mut self, _host: HostId) -> Outcome {
        Outcome::Unsupported
    }

    /// Keeps what the disk of a machine would hold if its power went now, to put that back once; a heal forgets it.
    fn save_disk(&mut self, _host: HostId) -> (Outcome, Option<ImageId>) {
        (Outcome::Unsupported, None)
    }

    /// Cuts the power of a machine and starts it over an older image of its disk, which owes nothing of what it promised since.
    fn restore_disk(&mut self, _host: HostId, _image: ImageId) -> Outcome {
        Outcome::Unsupported
    }

    /// From here on until it is replaced the disk of a machine may hold anything, and owes nothing of what it promises. Nobody is
    /// told where nobody holds nodes to their promises.
    fn doubt(&mut self, _host: HostId) {}

    /// Something goes wrong with the clocks of a machine, beside what is wrong already.
    fn begin_clock_trouble(
        &mut self,
        _host: HostId,
        _trouble: ClockTrouble,
    ) -> (Outcome, Option<ClockTroubleId>) {
        (Outcome::Unsupported, None)
    }

    /// One trouble of clocks ends and no other. Nothing happens when a heal has ended it before.
    fn end_clock_trouble(&mut self, _host: HostId, _trouble: ClockTroubleId) -> Outcome {
        Outcome::Unsupported
    }
}

/// Time that goes on only when it is told to.
pub trait SimulatedTime {
    /// How long the world has run.
    fn now(&self) -> Duration;
    /// Lets the world run for so long.
    fn advance(&mut self, duration: Duration);
}
