//! The locks that SQLite's connections take: five levels on a file, and eight slots beside the index of a WAL.
//!
//! Both live with the disk and not with the handle, so that several connections of one node see each other, and both
//! vanish at a crash as a process' locks do.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use crate::sync::guard;

/// What a connection holds on a file, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum LockLevel {
    #[default]
    None,
    Shared,
    Reserved,
    Pending,
    Exclusive,
}

/// Somebody else holds what was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// What all connections together hold on one file.
#[derive(Debug, Default)]
pub(super) struct FileLocks {
    shared: u32,
    reserved: bool,
    pending: bool,
}

impl FileLocks {
    /// Raises a connection from `held` to `wanted`, and changes `held` as far as it got: on the way to exclusive a
    /// connection may have to wait at pending, which keeps new readers out.
    pub(super) fn raise(&mut self, held: &mut LockLevel, wanted: LockLevel) -> Result<(), Busy> {
        if *held >= wanted {
            return Ok(());
        }
        if *held == LockLevel::None {
            if self.pending {
                return Err(Busy);
            }
            self.shared += 1;
            *held = LockLevel::Shared;
        }
        if wanted >= LockLevel::Reserved && *held < LockLevel::Reserved {
            if self.reserved {
                return Err(Busy);
            }
            self.reserved = true;
            *held = LockLevel::Reserved;
        }
        if wanted == LockLevel::Exclusive {
            self.pending = true;
            *held = LockLevel::Pending;
            if self.shared > 1 {
                return Err(Busy);
            }
            *held = LockLevel::Exclusive;
        }
        Ok(())
    }

    /// Lowers a connection from `held` to shared or none.
    pub(super) fn lower(&mut self, held: &mut LockLevel, wanted: LockLevel) {
        if *held <= wanted {
            return;
        }
        if *held >= LockLevel::Reserved {
            self.reserved = false;
        }
        if *held >= LockLevel::Pending {
            self.pending = false;
        }
        if wanted == LockLevel::None {
            self.shared -= 1;
        }
        *held = wanted;
    }

    pub(super) fn is_reserved(&self) -> bool {
        self.reserved
    }
}

/// How many slots of locks stand beside the index of a WAL.
pub(super) const SLOTS: usize = 8;

/// The shared memory of one WAL's index. SQLite reads and writes it through pointers, so it is made of atomics, which
/// may be written behind a shared reference; it is freed with the last handle that maps it, a dead node's included.
pub(super) type Regions = Arc<Mutex<Vec<Box<[AtomicU64]>>>>;

/// The `index`-th region, made of zeros if it does not exist and `extend` says so.
pub(super) fn region(
    regions: &Regions,
    index: usize,
    bytes: usize,
    extend: bool,
) -> Option<*mut u64> {
    let mut regions = guard(regions);
    while extend && regions.len() <= index {
        regions.push((0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect());
    }
    regions
        .get(index)
        .and_then(|region| region.first())
        .map(AtomicU64::as_ptr)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Slot {
    #[default]
    Free,
    Shared(u32),
    Exclusive,
}

/// What all connections hold on the slots of one WAL's index.
#[derive(Debug, Default)]
pub(super) struct WalIndex {
    pub(super) regions: Regions,
    /// Handles that map it.
    pub(super) mapped: u32,
    slots: [Slot; SLOTS],
}

/// What one connection holds on them, a bit for each slot.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct SlotsHeld {
    shared: u8,
    exclusive: u8,
}

impl WalIndex {
    pub(super) fn lock_shared(
        &mut self,
        held: &mut SlotsHeld,
        range: std::ops::Range<usize>,
    ) -> Result<(), Busy> {
        let free =
            |slot: usize| self.slots[slot] != Slot::Exclusive || held.exclusive >> slot & 1 == 1;
        if !range.clone().all(free) {
            return Err(Busy);
        }
        for slot in range {
            if (held.shared | held.exclusive) >> slot & 1 == 0 {
                held.shared |= 1 << slot;
                self.slots[slot] = match self.slots[slot] {
                    Slot::Shared(count) => Slot::Shared(count + 1),
                    Slot::Free | Slot::Exclusive => Slot::Shared(1),
                };
            }
        }
        Ok(())
    }

    pub(super) fn lock_exclusive(
        &mut self,
        held: &mut SlotsHeld,
        range: std::ops::Range<usize>,
    ) -> Result<(), Busy> {
        let free = |slot: usize| match self.slots[slot] {
            Slot::Free => true,
            Slot::Shared(count) => count == 1 && held.shared >> slot & 1 == 1,
            Slot::Exclusive => held.exclusive >> slot & 1 == 1,
        };
        if !range.clone().all(free) {
            return Err(Busy);
        }
        for slot in range {
            held.shared &= !(1 << slot);
            held.exclusive |= 1 << slot;
            self.slots[slot] = Slot::Exclusive;
        }
        Ok(())
    }

    pub(super) fn unlock(&mut self, held: &mut SlotsHeld, range: std::ops::Range<usize>) {
        for slot in range {
            let bit = 1 << slot;
            if held.exclusive & bit != 0 {
                self.slots[slot] = Slot::Free;
            } else if held.shared & bit != 0 {
                self.slots[slot] = match self.slots[slot] {
                    Slot::Shared(count) if count > 1 => Slot::Shared(count - 1),
                    Slot::Free | Slot::Shared(_) | Slot::Exclusive => Slot::Free,
                };
            }
            held.exclusive &= !bit;
            held.shared &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LockLevel::{Exclusive, None, Reserved, Shared};
    use super::*;

    #[test]
    fn many_read_one_writes_and_a_waiting_writer_keeps_new_readers_out() {
        let mut locks = FileLocks::default();
        let (mut reader, mut writer, mut late) = (None, None, None);
        assert_eq!(locks.raise(&mut reader, Shared), Ok(()));
        assert_eq!(locks.raise(&mut writer, Reserved), Ok(()));
        assert_eq!(locks.raise(&mut writer, Exclusive), Err(Busy));
        assert_eq!(locks.raise(&mut late, Shared), Err(Busy));
        locks.lower(&mut reader, None);
        assert_eq!(locks.raise(&mut writer, Exclusive), Ok(()));
        locks.lower(&mut writer, None);
        assert_eq!(locks.raise(&mut late, Exclusive), Ok(()));
    }

    #[test]
    fn slot_is_shared_by_readers_and_exclusive_for_one() {
        let mut index = WalIndex::default();
        let (mut one, mut two) = (SlotsHeld::default(), SlotsHeld::default());
        assert_eq!(index.lock_shared(&mut one, 3..4), Ok(()));
        assert_eq!(index.lock_shared(&mut two, 3..4), Ok(()));
        assert_eq!(index.lock_exclusive(&mut one, 0..8), Err(Busy));
        index.unlock(&mut two, 3..4);
        assert_eq!(index.lock_exclusive(&mut one, 0..8), Ok(()));
        assert_eq!(index.lock_shared(&mut two, 3..4), Err(Busy));
        index.unlock(&mut one, 0..8);
        assert_eq!(index.lock_shared(&mut two, 3..4), Ok(()));
    }
}
