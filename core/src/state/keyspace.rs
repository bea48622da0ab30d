//! The tables of the keyspace as the writer uses them: find a key, add a version.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::error::StateError;
use super::position::Position;
use super::range::missing;
use super::seal::Label;
use super::statement::Lazy;
use crate::proto::mvccpb::KeyValue;

/// Every so many versions of a key one is an anchor, to which the versions after it can jump back.
const STRIDE: i64 = 64;

/// A key's newest version, without its value. It may be a deletion: [`Newest::exists`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) head: Position,
    pub(super) created: i64,
    pub(super) version: i64,
    pub(super) lease: i64,
    pub(super) jump: Position,
    pub(super) steps: i64,
}

impl Newest {
    pub(super) const COLUMNS: usize = 6;

    /// From six columns beginning at `first`: head, created, version, lease, jump, steps.
    pub(super) fn from_row(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            head: Position(row.get(first)?),
            created: row.get(first + 1)?,
            version: row.get(first + 2)?,
            lease: row.get(first + 3)?,
            jump: Position(row.get(first + 4)?),
            steps: row.get(first + 5)?,
        })
    }

    pub(super) fn exists(&self) -> bool {
        self.version > 0
    }

    /// As clients see it, with the value put in by the caller.
    pub(super) fn key_value(&self, key: Bytes, value: Bytes) -> KeyValue {
        KeyValue {
            key,
            create_revision: self.created,
            mod_revision: self.head.revision().0,
            version: self.version,
            value,
            lease: self.lease,
        }
    }
}

/// A version to be added.
pub(super) struct Version<'v> {
    pub(super) position: Position,
    pub(super) key: &'v [u8],
    pub(super) value: &'v [u8],
    pub(super) created: i64,
    /// 0: the key is deleted here.
    pub(super) version: i64,
    pub(super) lease: i64,
}

impl Version<'_> {
    fn label(&self) -> Label<'_> {
        Label {
            key: self.key,
            position: self.position,
            created: self.created,
            version: self.version,
            lease: self.lease,
        }
    }
}

/// The statements that one batch needs, on the writer's connection.
pub(super) struct Keyspace<'c> {
    connection: &'c Connection,
    find: Lazy<'c>,
    append: Lazy<'c>,
    point: Lazy<'c>,
    value: Lazy<'c>,
    attach: Lazy<'c>,
    detach: Lazy<'c>,
    lease: Lazy<'c>,
    /// A value as it is stored, for the room that it takes.
    sealed: Vec<u8>,
}

/// The SQL of a keyspace, for the live tables and for those that a snapshot is received into.
struct Sql {
    find: &'static str,
    append: &'static str,
    point: &'static str,
    value: &'static str,
    attach: &'static str,
    detach: &'static str,
    lease: &'static str,
}

macro_rules! sql {
    ($prefix:literal) => {
        Sql {
            find: concat!(
                "SELECT head, created, version, lease, jump, steps FROM ",
                $prefix,
                "keys WHERE key = ?1"
            ),
            append: concat!(
                "INSERT INTO ",
                $prefix,
                "history (position, prev, jump, created, version, lease, key, value)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
            ),
            // On a table without rowid, secondary indexes or triggers, REPLACE overwrites in place after one search.
            point: concat!(
                "REPLACE INTO ",
                $prefix,
                "keys (key, head, created, version, lease, jump, steps) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
            ),
            value: concat!("SELECT value FROM ", $prefix, "history WHERE position = ?1"),
            attach: concat!("INSERT INTO ", $prefix, "lease_keys (lease, key) VALUES (?1, ?2)"),
            detach: concat!("DELETE FROM ", $prefix, "lease_keys WHERE lease = ?1 AND key = ?2"),
            lease: concat!("SELECT 1 FROM ", $prefix, "leases WHERE id = ?1"),
        }
    };
}

