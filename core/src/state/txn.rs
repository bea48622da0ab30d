//! Transactions: the path through the branches is decided and checked before anything is written, so that nothing has to
//! be undone.
//!
//! As in etcd, every compare, those of nested transactions included, looks at the keyspace as it was before the whole
//! transaction, while the ranges of a branch see what the operations before them have written.

use std::cmp::Ordering;

use prost::Message as _;

use super::change::{Change, Failure};
use super::error::{ReadError, Rejection, StateError};
use super::keyspace::Newest;
use super::range::{self, Bounds, Slices};
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::etcdserverpb::{
    Compare, PutRequest, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
};

/// Which branch a transaction takes, and each transaction nested in that branch, in order.
struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

/// Keys are compared in pages, so that a compare over a whole keyspace needs no memory for it.
const COMPARE_PAGE: usize = 512;

impl Change<'_, '_> {
    /// Decides, checks, and then carries out.
    pub(super) fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, Failure> {
        let path = self.decide(request)?;
        let mut operations = Vec::new();
        flatten(request, &path, &mut operations);
        self.check(&operations)?;
        let mut response = self.carry_out(request, &path)?;
        response.header = self.header();
        Ok(response)
    }

    fn decide(&mut self, request: &TxnRequest) -> Result<Path, StateError> {
        let mut succeeded = true;
        for compare in &request.compare {
            if !self.holds(compare)? {
                succeeded = false;
                break;
            }
        }
        let mut nested = Vec::new();
        for operation in branch(request, succeeded) {
            if let Some(Request::RequestTxn(request)) = &operation.request {
                nested.push(self.decide(request)?);
            }
        }
        Ok(Path { succeeded, nested })
    }

    /// Puts are checked before ranges, which decides between two errors.
    fn check(&mut self, operations: &[&Request]) -> Result<(), Failure> {
        let mut deletes = Vec::new();
        for operation in operations {
            match operation {
                Request::RequestPut(request) => {
                    self.check_kept(request)?;
                    self.check_lease(request)?;
                }
                Request::RequestDeleteRange(request) => deletes.push(request),
                Request::RequestRange(_) | Request::RequestTxn(_) => {}
            }
        }
        self.check_room(&deletes)?;
        for operation in operations {
            if let Request::RequestRange(request) = operation {
                range::check_revision(self.view(), request.revision)?;
            }
        }
        Ok(())
    }

    /// A put that keeps the value or the lease needs a key that has one.
    pub(super) fn check_kept(&mut self, request: &PutRequest) -> Result<(), Failure> {
        let keeps = request.ignore_value || request.ignore_lease;
        if keeps && self.keyspace.existing(&request.key)?.is_none() {
            Err(Rejection::KeyNotFound.into())
        } else {
            Ok(())
        }
    }

    /// A put attaches its key only to a lease that exists.
    pub(super) fn check_lease(&mut self, request: &PutRequest) -> Result<(), Failure> {
        if request.lease != 0 && !self.keyspace.lease_exists(request.lease)? {
            Err(Rejection::LeaseNotFound.into())
        } else {
            Ok(())
        }
    }

    fn carry_out(&mut self, request: &TxnRequest, path: &Path) -> Result<TxnResponse, StateError> {
        let mut nested = path.nested.iter();
        let operations = branch(request, path.succeeded);
        let mut responses = Vec::with_capacity(operations.len());
        for operation in operations {
            let response = match &operation.request {
                Some(Request::RequestRange(request)) => {
                    Response::ResponseRange(self.range(request)?)
                }
                Some(Request::RequestPut(request)) => Response::ResponsePut(self.put(request)?),
                Some(Request::RequestDeleteRange(request)) => {
                    Response::ResponseDeleteRange(self.delete_range(request)?)
                }
                Some(Request::RequestTxn(request)) => {
                    let path = nested
                        .next()
                        .expect("the path has a step for each nested transaction");
                    Response::ResponseTxn(self.carry_out(request, path)?)
                }
                None => unreachable!("an empty operation does not pass validation"),
            };
            self.has_answered(match &response {
                Response::ResponseRange(response) => response.encoded_len(),
                Response::ResponsePut(response) => response.encoded_len(),
                Response::ResponseDeleteRange(response) => response.encoded_len(),
                // What is in it has been counted.
                Response::ResponseTxn(_) => 0,
            });
            responses.push(ResponseOp {
                response: Some(response),
            });
        }
        // etcd leaves the header of a nested answer empty; the caller fills the outermost.
        Ok(TxnResponse {
            header: Some(ResponseHeader::default()),
            succeeded: path.succeeded,
            responses,
        })
    }

