//! The state as it was at one applied entry, read in many short transactions.
//!
//! History is only ever added to behind the newest position, so what stood at an earlier one can be read page by page while
//! writes go on; only the sweep behind compaction takes versions away, and it waits while a [`Pin`] is held. What is not
//! versioned (members, tokens, leases) is small and is read at the start, in the one transaction that fixes the point.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use rusqlite::{Connection, params};

use super::error::StateError;
use super::mark::{self, Applied, Mark};
use super::position::Position;
use super::reader::{Lease, Reader};
use super::seal::Label;
use super::system;
use crate::database::Place;
use crate::proto::store::{Cluster, Member, Token, Tombstone};

/// How many frozen views exist. The sweep holds the lock during a step, so no view begins in the middle of one.
#[derive(Clone, Debug, Default)]
pub(super) struct Pins(Arc<Mutex<usize>>);

impl Pins {
    pub(super) fn lock(&self) -> MutexGuard<'_, usize> {
        // A counter is whole even if its holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pin(&self) -> Pin {
        *self.lock() += 1;
        Pin(self.clone())
    }
}

/// Keeps the sweep waiting while it lives.
struct Pin(Pins);

impl Drop for Pin {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
    }
}

/// A version as history holds it.
pub(super) struct Row {
    pub(super) position: Position,
    pub(super) prev: Position,
    pub(super) created: i64,
    pub(super) version: i64,
    pub(super) lease: i64,
    pub(super) key: Bytes,
    pub(super) value: Bytes,
}

impl Row {
    /// From seven columns: position, prev, created, version, lease, key, value. Its bytes are kept in `room`, with those of
    /// other rows that live as long.
    pub(super) fn read(row: &rusqlite::Row<'_>, room: &mut BytesMut) -> Result<Self, StateError> {
        let blob = |column| {
            row.get_ref(column)?
                .as_blob()
                .map_err(rusqlite::Error::from)
        };
        let read = Self {
            position: Position(row.get(0)?),
            prev: Position(row.get(1)?),
            created: row.get(2)?,
            version: row.get(3)?,
            lease: row.get(4)?,
            key: keep(room, blob(5)?),
            value: Bytes::new(),
        };
        let label = Label {
            key: &read.key,
            position: read.position,
            created: read.created,
            version: read.version,
            lease: read.lease,
        };
        let value = keep(room, label.value_in(blob(6)?)?);
        Ok(Self { value, ..read })
    }
}

fn keep(room: &mut BytesMut, bytes: &[u8]) -> Bytes {
    room.extend_from_slice(bytes);
    room.split().freeze()
}

/// What is not versioned.
pub(super) struct Records {
    pub(super) cluster: Option<Cluster>,
    pub(super) members: Vec<Member>,
    pub(super) tombstones: Vec<Tombstone>,
    pub(super) tokens: Vec<Token>,
    pub(super) trusted: Vec<Bytes>,
    pub(super) leases: Vec<Lease>,
}

/// The view itself.
pub(super) struct Frozen {
    reader: Reader,
    pub(super) mark: Mark,
    pub(super) applied: Applied,
    pub(super) records: Records,
    next: Position,
    end: Position,
    _pin: Pin,
}

impl Frozen {
    pub(super) fn new(place: &Place, pins: &Pins) -> Result<Self, StateError> {
        let pin = pins.pin();
        let reader = Reader::open(place)?;
        let (mark, membership, records) = reader.at_one_state(|connection| {
            Ok::<_, StateError>((
                Mark::read(connection)?,
                mark::read_membership(connection)?,
                records(connection, &reader)?,
            ))
        })?;
        let applied = Applied {
            log_id: mark.log_id,
            membership,
        };
        let end = Position::after(mark.revision);
        Ok(Self {
            reader,
            mark,
            applied,
            records,
            next: Position::NONE,
            end,
            _pin: pin,
        })
    }

    /// Leaves out what came after a revision.
    pub(super) fn until(self, revision: i64) -> Self {
        Self {
            end: Position::after(revision),
            ..self
        }
    }

    /// The next versions, in order, of about `budget` bytes together and one at least; empty at the end. `read` gets each of
    /// them with a connection that stands at one state.
    pub(super) fn page<T>(
        &mut self,
        budget: usize,
        mut read: impl FnMut(&Connection, Row) -> Result<T, StateError>,
    ) -> Result<Vec<T>, StateError> {
        let (next, end, installs) = (self.next, self.end, self.mark.installs);
        let mut last = None;
        let page = self.reader.at_one_state(|connection| {
            if Mark::read(connection)?.installs != installs {
                return Err(StateError::Snapshot("the state was replaced by a received one meanwhile".to_owned()));
            }
            let mut statement = connection.prepare_cached("SELECT position, prev, created, version, lease, key, value FROM history WHERE position >= ?1 AND position < ?2 ORDER BY position")?;
            let mut rows = statement.query(params![next.0, end.0])?;
            let (mut page, mut bytes) = (Vec::new(), 0);
            let mut room = BytesMut::new();
            while bytes < budget {
                let Some(row) = rows.next()? else { break };
                let row = Row::read(row, &mut room)?;
                bytes += row.key.len() + row.value.len() + 64;
                last = Some(row.position);
                page.push(read(connection, row)?);
            }
            Ok(page)
        })?;
        if let Some(last) = last {
            self.next = Position(last.0 + 1);
        }
        Ok(page)
    }

    /// One version out of order, if it is still there.
    pub(super) fn version(
        connection: &Connection,
        position: Position,
    ) -> Result<Option<Row>, StateError> {
        let mut statement = connection.prepare_cached("SELECT position, prev, created, version, lease, key, value FROM history WHERE position = ?1")?;
        let mut rows = statement.query([position.0])?;
        let read = |row| Row::read(row, &mut BytesMut::new());
        rows.next()?.map(read).transpose()
    }
}

fn records(connection: &Connection, reader: &Reader) -> Result<Records, StateError> {
    Ok(Records {
        cluster: system::cluster(connection)?,
        members: system::members(connection)?,
        tombstones: system::tombstones(connection)?,
        tokens: system::tokens(connection)?,
        trusted: system::trusted(connection)?,
        leases: reader.leases()?,
    })
}