impl<'c> Keyspace<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self::over(connection, &sql!(""))
    }

    /// Over the tables that a snapshot is received into.
    pub(super) fn staged(connection: &'c Connection) -> Self {
        Self::over(connection, &sql!("staged_"))
    }

    fn over(connection: &'c Connection, sql: &Sql) -> Self {
        let lazy = |sql| Lazy::new(connection, sql);
        Self {
            connection,
            find: lazy(sql.find),
            append: lazy(sql.append),
            point: lazy(sql.point),
            value: lazy(sql.value),
            attach: lazy(sql.attach),
            detach: lazy(sql.detach),
            lease: lazy(sql.lease),
            sealed: Vec::new(),
        }
    }

    pub(super) fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// The key's newest version, be it a deletion.
    pub(super) fn newest(&mut self, key: &[u8]) -> Result<Option<Newest>, StateError> {
        Ok(self
            .find
            .get()?
            .query_row([key], |row| Newest::from_row(row, 0))
            .optional()?)
    }

    /// The key as it exists now.
    pub(super) fn existing(&mut self, key: &[u8]) -> Result<Option<Newest>, StateError> {
        Ok(self.newest(key)?.filter(Newest::exists))
    }

    /// The value of a key's newest version, which must be there.
    pub(super) fn value(&mut self, key: &[u8], newest: &Newest) -> Result<Bytes, StateError> {
        let position = newest.head;
        let mut rows = self.value.get()?.query([position.0])?;
        let row = rows.next()?.ok_or_else(|| missing(position))?;
        let sealed = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        Label::of(key, newest).open(sealed)
    }

    pub(super) fn lease_exists(&mut self, lease: i64) -> Result<bool, StateError> {
        Ok(self.lease.get()?.exists([lease])?)
    }

    /// Adds a version behind `before`, the key's newest until now.
    pub(super) fn add(
        &mut self,
        new: &Version<'_>,
        before: Option<&Newest>,
    ) -> Result<(), StateError> {
        let newest = self.append(new, before)?;
        self.point(new.key, &newest)
    }

    /// Adds a version to history, behind `before`, and to its lease. What it answers is the key's newest from now on, to which
    /// [`Keyspace::point`] has yet to point.
    pub(super) fn append(
        &mut self,
        new: &Version<'_>,
        before: Option<&Newest>,
    ) -> Result<Newest, StateError> {
        let (prev, jump, steps, lease) = match before {
            None => (Position::NONE, Position::NONE, 0, 0),
            Some(newest) if newest.head < new.position => {
                (newest.head, newest.jump, newest.steps, newest.lease)
            }
            Some(newest) => {
                return Err(StateError::Damaged(format!(
                    "a key has a version at {}, which has not happened yet",
                    newest.head.0
                )));
            }
        };
        new.label().seal(new.value, &mut self.sealed);
        self.append.get()?.execute(params![
            new.position.0,
            prev.0,
            jump.0,
            new.created,
            new.version,
            new.lease,
            new.key,
            self.sealed
        ])?;
        if lease != new.lease {
            self.move_between_leases(new.key, lease, new.lease)?;
        }
        let (jump, steps) = if steps + 1 == STRIDE {
            (new.position, 0)
        } else {
            (jump, steps + 1)
        };
        Ok(Newest {
            head: new.position,
            created: new.created,
            version: new.version,
            lease: new.lease,
            jump,
            steps,
        })
    }

    /// Makes the key point to its newest version.
    pub(super) fn point(&mut self, key: &[u8], newest: &Newest) -> Result<(), StateError> {
        self.point.get()?.execute(params![
            key,
            newest.head.0,
            newest.created,
            newest.version,
            newest.lease,
            newest.jump.0,
            newest.steps
        ])?;
        Ok(())
    }

    fn move_between_leases(&mut self, key: &[u8], from: i64, to: i64) -> Result<(), StateError> {
        if from != 0 {
            self.detach.get()?.execute(params![from, key])?;
        }
        if to != 0 {
            self.attach.get()?.execute(params![to, key])?;
        }
        Ok(())
    }
}

/// Finds the last version of a key before `bound`, walking back from its newest. Versions at or above `bound` must not
/// have been compacted. The answer may name a version that compaction has removed since: then the key did not exist.
pub(super) fn version_before(
    connection: &Connection,
    newest: &Newest,
    bound: Position,
) -> Result<Position, StateError> {
    if newest.head < bound {
        return Ok(newest.head);
    }
    let mut pointers =
        connection.prepare_cached("SELECT prev, jump FROM history WHERE position = ?1")?;
    let mut at = if newest.jump >= bound {
        newest.jump
    } else {
        newest.head
    };
    loop {
        let found = pointers
            .query_row([at.0], |row| {
                Ok((Position(row.get(0)?), Position(row.get(1)?)))
            })
            .optional()?;
        let (prev, jump) = found
            .ok_or_else(|| StateError::Damaged(format!("the version at {} is missing", at.0)))?;
        if prev >= at || jump >= at {
            return Err(StateError::Damaged(format!(
                "the version at {} points forward",
                at.0
            )));
        }
        match (prev, jump) {
            (_, jump) if jump >= bound => at = jump,
            (prev, _) if prev >= bound => at = prev,
            (prev, _) => return Ok(prev),
        }
    }
}
