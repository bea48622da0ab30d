//! KV, call by call.

use std::sync::atomic::Ordering;

use quorate::etcd::{EtcdError, MAX_REQUEST_BYTES};
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::request_op::Request::{
    RequestDeleteRange, RequestPut, RequestRange, RequestTxn,
};
use quorate::proto::etcdserverpb::response_op::Response;
use quorate::proto::etcdserverpb::{CompactionRequest, ResponseHeader, TxnResponse};
use tonic::{Code, Status};

use super::local::{CLUSTER, NODE, TERM};
use super::*;

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: CLUSTER.0,
        member_id: NODE.0,
        revision,
        raft_term: TERM.0,
    })
}

#[tokio::test]
async fn key_is_written_read_and_deleted() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    let written = kv.put(put("key", "one")).await.unwrap().into_inner();
    assert_eq!(written.header, header(2));
    let again = PutRequest {
        prev_kv: true,
        ..put("key", "two")
    };
    let again = kv.put(again).await.unwrap().into_inner();
    assert_eq!(again.header, header(3));
    assert_eq!(again.prev_kv.unwrap().value, "one");

    let read = kv.range(get("key")).await.unwrap().into_inner();
    assert_eq!((read.header, read.count, read.more), (header(3), 1, false));
    let found = &read.kvs[0];
    assert_eq!(
        (found.create_revision, found.mod_revision, found.version),
        (2, 3, 2)
    );
    assert_eq!(found.value, "two");
    let old = RangeRequest {
        revision: 2,
        ..get("key")
    };
    assert_eq!(
        kv.range(old).await.unwrap().into_inner().kvs[0].value,
        "one"
    );

    let gone = kv.delete_range(delete("key")).await.unwrap().into_inner();
    assert_eq!((gone.header, gone.deleted), (header(4), 1));
    let read = kv.range(get("key")).await.unwrap().into_inner();
    assert_eq!((read.header, read.count, read.kvs.len()), (header(4), 0, 0));
}

fn mod_revision_is(key: &'static str, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: Bytes::from(key),
        target_union: Some(TargetUnion::ModRevision(revision)),
        range_end: Bytes::new(),
    }
}

#[tokio::test]
async fn transaction_creates_once_and_then_shows_what_is_there() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    let create = txn(
        vec![mod_revision_is("key", 0)],
        vec![operation(RequestPut(put("key", "value")))],
        vec![operation(RequestRange(get("key")))],
    );
    let first = kv.txn(create.clone()).await.unwrap().into_inner();
    assert_eq!((first.succeeded, first.header), (true, header(2)));
    let second = kv.txn(create).await.unwrap().into_inner();
    assert_eq!((second.succeeded, second.header), (false, header(2)));
    let Some(Response::ResponseRange(range)) = &second.responses[0].response else {
        panic!("{second:?}");
    };
    assert_eq!(range.kvs[0].value, "value");
}

/// Small requests could ask for a large value as often as a transaction has operations.
#[tokio::test]
async fn transaction_that_reads_too_much_is_refused() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    let large = PutRequest {
        value: vec![1; 1 << 20].into(),
        ..put("key", "")
    };
    kv.put(large).await.unwrap();
    let reads = |count| {
        let read = operation(RequestRange(get("key")));
        txn(Vec::new(), vec![read; count], Vec::new())
    };
    let few = kv.txn(reads(3)).await.unwrap().into_inner();
    assert_eq!(few.responses.len(), 3);
    let status = kv.txn(reads(100)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("too long"), "{status:?}");
}

/// Answers that transactions give through the log, with a put to a key of its own added so that they must, and without
/// it, as a read.
async fn both_ways(kv: &mut Kv, request: TxnRequest) -> (TxnResponse, TxnResponse) {
    let read = kv.txn(request.clone()).await.unwrap().into_inner();
    let mut through_log = request;
    for branch in [&mut through_log.success, &mut through_log.failure] {
        branch.push(operation(RequestPut(put("zz", ""))));
    }
    let mut written = kv.txn(through_log).await.unwrap().into_inner();
    written.responses.pop();
    (read, written)
}

