//! The newest version of each key while a snapshot is received.
//!
//! A snapshot tells history in the order of its positions, so that a key that is written often comes again and again. What
//! is its newest version so far is kept in memory, and goes into the table once when the snapshot ends, or when more is kept
//! than is good: with a look and a row for each version, those would be half of what a snapshot costs.

use std::collections::BTreeMap;

use super::error::StateError;
use super::keyspace::{Keyspace, Newest};

/// Bytes of keys, and of what is kept about them, before all of it is written.
const MOST_KEPT: usize = 4 << 20;

/// What a key costs in memory besides itself.
const KEPT_BESIDES: usize = 128;

/// Newest versions, of which the table holds those that are not kept here. In the order of keys, as the table is.
#[derive(Default)]
pub(super) struct Heads {
    kept: BTreeMap<Box<[u8]>, Newest>,
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
        match self.kept.get(key) {
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
        if let Some(kept) = self.kept.get_mut(key) {
            *kept = newest;
            return Ok(());
        }
        self.kept.insert(key.into(), newest);
        self.bytes += key.len() + KEPT_BESIDES;
        if self.bytes > MOST_KEPT {
            self.write(keyspace)?;
        }
        Ok(())
    }

    /// Writes what is kept into the table.
    pub(super) fn write(&mut self, keyspace: &mut Keyspace<'_>) -> Result<(), StateError> {
        for (key, newest) in std::mem::take(&mut self.kept) {
            keyspace.point(&key, &newest)?;
        }
        self.bytes = 0;
        self.written = true;
        Ok(())
    }
}
