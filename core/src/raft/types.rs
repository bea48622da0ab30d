//! The only file that spells out openraft's generics: everything else uses the plain names at its end.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use openraft::entry::RaftPayload;
use openraft::impls::{InlineBatch, OneshotResponder};
use openraft::vote::{RaftLeaderId, leader_id_std};
use openraft::{EmptyNode, OptionalSend, RaftTypeConfig};

use super::runtime::RaftRuntime;
use crate::ids::NodeId;
use crate::runtime::Runtime;
use crate::state::Response;

/// openraft's configuration over a world `R`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Types<R>(PhantomData<R>);

impl<R: Runtime> RaftTypeConfig for Types<R> {
    type D = Proposal;
    type R = Response;
    type NodeId = NodeId;
    // Addresses are attributes of the member table; in Raft's membership they would make a move look like a new node.
    type Node = EmptyNode;
    type Term = u64;
    // One leader a term. The default of openraft's macro allows several.
    type LeaderId = leader_id_std::LeaderId<u64, NodeId>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = Payload;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Payload>;
    type AsyncRuntime = RaftRuntime<R>;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = anyerror::AnyError;
}

/// An encoded command on its way into the log. Raft never looks inside.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a log entry carries: a command, a membership, both, or neither.
///
/// openraft's own payload drops the command when it is given a membership; ours keeps both, so that a role change and its
/// row in the member table are one entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// An encoded command.
    pub command: Option<Bytes>,
    /// The configuration that holds from this entry on.
    pub membership: Option<Membership>,
}

impl Payload {
    /// Bytes that it takes, nearly.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.command.as_ref().map_or(0, Bytes::len) + 64
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.command, &self.membership) {
            (None, None) => f.write_str("blank"),
            (Some(command), None) => write!(f, "command of {} bytes", command.len()),
            (None, Some(membership)) => write!(f, "membership {membership}"),
            (Some(command), Some(membership)) => write!(
                f,
                "membership {membership} with a command of {} bytes",
                command.len()
            ),
        }
    }
}

impl RaftPayload for Payload {
    type D = Proposal;
    type NodeId = NodeId;
    type Node = EmptyNode;

    fn blank() -> Self {
        Self::default()
    }

    fn with_normal(self, proposal: Proposal) -> Self {
        Self {
            command: Some(proposal.0),
            ..self
        }
    }

    fn with_membership(self, membership: Membership) -> Self {
        Self {
            membership: Some(membership),
            ..self
        }
    }

    fn get_membership(&self) -> Option<Membership> {
        self.membership.clone()
    }
}

/// A running Raft instance.
pub type NodeRaft<R> = openraft::Raft<Types<R>, super::machine::Machine<R>>;
/// Identity of a log entry.
pub type LogId = openraft::LogId<leader_id_std::CommittedLeaderId<u64>>;
/// A vote.
pub type Vote = openraft::Vote<leader_id_std::LeaderId<u64, NodeId>>;
/// A log entry.
pub type Entry = openraft::Entry<leader_id_std::CommittedLeaderId<u64>, Payload>;
/// Voters and standbys, by id.
pub type Membership = openraft::Membership<NodeId, EmptyNode>;
/// A membership and the entry that it came with.
pub type StoredMembership =
    openraft::StoredMembership<leader_id_std::CommittedLeaderId<u64>, NodeId, EmptyNode>;
/// What a snapshot covers.
pub type SnapshotMeta =
    openraft::SnapshotMeta<leader_id_std::CommittedLeaderId<u64>, NodeId, EmptyNode>;
/// A snapshot with a handle on its content.
pub type Snapshot = openraft::Snapshot<
    leader_id_std::CommittedLeaderId<u64>,
    NodeId,
    EmptyNode,
    super::snapshot::Content,
>;
/// What openraft publishes about itself.
pub type Metrics<R> = openraft::RaftMetrics<Types<R>>;

/// The log id at `index` of `term`.
#[must_use]
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(leader_id_std::CommittedLeaderId::new(term), index)
}

/// The term of a log id.
#[must_use]
pub fn term_of(id: &LogId) -> u64 {
    id.leader_id.term
}

/// A membership of `voters` (two sets while joint) and `standbys`.
#[must_use]
pub fn membership(voters: Vec<BTreeSet<NodeId>>, standbys: BTreeSet<NodeId>) -> Membership {
    Membership::new_with_defaults(voters, standbys)
}