#[tokio::test]
async fn transaction_that_only_reads_answers_as_one_through_the_log() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    for (key, value) in [("a", "1"), ("b", "2"), ("b", "3"), ("c", "4")] {
        kv.put(put(key, value)).await.unwrap();
    }
    kv.delete_range(delete("c")).await.unwrap();
    let (key, end) = (Bytes::from("a"), Bytes::from("c"));
    let targets: Vec<(CompareTarget, Vec<TargetUnion>)> = vec![
        (
            CompareTarget::Version,
            (0..3).map(TargetUnion::Version).collect(),
        ),
        (
            CompareTarget::Create,
            (0..4).map(TargetUnion::CreateRevision).collect(),
        ),
        (
            CompareTarget::Mod,
            (0..5).map(TargetUnion::ModRevision).collect(),
        ),
        (
            CompareTarget::Lease,
            (0..2).map(TargetUnion::Lease).collect(),
        ),
        (
            CompareTarget::Value,
            ["", "1", "3"]
                .map(|value| TargetUnion::Value(value.into()))
                .into(),
        ),
    ];
    for (target, operands) in targets {
        for operand in operands {
            for result in 0..4 {
                for (key, range_end) in [
                    (key.clone(), Bytes::new()),
                    (Bytes::from("c"), Bytes::new()),
                    (key.clone(), end.clone()),
                    (key.clone(), Bytes::from_static(b"\0")),
                    (Bytes::from("x"), Bytes::from("y")),
                ] {
                    let compare = Compare {
                        result,
                        target: target.into(),
                        key,
                        target_union: Some(operand.clone()),
                        range_end,
                    };
                    let range = RangeRequest {
                        range_end: end.clone(),
                        ..get("a")
                    };
                    let request = txn(
                        vec![compare.clone()],
                        vec![operation(RequestRange(range))],
                        vec![],
                    );
                    let (read, written) = both_ways(&mut kv, request).await;
                    assert_eq!(read.succeeded, written.succeeded, "{compare:?}");
                    let kvs = |answer: &TxnResponse| match answer
                        .responses
                        .first()
                        .map(|first| &first.response)
                    {
                        Some(Some(Response::ResponseRange(range))) => range.kvs.clone(),
                        _ => vec![],
                    };
                    assert_eq!(kvs(&read), kvs(&written), "{compare:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn reads_are_not_proposed_and_wait_for_a_barrier_unless_they_ask_for_less() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    kv.put(put("key", "value")).await.unwrap();
    let local = |request: RangeRequest| RangeRequest {
        serializable: true,
        ..request
    };
    let reading = |ranges: Vec<RangeRequest>| {
        let operations = ranges
            .into_iter()
            .map(|range| operation(RequestRange(range)));
        txn(vec![], operations.collect(), vec![])
    };
    let asks = |node: &local::Local| node.barriers.load(Ordering::SeqCst);
    let table: Vec<(&str, Request, usize)> = vec![
        ("range", Request::Range(get("key")), 1),
        ("local range", Request::Range(local(get("key"))), 0),
        ("txn", Request::Txn(reading(vec![get("key")])), 1),
        (
            "local txn",
            Request::Txn(reading(vec![local(get("key")), local(get("x"))])),
            0,
        ),
        (
            "mixed txn",
            Request::Txn(reading(vec![local(get("key")), get("x")])),
            1,
        ),
        (
            "txn of compares alone",
            Request::Txn(txn(vec![mod_revision_is("key", 2)], vec![], vec![])),
            1,
        ),
    ];
    for (what, request, barriers) in table {
        let before = asks(&served.node);
        match request {
            Request::Range(range) => drop(kv.range(range).await.unwrap()),
            Request::Txn(txn) => drop(kv.txn(txn).await.unwrap()),
        }
        assert_eq!(asks(&served.node) - before, barriers, "{what}");
    }
    assert_eq!(
        served.node.proposals.load(Ordering::SeqCst),
        1,
        "only the put"
    );
}

enum Request {
    Range(RangeRequest),
    Txn(TxnRequest),
}

#[tokio::test]
async fn compaction_takes_history_away() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    for value in ["one", "two", "three"] {
        kv.put(put("key", value)).await.unwrap();
    }
    let compact = |revision, physical| CompactionRequest { revision, physical };
    assert_eq!(
        kv.compact(compact(3, true))
            .await
            .unwrap()
            .into_inner()
            .header,
        header(4)
    );
    expect(kv.compact(compact(3, false)).await, EtcdError::Compacted);
    expect(
        kv.compact(compact(5, false)).await,
        EtcdError::FutureRevision,
    );
    let old = RangeRequest {
        revision: 2,
        ..get("key")
    };
    expect(kv.range(old).await, EtcdError::Compacted);
    let kept = RangeRequest {
        revision: 3,
        ..get("key")
    };
    assert_eq!(
        kv.range(kept).await.unwrap().into_inner().kvs[0].value,
        "two"
    );
}

#[track_caller]
fn expect<T: std::fmt::Debug>(answer: Result<T, Status>, error: EtcdError) {
    let status = answer.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (error.code(), error.text())
    );
}

#[tokio::test]
async fn bad_requests_get_etcd_s_errors() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    expect(kv.range(get("")).await, EtcdError::EmptyKey);
    expect(kv.put(put("", "value")).await, EtcdError::EmptyKey);
    expect(kv.delete_range(delete("")).await, EtcdError::EmptyKey);
    let sorted = |sort_order, sort_target| RangeRequest {
        sort_order,
        sort_target,
        ..get("key")
    };
    expect(kv.range(sorted(3, 0)).await, EtcdError::InvalidSortOption);
    expect(kv.range(sorted(0, 5)).await, EtcdError::InvalidSortOption);
    let future = RangeRequest {
        revision: 100,
        ..get("key")
    };
    expect(kv.range(future).await, EtcdError::FutureRevision);
    let keeping = |value, lease, ignore_value, ignore_lease| PutRequest {
        lease,
        ignore_value,
        ignore_lease,
        ..put("key", value)
    };
    expect(
        kv.put(keeping("value", 0, true, false)).await,
        EtcdError::ValueProvided,
    );
    expect(
        kv.put(keeping("", 5, false, true)).await,
        EtcdError::LeaseProvided,
    );
    expect(
        kv.put(keeping("", 0, true, false)).await,
        EtcdError::KeyNotFound,
    );
    expect(
        kv.put(keeping("", 0, false, true)).await,
        EtcdError::KeyNotFound,
    );
    expect(
        kv.put(keeping("value", 5, false, false)).await,
        EtcdError::LeaseNotFound,
    );

    let many = |count| vec![operation(RequestRange(get("key"))); count];
    kv.txn(txn(vec![], many(128), many(128))).await.unwrap();
    expect(
        kv.txn(txn(vec![], many(129), vec![])).await,
        EtcdError::TooManyOperations,
    );
    let nested = operation(RequestTxn(txn(vec![], many(128), vec![])));
    expect(
        kv.txn(txn(vec![], vec![nested], vec![])).await,
        EtcdError::TooManyOperations,
    );
    let twice = vec![operation(RequestPut(put("key", ""))); 2];
    expect(
        kv.txn(txn(vec![], twice, vec![])).await,
        EtcdError::DuplicateKey,
    );
    let put_and_deleted = vec![
        operation(RequestPut(put("key", ""))),
        operation(RequestDeleteRange(delete("key"))),
    ];
    expect(
        kv.txn(txn(vec![], vec![], put_and_deleted)).await,
        EtcdError::DuplicateKey,
    );
    expect(
        kv.txn(txn(vec![], vec![RequestOp::default()], vec![]))
            .await,
        EtcdError::KeyNotFound,
    );
    expect(
        kv.txn(txn(vec![mod_revision_is("", 0)], vec![], vec![]))
            .await,
        EtcdError::EmptyKey,
    );
    assert_eq!(
        served.node.proposals.load(Ordering::SeqCst),
        3,
        "only what needs the state is proposed"
    );
}

#[tokio::test]
async fn request_may_be_a_mebibyte_and_a_half_and_no_more() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    // Two tags, a key of one byte and the lengths take 7 bytes.
    let sized = |bytes: usize| PutRequest {
        value: vec![7; bytes - 7].into(),
        ..put("k", "")
    };
    assert_eq!(
        prost::Message::encoded_len(&sized(MAX_REQUEST_BYTES)),
        MAX_REQUEST_BYTES
    );
    kv.put(sized(MAX_REQUEST_BYTES)).await.unwrap();
    assert_eq!(
        kv.range(get("k")).await.unwrap().into_inner().kvs[0]
            .value
            .len(),
        MAX_REQUEST_BYTES - 7
    );
    expect(
        kv.put(sized(MAX_REQUEST_BYTES + 1)).await,
        EtcdError::RequestTooLarge,
    );
    let huge = kv.put(sized(2 * 1024 * 1024 + 1)).await.unwrap_err();
    assert_eq!(huge.code(), Code::ResourceExhausted, "{huge:?}");
}

