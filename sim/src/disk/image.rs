//! What is on a disk: the bytes that the running process sees, and how to get back to those that would survive.
//!
//! One copy of every file is kept, the volatile one. Beside it stands, for each change since the file's last sync, what
//! the change overwrote. A sync forgets that list; a crash walks it backwards to the durable content and then lets some
//! of the changes happen after all. Syncs are many and crashes are few, so the cheap side is the right one.
//!
//! Names are kept the same way: a file may be synced while its entry in the directory is not, and is then lost whole.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::rngs::SmallRng;

use super::faults::CrashMode;

/// The unit that a device writes whole or not at all, unless it tears.
pub const SECTOR: usize = 512;

/// A file's identity, which outlives its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inode(u64);

/// A change that no sync has covered yet, with what undoes it.
#[derive(Debug, Clone)]
enum Change {
    /// `length` bytes were written at `offset`; `before` is what stood there, shorter where the file ended. Once a sync
    /// covers it, the device holds what the process sees in the `healed` sectors too.
    Write {
        offset: usize,
        length: usize,
        before: Vec<u8>,
        length_before: usize,
        healed: Latent,
    },
    /// The file was cut or grown; `cut` is what was lost, and `healed` what the device held otherwise.
    Resize {
        length_before: usize,
        cut: Vec<u8>,
        healed: Latent,
    },
}

/// Sectors, by number, as the device holds them otherwise than the process believes.
type Latent = BTreeMap<usize, Vec<u8>>;

/// A change as it has to be made again when the crash decides that it happened.
#[derive(Debug)]
enum Redo {
    Write {
        offset: usize,
        bytes: Vec<u8>,
        heals: BTreeSet<usize>,
    },
    Resize {
        length: usize,
    },
}

/// One file.
#[derive(Debug, Clone, Default)]
pub(super) struct FileImage {
    /// What the running process sees.
    content: Vec<u8>,
    /// What happened since the last sync, oldest first.
    pending: Vec<Change>,
    /// What was lost, misdirected or never written by a sync that failed. The cache hides it until the power goes.
    latent: Latent,
    /// Open handles. A file without a name lives as long as one is open.
    pub(super) open: u32,
}

/// What a write does on the device, beside what the process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landing {
    /// Where it should.
    Honest,
    /// Nowhere, though the device says otherwise.
    Lost,
    /// At this sector instead.
    Misdirected(usize),
}

