//! The counters of the state: kept in memory by the writer, written once for each batch.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::StateError;
use super::position::Position;
use super::seal::{checksum_of, open_record, seal_record};
use crate::proto::store::{LogId, Membership};

/// What Raft has to know of the state: the last entry in it, and the last membership.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The last applied entry; `None` before the first.
    pub log_id: Option<LogId>,
    /// The last membership and the entry that brought it.
    pub membership: Option<(LogId, Membership)>,
}

/// The row of the table `mark`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The present revision. An empty keyspace is at 1, so the first change makes 2.
    pub(super) revision: i64,
    /// The revision up to which history is gone for readers; -1 before the first compaction.
    pub(super) compacted: i64,
    /// The first position that the sweep behind compaction has not seen.
    pub(super) swept: Position,
    pub(super) live: i64,
    pub(super) clock: u64,
    pub(super) points: i64,
    pub(super) installs: i64,
    pub(super) log_id: Option<LogId>,
}

impl Mark {
    pub(super) fn read(connection: &Connection) -> Result<Self, StateError> {
        let mut statement = connection.prepare_cached(
            "SELECT revision, compacted, swept, live, clock, points, installs, log_term, log_index, checksum FROM mark",
        )?;
        let (mark, stored) = statement.query_row([], |row| {
            let log_id = match (row.get(7)?, row.get(8)?) {
                (Some(term), Some(index)) => Some(LogId { term, index }),
                _ => None,
            };
            let mark = Self {
                revision: row.get(0)?,
                compacted: row.get(1)?,
                swept: Position(row.get(2)?),
                live: row.get(3)?,
                clock: row.get(4)?,
                points: row.get(5)?,
                installs: row.get(6)?,
                log_id,
            };
            Ok((mark, row.get::<_, Option<u32>>(9)?))
        })?;
        if stored.is_some_and(|stored| stored != mark.checksum()) {
            return Err(StateError::Damaged(
                "the counters fail their checksum".to_owned(),
            ));
        }
        Ok(mark)
    }

    fn checksum(&self) -> u32 {
        let (term, index) = self.log_id.map_or((-1, -1), |id| {
            (id.term.cast_signed(), id.index.cast_signed())
        });
        checksum_of(&[
            self.revision,
            self.compacted,
            self.swept.0,
            self.live,
            self.clock.cast_signed(),
            self.points,
            self.installs,
            term,
            index,
        ])
    }

    pub(super) fn write(&self, connection: &Connection) -> Result<(), StateError> {
        let mut statement = connection.prepare_cached(
            "UPDATE mark SET revision = ?1, compacted = ?2, swept = ?3, live = ?4, clock = ?5, points = ?6, installs = ?7, log_term = ?8, log_index = ?9, checksum = ?10",
        )?;
        let (term, index) = (
            self.log_id.map(|id| id.term),
            self.log_id.map(|id| id.index),
        );
        statement.execute(params![
            self.revision,
            self.compacted,
            self.swept.0,
            self.live,
            self.clock,
            self.points,
            self.installs,
            term,
            index,
            self.checksum()
        ])?;
        Ok(())
    }

    /// Notes a wall-clock time that a command carried and answers the highest one ever seen: a leader whose clock is
    /// behind cannot make time run backwards for tokens.
    pub(super) fn tick(&mut self, at_ms: u64) -> u64 {
        // The column is signed.
        let at_ms = at_ms.min(i64::MAX.cast_unsigned());
        self.clock = self.clock.max(at_ms);
        self.clock
    }
}

pub(super) fn read_membership(
    connection: &Connection,
) -> Result<Option<(LogId, Membership)>, StateError> {
    let row = connection
        .query_row(
            "SELECT log_term, log_index, body FROM membership",
            [],
            |row| {
                Ok((
                    LogId {
                        term: row.get(0)?,
                        index: row.get(1)?,
                    },
                    row.get::<_, Vec<u8>>(2)?,
                ))
            },
        )
        .optional()?;
    row.map(|(log_id, body)| Ok((log_id, open_record(&place_of(log_id), &body)?)))
        .transpose()
}

/// Where a membership stands: what is sealed is that it came with this entry.
fn place_of(LogId { term, index }: LogId) -> String {
    format!("membership {term} {index}")
}

pub(super) fn write_membership(
    connection: &Connection,
    log_id: LogId,
    membership: &Membership,
) -> Result<(), StateError> {
    connection.execute(
        "REPLACE INTO membership (id, log_term, log_index, body) VALUES (1, ?1, ?2, ?3)",
        params![
            log_id.term,
            log_id.index,
            seal_record(&place_of(log_id), membership)
        ],
    )?;
    Ok(())
}
