//! An open file, as SQLite holds one: everything that the VFS does, without a pointer in sight.

use std::sync::Arc;

use super::Inner;
use super::image::{Inode, directory_of};
use super::lock::{LockLevel, Regions, SLOTS, SlotsHeld, region};
use super::state::{Failure, Generation, Operation, State};
use crate::sync::guard;

/// How a file is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenMode {
    /// Made if it is not there.
    pub(super) create: bool,
    /// Removed when it is closed.
    pub(super) temporary: bool,
    /// A journal or WAL: when it is new, its first sync also makes its name durable. SQLite relies on that, and the
    /// database's own name is made durable by nothing else.
    pub(super) sync_name: bool,
}

/// An open file of one life of the node.
pub(super) struct Handle {
    disk: Arc<Inner>,
    generation: Generation,
    inode: Inode,
    path: String,
    mode: OpenMode,
    name_unsynced: bool,
    lock: LockLevel,
    slots: SlotsHeld,
    /// Keeps the shared memory alive for as long as SQLite may touch it, whatever happened to the node.
    mapped: Option<Regions>,
}

impl Handle {
    pub(super) fn open(
        disk: Arc<Inner>,
        path: Option<&str>,
        mode: OpenMode,
    ) -> Result<Self, Failure> {
        let mut guarded = guard(&disk.state);
        let state = &mut *guarded;
        let generation = state.generation;
        state.admit(generation, Operation::Control)?;
        let path = path.map_or_else(
            || format!("temporary-{}", state.take_token()),
            str::to_owned,
        );
        let existing = state.image.find(&path);
        let inode = match existing {
            Some(inode) => inode,
            None if mode.create && state.image.has_directory(directory_of(&path)) => {
                state.admit(generation, Operation::Name)?;
                state.image.create(&path)
            }
            None => return Err(Failure::Missing),
        };
        state.image.file_mut(inode).ok_or(Failure::Missing)?.open += 1;
        drop(guarded);
        let name_unsynced = existing.is_none() && mode.sync_name;
        Ok(Self {
            disk,
            generation,
            inode,
            path,
            mode,
            name_unsynced,
            lock: LockLevel::None,
            slots: SlotsHeld::default(),
            mapped: None,
        })
    }

    pub(super) fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<usize, Failure> {
        guard(&self.disk.state).read(self.generation, self.inode, offset, buffer)
    }

    pub(super) fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Failure> {
        guard(&self.disk.state).write(self.generation, self.inode, offset, bytes)
    }

    pub(super) fn resize(&self, length: usize) -> Result<(), Failure> {
        guard(&self.disk.state).resize(self.generation, self.inode, length)
    }

    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        let mut state = guard(&self.disk.state);
        state.sync(self.generation, self.inode)?;
        if self.name_unsynced {
            state.sync_directory(self.generation, directory_of(&self.path))?;
            self.name_unsynced = false;
        }
        Ok(())
    }

    pub(super) fn length(&self) -> Result<usize, Failure> {
        let state = guard(&self.disk.state);
        state.alive(self.generation)?;
        Ok(state
            .image
            .file(self.inode)
            .ok_or(Failure::Missing)?
            .content()
            .len())
    }

    pub(super) fn lock(&mut self, wanted: LockLevel) -> Result<(), Failure> {
        let mut state = guard(&self.disk.state);
        state.alive(self.generation)?;
        let locks = state.file_locks.entry(self.inode).or_default();
        locks
            .raise(&mut self.lock, wanted)
            .map_err(|_busy| Failure::Busy)
    }

    /// Never fails: a lock of a former life is gone already.
    pub(super) fn unlock(&mut self, wanted: LockLevel) {
        let mut state = guard(&self.disk.state);
        if state.generation == self.generation
            && let Some(locks) = state.file_locks.get_mut(&self.inode)
        {
            locks.lower(&mut self.lock, wanted);
        }
    }

    pub(super) fn is_reserved(&self) -> Result<bool, Failure> {
        let state = guard(&self.disk.state);
        state.alive(self.generation)?;
        Ok(state
            .file_locks
            .get(&self.inode)
            .is_some_and(super::lock::FileLocks::is_reserved))
    }

    /// Where a region of the WAL's index is, or nothing if it does not exist and may not be made.
    pub(super) fn map(
        &mut self,
        index: usize,
        bytes: usize,
        extend: bool,
    ) -> Result<Option<*mut u64>, Failure> {
        let mut state = guard(&self.disk.state);
        state.alive(self.generation)?;
        let wal_index = state.wal_indexes.entry(self.inode).or_default();
        let regions = self.mapped.get_or_insert_with(|| {
            wal_index.mapped += 1;
            Arc::clone(&wal_index.regions)
        });
        Ok(region(regions, index, bytes, extend))
    }

    pub(super) fn lock_slots(
        &mut self,
        first: usize,
        count: usize,
        request: SlotRequest,
    ) -> Result<(), Failure> {
        let mut state = guard(&self.disk.state);
        if let Err(dead) = state.alive(self.generation) {
            return if request == SlotRequest::Unlock {
                Ok(())
            } else {
                Err(dead)
            };
        }
        let index = state.wal_indexes.entry(self.inode).or_default();
        let range = first..(first + count).min(SLOTS);
        let answer = match request {
            SlotRequest::Shared => index.lock_shared(&mut self.slots, range),
            SlotRequest::Exclusive => index.lock_exclusive(&mut self.slots, range),
            SlotRequest::Unlock => {
                index.unlock(&mut self.slots, range);
                Ok(())
            }
        };
        answer.map_err(|_busy| Failure::Busy)
    }

    pub(super) fn unmap(&mut self) {
        let mut state = guard(&self.disk.state);
        if self.mapped.take().is_none() || state.generation != self.generation {
            return;
        }
        if let Some(index) = state.wal_indexes.get_mut(&self.inode) {
            index.unlock(&mut self.slots, 0..SLOTS);
            index.mapped -= 1;
            if index.mapped == 0 {
                state.wal_indexes.remove(&self.inode);
            }
        }
    }

    fn close(&mut self) {
        self.unlock(LockLevel::None);
        self.unmap();
        let mut state = guard(&self.disk.state);
        if state.generation == self.generation {
            if let Some(file) = state.image.file_mut(self.inode) {
                file.open -= 1;
            }
            if self.mode.temporary && state.power.is_on() {
                state.image.remove(&self.path);
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// What is asked of the slots beside a WAL's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotRequest {
    Shared,
    Exclusive,
    Unlock,
}

impl State {
    /// A number that no other answer of this disk was.
    pub(super) fn take_token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }
}