impl FileImage {
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    /// Writes as the process sees it, and remembers how to undo it and where it really went.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8], landing: Landing) {
        let healed = self.note_landing(offset, bytes, landing);
        let length_before = self.content.len();
        let end = (offset + bytes.len()).min(length_before);
        let before = self.content.get(offset..end).unwrap_or_default().to_vec();
        self.pending.push(Change::Write {
            offset,
            length: bytes.len(),
            before,
            length_before,
            healed,
        });
        put(&mut self.content, offset, bytes);
    }

    /// Cuts or grows the file.
    pub(super) fn resize(&mut self, length: usize) {
        let length_before = self.content.len();
        let cut = self.content.get(length..).unwrap_or_default().to_vec();
        let healed = self.latent.split_off(&length.div_ceil(SECTOR));
        self.pending.push(Change::Resize {
            length_before,
            cut,
            healed,
        });
        self.content.resize(length, 0);
    }

    /// Makes everything so far durable, but for what the device only pretends to hold.
    pub(super) fn sync(&mut self) {
        self.pending.clear();
    }

    /// A sync that failed: the kernel drops the dirty pages and reports the error once. The process still sees what it
    /// wrote, a later sync succeeds, and the bytes are not there after a crash.
    pub(super) fn sync_failed(&mut self) {
        let touched = self
            .pending
            .iter()
            .filter_map(Change::sectors)
            .flatten()
            .collect::<Vec<_>>();
        let mut durable = self.clone();
        durable.rewind();
        self.pending.clear();
        for sector in touched {
            let held = durable.latent.remove(&sector);
            self.latent
                .entry(sector)
                .or_insert_with(|| held.unwrap_or_else(|| sector_of(&durable.content, sector)));
        }
    }

    /// Turns one bit of what is stored, for good. `None` when there is nothing to rot.
    pub(super) fn rot(&mut self, rng: &mut SmallRng) -> Option<usize> {
        let at = (!self.content.is_empty()).then(|| rng.random_range(0..self.content.len()))?;
        self.content[at] ^= 1 << rng.random_range(0..8);
        Some(at)
    }

    /// The power went: what was not synced happened wholly, partly or not at all. Answers how many changes were lost
    /// and how many sectors torn.
    fn crash(&mut self, mode: CrashMode, rng: &mut SmallRng) -> Casualties {
        let redo = self.rewind();
        let mut casualties = Casualties::default();
        let survivors = match mode {
            CrashMode::Nothing => 0,
            CrashMode::Prefix => rng.random_range(0..=redo.len()),
            CrashMode::Sectors | CrashMode::Torn => redo.len(),
        };
        casualties.lost += redo.len() - survivors;
        for change in redo.into_iter().take(survivors) {
            match (mode, change) {
                (
                    CrashMode::Sectors | CrashMode::Torn,
                    Redo::Write {
                        offset,
                        bytes,
                        heals,
                    },
                ) => {
                    let written = (offset, &bytes[..], &heals);
                    self.write_some_sectors(written, mode, rng, &mut casualties);
                }
                (CrashMode::Sectors | CrashMode::Torn, Redo::Resize { .. })
                    if rng.random_bool(0.5) =>
                {
                    casualties.lost += 1;
                }
                (
                    _,
                    Redo::Write {
                        offset,
                        bytes,
                        heals,
                    },
                ) => {
                    self.latent.retain(|sector, _| !heals.contains(sector));
                    put(&mut self.content, offset, &bytes);
                }
                (_, Redo::Resize { length }) => {
                    self.latent.split_off(&length.div_ceil(SECTOR));
                    self.content.resize(length, 0);
                }
            }
        }
        self.surface_latent();
        casualties
    }

    /// Back to the durable content; answers what was undone, oldest first.
    fn rewind(&mut self) -> Vec<Redo> {
        let mut redo = Vec::with_capacity(self.pending.len());
        for change in self.pending.drain(..).rev() {
            match change {
                Change::Write {
                    offset,
                    length,
                    before,
                    length_before,
                    healed,
                } => {
                    redo.push(Redo::Write {
                        offset,
                        bytes: self.content[offset..offset + length].to_vec(),
                        heals: healed.keys().copied().collect(),
                    });
                    self.latent.extend(healed);
                    put(&mut self.content, offset, &before);
                    self.content.truncate(length_before);
                }
                Change::Resize {
                    length_before,
                    cut,
                    healed,
                } => {
                    self.latent.extend(healed);
                    redo.push(Redo::Resize {
                        length: self.content.len(),
                    });
                    self.content.truncate(length_before);
                    self.content.extend_from_slice(&cut);
                    self.content.resize(length_before, 0);
                }
            }
        }
        redo.reverse();
        redo
    }

    /// Every sector of a write reached the medium or did not, each for itself; a torn one only with its first bytes.
    fn write_some_sectors(
        &mut self,
        (offset, bytes, heals): (usize, &[u8], &BTreeSet<usize>),
        mode: CrashMode,
        rng: &mut SmallRng,
        casualties: &mut Casualties,
    ) {
        let mut from = 0;
        while from < bytes.len() {
            let at = offset + from;
            let length = (SECTOR - at % SECTOR).min(bytes.len() - from);
            if rng.random_bool(0.5) {
                let torn = mode == CrashMode::Torn && rng.random_bool(0.2);
                let kept = if torn {
                    rng.random_range(0..length)
                } else {
                    length
                };
                casualties.torn += usize::from(torn);
                let sector = at / SECTOR;
                match self.latent.get_mut(&sector) {
                    // The rest of it stays as the device holds it.
                    Some(held) if torn => put(held, at % SECTOR, &bytes[from..from + kept]),
                    Some(_) if heals.contains(&sector) => drop(self.latent.remove(&sector)),
                    _ => {}
                }
                put(&mut self.content, at, &bytes[from..from + kept]);
            } else {
                casualties.lost += 1;
            }
            from += length;
        }
    }

    /// What the cache hid comes to light.
    fn surface_latent(&mut self) {
        for (sector, bytes) in std::mem::take(&mut self.latent) {
            let start = sector * SECTOR;
            let end = (start + bytes.len()).min(self.content.len());
            if start < end {
                self.content[start..end].copy_from_slice(&bytes[..end - start]);
            }
        }
    }

    /// Notes which sectors the device will hold otherwise. An honest write heals the sectors it covers, which are answered:
    /// the cache writes them whole.
    fn note_landing(&mut self, offset: usize, bytes: &[u8], landing: Landing) -> Latent {
        let sectors = sectors_of(offset, bytes.len());
        if landing == Landing::Honest {
            if self.latent.is_empty() {
                return Latent::new();
            }
            let heal = |sector| Some((sector, self.latent.remove(&sector)?));
            return sectors.filter_map(heal).collect();
        }
        for sector in sectors {
            let old = sector_of(&self.content, sector);
            self.latent.entry(sector).or_insert(old);
        }
        if let Landing::Misdirected(target) = landing {
            for (index, chunk) in bytes.chunks(SECTOR).enumerate() {
                let mut sector = sector_of(&self.content, target + index);
                sector[..chunk.len()].copy_from_slice(chunk);
                self.latent.insert(target + index, sector);
            }
        }
        Latent::new()
    }
}

