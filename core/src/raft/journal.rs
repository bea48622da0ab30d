//! The Raft log in SQLite: entries, vote, committed id, purge mark, and what this node last saw of its peers.
//!
//! Synchronous and without openraft's traits: one call of [`Journal::write`] is one transaction and one sync, whatever
//! the number of steps in it. [`super::log`] decides what goes together. Each row carries a checksum, because SQLite's
//! pages do not: a flipped bit is met as an error here, never as another command, vote or end of the log.

use std::ops::Range;

use bytes::Bytes;
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::convert;
use super::types::{self, Entry, LogId, Payload, Vote};
use crate::database::{Checkpointer, DatabaseError, Layout, Missing, Opened, Place, Synchronous};
use crate::ids::NodeId;
use crate::proto::store;

/// The log's database.
pub const LAYOUT: Layout = Layout {
    file: "log.db",
    application_id: 0x5152_4c47,
    formats: &[
        "
        CREATE TABLE entry (
            idx INTEGER PRIMARY KEY,
            term INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            command BLOB,
            membership BLOB
        );
        CREATE TABLE fact (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE mark (
            node INTEGER PRIMARY KEY,
            term INTEGER NOT NULL,
            last_term INTEGER NOT NULL,
            last_index INTEGER NOT NULL
        )
    ",
        "
        ALTER TABLE fact ADD COLUMN checksum INTEGER;
        ALTER TABLE mark ADD COLUMN checksum INTEGER;
    ",
    ],
    // Three entries with an object of 1 KiB fit one page; half of the size would hold one, and leave half of it empty.
    page_bytes: 4096,
    cache_kib: 1024,
    statements: 16,
    wal_bytes: 4 << 20,
    synced: true,
};

/// One step of a write.
#[derive(Clone, Debug)]
pub enum Step {
    /// Entries to add; none of their indexes is present.
    Append(Vec<Entry>),
    /// The vote to keep.
    Vote(Vote),
    /// Entries from this index on go away.
    TruncateFrom(u64),
    /// Entries up to this id go away; it becomes the purge mark.
    PurgeTo(LogId),
}

/// What this node last saw of a peer: the highest term it acknowledged anything in, and the last log id in that term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The term.
    pub term: u64,
    /// Term and index of the last entry it acknowledged.
    pub last: (u64, u64),
}

/// What rides along with a write because it may be lost.
#[derive(Clone, Debug, Default)]
pub struct Aside {
    /// The committed id, when it moved.
    pub committed: Option<LogId>,
    /// Marks that moved.
    pub marks: Vec<(NodeId, Mark)>,
}

/// What a log holds when it is opened.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The vote.
    pub vote: Option<Vote>,
    /// The last entry, or the purge mark when there is none.
    pub last: Option<LogId>,
    /// The purge mark.
    pub purged: Option<LogId>,
    /// The committed id; never beyond `last`.
    pub committed: Option<LogId>,
    /// What was last seen of the peers.
    pub marks: Vec<(NodeId, Mark)>,
    /// How much of the file is in use, which is nearly all for entries.
    pub bytes: u64,
}

/// The writing half.
pub struct Journal {
    connection: Opened,
    file: String,
}

impl Journal {
    /// Opens the log of a node.
    ///
    /// # Errors
    /// When it is missing and must not be made, when it is damaged, or when SQLite cannot open it.
    pub fn open(place: &Place, missing: Missing) -> Result<(Self, Contents), DatabaseError> {
        let connection = place.writer(&LAYOUT, Synchronous::Full, missing)?;
        let journal = Self {
            connection,
            file: place.path(LAYOUT.file),
        };
        let contents = journal.contents()?;
        Ok((journal, contents))
    }

