//! The keyspace as anyone would write it who has memory to spare: the whole content once for each revision.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::response_op::Response as OpResponse;
use quorate::proto::etcdserverpb::{
    CompactionResponse, Compare, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantResponse,
    LeaseRevokeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp,
    ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
};
use quorate::proto::mvccpb::KeyValue;
use quorate::proto::store::command::Body;
use quorate::state::{Rejection, Response};

type Content = BTreeMap<Bytes, KeyValue>;

#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
    /// The content at each revision.
    contents: BTreeMap<i64, Content>,
    now: Content,
    leases: BTreeSet<i64>,
    changed: bool,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            revision: 1,
            compacted: -1,
            contents: BTreeMap::from([(1, Content::new())]),
            now: Content::new(),
            leases: BTreeSet::new(),
            changed: false,
        }
    }

    pub(crate) fn apply(&mut self, body: &Body) -> Response {
        let response = self.command(body).unwrap_or_else(Response::Rejected);
        self.revision = self.seen();
        self.changed = false;
        self.contents.insert(self.revision, self.now.clone());
        response
    }

    fn command(&mut self, body: &Body) -> Result<Response, Rejection> {
        match body {
            Body::Put(request) => {
                self.check_lease(request)?;
                self.check_kept(request)?;
                Ok(Response::Put(self.put(request)))
            }
            Body::DeleteRange(request) => Ok(Response::DeleteRange(self.delete(request))),
            Body::Txn(request) => {
                let before = self.now.clone();
                let steps = steps(&before, request);
                for step in &steps {
                    if let Request::RequestPut(request) = step {
                        self.check_kept(request)?;
                        self.check_lease(request)?;
                    }
                }
                for step in &steps {
                    if let Request::RequestRange(request) = step {
                        self.check_revision(request)?;
                    }
                }
                let mut response = self.txn(&before, request);
                response.header = self.header();
                Ok(Response::Txn(response))
            }
            Body::Compact(request) => {
                if request.revision <= self.compacted {
                    return Err(Rejection::Compacted);
                }
                if request.revision > self.revision {
                    return Err(Rejection::FutureRevision);
                }
                self.compacted = request.revision;
                Ok(Response::Compact(CompactionResponse {
                    header: self.header(),
                }))
            }
            Body::LeaseGrant(request) => {
                if !self.leases.insert(request.id) {
                    return Err(Rejection::LeaseExists);
                }
                Ok(Response::LeaseGrant(LeaseGrantResponse {
                    header: self.header(),
                    id: request.id,
                    ttl: request.ttl_seconds,
                    error: String::new(),
                }))
            }
            Body::LeaseRevoke(request) => {
                if !self.leases.remove(&request.id) {
                    return Err(Rejection::LeaseNotFound);
                }
                let before = self.now.len();
                self.now.retain(|_, kv| kv.lease != request.id);
                self.changed |= self.now.len() < before;
                Ok(Response::LeaseRevoke(LeaseRevokeResponse {
                    header: self.header(),
                }))
            }
            other => panic!("not modelled: {other:?}"),
        }
    }

    fn seen(&self) -> i64 {
        self.revision + i64::from(self.changed)
    }

    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            revision: self.seen(),
            ..ResponseHeader::default()
        })
    }

    fn check_lease(&self, request: &PutRequest) -> Result<(), Rejection> {
        let known = request.lease == 0 || self.leases.contains(&request.lease);
        if known {
            Ok(())
        } else {
            Err(Rejection::LeaseNotFound)
        }
    }

    fn check_kept(&self, request: &PutRequest) -> Result<(), Rejection> {
        let needed = request.ignore_lease || request.ignore_value;
        if needed && !self.now.contains_key(&request.key) {
            return Err(Rejection::KeyNotFound);
        }
        Ok(())
    }

    fn check_revision(&self, request: &RangeRequest) -> Result<(), Rejection> {
        if request.revision > self.seen() {
            return Err(Rejection::FutureRevision);
        }
        if request.revision > 0 && request.revision < self.compacted {
            return Err(Rejection::Compacted);
        }
        Ok(())
    }

    fn put(&mut self, request: &PutRequest) -> PutResponse {
        self.changed = true;
        let old = self.now.get(&request.key).cloned();
        let mut new = KeyValue {
            key: request.key.clone(),
            create_revision: self.seen(),
            mod_revision: self.seen(),
            version: 1,
            value: request.value.clone(),
            lease: request.lease,
        };
        if let Some(old) = &old {
            new.create_revision = old.create_revision;
            new.version = old.version + 1;
            if request.ignore_value {
                new.value = old.value.clone();
            }
            if request.ignore_lease {
                new.lease = old.lease;
            }
        }
        self.now.insert(request.key.clone(), new);
        PutResponse {
            header: self.header(),
            prev_kv: old.filter(|_| request.prev_kv),
        }
    }

    fn delete(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let gone = within(&self.now, &request.key, &request.range_end);
        for kv in &gone {
            self.now.remove(&kv.key);
            self.changed = true;
        }
        DeleteRangeResponse {
            header: self.header(),
            deleted: gone.len() as i64,
            prev_kvs: if request.prev_kv { gone } else { vec![] },
        }
    }

    fn txn(&mut self, before: &Content, request: &TxnRequest) -> TxnResponse {
        let succeeded = holds(before, request);
        let responses = branch(request, succeeded)
            .iter()
            .map(|operation| {
                let response = match operation.request.as_ref().unwrap() {
                    Request::RequestRange(request) => {
                        OpResponse::ResponseRange(self.range(request).unwrap())
                    }
                    Request::RequestPut(request) => OpResponse::ResponsePut(self.put(request)),
                    Request::RequestDeleteRange(request) => {
                        OpResponse::ResponseDeleteRange(self.delete(request))
                    }
                    Request::RequestTxn(request) => {
                        OpResponse::ResponseTxn(self.txn(before, request))
                    }
                };
                ResponseOp {
                    response: Some(response),
                }
            })
            .collect();
        TxnResponse {
            header: Some(ResponseHeader::default()),
            succeeded,
            responses,
        }
    }

    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Rejection> {
        self.check_revision(request)?;
        let past = request.revision > 0 && request.revision < self.seen();
        let content = if past {
            &self.contents[&request.revision]
        } else {
            &self.now
        };
        let mut kvs = within(content, &request.key, &request.range_end);
        let count = kvs.len() as i64;
        let header = self.header();
        if request.count_only {
            return Ok(RangeResponse {
                header,
                kvs: vec![],
                more: false,
                count,
            });
        }
        let limit = if request.limit > 0 {
            request.limit as usize
        } else {
            usize::MAX
        };
        let filters = [
            (request.min_mod_revision, request.max_mod_revision),
            (request.min_create_revision, request.max_create_revision),
        ];
        if request.sort_order() == SortOrder::None && filters == [(0, 0), (0, 0)] {
            kvs.truncate(limit.saturating_add(1));
        }
        kvs.retain(|kv| {
            [kv.mod_revision, kv.create_revision]
                .iter()
                .zip(filters)
                .all(|(&at, (low, high))| (low == 0 || at >= low) && (high == 0 || at <= high))
        });
        kvs.sort_by(|a, b| {
            let ordering = match request.sort_target() {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            };
            let descending = request.sort_order() == SortOrder::Descend;
            if descending {
                ordering.reverse()
            } else {
                ordering
            }
        });
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        Ok(RangeResponse {
            header,
            kvs,
            more,
            count,
        })
    }
}