impl Change {
    /// The sectors that a write touched.
    fn sectors(&self) -> Option<std::ops::RangeInclusive<usize>> {
        match self {
            Self::Write { offset, length, .. } => Some(sectors_of(*offset, *length)),
            Self::Resize { .. } => None,
        }
    }
}

fn sectors_of(offset: usize, length: usize) -> std::ops::RangeInclusive<usize> {
    offset / SECTOR..=(offset + length.max(1) - 1) / SECTOR
}

/// One sector's bytes, zero where the file has ended.
fn sector_of(content: &[u8], sector: usize) -> Vec<u8> {
    let start = (sector * SECTOR).min(content.len());
    let mut bytes = content[start..(start + SECTOR).min(content.len())].to_vec();
    bytes.resize(SECTOR, 0);
    bytes
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// What a crash did to the unsynced changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Casualties {
    /// Changes, or sectors of them, that are gone.
    pub(super) lost: usize,
    /// Sectors of which only the first bytes arrived.
    pub(super) torn: usize,
    /// Entries of directories that are as they were before.
    pub(super) names: usize,
}

/// A change to a directory that no sync of the directory has covered yet.
#[derive(Debug, Clone)]
enum NameChange {
    Created {
        path: String,
        inode: Inode,
    },
    Removed {
        path: String,
    },
    Renamed {
        from: String,
        to: String,
        inode: Inode,
    },
}

impl NameChange {
    fn path(&self) -> &str {
        match self {
            Self::Created { path, .. }
            | Self::Removed { path }
            | Self::Renamed { to: path, .. } => path,
        }
    }

    fn make(self, names: &mut BTreeMap<String, Inode>) {
        match self {
            Self::Created { path, inode } => drop(names.insert(path, inode)),
            Self::Removed { path } => drop(names.remove(&path)),
            Self::Renamed { from, to, inode } => {
                names.remove(&from);
                names.insert(to, inode);
            }
        }
    }
}