    fn contents(&self) -> Result<Contents, DatabaseError> {
        let purged = self
            .fact("purged")?
            .map(|bytes| self.decode::<store::LogId>(&bytes))
            .transpose()?;
        let purged = purged.as_ref().map(convert::log_id_in);
        let top = self
            .connection
            .query_row(
                "SELECT idx, term, checksum, command, membership FROM entry ORDER BY idx DESC LIMIT 1",
                [],
                read_row,
            )
            .optional()
            .map_err(|error| self.sql(error))?;
        let top = top.transpose().map_err(|detail| self.corrupt(detail))?;
        let last = top.map(|entry| entry.log_id).or(purged);
        let vote = self
            .fact("vote")?
            .map(|bytes| self.decode::<store::Vote>(&bytes))
            .transpose()?;
        let committed = self
            .fact("committed")?
            .map(|bytes| self.decode::<store::LogId>(&bytes))
            .transpose()?;
        // Written behind the entries it names, but an older entry may have been truncated since: stale is safe, ahead is
        // not (T37).
        let committed = committed.as_ref().map(convert::log_id_in).min(last);
        Ok(Contents {
            vote: vote.as_ref().map(convert::vote_in),
            last,
            purged,
            committed,
            marks: self.marks()?,
            bytes: self.bytes_in_use().map_err(|error| self.sql(error))?,
        })
    }

    fn bytes_in_use(&self) -> rusqlite::Result<u64> {
        let number = |name| {
            self.connection
                .pragma_query_value(None, name, |row| row.get::<_, u64>(0))
        };
        let used = number("page_count")?.saturating_sub(number("freelist_count")?);
        Ok(used * number("page_size")?)
    }

    fn marks(&self) -> Result<Vec<(NodeId, Mark)>, DatabaseError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT node, term, last_term, last_index, checksum FROM mark ORDER BY node",
            )?;
            let rows = statement.query_map([], |row| {
                let node = NodeId(row.get::<_, i64>(0)?.cast_unsigned());
                let mark = Mark {
                    term: row.get(1)?,
                    last: (row.get(2)?, row.get(3)?),
                };
                Ok((node, mark, row.get(4)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<(NodeId, Mark, Option<u32>)>>>()
        };
        let rows = read().map_err(|error| self.sql(error))?;
        let checked = rows.into_iter().map(|(node, mark, stored)| {
            if stored.is_some_and(|stored| stored != checksum_of_mark(node, &mark)) {
                return Err(
                    self.corrupt(format!("what was last seen of {node} fails its checksum"))
                );
            }
            Ok((node, mark))
        });
        checked.collect()
    }

    fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        let found = self
            .connection
            .query_row(
                "SELECT value, checksum FROM fact WHERE name = ?",
                [name],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(|error| self.sql(error))?;
        let Some((value, stored)): Option<(Vec<u8>, Option<u32>)> = found else {
            return Ok(None);
        };
        // An older program wrote none.
        if stored.is_some_and(|stored| stored != checksum_of_fact(name, &value)) {
            return Err(self.corrupt(format!("the {name} fails its checksum")));
        }
        Ok(Some(value))
    }

    fn corrupt(&self, detail: String) -> DatabaseError {
        DatabaseError::Corrupt {
            file: self.file.clone(),
            detail,
        }
    }

    fn decode<M: prost::Message + Default>(&self, bytes: &[u8]) -> Result<M, DatabaseError> {
        M::decode(bytes).map_err(|error| self.corrupt(error.to_string()))
    }

    fn sql(&self, error: rusqlite::Error) -> DatabaseError {
        DatabaseError::new(&self.file, error)
    }

    /// Writes `steps` in order, and what rides along, in one transaction: durable when this returns.
    ///
    /// # Errors
    /// When SQLite cannot write; then nobody may rely on any of it, and nothing more is written.
    pub fn write(&mut self, steps: &[Step], aside: &Aside) -> Result<(), DatabaseError> {
        self.connection.sound()?;
        let written = write(&mut self.connection, steps, aside);
        written.map_err(|error| {
            self.connection.end(&error);
            DatabaseError::new(&self.file, error)
        })?;
        // A checkpoint beside this write may have met the error that this write's own sync did not.
        self.connection.sound()
    }
}

fn write(connection: &mut Connection, steps: &[Step], aside: &Aside) -> rusqlite::Result<()> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for step in steps {
        match step {
            Step::Append(entries) => append(&transaction, entries)?,
            Step::Vote(vote) => set_fact(&transaction, "vote", &convert::vote_out(vote))?,
            Step::TruncateFrom(index) => {
                transaction
                    .prepare_cached("DELETE FROM entry WHERE idx >= ?")?
                    .execute([index])?;
            }
            Step::PurgeTo(id) => {
                transaction
                    .prepare_cached("DELETE FROM entry WHERE idx <= ?")?
                    .execute([id.index])?;
                set_fact(&transaction, "purged", &convert::log_id_out(id))?;
            }
        }
    }
    if let Some(committed) = &aside.committed {
        set_fact(&transaction, "committed", &convert::log_id_out(committed))?;
    }
    for (node, mark) in &aside.marks {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO mark VALUES (?, ?, ?, ?, ?)")?
            .execute(params![
                node.0.cast_signed(),
                mark.term,
                mark.last.0,
                mark.last.1,
                checksum_of_mark(*node, mark)
            ])?;
    }
    transaction.commit()
}

