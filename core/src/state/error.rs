//! What can go wrong, sorted by what the caller does about it.
//!
//! A [`Rejection`] is an answer: every replica gives the same one to the same command, nothing was changed, and the client
//! hears of it. A [`StateError`] is local: this node cannot apply what others may have applied, so it must stop and
//! must not go on with the next entry. A [`ReadError`] concerns one read.

use crate::database::DatabaseError;

/// Why a command changed nothing: a function of the command and the state before it, the same on every replica.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A request without a key.
    #[error("key is not provided")]
    KeyNotProvided,
    /// A put that keeps the value or lease of a key that does not exist; also an empty operation in a transaction.
    #[error("key not found")]
    KeyNotFound,
    /// A value beside `ignore_value`.
    #[error("value is provided")]
    ValueProvided,
    /// A lease beside `ignore_lease`.
    #[error("lease is provided")]
    LeaseProvided,
    /// More operations than a transaction may have.
    #[error("too many operations in txn request")]
    TooManyOperations,
    /// A key modified twice in one transaction.
    #[error("duplicate key given in txn request")]
    DuplicateKey,
    /// A sort order or target that does not exist.
    #[error("invalid sort option")]
    InvalidSort,
    /// The revision is compacted away.
    #[error("mvcc: required revision has been compacted")]
    Compacted,
    /// The revision has not been reached.
    #[error("mvcc: required revision is a future revision")]
    FutureRevision,
    /// No such lease.
    #[error("requested lease not found")]
    LeaseNotFound,
    /// The lease's id is taken.
    #[error("lease already exists")]
    LeaseExists,
    /// A leader saw the lease expire and lost its leadership before saying so: the next one decides anew.
    #[error("the lease was judged in an earlier term")]
    ExpiryOutdated,
    /// The cluster has an identity already, and not this one.
    #[error("the cluster is initialised already")]
    ClusterExists,
    /// No such member.
    #[error("member not found")]
    MemberNotFound,
    /// Another node has this id, or had it once.
    #[error("this node id is or was in use")]
    MemberIdUsed,
    /// Another member has this name.
    #[error("another member has this name")]
    MemberNameTaken,
    /// No such token: never made, revoked, or used by another.
    #[error("the token is not known")]
    TokenUnknown,
    /// The token's time is over, by the highest time that was ever replicated.
    #[error("the token has expired")]
    TokenExpired,
    /// The token's uses are consumed.
    #[error("the token is used up")]
    TokenUsedUp,
    /// The token is bound to a node of another name.
    #[error("the token is for a node of another name")]
    TokenForAnother,
    /// A token of this id exists.
    #[error("a token of this id exists")]
    TokenExists,
    /// The epoch is not above the present one, or the revision cannot move so far.
    #[error("the epoch or the revision cannot move so")]
    RecoveryOutdated,
    /// A part of the command that must be there is not.
    #[error("the command is malformed: {0}")]
    Malformed(&'static str),
}

/// Why this node cannot apply an entry. It stops: going on would make it a different replica.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The state database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A command that this version cannot read.
    #[error(
        "log entry {index} holds a command that this version does not know ({detail}); start the newer version that the other nodes run"
    )]
    UnknownCommand {
        /// Its position in the log.
        index: u64,
        /// What was met.
        detail: String,
    },
    /// What the database holds contradicts itself.
    #[error(
        "state.db: {0}; nothing was changed. Keep a copy of the directory, then wipe it and join this node anew"
    )]
    Damaged(String),
    /// Raft is being started again, or the node is a spare.
    #[error("the state is not open at the moment")]
    Closed,
    /// Applied entries could not be committed; an earlier error said why.
    #[error(
        "state.db: applied entries could not be committed; the log has to be applied again from the last commit on"
    )]
    Lost,
    /// Chunks of a snapshot that do not make a whole.
    #[error("the snapshot received is not complete: {0}")]
    Snapshot(String),
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// An answer for the client.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A failure of this node.
    #[error(transparent)]
    State(#[from] StateError),
}

impl StateError {
    /// Whether what is on the disk is not what was written there.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged(_) | Self::Database(DatabaseError::Corrupt { .. })
        )
    }
}

impl From<DatabaseError> for ReadError {
    fn from(error: DatabaseError) -> Self {
        Self::State(error.into())
    }
}

/// Inside of the state machine SQLite's errors travel by `?`; the file's name is added here.
impl From<rusqlite::Error> for StateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(DatabaseError::new(super::schema::LAYOUT.file, error))
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::State(error.into())
    }
}

impl From<prost::DecodeError> for StateError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Damaged(format!("a stored message cannot be decoded: {error}"))
    }
}
