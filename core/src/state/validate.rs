//! What can be said of a request before anything is read: pure functions of its bytes.
//!
//! The server calls them before it proposes, so that a bad request costs the cluster nothing; apply calls them again, since
//! what is in the log must be harmless whoever put it there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::error::Rejection;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

/// Operations (or compares) that a transaction may have.
pub const TXN_OPERATIONS: usize = 128;
/// Operations and compares that it may have with all that is nested in it. etcd knows no such limit: there, what fits into one
/// request can nest a hundred thousand, each of which may read the whole keyspace while every node waits.
pub(super) const NESTED_OPERATIONS: usize = 4096;
/// Transactions within transactions, the outermost counted. Each is two messages deep, and a decoder takes a hundred at most,
/// with the envelopes that a command and its answer travel in: what is nested deeper could be written into the log and never be
/// read again. etcd knows no such limit, and nobody nests by hand.
pub(super) const NESTED_TRANSACTIONS: usize = 32;

/// A range needs a key and a sort order that exists.
pub fn range(request: &RangeRequest) -> Result<(), Rejection> {
    key(&request.key)?;
    let known = SortOrder::try_from(request.sort_order).is_ok()
        && SortTarget::try_from(request.sort_target).is_ok();
    if known {
        Ok(())
    } else {
        Err(Rejection::InvalidSort)
    }
}

/// A put needs a key, and keeps either the old value or takes the one given, as with the lease.
pub fn put(request: &PutRequest) -> Result<(), Rejection> {
    key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(Rejection::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Rejection::LeaseProvided);
    }
    Ok(())
}

/// A delete needs a key.
pub fn delete_range(request: &DeleteRangeRequest) -> Result<(), Rejection> {
    key(&request.key)
}

/// A transaction is small enough, each operation is well formed, and no branch modifies a key twice.
pub fn txn(request: &TxnRequest) -> Result<(), Rejection> {
    let mut total = NESTED_OPERATIONS;
    shape(request, TXN_OPERATIONS, NESTED_TRANSACTIONS, &mut total)?;
    touched(&request.success)?;
    touched(&request.failure)?;
    Ok(())
}

fn key(key: &[u8]) -> Result<(), Rejection> {
    if key.is_empty() {
        Err(Rejection::KeyNotProvided)
    } else {
        Ok(())
    }
}

/// Compares and both branches are counted each, the largest counts, and what is nested shares what is `allowed` beyond it.
/// All together take from `total`. No more than so many `levels` are nested.
fn shape(
    request: &TxnRequest,
    allowed: usize,
    levels: usize,
    total: &mut usize,
) -> Result<(), Rejection> {
    let levels = levels.checked_sub(1).ok_or(Rejection::TooManyOperations)?;
    let lengths = [
        request.compare.len(),
        request.success.len(),
        request.failure.len(),
    ];
    let most = lengths.into_iter().max().unwrap_or_default();
    let left = allowed
        .checked_sub(most)
        .ok_or(Rejection::TooManyOperations)?;
    *total = total
        .checked_sub(lengths.into_iter().sum())
        .ok_or(Rejection::TooManyOperations)?;
    request
        .compare
        .iter()
        .try_for_each(|compare| key(&compare.key))?;
    request
        .success
        .iter()
        .chain(&request.failure)
        .try_for_each(|operation| match &operation.request {
            Some(Request::RequestRange(request)) => range(request),
            Some(Request::RequestPut(request)) => put(request),
            Some(Request::RequestDeleteRange(request)) => delete_range(request),
            Some(Request::RequestTxn(request)) => shape(request, left, levels, total),
            None => Err(Rejection::KeyNotFound),
        })
}

/// The keys that a list of operations may put, and the ranges that it may delete.
#[derive(Default)]
struct Touched<'r> {
    puts: BTreeSet<&'r [u8]>,
    deletes: Ranges<'r>,
}