fn within(content: &Content, key: &Bytes, end: &Bytes) -> Vec<KeyValue> {
    let bounds = match end.as_ref() {
        [] => (Bound::Included(key.clone()), Bound::Included(key.clone())),
        [0] => (Bound::Included(key.clone()), Bound::Unbounded),
        _ if end <= key => return vec![],
        _ => (Bound::Included(key.clone()), Bound::Excluded(end.clone())),
    };
    content.range(bounds).map(|(_, kv)| kv.clone()).collect()
}

fn branch(request: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded {
        &request.success
    } else {
        &request.failure
    }
}

/// Every operation that will happen, nested ones in their place.
fn steps<'r>(before: &Content, request: &'r TxnRequest) -> Vec<&'r Request> {
    branch(request, holds(before, request))
        .iter()
        .flat_map(|operation| match operation.request.as_ref().unwrap() {
            Request::RequestTxn(request) => steps(before, request),
            other => vec![other],
        })
        .collect()
}

fn holds(content: &Content, request: &TxnRequest) -> bool {
    request.compare.iter().all(|compare| {
        let kvs = within(content, &compare.key, &compare.range_end);
        match kvs.as_slice() {
            [] if compare.target() == CompareTarget::Value => false,
            [] => compares(compare, &KeyValue::default()),
            kvs => kvs.iter().all(|kv| compares(compare, kv)),
        }
    })
}

fn compares(compare: &Compare, kv: &KeyValue) -> bool {
    let ordering = match compare.target_union.as_ref().unwrap() {
        TargetUnion::Version(wanted) => kv.version.cmp(wanted),
        TargetUnion::CreateRevision(wanted) => kv.create_revision.cmp(wanted),
        TargetUnion::ModRevision(wanted) => kv.mod_revision.cmp(wanted),
        TargetUnion::Lease(wanted) => kv.lease.cmp(wanted),
        TargetUnion::Value(wanted) => kv.value.cmp(wanted),
    };
    match compare.result() {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::NotEqual => ordering.is_ne(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
    }
}
