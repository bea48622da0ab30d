//! The etcd API as a client sees it, over a node without Raft: real services, real state machine, real HTTP/2.

#![allow(
    clippy::unwrap_used,
    reason = "what is unwrapped outside of a test function is unwrapped for one"
)]

mod arbitrary;
#[path = "../dialling/mod.rs"]
mod dialling;
mod faults;
mod kv;
mod local;
mod node;
mod range_stream;

use bytes::Bytes;
use local::{R, Served};
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op,
};
use quorate::transport::Channel;

type Kv = KvClient<Channel<R>>;

fn kv(served: &Served) -> Kv {
    KvClient::new(served.channel())
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX)
}

fn put(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest {
        key: Bytes::from(key),
        value: Bytes::from(value),
        ..PutRequest::default()
    }
}

fn get(key: &'static str) -> RangeRequest {
    RangeRequest {
        key: Bytes::from(key),
        ..RangeRequest::default()
    }
}

fn delete(key: &'static str) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: Bytes::from(key),
        ..DeleteRangeRequest::default()
    }
}

fn operation(request: impl Into<request_op::Request>) -> RequestOp {
    RequestOp {
        request: Some(request.into()),
    }
}

fn txn(compare: Vec<Compare>, success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest {
        compare,
        success,
        failure,
    }
}
