//! Reads beside the writer: each reader has a connection of its own and sees the last committed batch.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};
use rusqlite::{Connection, OptionalExtension};

use super::batch::RevisionEvents;
use super::change::Listening;
use super::error::{ReadError, Rejection, StateError};
use super::frozen::{Frozen, Row};
use super::mark::{self, Applied, Mark};
use super::position::Position;
use super::range::{self, Slices, View};
use super::{schema::LAYOUT, system, validate};
use crate::database::{Opened, Place};
use crate::ids::{LeaseId, LogIndex, Revision};
use crate::proto::etcdserverpb::{RangeRequest, RangeResponse};
use crate::proto::mvccpb::{Event, KeyValue, event::EventType};
use crate::proto::store::{Cluster, Member, Tombstone};
use crate::runtime::WallTime;

/// Keys that a read looks at, or values that it fetches, in one transaction: some milliseconds, which the write-ahead log can
/// wait for.
const SLICE: usize = 4096;

/// A connection that reads. Not shared: a caller keeps a few and lends them out.
pub struct Reader {
    connection: Opened,
    slice: usize,
    sized: Cell<Option<Size>>,
}

/// The size of the database as it was when it last changed.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// SQLite's number for the changes that this connection has seen others make.
    data_version: u64,
    bytes: u64,
    in_use: u64,
}

/// Where the keyspace stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revisions {
    /// The present revision.
    pub current: Revision,
    /// Below it history is gone; -1 before the first compaction.
    pub compacted: Revision,
}

/// A lease as it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// The time to live that was granted, in seconds.
    pub ttl_seconds: i64,
}

/// What the cluster knows of itself.
#[derive(Clone, Debug)]
pub struct Roster {
    /// Everything up to this entry is in it.
    pub applied: LogIndex,
    /// The highest wall time that any command ever carried.
    pub clock: WallTime,
    /// The cluster's identity; none until its first command is applied.
    pub cluster: Option<Cluster>,
    /// Every member.
    pub members: Vec<Member>,
    /// Every removed node whose certificates may still be valid.
    pub tombstones: Vec<Tombstone>,
    /// The certificates of the authorities that are trusted, DER.
    pub trusted: Vec<Bytes>,
}

impl Reader {
    /// Opens a connection to a state database that a [`State`](super::State) has opened.
    pub fn open(place: &Place) -> Result<Self, StateError> {
        Ok(Self {
            connection: place.reader(&LAYOUT)?,
            slice: SLICE,
            sized: Cell::default(),
        })
    }

    /// The same, which looks at no more than `keys` in one transaction: for tests of what happens between two.
    #[must_use]
    pub fn in_slices_of(self, keys: usize) -> Self {
        Self {
            slice: keys,
            ..self
        }
    }