fn append(connection: &Connection, entries: &[Entry]) -> rusqlite::Result<()> {
    // Plain INSERT: an index that is already there would be a breach of the queue's order, and must not pass in silence.
    let mut insert = connection.prepare_cached("INSERT INTO entry VALUES (?, ?, ?, ?, ?)")?;
    for entry in entries {
        let (index, term) = (entry.log_id.index, types::term_of(&entry.log_id));
        let command = entry.payload.command.as_deref();
        let membership = entry
            .payload
            .membership
            .as_ref()
            .map(|m| convert::membership_out(m).encode_to_vec());
        let checksum = checksum(index, term, command, membership.as_deref());
        insert.execute(params![index, term, checksum, command, membership])?;
    }
    Ok(())
}

fn set_fact(
    connection: &Connection,
    name: &str,
    value: &impl prost::Message,
) -> rusqlite::Result<()> {
    let value = value.encode_to_vec();
    let checksum = checksum_of_fact(name, &value);
    connection
        .prepare_cached("INSERT OR REPLACE INTO fact VALUES (?, ?, ?)")?
        .execute(params![name, value, checksum])?;
    Ok(())
}

fn checksum_of_fact(name: &str, value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(value);
    hasher.finalize()
}

fn checksum_of_mark(node: NodeId, mark: &Mark) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for number in [node.0, mark.term, mark.last.0, mark.last.1] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.finalize()
}

/// CRC-32 over everything in the row. The lengths are in it, so that bytes cannot move from one column to the other.
fn checksum(index: u64, term: u64, command: Option<&[u8]>, membership: Option<&[u8]>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(&term.to_le_bytes());
    for part in [command, membership] {
        let length = part.map_or(u64::MAX, |bytes| bytes.len() as u64);
        hasher.update(&length.to_le_bytes());
        hasher.update(part.unwrap_or_default());
    }
    hasher.finalize()
}

/// The reading half: a connection of its own.
pub struct JournalReader {
    connection: Opened,
    file: String,
}

impl JournalReader {
    /// Opens it; the [`Journal`] must be open.
    ///
    /// # Errors
    /// When SQLite cannot open it.
    pub fn open(place: &Place) -> Result<Self, DatabaseError> {
        Ok(Self {
            connection: place.reader(&LAYOUT)?,
            file: place.path(LAYOUT.file),
        })
    }

