//! What a node tells the world that it lives in, so that a simulator can hold it to its promises.
//!
//! In production nobody listens and the calls compile to nothing.

use std::time::Duration;

/// Something that a node did. Ids are (term, index).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The log was opened and holds this.
    LogOpened {
        /// Whose log it is.
        node: u64,
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
        /// The term of the entry before the first of these; 0 where there is none.
        after: u64,
        /// The term of each entry of the append, and a checksum of what it carries.
        entries: Vec<(u64, u32)>,
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
    /// The node keeps no log any more and begins to delete it, because its role says so.
    LogGivenUp,
    /// A configuration is applied; it was in force from the moment when it was appended.
    Configured {
        /// The entry that brought it.
        at: (u64, u64),
        /// One set of voters, or two while it is joint.
        voters: Vec<Vec<u64>>,
        /// Who receives the log besides.
        standbys: Vec<u64>,
    },
    /// What the cluster says of its members changed.
    Members {
        /// As of this index.
        index: u64,
        /// Every member with its role, as stored.
        roles: Vec<(u64, i32)>,
        /// Who was removed.
        removed: Vec<u64>,
    },
    /// A token was given out.
    TokenGiven {
        /// The beginning of its id.
        token: u64,
        /// For how many nodes.
        uses: u32,
    },
    /// A node was admitted with a token. Every node tells the same of the same entry.
    TokenUsed {
        /// The beginning of its id.
        token: u64,
        /// Who was admitted.
        node: u64,
    },
    /// A lease was granted. Every node tells the same of the same entry.
    LeaseGranted {
        /// The entry's index.
        at: u64,
        /// Which lease.
        lease: i64,
        /// How long it lives unless it is renewed.
        ttl: Duration,
    },
    /// A lease was revoked, with its keys. Every node tells the same of the same entry.
    LeaseRevoked {
        /// The entry's index.
        at: u64,
        /// Which lease.
        lease: i64,
        /// In which term its leader saw it expire; `None` when a client asked.
        expired_in: Option<u64>,
    },
    /// The whole replicated state comes to this.
    Digested {
        /// As of this index.
        index: u64,
        /// A digest of it.
        digest: u128,
    },
    /// From now on the node has nothing to do with this one, which was removed.
    Shunned {
        /// Which one.
        node: u64,
    },
    /// A call of another member was let in.
    LetIn {
        /// Whose.
        node: u64,
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
