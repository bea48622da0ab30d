//! What a node tells the world that it lives in, so that a simulator can hold it to its promises.
//!
//! In production nobody listens and the calls compile to nothing.

/// Something that a node did. Ids are (term, index).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The log was opened and holds this.
    LogOpened {
        /// Term, node and whether it is committed.
        vote: Option<(u64, u64, bool)>,
        /// The last entry.
        last: Option<(u64, u64)>,
    },
    /// The vote is durable.
    VoteSaved {
        /// Its term.
        term: u64,
        /// For whom.
        node: u64,
        /// Granted by a quorum.
        committed: bool,
    },
    /// Everything up to this id is durable.
    LogFlushed {
        /// The last entry.
        last: (u64, u64),
    },
    /// Entries from this index on are about to be removed.
    LogTruncated {
        /// The first that goes.
        from: u64,
    },
    /// Entries up to this id are removed because the state holds what they did.
    LogPurged {
        /// The last that went.
        to: (u64, u64),
    },
    /// Entries up to this id are applied and answered.
    Applied {
        /// The last entry.
        last: (u64, u64),
        /// The keyspace's revision after it.
        revision: i64,
    },
    /// A snapshot replaced the state.
    Installed {
        /// What it covers.
        last: (u64, u64),
    },
    /// The node leads.
    Led {
        /// In this term.
        term: u64,
    },
    /// A recovery path that must be seen to run, by name.
    Recovered {
        /// Which one.
        path: &'static str,
    },
}
