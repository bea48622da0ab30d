//! Receiving a snapshot: the new state is built up beside the old one and takes its place in one transaction.
//!
//! The usual way is a new file and a rename, with the care that a database in WAL mode then asks for: its `-wal` and `-shm`
//! must belong to the file of that name at every moment of a crash, the directory has to be synced between the right two
//! steps, and every open connection looks at a file that has no name any more. Here the received versions go into a second
//! set of tables of the same database, in as many transactions as there are messages. When the last one has come and its
//! checksum is right, a single transaction under `synchronous=FULL` drops the old tables, renames the new ones, and writes
//! the cluster's tables and the counters. A crash at any write leaves the old state or the new one, because that is what a
//! transaction is; readers finish on what they were reading, because that is what a snapshot of a database is.
//!
//! The price: while a snapshot is received the file holds both states, and the pages of the old one stay in it as free
//! pages, to be used by what comes. Dropping a table walks through its pages, about a tenth of a second for 100 MB.

use bytes::Bytes;
use crc32fast::Hasher;
use prost::Message as _;
use rusqlite::{Connection, params};

use super::error::StateError;
use super::frozen::Records;
use super::heads::Heads;
use super::keyspace::{Keyspace, Newest, Version};
use super::mark::{self, Applied, Mark};
use super::position::Position;
use super::reader::Lease;
use super::snapshot::STREAM_FORMAT;
use super::{State, durable_point, schema, system};
use crate::database::{self, Synchronous};
use crate::ids::LeaseId;
use crate::proto::store::snapshot_chunk::Content;
use crate::proto::store::{
    SnapshotChunk, SnapshotEnd, SnapshotHead, SnapshotRecords, SnapshotVersion,
};

/// Every table that is built up beside the one that it replaces.
const TABLES: [&str; 4] = ["keys", "history", "leases", "lease_keys"];

/// No value is longer, in however many messages it comes.
const LONGEST_VALUE: usize = 16 << 20;

/// A snapshot being received. It lives in memory and in tables that the next start throws away: a crash means to begin anew.
pub(super) struct Staging {
    head: SnapshotHead,
    records: Records,
    next: u64,
    versions: u64,
    live: i64,
    /// Over the messages so far, as they came.
    checksum: Hasher,
    heads: Heads,
    /// A version whose value has not come to its end.
    partial: Option<SnapshotVersion>,
    whole: bool,
}

/// What the receiver waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staged {
    /// More messages.
    Part,
    /// Nothing: it can be installed.
    Whole,
}

impl State {
    /// Takes the next message of a snapshot, a [`SnapshotChunk`]. The first message begins anew, whatever was received
    /// before. The state itself goes on as it is until [`State::install`].
    pub fn stage(&mut self, message: &Bytes) -> Result<Staged, StateError> {
        self.commit_held()?;
        let chunk = SnapshotChunk::decode(message.clone())
            .map_err(|error| incomplete(&format!("no message of a snapshot: {error}")))?;
        let content = chunk
            .content
            .as_ref()
            .ok_or_else(|| incomplete("a message of a kind that this version does not know"))?;
        self.connection.sound()?;
        if let (0, Content::Head(head)) = (chunk.sequence, content) {
            self.staging = None;
            self.staging = Some(Staging::begin(&self.connection, head)?);
        }
        let staging = self
            .staging
            .as_mut()
            .ok_or_else(|| incomplete("it does not begin at its beginning"))?;
        if staging.next != chunk.sequence || staging.whole {
            return Err(incomplete(&format!(
                "message {} came where {} was expected",
                chunk.sequence, staging.next
            )));
        }
        staging.next += 1;
        match content {
            Content::Head(_) => {}
            Content::Records(records) => staging.add_records(&self.connection, records)?,
            Content::Versions(versions) => {
                staging.add_versions(&self.connection, &versions.versions)?;
            }
            Content::End(end) => staging.end(&self.connection, end)?,
        }
        staging.checksum.update(message);
        Ok(if staging.whole {
            Staged::Whole
        } else {
            Staged::Part
        })
    }

