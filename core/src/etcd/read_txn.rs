//! Transactions that only read: served like a range, without the log.
//!
//! All of it is read at one revision: the one that the node has when it begins. Should that very revision be compacted
//! away in between, the whole begins again; a range that asks for an old revision of its own gets the error, as anywhere.

use std::cmp::Ordering;

use bytes::Bytes;
use prost::Message as _;
use tonic::Status;

use super::backend::Backend;
use super::convert::{header, read_failed};
use super::{EtcdError, range_stream};
use crate::ids::Revision;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::etcdserverpb::{
    Compare, RangeRequest, RangeResponse, RequestOp, ResponseHeader, ResponseOp, TxnRequest,
    TxnResponse,
};
use crate::proto::mvccpb::KeyValue;
use crate::state::{LONGEST_ANSWER, ReadError, Rejection};

/// What a read has to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consistency {
    /// Everything acknowledged before it.
    Linearizable,
    /// Some state of this node.
    Serializable,
}

/// How a transaction must be read, if all that it can do is read. One with nested transactions goes through the log, as
/// in etcd.
pub(super) fn consistency(request: &TxnRequest) -> Option<Consistency> {
    let mut operations = request.success.iter().chain(&request.failure);
    let ranges = operations
        .by_ref()
        .map(|operation| match &operation.request {
            Some(Request::RequestRange(range)) => Some(range.serializable),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()?;
    // Compares alone ask a question too, and nothing in them says that an old answer will do.
    if !ranges.is_empty() && ranges.iter().all(|serializable| *serializable) {
        Some(Consistency::Serializable)
    } else {
        Some(Consistency::Linearizable)
    }
}

/// What is said of one that would be longer than [`LONGEST_ANSWER`].
const TOO_LONG: &str = "etcdserver: the answer to the transaction is too long";

/// How often a transaction begins again because its revision was compacted away under it.
const ATTEMPTS: usize = 8;

pub(super) async fn serve<B: Backend>(
    backend: &B,
    request: TxnRequest,
    consistency: Consistency,
) -> Result<TxnResponse, Status> {
    if consistency == Consistency::Linearizable {
        backend.read_barrier().await.map_err(EtcdError::from)?;
    }
    for _ in 0..ATTEMPTS {
        let revision = revision(backend).await.map_err(read_failed)?;
        match at(backend, &request, revision).await {
            Err(ReadError::Rejected(Rejection::Compacted)) if !asks_for_old(&request) => {}
            Ok(None) => return Err(Status::resource_exhausted(TOO_LONG)),
            Ok(Some(answer)) => return Ok(answer),
            Err(error) => return Err(read_failed(error)),
        }
    }
    Err(EtcdError::Compacted.into())
}

fn asks_for_old(request: &TxnRequest) -> bool {
    let operations = request.success.iter().chain(&request.failure);
    operations
        .filter_map(|operation| operation.request.as_ref())
        .any(|operation| matches!(operation, Request::RequestRange(range) if range.revision > 0))
}

/// The present revision of the state that ranges read, which may be ahead of [`Backend::revision`].
async fn revision<B: Backend>(backend: &B) -> Result<Revision, ReadError> {
    let request = RangeRequest {
        key: Bytes::from_static(b"\0"),
        count_only: true,
        ..RangeRequest::default()
    };
    let response = backend.range(request).await?;
    Ok(Revision(
        response.header.map_or(0, |header| header.revision),
    ))
}

/// The answer as of a revision; none when it is longer than [`LONGEST_ANSWER`].
async fn at<B: Backend>(
    backend: &B,
    request: &TxnRequest,
    revision: Revision,
) -> Result<Option<TxnResponse>, ReadError> {
    let mut succeeded = true;
    for compare in &request.compare {
        if !holds(backend, compare, revision).await? {
            succeeded = false;
            break;
        }
    }
    let branch = if succeeded {
        &request.success
    } else {
        &request.failure
    };
    let (mut responses, mut bytes) = (Vec::with_capacity(branch.len()), 0);
    for range_request in branch.iter().filter_map(as_range) {
        if bytes > LONGEST_ANSWER {
            return Ok(None);
        }
        let response = range(backend, range_request.clone(), revision).await?;
        bytes += response.encoded_len();
        responses.push(ResponseOp {
            response: Some(Response::ResponseRange(response)),
        });
    }
    Ok(Some(TxnResponse {
        header: header(backend, revision),
        succeeded,
        responses,
    }))
}

fn as_range(operation: &RequestOp) -> Option<&RangeRequest> {
    match &operation.request {
        Some(Request::RequestRange(range)) => Some(range),
        _ => None,
    }
}

/// A range at the transaction's revision, unless it names one of its own.
async fn range<B: Backend>(
    backend: &B,
    mut request: RangeRequest,
    revision: Revision,
) -> Result<RangeResponse, ReadError> {
    if request.revision > revision.0 {
        return Err(Rejection::FutureRevision.into());
    }
    if request.revision <= 0 {
        request.revision = revision.0;
    }
    let mut response = backend.range(request).await?;
    // Not the revision that the node has come to by now: all answers of a transaction are from one.
    response.header = Some(ResponseHeader {
        revision: revision.0,
        ..ResponseHeader::default()
    });
    Ok(response)
}

fn compared(compare: &Compare) -> RangeRequest {
    RangeRequest {
        key: compare.key.clone(),
        range_end: compare.range_end.clone(),
        keys_only: compare.target() != CompareTarget::Value,
        // One key is one piece anyway, and without a limit the quickest of reads.
        limit: if compare.range_end.is_empty() {
            0
        } else {
            range_stream::FIRST_PIECE
        },
        ..RangeRequest::default()
    }
}

/// Whether a compare holds for every key of its range. Of no key at all it is judged as of a key with zeros everywhere;
/// only a value cannot be compared to nothing. The range is read in pieces: a whole keyspace of values needs no memory.
async fn holds<B: Backend>(
    backend: &B,
    compare: &Compare,
    revision: Revision,
) -> Result<bool, ReadError> {
    let mut request = compared(compare);
    let mut is_empty = true;
    loop {
        let response = range(backend, request.clone(), revision).await?;
        if !response.kvs.iter().all(|kv| satisfied(compare, kv)) {
            return Ok(false);
        }
        is_empty &= response.kvs.is_empty();
        match range_stream::behind(&response) {
            Some(key) if response.more => request.key = key,
            _ if is_empty => {
                return Ok(compare.target() != CompareTarget::Value
                    && satisfied(compare, &KeyValue::default()));
            }
            _ => return Ok(true),
        }
        request.limit = range_stream::next_piece(&response, request.limit);
    }
}

fn satisfied(compare: &Compare, kv: &KeyValue) -> bool {
    let ordering = match compare.target() {
        CompareTarget::Version => kv.version.cmp(&number(compare)),
        CompareTarget::Create => kv.create_revision.cmp(&number(compare)),
        CompareTarget::Mod => kv.mod_revision.cmp(&number(compare)),
        CompareTarget::Lease => kv.lease.cmp(&number(compare)),
        CompareTarget::Value => match &compare.target_union {
            Some(TargetUnion::Value(wanted)) => kv.value.cmp(wanted),
            _ => kv.value.as_ref().cmp(&[]),
        },
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering == Ordering::Equal,
        Ok(CompareResult::NotEqual) => ordering != Ordering::Equal,
        Ok(CompareResult::Greater) => ordering == Ordering::Greater,
        Ok(CompareResult::Less) => ordering == Ordering::Less,
        // A result code that does not exist holds always, as in etcd.
        Err(_) => true,
    }
}

/// The number that a compare names; a field that belongs to another target counts as zero.
fn number(compare: &Compare) -> i64 {
    match (compare.target(), &compare.target_union) {
        (CompareTarget::Version, Some(TargetUnion::Version(number)))
        | (CompareTarget::Create, Some(TargetUnion::CreateRevision(number)))
        | (CompareTarget::Mod, Some(TargetUnion::ModRevision(number)))
        | (CompareTarget::Lease, Some(TargetUnion::Lease(number))) => *number,
        _ => 0,
    }
}
