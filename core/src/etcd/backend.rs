//! What the services need of a node, and nothing more: so that they can be tried without Raft.

use std::future::Future;

use super::EtcdError;
use crate::ids::{ClusterId, NodeId, Revision, Term};
use crate::proto::etcdserverpb::{AlarmMember, Member, RangeRequest, RangeResponse};
use crate::proto::store::command::Body;
use crate::state::{KeyspaceHash, ReadError, Response};

/// A node, seen from the services.
pub trait Backend: Send + Sync + 'static {
    /// Replicates a command, from whichever node, and says what applying it answered.
    ///
    /// Proposed once: what may have been proposed is never proposed again, by nobody ([`ProposeError::Unknown`]).
    fn propose(&self, body: Body) -> impl Future<Output = Result<Response, ProposeError>> + Send;

    /// Completes when this node has applied everything that was acknowledged anywhere before the call.
    fn read_barrier(&self) -> impl Future<Output = Result<(), BarrierError>> + Send;

    /// Reads this node's state as it is. After a start it waits until what was known to be committed is applied again.
    /// Point reads complete at the first poll.
    fn range(
        &self,
        request: RangeRequest,
    ) -> impl Future<Output = Result<RangeResponse, ReadError>> + Send;

    /// Which cluster and which member answers.
    fn identity(&self) -> Identity;

    /// The term as this node knows it.
    fn term(&self) -> Term;

    /// The revision that this node has applied.
    fn revision(&self) -> Revision;

    /// The leader as this node knows it.
    fn leader(&self) -> Option<NodeId>;

    /// The members as this node knows them.
    fn members(&self) -> impl Future<Output = Result<Vec<Member>, EtcdError>> + Send;

    /// How this node is.
    fn status(&self) -> impl Future<Output = Result<NodeStatus, EtcdError>> + Send;

    /// What stands in the way of writes, here or anywhere; empty when all is well.
    fn alarms(&self) -> Vec<AlarmMember>;

    /// Completes when this node has deleted the history that compaction up to `revision` took from its readers.
    fn swept(&self, revision: Revision) -> impl Future<Output = Result<(), EtcdError>> + Send;

    /// A digest of this node's keyspace up to a revision (0: the present one), to be compared with other nodes'.
    fn hash(
        &self,
        revision: Revision,
    ) -> impl Future<Output = Result<KeyspaceHash, ReadError>> + Send;

    /// Hands leadership over to a voter that is level with the leader.
    fn move_leader(&self, to: NodeId) -> impl Future<Output = Result<(), EtcdError>> + Send;
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub member: NodeId,
}

/// How a node is, in the terms of `etcdctl endpoint status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Bytes of the state database's file.
    pub database_bytes: u64,
    /// Bytes of it that hold something.
    pub database_bytes_in_use: u64,
    /// Bytes that it may have; zero when there is no bound.
    pub database_bytes_quota: u64,
    /// The last log entry.
    pub last_index: u64,
    /// The last applied one.
    pub applied_index: u64,
    /// Whether the node receives the log without a vote.
    pub learner: bool,
    /// What is wrong, for people.
    pub troubles: Vec<String>,
}

/// Why a proposal was not answered by the state machine. All but one mean that it will never take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Too much is in flight.
    #[error("too much is in flight")]
    Overloaded,
    /// There is no leader to propose to.
    #[error("there is no leader")]
    NoLeader,
    /// The cluster does not take writes for want of space.
    #[error("no space is left")]
    NoSpace,
    /// The node is going down.
    #[error("the node is stopping")]
    Stopped,
    /// It may or may not take effect: the deadline passed, the leader changed, or the connection to it broke.
    #[error("the outcome is unknown")]
    Unknown,
}

impl From<ProposeError> for EtcdError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Overloaded => Self::TooManyRequests,
            ProposeError::NoLeader => Self::NoLeader,
            ProposeError::NoSpace => Self::NoSpace,
            ProposeError::Stopped => Self::Stopped,
            // Clients take "leader changed" for "nothing happened"; this text says that one cannot know.
            ProposeError::Unknown => Self::TimeoutDueToConnectionLost,
        }
    }
}

/// Why a node cannot say that it is up to date. A read may always be tried again, anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BarrierError {
    /// There is no leader to ask.
    #[error("there is no leader")]
    NoLeader,
    /// The leader lost its quorum or its office on the way.
    #[error("the leader changed")]
    LeaderChanged,
    /// Nobody confirmed in time.
    #[error("no quorum answered in time")]
    NoQuorum,
    /// This node did not catch up in time.
    #[error("this node is too far behind")]
    Behind,
    /// The node is going down.
    #[error("the node is stopping")]
    Stopped,
}

impl From<BarrierError> for EtcdError {
    fn from(error: BarrierError) -> Self {
        match error {
            BarrierError::NoLeader => Self::NoLeader,
            BarrierError::LeaderChanged => Self::LeaderChanged,
            BarrierError::NoQuorum => Self::Timeout,
            BarrierError::Behind => Self::TimeoutWaitingForAppliedIndex,
            BarrierError::Stopped => Self::Stopped,
        }
    }
}
