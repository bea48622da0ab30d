//! What a disk can do wrong, how often, and how often it did.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

/// What remains, after the power went, of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrashMode {
    /// None of it: the kindest disk to a missing sync, and the one on which every missing sync shows.
    Nothing,
    /// The changes of each file up to some moment.
    Prefix,
    /// Each sector for itself, in no order: a drive that reorders its cache.
    Sectors,
    /// As `Sectors`, and of some sectors only the first bytes.
    Torn,
}

impl CrashMode {
    /// Every mode, for a seed to choose from.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Prefix, Self::Sectors, Self::Torn];

    /// One of the modes.
    #[must_use]
    pub fn random(rng: &mut SmallRng) -> Self {
        Self::ALL[rng.random_range(0..Self::ALL.len())]
    }
}

/// How often something happens, in parts per million of its occasions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Rate(u32);

impl Rate {
    /// It does not happen, and draws no randomness.
    pub const NEVER: Self = Self(0);
    /// It happens each time.
    pub const ALWAYS: Self = Self(1_000_000);

    /// So many times in a million.
    #[must_use]
    pub const fn per_million(parts: u32) -> Self {
        Self(parts)
    }

    /// Whether it happens this time.
    pub fn fires(self, rng: &mut SmallRng) -> bool {
        self.0 > 0 && rng.random_range(0..1_000_000) < self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ppm", self.0)
    }
}

/// Which files writes are lost in, or land elsewhere in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// The write-ahead logs of databases. Their frames are chained, so that whoever reads one sees what is missing.
    WriteAheadLogs,
    /// Any. A page of a database that was not written is what it was before, and nothing in it says that it is old.
    AllFiles,
}

impl Reach {
    /// Whether a file is among them.
    pub(super) fn covers(self, path: &str) -> bool {
        self == Self::AllFiles || path.ends_with("-wal")
    }
}

/// How often each operation of a disk goes wrong by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFaults {
    /// A read answers an input/output error.
    pub read_error: Rate,
    /// A write answers an input/output error, and nothing is written.
    pub write_error: Rate,
    /// A sync answers an input/output error; what it should have made durable never will be, whatever later syncs say.
    pub sync_error: Rate,
    /// A sync answers success and makes nothing durable: a drive that ignores the flush. No node survives that; it shows
    /// whether the oracle at the store can see.
    pub ignored_sync: Rate,
    /// A read answers one wrong bit; the stored bytes are right and the next read sees them.
    pub read_flip: Rate,
    /// A write is acknowledged and never reaches the medium.
    pub lost_write: Rate,
    /// A write reaches the medium in the wrong place.
    pub misdirected_write: Rate,
    /// Where the last two happen.
    pub reach: Reach,
}

impl DiskFaults {
    /// A disk that only forgets what was not synced, which is every disk.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            read_error: Rate::NEVER,
            write_error: Rate::NEVER,
            sync_error: Rate::NEVER,
            ignored_sync: Rate::NEVER,
            read_flip: Rate::NEVER,
            lost_write: Rate::NEVER,
            misdirected_write: Rate::NEVER,
            reach: Reach::WriteAheadLogs,
        }
    }

    /// Everything as often as in the worse of two.
    fn worst(one: Self, other: Self) -> Self {
        Self {
            read_error: one.read_error.max(other.read_error),
            write_error: one.write_error.max(other.write_error),
            sync_error: one.sync_error.max(other.sync_error),
            ignored_sync: one.ignored_sync.max(other.ignored_sync),
            read_flip: one.read_flip.max(other.read_flip),
            lost_write: one.lost_write.max(other.lost_write),
            misdirected_write: one.misdirected_write.max(other.misdirected_write),
            reach: one.reach.max(other.reach),
        }
    }
}

/// How long a disk takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpeed {
    /// For each read.
    pub read: Duration,
    /// For each write.
    pub write: Duration,
    /// For each sync.
    pub sync: Duration,
    /// A sync takes up to so many thousandths longer, drawn each time.
    pub jitter_permille: u32,
}

impl DiskSpeed {
    /// Everything at once: for tests that are not about time.
    #[must_use]
    pub const fn instant() -> Self {
        Self {
            read: Duration::ZERO,
            write: Duration::ZERO,
            sync: Duration::ZERO,
            jitter_permille: 0,
        }
    }

    /// A disk whose sync takes this long and whose reads and writes are those of a cache.
    #[must_use]
    pub const fn syncing_in(sync: Duration) -> Self {
        Self {
            read: Duration::from_micros(1),
            write: Duration::from_micros(4),
            sync,
            jitter_permille: 300,
        }
    }

    /// The same disk, `factor` times slower.
    #[must_use]
    pub fn slower(self, factor: u32) -> Self {
        Self {
            read: self.read * factor,
            write: self.write * factor,
            sync: self.sync * factor,
            ..self
        }
    }

    /// Everything as slow as on the slower of two.
    fn slowest(one: Self, other: Self) -> Self {
        Self {
            read: one.read.max(other.read),
            write: one.write.max(other.write),
            sync: one.sync.max(other.sync),
            jitter_permille: one.jitter_permille.max(other.jitter_permille),
        }
    }
}

/// What may be wrong with a disk for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing is quicker than this.
    Slow(DiskSpeed),
    /// No more than so many bytes fit.
    Full(u64),
    /// Operations go wrong at least as often as this.
    Errors(DiskFaults),
}

/// A trouble that began, to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TroubleId(u64);

