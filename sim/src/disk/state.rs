//! The state behind a disk: the image, the power, the faults that are switched on, and the counters.
//!
//! Every operation of a process passes [`State::admit`] first, which is where a dead or former life of the node is
//! turned away, time is charged and the fuse burns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::faults::{Condition, CrashMode, DiskFault, DiskFaults, DiskSpeed, Fired, Rate};
use super::image::{Image, Inode, Landing, SECTOR};
use super::lock::{FileLocks, WalIndex};
use super::power::Power;
use crate::seed::Seed;

/// Which life of its node a handle belongs to. A simulator may drop a killed node's tasks after the node was started
/// again, and the old life must neither write nor hold a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(u64);

/// What an operation can fail with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The power is gone, or the caller belongs to a former life.
    Dead,
    /// An input/output error.
    Faulty,
    /// No room.
    Full,
    /// No such file.
    Missing,
    /// Somebody holds the lock.
    Busy,
}

/// What is asked of the disk, as far as time and fuse are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Write,
    Sync,
    /// Creating, renaming and removing: no data, but a place where a crash may fall.
    Name,
    /// Locks and questions: free, and never where a crash falls.
    Control,
}

/// How much a disk was used since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Syncs, of files and directories.
    pub syncs: u64,
    /// Crashes.
    pub crashes: u64,
}

/// The wall clock of the node that the disk is in, since the Unix epoch.
pub type WallClock = Arc<dyn Fn() -> Duration + Send + Sync>;

pub(super) struct State {
    pub(super) image: Image,
    pub(super) generation: Generation,
    pub(super) power: Arc<Power>,
    /// Writes, syncs and name changes left until the power goes.
    pub(super) fuse: Option<u64>,
    pub(super) condition: Condition,
    /// What follows from the condition.
    faults: DiskFaults,
    speed: DiskSpeed,
    pub(super) capacity: Option<u64>,
    /// How long the next operation has to wait beside its own time.
    pub(super) stall: Duration,
    /// Time that operations took and that nobody has slept yet.
    pub(super) owed: Duration,
    pub(super) fired: Fired,
    pub(super) used: DiskUse,
    pub(super) rng: SmallRng,
    /// What SQLite asks the operating system for; a stream of its own, so that no fault depends on it.
    pub(super) entropy: SmallRng,
    pub(super) clock: Option<WallClock>,
    pub(super) file_locks: BTreeMap<Inode, FileLocks>,
    pub(super) wal_indexes: BTreeMap<Inode, WalIndex>,
    pub(super) advisory_locks: BTreeMap<String, u64>,
    pub(super) next_token: u64,
}