    /// The entries of `range` that are present, until `max_bytes` are read; at least one if there is one.
    ///
    /// # Errors
    /// When an entry fails its checksum, the range has a hole, or SQLite cannot read.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Entry>, DatabaseError> {
        let sql = |error| DatabaseError::new(&self.file, error);
        let corrupt = |detail: String| DatabaseError::Corrupt {
            file: self.file.clone(),
            detail,
        };
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT idx, term, checksum, command, membership FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx",
            )
            .map_err(sql)?;
        let end = range.end.min(i64::MAX.cast_unsigned());
        let mut rows = statement.query(params![range.start, end]).map_err(sql)?;
        let (mut entries, mut bytes) = (Vec::<Entry>::new(), 0);
        while let Some(row) = rows.next().map_err(sql)? {
            let entry = read_row(row).map_err(sql)?.map_err(corrupt)?;
            if let Some(before) = entries
                .last()
                .filter(|before| before.log_id.index + 1 != entry.log_id.index)
            {
                return Err(corrupt(format!(
                    "log entry {} follows {}",
                    entry.log_id.index, before.log_id.index
                )));
            }
            bytes += entry.payload.weight();
            entries.push(entry);
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(entries)
    }
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<Result<Entry, String>> {
    let (index, term, stored): (u64, u64, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (command, membership): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(3)?, row.get(4)?);
    if checksum(index, term, command.as_deref(), membership.as_deref()) != stored {
        return Ok(Err(format!("log entry {index} fails its checksum")));
    }
    let membership = membership
        .map(|bytes| store::Membership::decode(&bytes[..]))
        .transpose();
    Ok(match membership {
        Ok(membership) => Ok(Entry {
            log_id: types::log_id(term, index),
            payload: Payload {
                command: command.map(Bytes::from),
                membership: membership.as_ref().map(convert::membership_in),
            },
        }),
        Err(error) => Err(format!(
            "the membership in log entry {index} does not decode: {error}"
        )),
    })
}

