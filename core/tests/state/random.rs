//! Random commands, checked answer by answer against the model; then restarted, swept, sent and received.

use bytes::Bytes;
use proptest::prelude::*;
use quorate::proto::etcdserverpb::compare::{CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::response_op::Response as ResponseOp;
use quorate::proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest, TxnResponse,
};
use quorate::proto::store::command::Body;
use quorate::proto::store::{LeaseGrant, LeaseRevoke};
use quorate::state::{ReadError, Response, Staged, Sweep, validate};

use crate::driver::Driver;
use crate::model::Model;

/// Something that happens to a state.
#[derive(Clone, Debug)]
enum Step {
    Command(Body),
    /// Of so many revisions behind the present.
    Compact(i64),
    Range(RangeRequest),
    Sweep(u32),
    Reopen,
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "b", "ba", "bb", "c", "d", "\u{7f}"]).prop_map(Bytes::from)
}

fn end() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => Just(Bytes::new()),
        1 => Just(Bytes::from_static(b"\0")),
        2 => key(),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "1", "2", "12"]).prop_map(Bytes::from)
}

fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 2 => 1_i64..4]
}

fn put() -> impl Strategy<Value = PutRequest> {
    let flags = (
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    );
    (key(), value(), lease(), flags).prop_map(|(key, value, lease, (prev_kv, keep, stay))| {
        PutRequest {
            key,
            value: if keep { Bytes::new() } else { value },
            lease: if stay { 0 } else { lease },
            prev_kv,
            ignore_value: keep,
            ignore_lease: stay,
        }
    })
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

fn range() -> impl Strategy<Value = RangeRequest> {
    let revision = prop_oneof![2 => Just(0), 3 => 1_i64..60];
    let sort = (0..3_i32, prop_oneof![2 => Just(0), 1 => 0..5_i32]);
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    let bound = || prop_oneof![4 => Just(0), 1 => 1_i64..40];
    let bounds = (bound(), bound(), bound(), bound());
    (
        key(),
        end(),
        prop_oneof![Just(0), 1..5_i64],
        revision,
        sort,
        flags,
        bounds,
    )
        .prop_map(
            |(
                key,
                range_end,
                limit,
                revision,
                (sort_order, sort_target),
                (keys_only, count_only),
                bounds,
            )| RangeRequest {
                key,
                range_end,
                limit,
                revision,
                sort_order,
                sort_target,
                serializable: false,
                keys_only,
                count_only,
                min_mod_revision: bounds.0,
                max_mod_revision: bounds.1,
                min_create_revision: bounds.2,
                max_create_revision: bounds.3,
            },
        )
}

fn compare() -> impl Strategy<Value = Compare> {
    let wanted = prop_oneof![
        (0..4_i64).prop_map(TargetUnion::Version),
        (0..20_i64).prop_map(TargetUnion::CreateRevision),
        (0..20_i64).prop_map(TargetUnion::ModRevision),
        value().prop_map(TargetUnion::Value),
        lease().prop_map(TargetUnion::Lease),
    ];
    (key(), end(), 0..4_i32, wanted).prop_map(|(key, range_end, result, wanted)| {
        let target = match &wanted {
            TargetUnion::Version(_) => CompareTarget::Version,
            TargetUnion::CreateRevision(_) => CompareTarget::Create,
            TargetUnion::ModRevision(_) => CompareTarget::Mod,
            TargetUnion::Value(_) => CompareTarget::Value,
            TargetUnion::Lease(_) => CompareTarget::Lease,
        };
        Compare {
            result,
            target: target.into(),
            key,
            range_end,
            target_union: Some(wanted),
        }
    })
}

fn txn() -> impl Strategy<Value = TxnRequest> {
    let leaf = prop_oneof![
        3 => put().prop_map(Request::RequestPut),
        1 => delete().prop_map(Request::RequestDeleteRange),
        1 => range().prop_map(Request::RequestRange),
    ]
    .boxed();
    let of = |operation: BoxedStrategy<Request>| {
        let operations = || prop::collection::vec(operation.clone(), 0..4);
        (
            prop::collection::vec(compare(), 0..2),
            operations(),
            operations(),
        )
            .prop_map(|(compare, success, failure)| {
                let wrap = |requests: Vec<Request>| {
                    requests
                        .into_iter()
                        .map(|request| RequestOp {
                            request: Some(request),
                        })
                        .collect()
                };
                TxnRequest {
                    compare,
                    success: wrap(success),
                    failure: wrap(failure),
                }
            })
    };
    let nested = of(leaf.clone()).prop_map(Request::RequestTxn);
    of(prop_oneof![3 => leaf, 1 => nested].boxed())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => put().prop_map(|request| Step::Command(Body::Put(request))),
        3 => delete().prop_map(|request| Step::Command(Body::DeleteRange(request))),
        5 => txn().prop_map(|request| Step::Command(Body::Txn(request))),
        3 => (1..4_i64).prop_map(|id| Step::Command(Body::LeaseGrant(LeaseGrant { id, ttl_seconds: 9 }))),
        1 => (1..4_i64).prop_map(|id| Step::Command(Body::LeaseRevoke(LeaseRevoke { id, expired_in_term: 0 }))),
        1 => (-1..12_i64).prop_map(Step::Compact),
        6 => range().prop_map(Step::Range),
        1 => (1..5_u32).prop_map(Step::Sweep),
        1 => Just(Step::Reopen),
    ]
}

