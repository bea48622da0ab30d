//! KV: range, put, delete, transactions and compaction.
//!
//! Each call looks at its request in etcd's order, so that a request with two faults gets etcd's answer: first what its
//! bytes alone show, then its size, then what the state says. Writes are proposed once. Reads see everything that was
//! acknowledged before, unless they ask for less (`serializable`).

use prost::Message;
use tonic::Status;

use super::backend::Backend;
use super::convert::{fill, read_failed, rejected};
use super::{EtcdError, read_txn};
use crate::ids::Revision;
use crate::proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use crate::proto::store::command::Body;
use crate::state::{Response, validate};

/// etcd's `--max-request-bytes`: the largest request that is proposed.
pub const MAX_REQUEST_BYTES: usize = 1536 * 1024;

pub(super) async fn range<B: Backend>(
    backend: &B,
    request: RangeRequest,
) -> Result<RangeResponse, Status> {
    validate::range(&request).map_err(|rejection| rejected(&rejection))?;
    if !request.serializable {
        backend.read_barrier().await.map_err(EtcdError::from)?;
    }
    let mut response = backend.range(request).await.map_err(read_failed)?;
    fill(backend, &mut response.header);
    Ok(response)
}

pub(super) async fn put<B: Backend>(
    backend: &B,
    request: PutRequest,
) -> Result<PutResponse, Status> {
    validate::put(&request).map_err(|rejection| rejected(&rejection))?;
    check_size(&request)?;
    match propose(backend, Body::Put(request)).await? {
        Response::Put(mut response) => {
            fill(backend, &mut response.header);
            Ok(response)
        }
        other => Err(misfit(&other)),
    }
}

pub(super) async fn delete_range<B: Backend>(
    backend: &B,
    request: DeleteRangeRequest,
) -> Result<DeleteRangeResponse, Status> {
    validate::delete_range(&request).map_err(|rejection| rejected(&rejection))?;
    check_size(&request)?;
    match propose(backend, Body::DeleteRange(request)).await? {
        Response::DeleteRange(mut response) => {
            fill(backend, &mut response.header);
            Ok(response)
        }
        other => Err(misfit(&other)),
    }
}

pub(super) async fn txn<B: Backend>(
    backend: &B,
    request: TxnRequest,
) -> Result<TxnResponse, Status> {
    validate::txn(&request).map_err(|rejection| rejected(&rejection))?;
    if let Some(consistency) = read_txn::consistency(&request) {
        return read_txn::serve(backend, request, consistency).await;
    }
    check_size(&request)?;
    match propose(backend, Body::Txn(request)).await? {
        Response::Txn(mut response) => {
            fill(backend, &mut response.header);
            Ok(response)
        }
        other => Err(misfit(&other)),
    }
}

pub(super) async fn compact<B: Backend>(
    backend: &B,
    request: CompactionRequest,
) -> Result<CompactionResponse, Status> {
    let (revision, physical) = (Revision(request.revision), request.physical);
    match propose(backend, Body::Compact(request)).await? {
        Response::Compact(mut response) => {
            if physical {
                backend.swept(revision).await?;
            }
            fill(backend, &mut response.header);
            Ok(response)
        }
        other => Err(misfit(&other)),
    }
}

async fn propose<B: Backend>(backend: &B, body: Body) -> Result<Response, Status> {
    match backend.propose(body).await.map_err(EtcdError::from)? {
        Response::Rejected(rejection) => Err(rejected(&rejection)),
        response => Ok(response),
    }
}

fn check_size(request: &impl Message) -> Result<(), EtcdError> {
    if request.encoded_len() > MAX_REQUEST_BYTES {
        return Err(EtcdError::RequestTooLarge);
    }
    Ok(())
}

/// The state machine answers a command by its own kind of response; anything else is a bug on the way, and nobody should
/// act on it.
fn misfit(response: &Response) -> Status {
    tracing::error!(?response, "a proposal was answered by another's response");
    Status::internal("the answer does not belong to the request")
}