impl State {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            image: Image::default(),
            generation: Generation(0),
            power: Arc::default(),
            fuse: None,
            condition: Condition::good(),
            faults: DiskFaults::none(),
            speed: DiskSpeed::instant(),
            capacity: None,
            stall: Duration::ZERO,
            owed: Duration::ZERO,
            fired: Fired::new(),
            used: DiskUse::default(),
            rng: seed.labelled("faults").rng(),
            entropy: seed.labelled("entropy").rng(),
            clock: None,
            file_locks: BTreeMap::new(),
            wal_indexes: BTreeMap::new(),
            advisory_locks: BTreeMap::new(),
            next_token: 0,
        }
    }

    /// Changes how the disk is.
    pub(super) fn alter<T>(&mut self, change: impl FnOnce(&mut Condition) -> T) -> T {
        let answer = change(&mut self.condition);
        (self.speed, self.capacity, self.faults) = self.condition.present();
        answer
    }

    pub(super) fn count(&mut self, fault: DiskFault) {
        self.count_many(fault, 1);
    }

    fn count_many(&mut self, fault: DiskFault, times: usize) {
        if times > 0 {
            *self.fired.entry(fault).or_default() += times as u64;
        }
    }

    /// Whether this life of the node may still use the disk.
    pub(super) fn alive(&self, generation: Generation) -> Result<(), Failure> {
        if self.power.is_on() && self.generation == generation {
            Ok(())
        } else {
            Err(Failure::Dead)
        }
    }

    /// Lets an operation begin: charges its time and burns the fuse.
    pub(super) fn admit(
        &mut self,
        generation: Generation,
        operation: Operation,
    ) -> Result<(), Failure> {
        self.alive(generation)?;
        self.charge(operation);
        if matches!(
            operation,
            Operation::Write | Operation::Sync | Operation::Name
        ) {
            self.burn_fuse()?;
        }
        Ok(())
    }

    fn charge(&mut self, operation: Operation) {
        let time = match operation {
            Operation::Read => self.speed.read,
            Operation::Write | Operation::Name => self.speed.write,
            Operation::Sync => self.jittered_sync(),
            Operation::Control => return,
        };
        self.owed += time;
        if self.speed != self.condition.speed {
            self.count(DiskFault::Slowed);
        }
        if !self.stall.is_zero() {
            self.owed += std::mem::take(&mut self.stall);
            self.count(DiskFault::Stall);
        }
    }

    fn jittered_sync(&mut self) -> Duration {
        let most = self.speed.jitter_permille;
        let permille = if most == 0 {
            0
        } else {
            self.rng.random_range(0..=most)
        };
        self.speed.sync + self.speed.sync * permille / 1000
    }

    fn burn_fuse(&mut self) -> Result<(), Failure> {
        match &mut self.fuse {
            Some(0) => {
                self.count(DiskFault::FuseBlown);
                self.cut();
                Err(Failure::Dead)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The power goes: from here on every operation fails, so that no destructor of the dying node writes.
    pub(super) fn cut(&mut self) {
        if self.power.cut() {
            self.fuse = None;
            self.count(DiskFault::PowerCut);
        }
    }

    /// The power comes back over what survived.
    pub(super) fn crash(&mut self, mode: CrashMode) {
        self.cut();
        let casualties = self.image.crash(mode, &mut self.rng);
        self.count_many(DiskFault::UnsyncedLost, casualties.lost);
        self.count_many(DiskFault::SectorTorn, casualties.torn);
        self.count_many(DiskFault::NameLost, casualties.names);
        self.used.crashes += 1;
        self.begin_life();
    }

    /// A new life: former handles are dead, locks and shared memory are gone, the power is on.
    pub(super) fn begin_life(&mut self) {
        self.generation = Generation(self.generation.0 + 1);
        self.power.restore();
        self.fuse = None;
        self.owed = Duration::ZERO;
        self.file_locks.clear();
        self.wal_indexes.clear();
        self.advisory_locks.clear();
    }

    pub(super) fn read(
        &mut self,
        generation: Generation,
        inode: Inode,
        offset: usize,
        buffer: &mut [u8],
    ) -> Result<usize, Failure> {
        self.admit(generation, Operation::Read)?;
        self.used.reads += 1;
        if self.faults.read_error.fires(&mut self.rng) {
            self.count(DiskFault::ReadError);
            return Err(Failure::Faulty);
        }
        let content = self.image.file(inode).ok_or(Failure::Missing)?.content();
        let available = content.get(offset..).unwrap_or_default();
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        if length > 0 && self.faults.read_flip.fires(&mut self.rng) {
            buffer[self.rng.random_range(0..length)] ^= 1 << self.rng.random_range(0..8);
            self.count(DiskFault::ReadFlip);
        }
        Ok(length)
    }

    pub(super) fn write(
        &mut self,
        generation: Generation,
        inode: Inode,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        self.alive(generation)?;
        self.charge(Operation::Write);
        // The write that the power goes under was on its way: it may be there, in part or whole, after all.
        let admitted = self.burn_fuse();
        if self.faults.write_error.fires(&mut self.rng) {
            self.count(DiskFault::WriteError);
            return Err(Failure::Faulty);
        }
        self.find_room(inode, offset + bytes.len())?;
        let landing = self.landing(inode, bytes.len());
        self.image
            .file_mut(inode)
            .ok_or(Failure::Missing)?
            .write(offset, bytes, landing);
        self.used.writes += 1;
        self.used.bytes_written += bytes.len() as u64;
        admitted
    }

    fn landing(&mut self, inode: Inode, length: usize) -> Landing {
        let DiskFaults {
            lost_write,
            misdirected_write,
            reach,
            ..
        } = self.faults;
        let rates = [lost_write, misdirected_write];
        if rates == [Rate::NEVER; 2] || !self.image.is_named(inode, |name| reach.covers(name)) {
            return Landing::Honest;
        }
        if lost_write.fires(&mut self.rng) {
            self.count(DiskFault::LostWrite);
            return Landing::Lost;
        }
        if misdirected_write.fires(&mut self.rng) {
            let sectors = self
                .image
                .file(inode)
                .map_or(0, |file| file.content().len() / SECTOR);
            let needed = length.div_ceil(SECTOR);
            if sectors > needed {
                self.count(DiskFault::MisdirectedWrite);
                return Landing::Misdirected(self.rng.random_range(0..=sectors - needed));
            }
        }
        Landing::Honest
    }

    /// Whether a file may end at `end`.
    fn find_room(&mut self, inode: Inode, end: usize) -> Result<(), Failure> {
        let Some(capacity) = self.capacity else {
            return Ok(());
        };
        let length = self
            .image
            .file(inode)
            .map_or(0, |file| file.content().len());
        let growth = end.saturating_sub(length) as u64;
        if growth > 0 && self.image.used() + growth > capacity {
            self.count(DiskFault::OutOfSpace);
            return Err(Failure::Full);
        }
        Ok(())
    }

    pub(super) fn resize(
        &mut self,
        generation: Generation,
        inode: Inode,
        length: usize,
    ) -> Result<(), Failure> {
        self.admit(generation, Operation::Write)?;
        if self.faults.write_error.fires(&mut self.rng) {
            self.count(DiskFault::WriteError);
            return Err(Failure::Faulty);
        }
        self.find_room(inode, length)?;
        self.image
            .file_mut(inode)
            .ok_or(Failure::Missing)?
            .resize(length);
        Ok(())
    }

    pub(super) fn sync(&mut self, generation: Generation, inode: Inode) -> Result<(), Failure> {
        self.admit(generation, Operation::Sync)?;
        self.used.syncs += 1;
        if self.faults.ignored_sync.fires(&mut self.rng) {
            self.count(DiskFault::IgnoredSync);
            return Ok(());
        }
        let fails = self.faults.sync_error.fires(&mut self.rng);
        let file = self.image.file_mut(inode).ok_or(Failure::Missing)?;
        if fails {
            file.sync_failed();
            self.count(DiskFault::SyncError);
            return Err(Failure::Faulty);
        }
        file.sync();
        Ok(())
    }

    pub(super) fn sync_directory(
        &mut self,
        generation: Generation,
        directory: &str,
    ) -> Result<(), Failure> {
        self.admit(generation, Operation::Sync)?;
        self.used.syncs += 1;
        if self.faults.ignored_sync.fires(&mut self.rng) {
            self.count(DiskFault::IgnoredSync);
            return Ok(());
        }
        if self.faults.sync_error.fires(&mut self.rng) {
            self.count(DiskFault::SyncError);
            return Err(Failure::Faulty);
        }
        self.image.sync_directory(directory);
        Ok(())
    }
}