#[tokio::test]
async fn compare_of_values_reads_its_range_in_pieces() {
    const VALUE: usize = 100_000;
    const KEYS: usize = 60;
    let served = Served::start().await;
    let mut kv = kv(&served);
    for number in 0..KEYS {
        let filling = if number + 1 == KEYS { b'z' } else { b'a' };
        kv.put(PutRequest {
            key: format!("key {number:02}").into(),
            value: vec![filling; VALUE].into(),
            ..PutRequest::default()
        })
        .await
        .unwrap();
    }
    // All but the last are less, and nothing is behind it.
    let table = [
        (CompareResult::NotEqual, "y", true),
        (CompareResult::Less, "y", false),
        (CompareResult::Less, "~", true),
        (CompareResult::Greater, "y", false),
        (CompareResult::Greater, "a", true),
    ];
    for (result, value, succeeded) in table {
        let compare = Compare {
            result: result.into(),
            target: CompareTarget::Value.into(),
            key: "key".into(),
            range_end: "kez".into(),
            target_union: Some(TargetUnion::Value(value.into())),
        };
        let answer = kv.txn(txn(vec![compare], vec![], vec![])).await.unwrap();
        assert_eq!(
            answer.into_inner().succeeded,
            succeeded,
            "{result:?} {value}"
        );
    }
    let largest = served.node.largest_read.load(Ordering::SeqCst);
    assert!(largest < KEYS * VALUE / 2, "{largest} bytes at once");
}