    fn range(
        &mut self,
        request: &crate::proto::etcdserverpb::RangeRequest,
    ) -> Result<crate::proto::etcdserverpb::RangeResponse, StateError> {
        if !self.is_heard() {
            return Ok(crate::proto::etcdserverpb::RangeResponse::default());
        }
        // The writer sees one state, its own changes included, until it commits.
        let pause = &mut |_| Ok(());
        let mut whole = Slices::whole(pause);
        let view = self.view();
        range::range(self.keyspace.connection(), view, request, &mut whole).map_err(|error| {
            match error {
                ReadError::State(error) => error,
                ReadError::Rejected(rejection) => {
                    unreachable!("the revision was checked before: {rejection}")
                }
            }
        })
    }

    /// Whether a compare holds for its key, or for every key of its range. Of no key at all it is judged as of a key with
    /// zeros everywhere; only a value cannot be compared to nothing.
    fn holds(&mut self, compare: &Compare) -> Result<bool, StateError> {
        if compare.range_end.is_empty() {
            let existing = self.keyspace.existing(&compare.key)?;
            return match existing {
                Some(existing) => self.matches(compare, &compare.key, &existing),
                None => Ok(holds_for_nothing(compare)),
            };
        }
        let bounds = Bounds::new(&compare.key, &compare.range_end);
        let mut last: Option<bytes::Bytes> = None;
        loop {
            let page = range::existing_keys(
                self.keyspace.connection(),
                &bounds,
                last.as_deref(),
                COMPARE_PAGE,
            )?;
            for (key, existing) in &page {
                if !self.matches(compare, key, existing)? {
                    return Ok(false);
                }
            }
            match (page.into_iter().next_back(), last) {
                (Some((key, _)), _) => last = Some(key),
                (None, None) => return Ok(holds_for_nothing(compare)),
                (None, Some(_)) => return Ok(true),
            }
        }
    }

    /// Whether a compare holds for one key, be it its own or one of its range.
    fn matches(
        &mut self,
        compare: &Compare,
        key: &[u8],
        existing: &Newest,
    ) -> Result<bool, StateError> {
        let ordering = match compare.target() {
            CompareTarget::Version => existing.version.cmp(&number(compare)),
            CompareTarget::Create => existing.created.cmp(&number(compare)),
            CompareTarget::Mod => existing.head.revision().0.cmp(&number(compare)),
            CompareTarget::Lease => existing.lease.cmp(&number(compare)),
            CompareTarget::Value => {
                let value = self.keyspace.value(key, existing)?;
                match &compare.target_union {
                    Some(TargetUnion::Value(wanted)) => value.cmp(wanted),
                    _ => value.as_ref().cmp(&[]),
                }
            }
        };
        Ok(satisfies(compare, ordering))
    }
}

fn holds_for_nothing(compare: &Compare) -> bool {
    compare.target() != CompareTarget::Value && satisfies(compare, 0.cmp(&number(compare)))
}

/// A result code that does not exist holds always, as in etcd.
fn satisfies(compare: &Compare, ordering: Ordering) -> bool {
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering == Ordering::Equal,
        Ok(CompareResult::NotEqual) => ordering != Ordering::Equal,
        Ok(CompareResult::Greater) => ordering == Ordering::Greater,
        Ok(CompareResult::Less) => ordering == Ordering::Less,
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

fn branch(request: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded {
        &request.success
    } else {
        &request.failure
    }
}

/// The operations that will happen, in order, those of nested transactions included.
fn flatten<'r>(request: &'r TxnRequest, path: &Path, into: &mut Vec<&'r Request>) {
    let mut nested = path.nested.iter();
    for operation in branch(request, path.succeeded)
        .iter()
        .filter_map(|operation| operation.request.as_ref())
    {
        if let Request::RequestTxn(inner) = operation {
            flatten(
                inner,
                nested
                    .next()
                    .expect("the path has a step for each nested transaction"),
                into,
            );
        } else {
            into.push(operation);
        }
    }
}
