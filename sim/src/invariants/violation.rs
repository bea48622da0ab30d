//! What can be broken: one variant a property, with what it takes to see that it is.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::host::HostId;

/// (term, index) of a log entry.
pub type EntryId = (u64, u64);

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two leaders in one term.
    #[error("one leader: in term {term} both node {first:x} and node {second:x} lead")]
    TwoLeaders {
        /// The term.
        term: u64,
        /// Who was seen to lead first.
        first: u64,
        /// Who leads as well.
        second: u64,
    },
    /// A node gave its vote in a term twice, or went back.
    #[error("monotonic vote: {host} saved {after:?} after {before:?} (term, node, committed)")]
    VoteWentBack {
        /// Where.
        host: HostId,
        /// What it had promised.
        before: (u64, u64, bool),
        /// What it promises now.
        after: (u64, u64, bool),
    },
    /// A durable vote was not there when the log was opened.
    #[error(
        "kept vote: {host} promised {promised:?} and opened with {found:?} (term, node, committed)"
    )]
    VoteLost {
        /// Where.
        host: HostId,
        /// What it had promised.
        promised: (u64, u64, bool),
        /// What was there.
        found: Option<(u64, u64, bool)>,
    },
    /// Durable entries were not there when the log was opened.
    #[error(
        "kept log: {host} promised entries up to {promised:?} and opened with {found:?} (term, index)"
    )]
    EntriesLost {
        /// Where.
        host: HostId,
        /// What it had promised.
        promised: EntryId,
        /// What was there.
        found: Option<EntryId>,
    },
    /// Nodes applied different entries at one index.
    #[error(
        "committed stays: index {index} was applied in term {first} and on {host} in term {second}"
    )]
    CommittedChanged {
        /// The index.
        index: u64,
        /// Who applied the other one.
        host: HostId,
        /// The term of who was first.
        first: u64,
        /// The other term.
        second: u64,
    },
    /// Something was applied that a majority does not hold durably.
    #[error(
        "committed on a quorum: {host} applied {entry:?}, which only {holders} of {needed} needed hold durably"
    )]
    NotOnQuorum {
        /// Who applied it.
        host: HostId,
        /// What.
        entry: EntryId,
        /// How many hold it.
        holders: usize,
        /// How many would have to.
        needed: usize,
    },
    /// A leader lacks what was committed before.
    #[error(
        "leader completeness: {host} leads term {term} with a log up to {last:?}, but {committed:?} was applied"
    )]
    LeaderIncomplete {
        /// The leader.
        host: HostId,
        /// Its term.
        term: u64,
        /// The end of its log.
        last: EntryId,
        /// What was applied somewhere.
        committed: EntryId,
    },
    /// A node applied an entry that its own disk did not have.
    #[error(
        "applied behind durable: {host} applied up to {applied:?} while its log was durable up to {durable:?}"
    )]
    AppliedTooEarly {
        /// Where.
        host: HostId,
        /// What was applied.
        applied: EntryId,
        /// What its disk had.
        durable: EntryId,
    },
    /// A node applied an entry again, or went back.
    #[error("applied in order: {host} applied up to {after:?} after {before:?}")]
    AppliedWentBack {
        /// Where.
        host: HostId,
        /// Before.
        before: EntryId,
        /// After.
        after: EntryId,
    },
    /// The revision went back, or differs between nodes at one index.
    #[error("revision order: {host} at index {index} is at revision {found}, not {expected}")]
    Revision {
        /// Where.
        host: HostId,
        /// The index.
        index: u64,
        /// What was expected: the same as elsewhere, or at least that.
        expected: i64,
        /// What is there.
        found: i64,
    },
    /// Entries were purged that the state does not hold.
    #[error("purged behind applied: {host} purged up to {purged:?} with {applied:?} applied")]
    PurgedTooFar {
        /// Where.
        host: HostId,
        /// What went.
        purged: EntryId,
        /// What the state holds.
        applied: EntryId,
    },
    /// Two logs hold different things in one place of one term.
    #[error(
        "log matching: {host} wrote entry {entry:?} as {found:?}, and elsewhere it is {first:?} (term before, checksum)"
    )]
    LogsDiffer {
        /// Who wrote the other one.
        host: HostId,
        /// Which entry.
        entry: EntryId,
        /// The term of the entry before it and a checksum, as first seen.
        first: (u64, u32),
        /// And here.
        found: (u64, u32),
    },
    /// States differ after the same entries.
    #[error("states equal: after index {index} the states of {first} and {second} differ")]
    StatesDiffer {
        /// After which entry.
        index: u64,
        /// Whose digest was told first.
        first: HostId,
        /// Whose is another one.
        second: HostId,
    },
    /// A configuration follows another that could decide without it.
    #[error(
        "safe configuration: {after:?} follows {before:?}, and a majority of each could decide alone"
    )]
    QuorumsApart {
        /// The sets of voters before.
        before: Vec<BTreeSet<u64>>,
        /// And after.
        after: Vec<BTreeSet<u64>>,
    },
    /// Two nodes applied different configurations at one index.
    #[error("safe configuration: {host} applied another configuration at index {index}")]
    ConfigurationsDiffer {
        /// Who applied the other one.
        host: HostId,
        /// Where.
        index: u64,
    },
    /// The cluster has come together and is still between two configurations.
    #[error("joint configuration finished: that of index {index} still stands")]
    JointLeft {
        /// The index that brought it.
        index: u64,
    },
    /// A configuration makes no sense: nobody votes in a set of it, or a voter stands by.
    #[error("safe configuration: at index {index} {why}")]
    Senseless {
        /// Where.
        index: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A removed member has a part in Raft.
    #[error(
        "safe configuration: node {node:x} was removed and is in the configuration of index {index}"
    )]
    RemovedTakesPart {
        /// Which member.
        node: u64,
        /// As of which index.
        index: u64,
    },
    /// The member table and the configuration name different voters.
    #[error(
        "roles and configuration: as of index {index} {table:x?} are voters by the member table and {configuration:x?} vote"
    )]
    RolesDiffer {
        /// As of which index.
        index: u64,
        /// By the table.
        table: BTreeSet<u64>,
        /// In Raft.
        configuration: BTreeSet<u64>,
    },
    /// A voter gave up a log that others count on.
    #[error(
        "roles and configuration: {host} gave up its log and votes in the configuration of index {index}"
    )]
    VoterWithoutLog {
        /// Which one.
        host: HostId,
        /// The index of the configuration.
        index: u64,
    },
    /// A token admitted more nodes than it was made for.
    #[error("token once: token {token:x} is for {uses} and admitted {admitted}")]
    TokenUsedAgain {
        /// The beginning of its id.
        token: u64,
        /// How many it was for.
        uses: usize,
        /// How many it admitted.
        admitted: usize,
    },
    /// A leader let a lease expire before its time was over.
    #[error("lease lives: lease {lease:x} expired in term {term} after {lived:?} of {ttl:?}")]
    LeaseEarly {
        /// Which lease.
        lease: i64,
        /// The term of the leader that saw it expire.
        term: u64,
        /// How long it had lived, at that leader's hands.
        lived: Duration,
        /// How long it was granted for.
        ttl: Duration,
    },
    /// A node did something for a member that it knew to be removed.
    #[error(
        "removed not served: {host} let a call of node {node:x} in, which it knew to be removed"
    )]
    RemovedServed {
        /// Who did.
        host: HostId,
        /// For whom.
        node: u64,
    },
}