impl TroubleId {
    /// The trouble of this number; a world gives each of a disk's troubles another one.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// How a disk is: by itself, and with what is wrong for a while. Several troubles make it as bad as the worst of them, and
/// each ends by itself.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) speed: DiskSpeed,
    pub(super) capacity: Option<u64>,
    pub(super) faults: DiskFaults,
    troubles: BTreeMap<TroubleId, Trouble>,
    begun: u64,
}

impl Condition {
    pub(super) fn good() -> Self {
        Self {
            speed: DiskSpeed::instant(),
            capacity: None,
            faults: DiskFaults::none(),
            troubles: BTreeMap::new(),
            begun: 0,
        }
    }

    pub(super) fn begin(&mut self, trouble: Trouble) -> TroubleId {
        self.begun += 1;
        self.troubles.insert(TroubleId(self.begun), trouble);
        TroubleId(self.begun)
    }

    pub(super) fn end(&mut self, id: TroubleId) {
        self.troubles.remove(&id);
    }

    /// Speed is no fault and stays.
    pub(super) fn heal(&mut self) {
        self.troubles.clear();
        self.capacity = None;
        self.faults = DiskFaults::none();
    }

    /// With everything that is wrong now.
    pub(super) fn present(&self) -> (DiskSpeed, Option<u64>, DiskFaults) {
        type Present = (DiskSpeed, Option<u64>, DiskFaults);
        let start = (self.speed, self.capacity, self.faults);
        let worse = |(speed, capacity, faults): Present, trouble: &Trouble| match trouble {
            Trouble::Slow(slow) => (DiskSpeed::slowest(speed, *slow), capacity, faults),
            Trouble::Full(most) => {
                let least = capacity.map_or(*most, |bytes| bytes.min(*most));
                (speed, Some(least), faults)
            }
            Trouble::Errors(more) => (speed, capacity, DiskFaults::worst(faults, *more)),
        };
        self.troubles.values().fold(start, worse)
    }
}

/// A fault that a disk has really had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskFault {
    /// The power went.
    PowerCut,
    /// It went at the write or sync that the fuse was set to.
    FuseBlown,
    /// A crash lost something that was not synced.
    UnsyncedLost,
    /// A crash left a sector of which only the first bytes are new.
    SectorTorn,
    /// A crash undid a change to a directory.
    NameLost,
    /// A read failed.
    ReadError,
    /// A write failed.
    WriteError,
    /// A sync failed.
    SyncError,
    /// A sync did nothing and said nothing.
    IgnoredSync,
    /// A write found no room.
    OutOfSpace,
    /// A read answered a wrong bit.
    ReadFlip,
    /// A stored bit changed.
    BitRot,
    /// A write was acknowledged and dropped.
    LostWrite,
    /// A write landed elsewhere.
    MisdirectedWrite,
    /// An operation waited for a disk that had stalled.
    Stall,
    /// An operation took longer than the disk takes by itself.
    Slowed,
    /// Everything was erased.
    Wiped,
    /// An older image was put back.
    StaleImage,
}

impl DiskFault {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PowerCut => "disk-power-cut",
            Self::FuseBlown => "disk-fuse-blown",
            Self::UnsyncedLost => "disk-unsynced-lost",
            Self::SectorTorn => "disk-sector-torn",
            Self::NameLost => "disk-name-lost",
            Self::ReadError => "disk-read-error",
            Self::WriteError => "disk-write-error",
            Self::SyncError => "disk-sync-error",
            Self::IgnoredSync => "disk-ignored-sync",
            Self::OutOfSpace => "disk-out-of-space",
            Self::ReadFlip => "disk-read-flip",
            Self::BitRot => "disk-bit-rot",
            Self::LostWrite => "disk-lost-write",
            Self::MisdirectedWrite => "disk-misdirected-write",
            Self::Stall => "disk-stall",
            Self::Slowed => "disk-slowed",
            Self::Wiped => "disk-wiped",
            Self::StaleImage => "disk-stale-image",
        }
    }
}

/// How often each fault fired. A run whose faults never fired has proved nothing.
pub type Fired = BTreeMap<DiskFault, u64>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn trouble_that_ends_ends_no_other_and_leaves_the_own_speed() {
        let millis = |millis| DiskSpeed::syncing_in(Duration::from_millis(millis));
        let sync = |condition: &Condition| condition.present().0.sync.as_millis();
        let mut disk = Condition::good();
        disk.speed = millis(2);
        let first = disk.begin(Trouble::Slow(millis(90)));
        let second = disk.begin(Trouble::Slow(millis(40)));
        let full = disk.begin(Trouble::Full(500));
        let failing = DiskFaults {
            sync_error: Rate::ALWAYS,
            ..DiskFaults::none()
        };
        let errors = disk.begin(Trouble::Errors(failing));
        assert_eq!(sync(&disk), 90);
        disk.end(first);
        assert_eq!(sync(&disk), 40);
        disk.end(second);
        assert_eq!(disk.present(), (millis(2), Some(500), failing));
        disk.end(errors);
        assert_eq!(disk.present(), (millis(2), Some(500), DiskFaults::none()));
        let _ = disk.begin(Trouble::Full(800));
        assert_eq!(disk.present().1, Some(500));
        disk.end(full);
        assert_eq!(disk.present().1, Some(800));
        disk.heal();
        assert_eq!(disk.present(), (millis(2), None, DiskFaults::none()));
    }

    #[test]
    fn rate_fires_about_as_often_as_it_says() {
        let mut rng = Seed::new(3).rng();
        let fired = (0..100_000)
            .filter(|_| Rate::per_million(50_000).fires(&mut rng))
            .count();
        assert!((4_500..5_500).contains(&fired), "{fired} of 100000 at 5 %");
        assert!(!Rate::NEVER.fires(&mut rng) && Rate::ALWAYS.fires(&mut rng));
    }
}