    /// Replaces the state by the one that was received. When this returns the new one is durable.
    pub fn install(&mut self) -> Result<Applied, StateError> {
        self.commit_held()?;
        let staging = self
            .staging
            .take()
            .filter(|staging| staging.whole)
            .ok_or_else(|| incomplete("its end has not come"))?;
        let mark = staging.mark(&self.mark);
        let membership = staging.membership();
        self.connection.sound()?;
        database::set_synchronous(&self.connection, Synchronous::Full)?;
        let replaced = replace(
            &self.connection,
            &staging.records,
            &mark,
            membership.as_ref(),
        );
        database::set_synchronous(&self.connection, Synchronous::Normal)?;
        replaced.inspect_err(|error| self.connection.end(error))?;
        self.mark = mark;
        self.membership = membership;
        self.durable = durable_point(&self.connection, &mut self.mark)?;
        Ok(self.applied())
    }

    /// Forgets what was received so far.
    pub fn discard_staged(&mut self) -> Result<(), StateError> {
        self.commit_held()?;
        self.staging = None;
        drop_staged(&self.connection)
    }
}

impl Staging {
    fn begin(connection: &Connection, head: &SnapshotHead) -> Result<Self, StateError> {
        if head.format != STREAM_FORMAT {
            return Err(incomplete(&format!(
                "its format is {}, known is {STREAM_FORMAT}",
                head.format
            )));
        }
        check_head(head)?;
        drop_staged(connection)?;
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {} COMMIT", schema::STAGED))?;
        let records = Records {
            cluster: None,
            members: vec![],
            tombstones: vec![],
            tokens: vec![],
            trusted: vec![],
            leases: vec![],
        };
        Ok(Self {
            head: head.clone(),
            records,
            next: 0,
            versions: 0,
            live: 0,
            checksum: Hasher::new(),
            heads: Heads::default(),
            partial: None,
            whole: false,
        })
    }

