//! The state machine: what the replicated log means.
//!
//! Pure and synchronous. The same entries lead every replica to the same state and the same answers, whatever the node,
//! the hour, or the way in which the entries were cut into batches: nothing here asks a clock, draws a number, or lets the
//! order of rows in a table reach an answer. It is one SQLite database; [`State`] is its one writer, any number of
//! [`Reader`]s look at the last committed batch.
//!
//! | file | what it holds |
//! |---|---|
//! | `schema` | the tables, and why there is no index by key over history |
//! | `position` | a version's place in history, as one number |
//! | `keyspace` | finding a key, adding a version, walking back to an older one |
//! | `seal` | the checksum behind each value |
//! | `mark` | the counters: revision, compaction, the last applied entry |
//! | `batch`, `statement` | a run of entries in one transaction, and its prepared statements |
//! | `command` | the envelope, and what happens to a command from the future |
//! | `change`, `txn`, `lease`, `compact`, `system` | the commands |
//! | `validate` | what can be said of a request before anything is read |
//! | `range`, `reader` | reads |
//! | `frozen`, `digest` | the state at one entry, read in pieces; comparing replicas |
//! | `snapshot`, `install`, `heads` | the state as a stream, and back |
//! | `response`, `error` | answers, rejections, and failures of this node |
//!
//! # Durability
//!
//! A commit survives the death of the process and not a loss of power: the Raft log, which is synced before anything is
//! acknowledged, brings the state forward again. What must not be lost is the knowledge of how much of the log is still
//! needed. So there are *durable points*: a commit under `synchronous=FULL`, whose sync of the write-ahead log makes every
//! earlier commit durable too, whatever readers are doing (a checkpoint that answers OK does not promise that). The applied
//! id, read again after such a commit, is [`State::durable_applied`], and the log may be purged up to it.
//!
//! Less than a commit is a batch that is *held*: it is applied, in a transaction that stays open. The death of the process
//! takes it back, and the log brings it forward again like the others.

mod batch;
mod change;
mod command;
mod compact;
mod digest;
mod error;
mod frozen;
mod heads;
mod install;
mod keyspace;
mod lease;
mod mark;
mod position;
mod range;
mod reader;
mod response;
mod schema;
mod seal;
mod snapshot;
mod statement;
mod system;
mod txn;
pub mod validate;

use batch::Held;
pub use batch::{Batch, Durability, RevisionEvents};
pub use change::{LONGEST_ANSWER, Listening};
pub use command::{FEATURE_LEVEL, FORMAT, check, command, decode, is_brief};
pub use compact::Sweep;
pub use digest::{Digest, KeyspaceHash};
pub use error::{ReadError, Rejection, StateError};
pub use install::Staged;
pub use mark::Applied;
pub use reader::{Lease, Reader, Revisions, Roster};
pub use response::{Response, SystemResponse};
pub use schema::LAYOUT;
pub use snapshot::{SnapshotReader, Snapshots};
pub use system::{cluster, member, members, token, tokens, tombstones, trusted};

use crate::database::{self, Missing, Opened, Place, Synchronous};
use crate::ids::Revision;
use crate::proto::store::{LogId, Member, Membership, Tombstone};
use mark::Mark;

/// The state of one node, and the only connection that writes to it.
pub struct State {
    connection: Opened,
    mark: Mark,
    membership: Option<(LogId, Membership)>,
    /// The last entry whose effect no crash can take back.
    durable: Option<LogId>,
    listening: Listening,
    /// Batches that are applied and not committed.
    held: Option<Held>,
    /// Whether held batches were rolled back: what is here is older than what clients were told, and only applying the log
    /// again, from opening on, can mend that.
    lost: bool,
    place: Place,
    pins: frozen::Pins,
    /// A snapshot that is being received.
    staging: Option<install::Staging>,
}

impl State {
    /// Opens the state database, making an empty one if `missing` allows.
    pub fn open(place: &Place, missing: Missing) -> Result<Self, StateError> {
        let connection = place.writer(&LAYOUT, Synchronous::Normal, missing)?;
        install::drop_staged(&connection)?;
        let mark = Mark::read(&connection)?;
        let membership = mark::read_membership(&connection)?;
        Ok(Self {
            connection,
            mark,
            membership,
            durable: None,
            listening: Listening::Nothing,
            held: None,
            lost: false,
            place: place.clone(),
            pins: frozen::Pins::default(),
            staging: None,
        })
    }

    /// The last applied entry and membership, durable or not.
    #[must_use]
    pub fn applied(&self) -> Applied {
        Applied {
            log_id: self.mark.log_id,
            membership: self.membership.clone(),
        }
    }