    /// For reads of the system tables.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Answers a range request at the revision that it asks for. The header holds the present revision.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
        self.range_while(request, &mut || ())
    }

    /// The same, with what happens between two slices.
    pub(super) fn range_while(
        &self,
        request: &RangeRequest,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<RangeResponse, ReadError> {
        validate::range(request)?;
        if let Some(response) = range::point(&self.connection, request)? {
            return Ok(response);
        }
        match self.range_in_slices(Some(self.slice), request, meanwhile) {
            // History that it needed may have gone between two slices.
            Err(ReadError::Rejected(Rejection::Compacted)) => {
                self.range_in_slices(None, request, meanwhile)
            }
            answer => answer,
        }
    }

    fn range_in_slices(
        &self,
        keys: Option<usize>,
        request: &RangeRequest,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<RangeResponse, ReadError> {
        self.at_one_state(|connection| {
            let view = View::of(&Mark::read(connection)?);
            let pause = &mut |revision| {
                meanwhile();
                begin_anew(connection)?;
                let view = View::of(&Mark::read(connection)?);
                Ok(range::check_revision(view, revision)?)
            };
            let mut slices = match keys {
                Some(keys) => Slices::of(keys, pause),
                None => Slices::whole(pause),
            };
            range::range(connection, view, request, &mut slices)
        })
    }

    /// The present revision and the compacted one.
    pub fn revisions(&self) -> Result<Revisions, StateError> {
        let mark = Mark::read(&self.connection)?;
        Ok(Revisions {
            current: Revision(mark.revision),
            compacted: Revision(mark.compacted),
        })
    }

    /// The last entry applied and the last membership.
    pub fn applied(&self) -> Result<Applied, StateError> {
        self.at_one_state(|connection| {
            Ok(Applied {
                log_id: Mark::read(connection)?.log_id,
                membership: mark::read_membership(connection)?,
            })
        })
    }

    /// What the cluster knows of itself, all of it as of one applied entry.
    pub fn roster(&self) -> Result<Roster, StateError> {
        self.at_one_state(|connection| {
            let mark = Mark::read(connection)?;
            Ok(Roster {
                applied: mark.log_id.map_or(LogIndex(0), |id| LogIndex(id.index)),
                clock: WallTime::from_millis(mark.clock),
                cluster: system::cluster(connection)?,
                members: system::members(connection)?,
                tombstones: system::tombstones(connection)?,
                trusted: system::trusted(connection)?,
            })
        })
    }

    /// Keys that exist.
    pub fn live_keys(&self) -> Result<i64, StateError> {
        Ok(Mark::read(&self.connection)?.live)
    }

    /// What happened from `first` on, a page of whole revisions of about `limit` changes. Empty when `first` has not
    /// happened yet; [`Rejection::Compacted`] when it is gone. What was there before is looked up if asked for, and may be
    /// missing where compaction has been.
    pub fn events(
        &self,
        first: Revision,
        limit: u32,
        listening: Listening,
    ) -> Result<Vec<RevisionEvents>, ReadError> {
        self.at_one_state(|connection| {
            let mark = Mark::read(connection)?;
            if first.0 < mark.compacted {
                return Err(Rejection::Compacted.into());
            }
            if first.0 > mark.revision {
                return Ok(Vec::new());
            }
            let mut statement = connection.prepare_cached("SELECT position, prev, created, version, lease, key, value FROM history WHERE position >= ?1 ORDER BY position")?;
            let mut rows = statement.query([Position::after(first.0.max(1) - 1).0])?;
            let mut found: Vec<RevisionEvents> = Vec::new();
            let mut count = 0;
            while let Some(row) = rows.next()? {
                let revision = Position(row.get(0)?).revision();
                match found.last_mut() {
                    Some((last, events)) if *last == revision => events.push(event(connection, row, listening)?),
                    _ if count >= limit => break,
                    _ => found.push((revision, vec![event(connection, row, listening)?])),
                }
                count += 1;
            }
            Ok(found)
        })
    }

    /// Every lease, by id.
    pub fn leases(&self) -> Result<Vec<Lease>, StateError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, ttl FROM leases ORDER BY id")?;
        let leases = statement.query_map([], |row| {
            Ok(Lease {
                id: LeaseId(row.get(0)?),
                ttl_seconds: row.get(1)?,
            })
        })?;
        Ok(leases.collect::<Result<_, _>>()?)
    }

    /// One lease.
    pub fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StateError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT ttl FROM leases WHERE id = ?1")?;
        let ttl = statement.query_row([id.0], |row| row.get(0)).optional()?;
        Ok(ttl.map(|ttl_seconds| Lease { id, ttl_seconds }))
    }

    /// The keys of a lease, in order.
    pub fn lease_keys(&self, id: LeaseId) -> Result<Vec<Bytes>, StateError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT key FROM lease_keys WHERE lease = ?1 ORDER BY key")?;
        let keys = statement.query_map([id.0], |row| range::blob(row, 0))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// Bytes of the database file, and how many of them hold something.
    pub fn size(&self) -> Result<(u64, u64), StateError> {
        let number = |pragma| {
            let mut statement = self.connection.prepare_cached(pragma)?;
            statement.query_row([], |row| row.get::<_, u64>(0))
        };
        // SQLite compiles a pragma each time that it is asked.
        let data_version = number("PRAGMA data_version")?;
        let sized = match self.sized.get() {
            Some(sized) if sized.data_version == data_version => sized,
            _ => {
                let page = number("PRAGMA page_size")?;
                let pages = number("PRAGMA page_count")?;
                let used = pages.saturating_sub(number("PRAGMA freelist_count")?);
                Size {
                    data_version,
                    bytes: pages * page,
                    in_use: used * page,
                }
            }
        };
        self.sized.set(Some(sized));
        Ok((sized.bytes, sized.in_use))
    }

    /// Runs several statements against one committed batch. Short: what a reader holds, the write-ahead log must keep.
    pub(super) fn at_one_state<T, E>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<StateError>,
    {
        at_one_state(&self.connection, read)
    }
}

pub(super) fn at_one_state<T, E>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E>
where
    E: From<StateError>,
{
    run(connection, "BEGIN")?;
    let answer = read(connection);
    // Nothing was written, so the end loses nothing; but a connection must not go on inside of this view.
    run(connection, "COMMIT").or_else(|_| run(connection, "ROLLBACK"))?;
    answer
}

/// Lets the state go that a read has seen; what it sees next may be a later one.
fn begin_anew(connection: &Connection) -> Result<(), StateError> {
    run(connection, "COMMIT")?;
    run(connection, "BEGIN")
}

fn run(connection: &Connection, sql: &str) -> Result<(), StateError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// From a row of history: position, prev, created, version, lease, key, value.
fn event(
    connection: &Connection,
    row: &rusqlite::Row<'_>,
    listening: Listening,
) -> Result<Event, StateError> {
    let Row {
        position,
        prev,
        created,
        version,
        lease,
        key,
        value,
    } = Row::read(row, &mut BytesMut::new())?;
    let mod_revision = position.revision().0;
    let prev_kv = if listening == Listening::EventsWithPrevious {
        version_of(connection, prev, &key)?
    } else {
        None
    };
    let (kind, kv) = if version == 0 {
        (
            EventType::Delete,
            KeyValue {
                key,
                mod_revision,
                ..KeyValue::default()
            },
        )
    } else {
        (
            EventType::Put,
            KeyValue {
                key,
                create_revision: created,
                mod_revision,
                version,
                value,
                lease,
            },
        )
    };
    Ok(Event {
        r#type: kind.into(),
        kv: Some(kv),
        prev_kv,
    })
}

fn version_of(
    connection: &Connection,
    position: Position,
    key: &Bytes,
) -> Result<Option<KeyValue>, StateError> {
    let found = Frozen::version(connection, position)?;
    let Some(row) = found.filter(|row| row.version > 0) else {
        return Ok(None);
    };
    if row.key != *key {
        return Err(StateError::Damaged(format!(
            "the version at {} is of another key",
            position.0
        )));
    }
    Ok(Some(KeyValue {
        key: row.key,
        create_revision: row.created,
        mod_revision: position.revision().0,
        version: row.version,
        lease: row.lease,
        value: row.value,
    }))
}
