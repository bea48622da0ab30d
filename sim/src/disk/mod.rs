//! A disk that fails: the files of one simulated machine, and SQLite's way to them.
//!
//! # What survives
//!
//! A process sees what it wrote at once. What is *durable* is only what a sync has covered: bytes by a sync of their
//! file, names by a sync of their directory. When the power goes, everything else happened wholly, partly or not at all,
//! as [`CrashMode`] and the seed decide. That is what POSIX promises and what a program may build on; a real file system
//! is often kinder, and code that needs the kindness is wrong.
//!
//! Beyond that a disk can lie and break: [`DiskFaults`] names writes that are acknowledged and lost or land elsewhere,
//! wrong bits, failing reads, writes and syncs. After a sync that failed, what it should have made durable never will
//! be, though later syncs succeed: the kernel reports an error once and forgets the dirty pages.
//!
//! # The crash
//!
//! [`Disk::cut_power`] comes first and the node's tasks are dropped afterwards, so that no destructor writes; a *fuse*
//! cuts the power at exactly the n-th write, sync or rename from now, and the world, which is told of it, drops the node.
//! [`Disk::restart`] lets the unsynced changes survive or not and begins a new life. A handle from a former life, should one
//! of its tasks still run, is refused by every call, locks included.
//!
//! # Time
//!
//! Nothing here waits. Operations add up what they would have taken, and the runtime's blocking call asks
//! [`Disk::take_owed`] how long to sleep for what it ran.
//!
//! # Files
//!
//! `image` holds bytes and names with what undoes them; `state` the power, fuse, faults and counters that every
//! operation passes; `power` whether there is any, without a lock; `lock` SQLite's locks and shared memory; `handle` an open
//! file; `vfs` the C functions over it, the project's only unsafe code; `files` the small files beside the databases;
//! `faults` the vocabulary.

mod faults;
mod files;
mod handle;
mod image;
mod lock;
mod power;
mod state;
mod vfs;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use self::faults::{
    CrashMode, DiskFault, DiskFaults, DiskSpeed, Fired, Rate, Reach, Trouble, TroubleId,
};
pub use self::files::{FileLock, Mount};
pub use self::image::{Image, SECTOR};
pub use self::state::{DiskUse, WallClock};
pub(crate) use self::vfs::seed_sqlite;

use self::faults::Condition;
use self::power::Power;
use self::state::State;
use self::vfs::Registration;
use crate::outages::Outages;
use crate::seed::Seed;
use crate::sync::guard;

/// The disk of one simulated machine. Clones are the same disk.
#[derive(Clone)]
pub struct Disk {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    power: Arc<Power>,
    registration: Registration,
}