/// All files of one disk, by name and by identity. Can be saved and put back: that is what a restored virtual machine
/// or a disk cloned from a backup looks like to the node.
#[derive(Debug, Clone, Default)]
pub struct Image {
    files: BTreeMap<Inode, FileImage>,
    names: BTreeMap<String, Inode>,
    durable_names: BTreeMap<String, Inode>,
    name_changes: Vec<NameChange>,
    /// Directories, durable from the moment they are made: nodes make theirs once, before anything is promised.
    directories: BTreeSet<String>,
    next_inode: u64,
}

impl Image {
    pub(super) fn find(&self, path: &str) -> Option<Inode> {
        self.names.get(path).copied()
    }

    pub(super) fn file(&self, inode: Inode) -> Option<&FileImage> {
        self.files.get(&inode)
    }

    /// Whether a name that it has is one of these.
    pub(super) fn is_named(&self, inode: Inode, wanted: impl Fn(&str) -> bool) -> bool {
        let mut names = self.names.iter();
        names.any(|(name, named)| *named == inode && wanted(name))
    }

    pub(super) fn file_mut(&mut self, inode: Inode) -> Option<&mut FileImage> {
        self.files.get_mut(&inode)
    }

    pub(super) fn create(&mut self, path: &str) -> Inode {
        let inode = Inode(self.next_inode);
        self.next_inode += 1;
        self.files.insert(inode, FileImage::default());
        self.change_name(NameChange::Created {
            path: path.to_owned(),
            inode,
        });
        inode
    }

    pub(super) fn remove(&mut self, path: &str) {
        self.change_name(NameChange::Removed {
            path: path.to_owned(),
        });
        self.collect();
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(inode) = self.find(from) {
            self.change_name(NameChange::Renamed {
                from: from.to_owned(),
                to: to.to_owned(),
                inode,
            });
            self.collect();
        }
    }

    fn change_name(&mut self, change: NameChange) {
        change.clone().make(&mut self.names);
        self.name_changes.push(change);
    }

    /// Makes the entries of one directory durable.
    pub(super) fn sync_directory(&mut self, directory: &str) {
        for change in std::mem::take(&mut self.name_changes) {
            if directory_of(change.path()) == directory {
                change.make(&mut self.durable_names);
            } else {
                self.name_changes.push(change);
            }
        }
        self.collect();
    }

    /// Makes a directory and those above it.
    pub(super) fn create_directory(&mut self, directory: &str) {
        let mut directory = directory;
        while !directory.is_empty() {
            self.directories.insert(directory.to_owned());
            directory = directory_of(directory);
        }
    }

    /// Removes a directory; false when it is missing or holds something.
    pub(super) fn remove_directory(&mut self, directory: &str) -> bool {
        self.list(directory).is_empty() && self.directories.remove(directory)
    }

    /// Whether there is such a directory; the root always is.
    pub(super) fn has_directory(&self, directory: &str) -> bool {
        directory.is_empty() || self.directories.contains(directory)
    }