    fn add_records(
        &mut self,
        connection: &Connection,
        records: &SnapshotRecords,
    ) -> Result<(), StateError> {
        self.records.cluster = records.cluster.first().copied().or(self.records.cluster);
        self.records.members.extend_from_slice(&records.members);
        self.records
            .tombstones
            .extend_from_slice(&records.tombstones);
        self.records.tokens.extend_from_slice(&records.tokens);
        self.records.trusted.extend_from_slice(&records.trusted_cas);
        let transaction = connection.unchecked_transaction()?;
        for lease in &records.leases {
            let lease = Lease {
                id: LeaseId(lease.id),
                ttl_seconds: lease.ttl_seconds,
            };
            transaction
                .prepare_cached("INSERT INTO staged_leases (id, ttl) VALUES (?1, ?2)")?
                .execute(params![lease.id.0, lease.ttl_seconds])?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn add_versions(
        &mut self,
        connection: &Connection,
        versions: &[SnapshotVersion],
    ) -> Result<(), StateError> {
        let transaction = connection.unchecked_transaction()?;
        let mut keyspace = Keyspace::staged(&transaction);
        for piece in versions {
            let joined = self
                .partial
                .take()
                .map(|begun| join(begun, piece))
                .transpose()?;
            let version = joined.as_ref().unwrap_or(piece);
            if version.continued {
                self.partial = Some(version.clone());
            } else {
                self.add_version(&mut keyspace, version)?;
            }
        }
        drop(keyspace);
        transaction.commit()?;
        Ok(())
    }

    /// The same way as when it was applied, so that pointers and leases come out right by themselves.
    fn add_version(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        version: &SnapshotVersion,
    ) -> Result<(), StateError> {
        let before = self.heads.newest(keyspace, &version.key)?;
        self.check_version(version, before.as_ref())?;
        let existed = before.is_some_and(|before| before.exists());
        let new = Version {
            position: Position(version.position),
            key: &version.key,
            value: &version.value,
            created: version.created,
            version: version.version,
            lease: version.lease,
        };
        let newest = keyspace.append(&new, before.as_ref())?;
        self.heads.set(keyspace, &version.key, newest)?;
        self.live += i64::from(version.version > 0) - i64::from(existed);
        self.versions += 1;
        Ok(())
    }

    /// What comes from another node may be anything: a version that could not have come about would end this node when
    /// something is built upon it.
    fn check_version(
        &self,
        version: &SnapshotVersion,
        before: Option<&Newest>,
    ) -> Result<(), StateError> {
        let position = Position(version.position);
        let possible = Position::after(0)..Position::after(self.head.revision);
        let in_order = before.is_none_or(|before| before.head < position);
        let counted = 0..Position::LAST_REVISION;
        if possible.contains(&position)
            && in_order
            && counted.contains(&version.version)
            && counted.contains(&version.created)
            && !version.key.is_empty()
        {
            Ok(())
        } else {
            Err(incomplete("a version that could not have come about"))
        }
    }

    fn end(&mut self, connection: &Connection, end: &SnapshotEnd) -> Result<(), StateError> {
        if self.partial.is_some() || end.versions != self.versions {
            return Err(incomplete(&format!(
                "{} versions came of {}",
                self.versions, end.versions
            )));
        }
        if end.checksum != self.checksum.clone().finalize() {
            return Err(incomplete("its checksum is wrong"));
        }
        let transaction = connection.unchecked_transaction()?;
        self.heads.write(&mut Keyspace::staged(&transaction))?;
        transaction.commit()?;
        self.whole = true;
        Ok(())
    }

    /// The counters of the new state; those that are this node's own go on from the old one.
    fn mark(&self, old: &Mark) -> Mark {
        Mark {
            revision: self.head.revision,
            compacted: self.head.compacted,
            swept: Position(self.head.swept),
            live: self.live,
            clock: self.head.clock_ms,
            points: old.points,
            installs: old.installs + 1,
            log_id: self.head.applied,
        }
    }

    fn membership(&self) -> Option<(crate::proto::store::LogId, crate::proto::store::Membership)> {
        self.head.membership_id.zip(self.head.membership.clone())
    }
}

/// A version that has begun, and what comes next of its value.
fn join(begun: SnapshotVersion, piece: &SnapshotVersion) -> Result<SnapshotVersion, StateError> {
    if begun.position != piece.position {
        return Err(incomplete("a value ends in the middle"));
    }
    if begun.value.len() + piece.value.len() > LONGEST_VALUE {
        return Err(incomplete("a value without an end"));
    }
    Ok(SnapshotVersion {
        value: [begun.value.as_ref(), piece.value.as_ref()].concat().into(),
        continued: piece.continued,
        ..begun
    })
}

/// Tables that a crash or a broken transfer has left behind.
pub(super) fn drop_staged(connection: &Connection) -> Result<(), StateError> {
    for table in TABLES {
        connection.execute_batch(&format!("DROP TABLE IF EXISTS staged_{table}"))?;
    }
    Ok(())
}

fn replace(
    connection: &Connection,
    records: &Records,
    mark: &Mark,
    membership: Option<&(crate::proto::store::LogId, crate::proto::store::Membership)>,
) -> Result<(), StateError> {
    let transaction = connection.unchecked_transaction()?;
    for table in TABLES {
        transaction.execute_batch(&format!(
            "DROP TABLE {table}; ALTER TABLE staged_{table} RENAME TO {table}"
        ))?;
    }
    system::replace(&transaction, records)?;
    transaction.execute("DELETE FROM membership", [])?;
    if let Some((log_id, membership)) = membership {
        mark::write_membership(&transaction, *log_id, membership)?;
    }
    mark.write(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// The counters go on from here.
fn check_head(head: &SnapshotHead) -> Result<(), StateError> {
    let possible = (1..Position::LAST_REVISION).contains(&head.revision)
        && (-1..=head.revision).contains(&head.compacted)
        && (0..=Position::after(head.revision).0).contains(&head.swept);
    if possible {
        Ok(())
    } else {
        Err(incomplete("counters that could not have come about"))
    }
}

fn incomplete(why: &str) -> StateError {
    StateError::Snapshot(why.to_owned())
}
