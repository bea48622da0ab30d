//! Compaction: a mark that readers obey at once, and a sweep that deletes behind it in small steps.
//!
//! The mark is replicated; how far the sweep has come is each node's own matter and shows in no answer and no digest.
//! The sweep needs no index: each version below the mark has superseded the one that it points back to, so that one
//! is deleted; a version that is itself a deletion goes too, and so does its key's row if nothing came after. What happened
//! at the mark itself is left for the next compaction: a watch may start there.

use rusqlite::{Connection, params};

use super::error::{Rejection, StateError};
use super::mark::Mark;
use super::position::Position;

/// Moves the mark.
pub(super) fn compact(mark: &mut Mark, revision: i64) -> Result<(), Rejection> {
    if revision <= mark.compacted {
        return Err(Rejection::Compacted);
    }
    if revision > mark.revision {
        return Err(Rejection::FutureRevision);
    }
    mark.compacted = revision;
    Ok(())
}

/// Whether the sweep has work left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Versions below the mark have not been looked at yet.
    More,
    /// Nothing is left below the mark.
    Done,
    /// A snapshot is being read; the sweep waits for it.
    Pinned,
}

/// Where the sweep ends for now.
pub(super) fn end(mark: &Mark) -> Position {
    Position::new(mark.compacted.max(0), 0)
}

/// Looks at the next `limit` versions below the mark.
pub(super) fn sweep(
    connection: &Connection,
    mark: &mut Mark,
    limit: u32,
) -> Result<Sweep, StateError> {
    let bound = end(mark);
    let mut versions = connection.prepare_cached("SELECT position, prev, version, key FROM history WHERE position >= ?1 AND position < ?2 ORDER BY position")?;
    let mut forget = connection.prepare_cached("DELETE FROM history WHERE position = ?1")?;
    let mut forget_key =
        connection.prepare_cached("DELETE FROM keys WHERE key = ?1 AND head = ?2")?;
    let page = versions.query_map(params![mark.swept.0, bound.0], |row| {
        Ok((
            Position(row.get(0)?),
            Position(row.get(1)?),
            row.get::<_, i64>(2)? == 0,
            row.get::<_, Vec<u8>>(3)?,
        ))
    })?;
    // Read whole before anything is deleted: what a running SELECT sees of its own connection's deletes is undefined.
    let limit = usize::try_from(limit).expect("a page fits");
    let page = page.take(limit).collect::<Result<Vec<_>, _>>()?;
    let full = page.len() == limit;
    for (position, prev, deleted, key) in page {
        if prev != Position::NONE {
            forget.execute([prev.0])?;
        }
        if deleted {
            forget.execute([position.0])?;
            forget_key.execute(params![key, position.0])?;
        }
        mark.swept = Position(position.0 + 1);
    }
    if full {
        return Ok(Sweep::More);
    }
    mark.swept = mark.swept.max(bound);
    Ok(Sweep::Done)
}
