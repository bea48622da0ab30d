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
    fn rate_fires_about_as_often_as_it_says() {
        let mut rng = Seed::new(3).rng();
        let fired = (0..100_000)
            .filter(|_| Rate::per_million(50_000).fires(&mut rng))
            .count();
        assert!((4_500..5_500).contains(&fired), "{fired} of 100000 at 5 %");
        assert!(!Rate::NEVER.fires(&mut rng) && Rate::ALWAYS.fires(&mut rng));
    }
}