impl<'r> Touched<'r> {
    fn put(&mut self, key: &'r [u8]) -> Result<(), Rejection> {
        if self.deletes.contains(key) || !self.puts.insert(key) {
            Err(Rejection::DuplicateKey)
        } else {
            Ok(())
        }
    }
}

/// A set of keys made of single ones and of ranges, in which a key is found without looking at each.
#[derive(Default)]
struct Ranges<'r> {
    single: BTreeSet<&'r [u8]>,
    /// From the first key of each to the first behind it; no two of them meet.
    spans: BTreeMap<&'r [u8], &'r [u8]>,
}

impl<'r> Ranges<'r> {
    /// Adds a deleted range as etcd compares it with puts: an end of one zero byte is taken literally here, so that a delete
    /// of everything from a key on collides with nothing, and both happen in their order.
    fn add(&mut self, request: &'r DeleteRangeRequest) {
        if request.range_end.is_empty() {
            self.single.insert(&request.key);
        } else {
            self.add_span(&request.key, &request.range_end);
        }
    }

    fn add_span(&mut self, mut from: &'r [u8], mut until: &'r [u8]) {
        if from >= until {
            return;
        }
        // Backwards from the last that begins before the end: those that meet the new one come first.
        while let Some((&start, &end)) = self.spans.range(..=until).next_back()
            && end >= from
        {
            self.spans.remove(start);
            from = from.min(start);
            until = until.max(end);
        }
        self.spans.insert(from, until);
    }

    fn extend(&mut self, other: Self) {
        self.single.extend(other.single);
        for (from, until) in other.spans {
            self.add_span(from, until);
        }
    }

    fn contains(&self, key: &[u8]) -> bool {
        let up_to_key = (Bound::Unbounded, Bound::Included(key));
        let last = self.spans.range::<[u8], _>(up_to_key).next_back();
        self.single.contains(key) || last.is_some_and(|(_, &until)| key < until)
    }
}