    /// What is in a directory, by name.
    pub(super) fn list(&self, directory: &str) -> Vec<String> {
        let paths = self.names.keys().chain(&self.directories);
        let inside = paths.filter(|path| directory_of(path) == directory);
        let names =
            inside.map(|path| path[path.rfind('/').map_or(0, |slash| slash + 1)..].to_owned());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Every file's name and what the process sees in it.
    pub(super) fn contents(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.names
            .iter()
            .map(|(path, inode)| (path.as_str(), self.files[inode].content()))
    }

    pub(super) fn used(&self) -> u64 {
        self.files
            .values()
            .map(|file| file.content.len() as u64)
            .sum()
    }

    /// The power went, over all files and directories.
    /// Nobody has a file open any more, and what only an open file kept is gone.
    pub(super) fn close_all(&mut self) {
        for file in self.files.values_mut() {
            file.open = 0;
        }
        self.collect();
    }

    pub(super) fn crash(&mut self, mode: CrashMode, rng: &mut SmallRng) -> Casualties {
        let mut casualties = Casualties::default();
        for file in self.files.values_mut() {
            let of_file = file.crash(mode, rng);
            casualties.lost += of_file.lost;
            casualties.torn += of_file.torn;
            file.open = 0;
        }
        let changes = std::mem::take(&mut self.name_changes);
        // A journalling file system keeps directory operations in order: some prefix of them happened.
        let survivors = match mode {
            CrashMode::Nothing => 0,
            CrashMode::Prefix | CrashMode::Sectors | CrashMode::Torn => {
                rng.random_range(0..=changes.len())
            }
        };
        casualties.names = changes.len() - survivors;
        for change in changes.into_iter().take(survivors) {
            change.make(&mut self.durable_names);
        }
        self.names = self.durable_names.clone();
        self.collect();
        casualties
    }

    /// Frees the files that nothing can reach any more.
    fn collect(&mut self) {
        let named = |names: &BTreeMap<String, Inode>, inode: &Inode| {
            names.values().any(|named| named == inode)
        };
        let (names, durable, changes) = (&self.names, &self.durable_names, &self.name_changes);
        let awaited = |inode: &Inode| {
            changes.iter().any(|change| {
                matches!(change, NameChange::Created { inode: other, .. } | NameChange::Renamed { inode: other, .. } if other == inode)
            })
        };
        self.files.retain(|inode, file| {
            file.open > 0 || named(names, inode) || named(durable, inode) || awaited(inode)
        });
    }
}

/// The directory that a path is in: all before the last slash.
pub(super) fn directory_of(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..slash])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn file(bytes: &[u8]) -> FileImage {
        let mut file = FileImage::default();
        file.write(0, bytes, Landing::Honest);
        file.sync();
        file
    }

    #[test]
    fn crash_that_keeps_nothing_returns_to_the_last_sync_through_overlaps_and_cuts() {
        let mut file = file(b"durable content");
        file.write(4, b"XXXXXXXXXXXXXXXXXXXXXXXX", Landing::Honest);
        file.resize(6);
        file.write(20, b"far", Landing::Honest);
        file.resize(40);
        file.write(0, b"YY", Landing::Honest);
        assert_ne!(file.content(), b"durable content");
        file.crash(CrashMode::Nothing, &mut Seed::new(1).rng());
        assert_eq!(file.content(), b"durable content");
    }

    #[test]
    fn prefix_is_always_some_moment_of_the_past() {
        let mut moments = Vec::new();
        let mut file = file(b"start");
        moments.push(file.content().to_vec());
        for step in 0..6_usize {
            file.write(
                step * 3,
                &[b'a' + u8::try_from(step).unwrap(); 5],
                Landing::Honest,
            );
            moments.push(file.content().to_vec());
        }
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let mut crashed = file.clone();
            crashed.crash(CrashMode::Prefix, &mut Seed::new(seed).rng());
            seen.insert(
                moments
                    .iter()
                    .position(|moment| moment == crashed.content())
                    .unwrap(),
            );
        }
        assert_eq!(seen.len(), moments.len(), "every moment is reachable");
    }

    #[test]
    fn sectors_survive_each_for_itself_and_only_torn_mode_cuts_one() {
        let mut file = file(&[0; 4 * SECTOR]);
        file.write(0, &[7; 4 * SECTOR], Landing::Honest);
        let (mut mixed, mut torn) = (false, false);
        for seed in 0..100 {
            for mode in [CrashMode::Sectors, CrashMode::Torn] {
                let mut crashed = file.clone();
                let casualties = crashed.crash(mode, &mut Seed::new(seed).rng());
                let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
                let cut = crashed
                    .content()
                    .chunks(SECTOR)
                    .any(|sector| !whole(sector));
                assert!(
                    !cut || mode == CrashMode::Torn,
                    "sectors are whole unless torn"
                );
                torn |= cut && casualties.torn > 0;
                mixed |= crashed.content().first() != crashed.content().last();
            }
        }
        assert!(mixed && torn);
    }

    #[test]
    fn lost_write_is_seen_until_the_crash_and_healed_by_the_next_write() {
        let mut lost = file(&[1; SECTOR]);
        lost.write(0, &[2; SECTOR], Landing::Lost);
        lost.sync();
        assert_eq!(lost.content(), [2; SECTOR]);
        let mut healed = lost.clone();
        healed.write(0, &[3; SECTOR], Landing::Honest);
        healed.sync();
        for (mut file, expected) in [(lost, 1), (healed, 3)] {
            file.crash(CrashMode::Nothing, &mut Seed::new(1).rng());
            assert_eq!(file.content(), [expected; SECTOR]);
        }
    }

    #[test]
    fn misdirected_write_leaves_the_old_bytes_and_spoils_others() {
        let mut file = file(&[1; 3 * SECTOR]);
        file.write(0, &[2; SECTOR], Landing::Misdirected(2));
        file.sync();
        file.crash(CrashMode::Nothing, &mut Seed::new(1).rng());
        let sectors: Vec<u8> = file
            .content()
            .chunks(SECTOR)
            .map(|sector| sector[9])
            .collect();
        assert_eq!(sectors, [1, 1, 2]);
    }

    #[test]
    fn failed_sync_is_not_made_good_by_the_next_one() {
        let mut file = file(&[1; SECTOR]);
        file.write(0, &[2; SECTOR], Landing::Honest);
        file.sync_failed();
        file.sync();
        assert_eq!(file.content(), [2; SECTOR]);
        file.crash(CrashMode::Nothing, &mut Seed::new(1).rng());
        assert_eq!(file.content(), [1; SECTOR]);
    }

    #[test]
    fn write_heals_a_failed_sync_only_once_it_is_synced() {
        let mut file = file(&[1; 2 * SECTOR]);
        file.write(0, &[2; 2 * SECTOR], Landing::Honest);
        file.sync_failed();
        file.write(0, &[2; 2 * SECTOR], Landing::Honest);
        let mut failed_again = file.clone();
        failed_again.sync_failed();
        for mut unsynced in [file.clone(), failed_again] {
            unsynced.crash(CrashMode::Nothing, &mut Seed::new(1).rng());
            assert_eq!(unsynced.content(), [1; 2 * SECTOR]);
        }
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            for mode in CrashMode::ALL {
                let mut crashed = file.clone();
                crashed.crash(mode, &mut Seed::new(seed).rng());
                let sectors: Vec<&[u8]> = crashed.content().chunks(SECTOR).collect();
                let new = |sector: &[u8]| sector.iter().filter(|byte| **byte == 2).count();
                assert!(
                    sectors
                        .iter()
                        .all(|sector| sector.is_sorted_by(|a, b| a >= b))
                );
                seen.insert(match (new(sectors[0]), new(sectors[1])) {
                    (0, 0) => "none",
                    (SECTOR, SECTOR) => "both",
                    (0, SECTOR) | (SECTOR, 0) => "one",
                    _ => "torn",
                });
            }
        }
        assert_eq!(seen.len(), 4, "{seen:?}");
        file.sync();
        file.crash(CrashMode::Nothing, &mut Seed::new(1).rng());
        assert_eq!(file.content(), [2; 2 * SECTOR]);
    }

    #[test]
    fn name_is_durable_only_when_its_directory_is_synced() {
        let mut image = Image::default();
        image.create_directory("data");
        let inode = image.create("data/a");
        image
            .file_mut(inode)
            .unwrap()
            .write(0, b"a", Landing::Honest);
        image.file_mut(inode).unwrap().sync();
        let mut lost = image.clone();
        lost.crash(CrashMode::Nothing, &mut Seed::new(1).rng());
        assert!(lost.list("data").is_empty());
        image.sync_directory("data");
        image.rename("data/a", "data/b");
        image.crash(CrashMode::Nothing, &mut Seed::new(1).rng());
        assert_eq!(image.list("data"), ["a"]);
        assert_eq!(image.contents().next(), Some(("data/a", &b"a"[..])));
    }
}