impl Disk {
    /// An empty disk without faults, whose every decision comes from `seed`.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        // SQLite's list of file systems belongs to the process, in which many simulations may run at once.
        static DISKS: AtomicU64 = AtomicU64::new(0);
        let name = format!("quorate-sim-{}", DISKS.fetch_add(1, Ordering::Relaxed));
        let state = State::new(seed);
        let inner = Arc::new_cyclic(|weak| Inner {
            power: Arc::clone(&state.power),
            state: Mutex::new(state),
            registration: Registration::new(&name, weak.clone()),
        });
        Self { inner }
    }

    /// What to tell SQLite when a database on this disk is opened. Good for as long as the disk lives.
    #[must_use]
    pub fn vfs(&self) -> &str {
        self.inner.registration.name()
    }

    /// The small files, for the present life of the node.
    #[must_use]
    pub fn mount(&self) -> Mount {
        Mount::new(Arc::clone(&self.inner))
    }

    /// Gives SQLite's `now` the clock of the node.
    pub fn set_clock(&self, clock: WallClock) {
        guard(&self.inner.state).clock = Some(clock);
    }

    /// Says where it is told when the power goes.
    pub(crate) fn set_outages(&self, outages: Outages) {
        self.inner.power.set_outages(outages);
    }

    /// Something goes wrong, beside what is wrong already.
    #[must_use]
    pub fn begin(&self, trouble: Trouble) -> TroubleId {
        guard(&self.inner.state).alter(|condition| condition.begin(trouble))
    }

    /// One trouble ends and no other. Nothing happens when a heal has ended it before.
    pub fn end(&self, trouble: TroubleId) {
        guard(&self.inner.state).alter(|condition| condition.end(trouble));
    }

    /// Switches the faults that happen by themselves, until a heal.
    pub fn set_faults(&self, faults: DiskFaults) {
        guard(&self.inner.state).alter(|condition| condition.faults = faults);
    }

    /// Sets how long operations take while nothing is wrong.
    pub fn set_speed(&self, speed: DiskSpeed) {
        guard(&self.inner.state).alter(|condition| condition.speed = speed);
    }

    /// How many bytes are stored.
    #[must_use]
    pub fn stored(&self) -> u64 {
        guard(&self.inner.state).image.used()
    }

    /// Sets how many bytes fit, until a heal, or that any number does.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        guard(&self.inner.state).alter(|condition| condition.capacity = bytes);
    }

    /// Lets the next operation take so much longer.
    pub fn stall(&self, time: Duration) {
        guard(&self.inner.state).stall += time;
    }

    /// Cuts the power at the write, sync or rename that follows `operations` others; `None` takes the fuse out.
    pub fn set_fuse(&self, operations: Option<u64>) {
        guard(&self.inner.state).fuse = operations;
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        guard(&self.inner.state).cut();
    }

    /// Whether the power is on.
    #[must_use]
    pub fn is_powered(&self) -> bool {
        self.inner.power.is_on()
    }

    /// Turns the power on again, after cutting it if it was on, over what survived in this mode.
    pub fn restart(&self, mode: CrashMode) {
        guard(&self.inner.state).crash(mode);
    }

    /// The process died and the machine did not: nothing written is lost, and only locks and handles are gone.
    pub fn end_process(&self) {
        let mut state = guard(&self.inner.state);
        if state.power.is_on() {
            state.image.close_all();
            state.begin_life();
        }
    }

    /// Erases everything, as a replaced disk. The node must not be running.
    pub fn wipe(&self) {
        let mut state = guard(&self.inner.state);
        state.image = Image::default();
        state.count(DiskFault::Wiped);
        state.begin_life();
    }

    /// What would survive if the power went now and nothing unsynced did.
    #[must_use]
    pub fn save(&self) -> Image {
        let mut image = guard(&self.inner.state).image.clone();
        // This mode draws no randomness: any generator does.
        image.crash(CrashMode::Nothing, &mut Seed::new(0).rng());
        image
    }

    /// Puts an older image back. The node must not be running.
    pub fn restore(&self, image: Image) {
        let mut state = guard(&self.inner.state);
        state.image = image;
        state.count(DiskFault::StaleImage);
        state.begin_life();
    }

    /// No fault happens by itself any more, there is room, and no fuse is lit. Speed is no fault and stays.
    pub fn heal(&self) {
        let mut state = guard(&self.inner.state);
        state.alter(Condition::heal);
        state.fuse = None;
        state.stall = Duration::ZERO;
    }

    /// The files that have content, in the order of their names.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let state = guard(&self.inner.state);
        let filled = state
            .image
            .contents()
            .filter(|(_, bytes)| !bytes.is_empty());
        filled.map(|(path, _)| path.to_owned()).collect()
    }

    /// Turns `bits` stored bits of a file, for good. Answers how many were turned.
    pub fn rot(&self, path: &str, bits: u32) -> u32 {
        let mut state = guard(&self.inner.state);
        let State { image, rng, .. } = &mut *state;
        let Some(file) = image.find(path).and_then(|inode| image.file_mut(inode)) else {
            return 0;
        };
        let turned = (0..bits).filter(|_| file.rot(rng).is_some()).count();
        for _ in 0..turned {
            state.count(DiskFault::BitRot);
        }
        u32::try_from(turned).expect("no more than were asked for")
    }

    /// The time that operations took since this was last asked.
    #[must_use]
    pub fn take_owed(&self) -> Duration {
        std::mem::take(&mut guard(&self.inner.state).owed)
    }

    /// The same, if it is at least `least`; a shorter time stays on the account.
    #[must_use]
    pub fn take_owed_from(&self, least: Duration) -> Option<Duration> {
        let mut state = guard(&self.inner.state);
        (state.owed >= least).then(|| std::mem::take(&mut state.owed))
    }

    /// How often each fault fired.
    #[must_use]
    pub fn fired(&self) -> Fired {
        guard(&self.inner.state).fired.clone()
    }

    /// How much the disk was used.
    #[must_use]
    pub fn used(&self) -> DiskUse {
        guard(&self.inner.state).used
    }

    /// A digest of every name and of the bytes that the process sees behind it.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let state = guard(&self.inner.state);
        let mut hash = crate::trace::Digest::new();
        for (path, content) in state.image.contents() {
            hash.update(path.as_bytes());
            hash.update(content);
        }
        hash.value()
    }
}
