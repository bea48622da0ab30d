//! The newest version of each key while a snapshot is received.
//!
//! A snapshot tells history in the order of its positions, so that a key that is written often comes again and again. What
//! is its newest version so far is held in memory, and goes into the table once when the snapshot ends, or when more is held
//! than is good: with a look and a row for each version, those would be half of what a snapshot costs.

use std::collections::BTreeMap;

use super::error::StateError;
use super::keyspace::{Keyspace, Newest};

/// Bytes of keys, and of what is held about them, before all of it is written.
const MOST_HELD: usize = 4 << 20;

/// What a key costs in memory besides itself.
const HELD_BESIDES: usize = 128;

/// Newest versions, of which the table holds those that are not held here. In the order of keys, as the table is.
#[derive(Default)]
pub(super) struct Heads {
    held: BTreeMap<Box<[u8]>, Newest>,
    bytes: usize,
    /// Whether the table holds any.
    written: bool,
}

impl Heads {
    /// The key's newest version so far, be it a deletion.
    pub(super) fn newest(
        &self,
        keyspace: &mut Keyspace<'_>,
        key: &[u8],
    ) -> Result<Option<Newest>, StateError> {
        match self.held.get(key) {
            Some(newest) => Ok(Some(*newest)),
            None if self.written => keyspace.newest(key),
            None => Ok(None),
        }
    }

    /// `newest` is the key's newest version from now on.
    pub(super) fn set(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        key: &[u8],
        newest: Newest,
    ) -> Result<(), StateError> {
        if let Some(held) = self.held.get_mut(key) {
            *held = newest;
            return Ok(());
        }
        self.held.insert(key.into(), newest);
        self.bytes += key.len() + HELD_BESIDES;
        if self.bytes > MOST_HELD {
            self.write(keyspace)?;
        }
        Ok(())
    }

    /// Writes what is held into the table.
    pub(super) fn write(&mut self, keyspace: &mut Keyspace<'_>) -> Result<(), StateError> {
        for (key, newest) in std::mem::take(&mut self.held) {
            keyspace.point(&key, &newest)?;
        }
        self.bytes = 0;
        self.written = true;
        Ok(())
    }
}
