//! The transactions that Kubernetes writes with: change a key if it is still at the revision last seen, else read it.

use bytes::Bytes;
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::response_op::Response;
use quorate::proto::etcdserverpb::{
    Compare, DeleteRangeRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
};

use super::put::put_request;

/// Put `key` if its modification revision is `seen` (0: if it does not exist), else get it.
pub(super) fn put(key: Bytes, value: Bytes, seen: i64) -> TxnRequest {
    let change = Request::RequestPut(put_request(key.clone(), value));
    guarded(key, seen, change)
}

/// Delete `key` if its modification revision is `seen`, else get it.
pub(super) fn delete(key: Bytes, seen: i64) -> TxnRequest {
    let change = Request::RequestDeleteRange(DeleteRangeRequest {
        key: key.clone(),
        ..DeleteRangeRequest::default()
    });
    guarded(key, seen, change)
}

/// The modification revision that the key has after the transaction; 0 if it is gone.
pub(super) fn seen_after(request: &TxnRequest, answer: &TxnResponse) -> i64 {
    if answer.succeeded {
        let change = request.success.first().and_then(|op| op.request.as_ref());
        return match change {
            Some(Request::RequestPut(_)) => {
                answer.header.as_ref().map_or(0, |header| header.revision)
            }
            _ => 0,
        };
    }
    match answer.responses.first().and_then(|op| op.response.as_ref()) {
        Some(Response::ResponseRange(range)) => range.kvs.first().map_or(0, |kv| kv.mod_revision),
        _ => 0,
    }
}

fn guarded(key: Bytes, seen: i64, change: Request) -> TxnRequest {
    let unchanged = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(seen)),
        ..Compare::default()
    };
    let read = Request::RequestRange(RangeRequest {
        key,
        ..RangeRequest::default()
    });
    let op = |request| RequestOp {
        request: Some(request),
    };
    TxnRequest {
        compare: vec![unchanged],
        success: vec![op(change)],
        failure: vec![op(read)],
    }
}
