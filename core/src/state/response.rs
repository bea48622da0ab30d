//! What applying an entry answers.

use prost::Message as _;

use super::error::Rejection;
use crate::proto::etcdserverpb::{
    CompactionResponse, DeleteRangeResponse, LeaseGrantResponse, LeaseRevokeResponse, PutResponse,
    TxnResponse,
};
use crate::proto::store::Member;

/// The answer to one log entry. Headers hold the revision only: which node answers in which term is no matter of the
/// state.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// The entry had no command.
    Blank,
    /// A key was put.
    Put(PutResponse),
    /// A range was deleted.
    DeleteRange(DeleteRangeResponse),
    /// A transaction took one of its branches.
    Txn(TxnResponse),
    /// A transaction took one of its branches, and what it read is too much to be told.
    Untold,
    /// History up to a revision is gone for readers.
    Compact(CompactionResponse),
    /// A lease exists now.
    LeaseGrant(LeaseGrantResponse),
    /// A lease and its keys are gone.
    LeaseRevoke(LeaseRevokeResponse),
    /// The cluster's knowledge of itself changed.
    System(SystemResponse),
    /// Nothing changed, for a reason that every replica found.
    Rejected(Rejection),
}

impl Response {
    /// Bytes that it takes, nearly.
    #[must_use]
    pub fn weight(&self) -> usize {
        let read = match self {
            Self::Put(response) => response.encoded_len(),
            Self::DeleteRange(response) => response.encoded_len(),
            Self::Txn(response) => response.encoded_len(),
            _ => 0,
        };
        read + size_of::<Self>()
    }
}

/// The answer to a command about the cluster itself.
#[derive(Clone, Debug, PartialEq)]
pub enum SystemResponse {
    /// It is done.
    Done,
    /// The node is a member, now or since an earlier command of the same content: its row.
    Admitted(Member),
}
