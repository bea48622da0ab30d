//! Between the node's words and the wire's: headers and errors.

use tonic::Status;

use super::{Backend, EtcdError};
use crate::ids::Revision;
use crate::proto::etcdserverpb::ResponseHeader;
use crate::state::{ReadError, Rejection, StateError};

/// The head of an answer at `revision`.
pub(super) fn header<B: Backend>(backend: &B, revision: Revision) -> Option<ResponseHeader> {
    let identity = backend.identity();
    Some(ResponseHeader {
        cluster_id: identity.cluster.0,
        member_id: identity.member.0,
        revision: revision.0,
        raft_term: backend.term().0,
    })
}

/// Completes the head that the state machine gave its answer: it knows the revision and not who answers.
pub(super) fn fill<B: Backend>(backend: &B, head: &mut Option<ResponseHeader>) {
    let revision = head.as_ref().map_or(0, |head| head.revision);
    *head = header(backend, Revision(revision));
}

/// What the state machine refused, in etcd's words.
pub(super) fn rejected(rejection: &Rejection) -> Status {
    let error = match rejection {
        Rejection::KeyNotProvided => EtcdError::EmptyKey,
        Rejection::KeyNotFound => EtcdError::KeyNotFound,
        Rejection::ValueProvided => EtcdError::ValueProvided,
        Rejection::LeaseProvided => EtcdError::LeaseProvided,
        Rejection::TooManyOperations => EtcdError::TooManyOperations,
        Rejection::DuplicateKey => EtcdError::DuplicateKey,
        Rejection::InvalidSort => EtcdError::InvalidSortOption,
        Rejection::Compacted => EtcdError::Compacted,
        Rejection::FutureRevision => EtcdError::FutureRevision,
        Rejection::LeaseNotFound => EtcdError::LeaseNotFound,
        Rejection::LeaseExists => EtcdError::LeaseExists,
        // What etcd has no word for says itself what it is.
        other => return Status::failed_precondition(format!("etcdserver: {other}")),
    };
    error.into()
}

/// What a read failed by.
pub(super) fn read_failed(error: ReadError) -> Status {
    match error {
        ReadError::Rejected(rejection) => rejected(&rejection),
        // For as long as Raft is being started again; another node can answer.
        ReadError::State(StateError::Closed) => EtcdError::Stopped.into(),
        // Another node can answer.
        ReadError::State(error) => {
            tracing::error!(%error, "a read failed");
            EtcdError::Stopped.into()
        }
    }
}