    /// The last entry that was applied at a durable point of this run. What was found when the database was opened may
    /// still be in the operating system's memory alone, so it counts only after [`State::make_durable`].
    #[must_use]
    pub fn durable_applied(&self) -> Option<LogId> {
        self.durable
    }

    /// The present revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.mark.revision)
    }

    /// What the batches from now on tell about their changes.
    pub fn listen(&mut self, listening: Listening) {
        self.listening = listening;
    }

    /// Who belongs to the cluster, and who did once.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn members_and_removed(&self) -> Result<(Vec<Member>, Vec<Tombstone>), StateError> {
        Ok((members(&self.connection)?, tombstones(&self.connection)?))
    }

    /// Opens a transaction for a run of entries.
    pub fn begin(&mut self) -> Result<Batch<'_>, StateError> {
        Batch::begin(self)
    }

    /// Whether batches are held: applied, and not yet to be seen by readers.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Whether held batches were lost: see [`State::commit_held`].
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// How much is held, by what [`Batch::hold`] was told.
    #[must_use]
    pub fn held_weight(&self) -> usize {
        self.held.map_or(0, |held| held.weight)
    }

    /// Commits the batches that are held, if there are any: readers see them from now on.
    ///
    /// # Errors
    /// When that fails, now or at an earlier time: they are rolled back then, and the state can do nothing more until it is
    /// opened again and the log applied to it.
    pub fn commit_held(&mut self) -> Result<(), StateError> {
        self.check_not_lost()?;
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        let sound = self.connection.sound().map_err(StateError::from);
        let committed = sound.and_then(|()| {
            self.mark.write(&self.connection)?;
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(())
        });
        if committed.is_err() {
            self.lost = true;
            self.mark = held.mark_before;
            // If even this fails the connection is broken, and nothing is done with it any more.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        committed
    }

    fn check_not_lost(&self) -> Result<(), StateError> {
        if self.lost {
            return Err(StateError::Lost);
        }
        Ok(())
    }

    /// Makes everything applied so far durable: before Raft starts, since it purges its log up to what it is told is
    /// applied, and before a snapshot is named.
    pub fn make_durable(&mut self) -> Result<Option<LogId>, StateError> {
        self.commit_held()?;
        self.durable = durable_point(&self.connection, &mut self.mark)?;
        Ok(self.durable)
    }

    /// Deletes some of what compaction has left behind: at most `limit` versions are looked at, in one short transaction.
    pub fn compact_step(&mut self, limit: u32) -> Result<Sweep, StateError> {
        self.commit_held()?;
        let pins = self.pins.lock();
        if *pins > 0 {
            return Ok(Sweep::Pinned);
        }
        let mut mark = self.mark;
        if mark.swept >= compact::end(&mark) {
            return Ok(Sweep::Done);
        }
        self.connection.sound()?;
        let transaction = rusqlite::Transaction::new_unchecked(
            &self.connection,
            rusqlite::TransactionBehavior::Immediate,
        )?;
        let sweep = compact::sweep(&transaction, &mut mark, limit)?;
        mark.write(&transaction)?;
        transaction.commit()?;
        self.mark = mark;
        Ok(sweep)
    }

    /// Frozen views of the state, for sending it and for digests.
    #[must_use]
    pub fn snapshots(&self) -> Snapshots {
        Snapshots::new(self.place.clone(), self.pins.clone())
    }

    /// Reads the whole database file for damage. Takes seconds on a large one.
    pub fn quick_check(&self) -> Result<(), StateError> {
        Ok(database::quick_check(&self.connection, LAYOUT.file)?)
    }
}

/// Commits under `synchronous=FULL` and reads back what is thereby durable. The transaction changes a counter because
/// SQLite would write, and so sync, nothing for one that changes nothing. An error ends the writing: what was committed before
/// it may be lost, though a later sync would answer well.
fn durable_point(connection: &Opened, mark: &mut Mark) -> Result<Option<LogId>, StateError> {
    connection.sound()?;
    database::set_synchronous(connection, Synchronous::Full)?;
    let counted = Mark {
        points: mark.points + 1,
        ..*mark
    };
    let committed = counted.write(connection);
    let committed = committed.inspect_err(|error| connection.end(error));
    database::set_synchronous(connection, Synchronous::Normal)?;
    committed?;
    connection.sound()?;
    *mark = counted;
    let durable = Mark::read(connection)?;
    if durable != *mark {
        return Err(StateError::Damaged(
            "the counters that are read are not those that were written".to_owned(),
        ));
    }
    Ok(durable.log_id)
}

impl Drop for State {
    fn drop(&mut self) {
        // What fails here was not promised to be there.
        let _ = self.commit_held();
    }
}