/// Deletes of this level first, then what is nested, then the puts of this level: the order in which etcd looks, which
/// decides what it overlooks (a put in one nested transaction and a delete in the next).
fn touched(operations: &[RequestOp]) -> Result<Touched<'_>, Rejection> {
    let mut all = Touched::default();
    for operation in operations {
        if let Some(Request::RequestDeleteRange(request)) = &operation.request {
            all.deletes.add(request);
        }
    }
    for operation in operations {
        if let Some(Request::RequestTxn(request)) = &operation.request {
            let (success, failure) = (touched(&request.success)?, touched(&request.failure)?);
            // Only one branch happens, so a key that both put is put once.
            let puts = success.puts.union(&failure.puts);
            puts.copied().try_for_each(|key| all.put(key))?;
            all.deletes.extend(success.deletes);
            all.deletes.extend(failure.deletes);
        }
    }
    for operation in operations {
        if let Some(Request::RequestPut(request)) = &operation.request {
            all.put(&request.key)?;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn put_op(key: &'static str) -> RequestOp {
        RequestOp {
            request: Some(Request::RequestPut(PutRequest {
                key: Bytes::from(key),
                ..PutRequest::default()
            })),
        }
    }

    fn delete_op(key: &'static str, end: &'static str) -> RequestOp {
        RequestOp {
            request: Some(Request::RequestDeleteRange(DeleteRangeRequest {
                key: Bytes::from(key),
                range_end: Bytes::from(end),
                prev_kv: false,
            })),
        }
    }

    fn nested(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        RequestOp {
            request: Some(Request::RequestTxn(TxnRequest {
                compare: vec![],
                success,
                failure,
            })),
        }
    }

    fn judged(success: Vec<RequestOp>) -> Result<(), Rejection> {
        txn(&TxnRequest {
            compare: vec![],
            success,
            failure: vec![],
        })
    }

    #[test]
    fn a_key_is_modified_once_in_a_branch() {
        let duplicate = Err(Rejection::DuplicateKey);
        assert_eq!(judged(vec![put_op("a"), put_op("b")]), Ok(()));
        assert_eq!(judged(vec![put_op("a"), put_op("a")]), duplicate);
        assert_eq!(judged(vec![put_op("a"), delete_op("a", "")]), duplicate);
        assert_eq!(judged(vec![delete_op("a", "c"), put_op("b")]), duplicate);
        assert_eq!(judged(vec![delete_op("a", "c"), put_op("c")]), Ok(()));
        assert_eq!(
            judged(vec![delete_op("a", "\0"), put_op("zz")]),
            Ok(()),
            "etcd takes this end literally"
        );
        assert_eq!(judged(vec![delete_op("a", ""), delete_op("a", "")]), Ok(()));
    }

    #[test]
    fn branches_of_one_nested_transaction_exclude_each_other() {
        let duplicate = Err(Rejection::DuplicateKey);
        assert_eq!(
            judged(vec![nested(vec![put_op("a")], vec![put_op("a")])]),
            Ok(())
        );
        assert_eq!(
            judged(vec![
                nested(vec![put_op("a")], vec![]),
                nested(vec![put_op("a")], vec![])
            ]),
            duplicate
        );
        assert_eq!(
            judged(vec![nested(vec![put_op("a")], vec![]), put_op("a")]),
            duplicate
        );
        assert_eq!(
            judged(vec![delete_op("a", ""), nested(vec![], vec![put_op("a")])]),
            duplicate
        );
        assert_eq!(
            judged(vec![nested(vec![delete_op("a", "c")], vec![]), put_op("b")]),
            duplicate
        );
    }

    #[test]
    fn nested_operations_share_the_allowance() {
        let many = |count: usize| (0..count).map(|_| delete_op("a", "")).collect::<Vec<_>>();
        assert_eq!(judged(many(128)), Ok(()));
        assert_eq!(judged(many(129)), Err(Rejection::TooManyOperations));
        assert_eq!(judged(vec![nested(many(127), vec![])]), Ok(()));
        assert_eq!(
            judged(vec![nested(many(128), vec![])]),
            Err(Rejection::TooManyOperations)
        );
        assert_eq!(
            judged(vec![RequestOp { request: None }]),
            Err(Rejection::KeyNotFound)
        );
    }

    #[test]
    fn all_that_is_nested_has_a_limit_of_its_own() {
        let deletes = || (0..31).map(|_| delete_op("a", "")).collect::<Vec<_>>();
        let nest = |count: usize| {
            judged(
                (0..count)
                    .map(|_| nested((0..32).map(|_| nested(deletes(), vec![])).collect(), vec![]))
                    .collect(),
            )
        };
        assert_eq!(nest(3), Ok(()));
        assert_eq!(nest(4), Err(Rejection::TooManyOperations));
    }

    mod ranges {
        use super::*;
        use proptest::prelude::*;

        fn range() -> impl Strategy<Value = DeleteRangeRequest> {
            let key = || prop::collection::vec(0..4_u8, 0..3);
            (key(), key()).prop_map(|(key, range_end)| DeleteRangeRequest {
                key: key.into(),
                range_end: range_end.into(),
                prev_kv: false,
            })
        }

        proptest! {
            /// Ranges that were merged contain a key exactly if one of those that were added does.
            #[test]
            fn contain_what_one_of_them_contains(
                added in prop::collection::vec(range(), 0..12),
                key in prop::collection::vec(0..4_u8, 0..4),
            ) {
                let mut ranges = Ranges::default();
                added.iter().for_each(|request| ranges.add(request));
                let one = added.iter().any(|request| {
                    if request.range_end.is_empty() {
                        request.key == key
                    } else {
                        request.key <= key && key < request.range_end
                    }
                });
                prop_assert_eq!(ranges.contains(&key), one);
                let ends: Vec<_> = ranges.spans.iter().flat_map(|(from, until)| [from, until]).collect();
                prop_assert!(ends.is_sorted_by(|a, b| a < b), "apart and in order: {:?}", ends);
            }
        }
    }
}