fn check_range(driver: &Driver, model: &Model, request: &RangeRequest) {
    match (driver.range(request), model.range(request)) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{request:?}"),
        (Err(ReadError::Rejected(found)), Err(expected)) => {
            assert_eq!(found, expected, "{request:?}");
        }
        (found, expected) => panic!("{request:?}: {found:?}, expected {expected:?}"),
    }
}

/// Every key at every revision, which no random range would be sure to hit.
fn check_everything(driver: &Driver, model: &Model) {
    for revision in 0..=model.revision + 1 {
        let request = RangeRequest {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            revision,
            ..RangeRequest::default()
        };
        check_range(driver, model, &request);
    }
}

/// Sends the state of one driver to another.
pub(crate) fn send(from: &Driver, to: &mut Driver) {
    let mut stream = from.state.snapshots().open().unwrap();
    let mut last = Staged::Part;
    while let Some(message) = stream.next_message().unwrap() {
        assert_eq!(last, Staged::Part);
        last = to.state.stage(&message).unwrap();
    }
    assert_eq!(last, Staged::Whole);
    assert_eq!(to.state.install().unwrap(), *stream.applied());
    assert_eq!(to.state.durable_applied(), stream.applied().log_id);
    to.index = from.index;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_those_of_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut driver = Driver::new();
        let mut model = Model::new();
        let mut log = Vec::new();
        for step in steps {
            let body = match step {
                Step::Command(Body::Txn(request)) if validate::txn(&request).is_err() => {
                    let answer = driver.apply(Body::Txn(request.clone()));
                    prop_assert_eq!(answer, Response::Rejected(validate::txn(&request).unwrap_err()));
                    log.push(Body::Txn(request));
                    continue;
                }
                Step::Command(body) => body,
                Step::Compact(back) => Body::Compact(CompactionRequest { revision: model.revision - back, physical: false }),
                Step::Range(request) => {
                    check_range(&driver, &model, &request);
                    continue;
                }
                Step::Sweep(limit) => {
                    driver.state.compact_step(limit).unwrap();
                    continue;
                }
                Step::Reopen => {
                    driver = driver.reopen();
                    continue;
                }
            };
            let expected = model.apply(&body);
            prop_assert_eq!(driver.apply(body.clone()), expected, "{:?}", body);
            log.push(body);
        }
        check_everything(&driver, &model);
        let digest = driver.state.snapshots().digest().unwrap();

        // The same log in one batch, on a node that has never swept.
        let mut other = Driver::new();
        other.apply_all(&log);
        prop_assert_eq!(other.state.snapshots().digest().unwrap(), digest);

        // And on one where nobody waits for the answers.
        let mut unheard = Driver::new();
        for body in &log {
            let answer = unheard.apply_unheard(body.clone());
            prop_assert!(!tells_of_keys(&answer), "{:?}", answer);
        }
        prop_assert_eq!(unheard.state.snapshots().digest().unwrap(), digest);

        // The state as another node receives it, in place of what it had; then everything swept.
        let mut receiver = Driver::new();
        receiver.apply(put_one());
        send(&driver, &mut receiver);
        check_everything(&receiver, &model);
        prop_assert_eq!(receiver.state.snapshots().digest().unwrap(), digest);
        while receiver.state.compact_step(3).unwrap() == Sweep::More {}
        check_everything(&receiver, &model);
        prop_assert_eq!(receiver.state.snapshots().digest().unwrap(), digest);
        let mut receiver = receiver.reopen();
        for body in log {
            if !matches!(&body, Body::Txn(request) if validate::txn(request).is_err()) {
                prop_assert_eq!(receiver.apply(body.clone()), model.apply(&body));
            }
        }
        check_everything(&receiver, &model);
    }
}

/// Whether an answer holds anything that was read for it alone.
fn tells_of_keys(answer: &Response) -> bool {
    fn txn(answer: &TxnResponse) -> bool {
        answer
            .responses
            .iter()
            .any(|answer| match &answer.response {
                Some(ResponseOp::ResponseRange(range)) => !range.kvs.is_empty(),
                Some(ResponseOp::ResponsePut(put)) => put.prev_kv.is_some(),
                Some(ResponseOp::ResponseDeleteRange(delete)) => !delete.prev_kvs.is_empty(),
                Some(ResponseOp::ResponseTxn(nested)) => txn(nested),
                None => false,
            })
    }
    match answer {
        Response::Put(put) => put.prev_kv.is_some(),
        Response::DeleteRange(delete) => !delete.prev_kvs.is_empty(),
        Response::Txn(answer) => txn(answer),
        _ => false,
    }
}

fn put_one() -> Body {
    Body::Put(PutRequest {
        key: Bytes::from_static(b"old"),
        ..PutRequest::default()
    })
}