/// Moves the write-ahead log into the database when it has grown, on a worker of its own. After an error of the disk the
/// [`Journal`] refuses every further write.
#[must_use]
pub fn checkpointer(place: &Place) -> Checkpointer {
    Checkpointer::new(place, &LAYOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(directory: &tempfile::TempDir) -> Place {
        Place::new(directory.path(), None)
    }

    fn entry(term: u64, index: u64) -> Entry {
        let command = Some(Bytes::from(format!("command {index}")));
        Entry {
            log_id: types::log_id(term, index),
            payload: Payload {
                command,
                membership: None,
            },
        }
    }

    fn entries(term: u64, range: Range<u64>) -> Step {
        Step::Append(range.map(|index| entry(term, index)).collect())
    }

    #[test]
    fn what_was_written_is_there_when_it_opens() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, contents) = Journal::open(&place(&directory), Missing::Create).unwrap();
        assert_eq!((contents.vote, contents.last), (None, None));
        let mark = Mark {
            term: 2,
            last: (1, 7),
        };
        let aside = Aside {
            committed: Some(types::log_id(1, 5)),
            marks: vec![(NodeId(u64::MAX), mark)],
        };
        let vote = Vote::new_committed(2, NodeId(1));
        journal
            .write(
                &[entries(1, 1..9), Step::Vote(vote), Step::TruncateFrom(8)],
                &aside,
            )
            .unwrap();
        journal
            .write(&[Step::PurgeTo(types::log_id(1, 3))], &Aside::default())
            .unwrap();
        drop(journal);
        let (_journal, contents) = Journal::open(&place(&directory), Missing::Refuse).unwrap();
        assert_eq!(contents.vote, Some(vote));
        assert_eq!(contents.last, Some(types::log_id(1, 7)));
        assert_eq!(contents.purged, Some(types::log_id(1, 3)));
        assert_eq!(contents.committed, Some(types::log_id(1, 5)));
        assert_eq!(contents.marks, [(NodeId(u64::MAX), mark)]);
        let reader = JournalReader::open(&place(&directory)).unwrap();
        assert_eq!(
            reader.read(0..100, usize::MAX).unwrap(),
            (4..8).map(|i| entry(1, i)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn committed_is_never_beyond_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(&place(&directory), Missing::Create).unwrap();
        let aside = Aside {
            committed: Some(types::log_id(1, 9)),
            marks: vec![],
        };
        journal.write(&[entries(1, 1..4)], &aside).unwrap();
        drop(journal);
        let (_, contents) = Journal::open(&place(&directory), Missing::Refuse).unwrap();
        assert_eq!(contents.committed, Some(types::log_id(1, 3)));
    }

    #[test]
    fn a_flipped_bit_and_a_hole_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(&place(&directory), Missing::Create).unwrap();
        journal
            .write(&[entries(1, 1..5)], &Aside::default())
            .unwrap();
        let reader = JournalReader::open(&place(&directory)).unwrap();
        journal
            .connection
            .execute(
                "UPDATE entry SET command = CAST('commanD 2' AS BLOB) WHERE idx = 2",
                [],
            )
            .unwrap();
        let error = reader.read(1..5, usize::MAX).unwrap_err().to_string();
        assert!(error.contains("entry 2 fails its checksum"), "{error}");
        journal
            .connection
            .execute("DELETE FROM entry WHERE idx = 2", [])
            .unwrap();
        let error = reader.read(1..5, usize::MAX).unwrap_err().to_string();
        assert!(error.contains("entry 3 follows 1"), "{error}");
    }

    #[test]
    fn an_index_is_never_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(&place(&directory), Missing::Create).unwrap();
        journal
            .write(&[entries(1, 1..3)], &Aside::default())
            .unwrap();
        assert!(
            journal
                .write(&[entries(2, 2..3)], &Aside::default())
                .is_err()
        );
        drop(journal);
        let (mut journal, _) = Journal::open(&place(&directory), Missing::Refuse).unwrap();
        journal
            .write(
                &[Step::TruncateFrom(2), entries(2, 2..3)],
                &Aside::default(),
            )
            .unwrap();
    }

    #[test]
    fn a_read_is_bounded_and_yields_at_least_one() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(&place(&directory), Missing::Create).unwrap();
        journal
            .write(&[entries(1, 1..9)], &Aside::default())
            .unwrap();
        let reader = JournalReader::open(&place(&directory)).unwrap();
        assert_eq!(reader.read(1..9, 1).unwrap().len(), 1);
        assert_eq!(reader.read(1..9, 200).unwrap().len(), 3);
    }

    /// SQLite does not see any of it.
    #[test]
    fn rotten_vote_mark_and_last_entry_are_met_when_it_opens() {
        let rots = [
            "UPDATE fact SET value = x'0803' WHERE name = 'vote'",
            "UPDATE fact SET value = x'0807' WHERE name = 'committed'",
            "UPDATE mark SET last_index = 8",
            "UPDATE entry SET term = 3 WHERE idx = 2",
            "UPDATE entry SET idx = 1026 WHERE idx = 2",
        ];
        for rot in rots {
            let directory = tempfile::tempdir().unwrap();
            let (mut journal, _) = Journal::open(&place(&directory), Missing::Create).unwrap();
            let mark = Mark {
                term: 2,
                last: (1, 7),
            };
            let aside = Aside {
                committed: Some(types::log_id(1, 1)),
                marks: vec![(NodeId(9), mark)],
            };
            let vote = Step::Vote(Vote::new(2, NodeId(1)));
            journal.write(&[entries(1, 0..3), vote], &aside).unwrap();
            assert_eq!(journal.connection.execute(rot, []).unwrap(), 1, "{rot}");
            drop(journal);
            let opened = Journal::open(&place(&directory), Missing::Refuse).map(|_| ());
            assert!(
                matches!(opened, Err(DatabaseError::Corrupt { .. })),
                "{rot}"
            );
        }
    }
}
