//! Whatever anybody sends is answered, and the node goes on: requests of every shape, and bytes that are hardly any.

use std::sync::Mutex;

use http_body_util::{BodyExt as _, Full};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use prost::Message as _;
use quorate::proto::etcdserverpb::compare::TargetUnion;
use quorate::proto::etcdserverpb::{CompactionRequest, HashKvRequest};
use tonic::{Code, Status};

use super::*;

const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const DELETE: &str = "/etcdserverpb.KV/DeleteRange";
const TXN: &str = "/etcdserverpb.KV/Txn";
const COMPACT: &str = "/etcdserverpb.KV/Compact";
const HASH_KV: &str = "/etcdserverpb.Maintenance/HashKV";

/// Every call of one message, of whatever service.
const CALLS: [&str; 26] = [
    RANGE,
    PUT,
    DELETE,
    TXN,
    COMPACT,
    HASH_KV,
    "/etcdserverpb.KV/RangeStream",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Lease/LeaseRevoke",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Lease/LeaseTimeToLive",
    "/etcdserverpb.Lease/LeaseLeases",
    "/etcdserverpb.Cluster/MemberAdd",
    "/etcdserverpb.Cluster/MemberRemove",
    "/etcdserverpb.Cluster/MemberUpdate",
    "/etcdserverpb.Cluster/MemberList",
    "/etcdserverpb.Cluster/MemberPromote",
    "/etcdserverpb.Maintenance/Alarm",
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Defragment",
    "/etcdserverpb.Maintenance/Hash",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.Maintenance/MoveLeader",
    "/etcdserverpb.Maintenance/Downgrade",
    "/etcdserverpb.Nothing/Nothing",
];

/// Where code of the node panicked. Tests of this binary panic elsewhere, if at all.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn note_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Some(location) = panic.location().filter(|at| !at.file().contains("tests")) {
            PANICS.lock().unwrap().push(location.to_string());
        }
        usual(panic);
    }));
}

fn text() -> impl Strategy<Value = Bytes> {
    let usual = select(vec![
        &b"a"[..],
        b"b",
        b"ab",
        b"c",
        b"\0",
        b"",
        b"\xff\xff",
        b"a\0",
    ]);
    prop_oneof![
        8 => usual.prop_map(Bytes::from_static),
        1 => vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        1 => (0..2_000_000_usize).prop_map(|length| Bytes::from(vec![7; length])),
    ]
}

/// Mostly what could be meant, and the ends of what can be said.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => Just(0_i64),
        6 => 0..20_i64,
        1 => select(vec![i64::MIN, i64::MIN + 1, -1, i64::MAX - 1, i64::MAX, 1 << 40]),
    ]
}

fn choice() -> impl Strategy<Value = i32> {
    prop_oneof![8 => 0..6_i32, 1 => select(vec![-1, i32::MIN, i32::MAX])]
}

fn range() -> impl Strategy<Value = RangeRequest> {
    let keys = (text(), text());
    let bounds = (number(), number(), number(), number(), number(), number());
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (keys, bounds, flags, choice(), choice()).prop_map(
        |((key, range_end), bounds, flags, sort_order, sort_target)| RangeRequest {
            key,
            range_end,
            limit: bounds.0,
            revision: bounds.1,
            min_mod_revision: bounds.2,
            max_mod_revision: bounds.3,
            min_create_revision: bounds.4,
            max_create_revision: bounds.5,
            serializable: flags.0,
            keys_only: flags.1,
            count_only: flags.2,
            sort_order,
            sort_target,
        },
    )
}

fn put_request() -> impl Strategy<Value = PutRequest> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (text(), text(), number(), flags).prop_map(|(key, value, lease, flags)| PutRequest {
        key,
        value,
        lease,
        prev_kv: flags.0,
        ignore_value: flags.1,
        ignore_lease: flags.2,
    })
}

fn delete_request() -> impl Strategy<Value = DeleteRangeRequest> {
    (text(), text(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

fn comparison() -> impl Strategy<Value = Compare> {
    let union = prop_oneof![
        Just(None),
        number().prop_map(|number| Some(TargetUnion::Version(number))),
        number().prop_map(|number| Some(TargetUnion::CreateRevision(number))),
        number().prop_map(|number| Some(TargetUnion::ModRevision(number))),
        number().prop_map(|number| Some(TargetUnion::Lease(number))),
        text().prop_map(|text| Some(TargetUnion::Value(text))),
    ];
    (choice(), choice(), text(), text(), union).prop_map(
        |(result, target, key, range_end, target_union)| Compare {
            result,
            target,
            key,
            range_end,
            target_union,
        },
    )
}

fn txn_request() -> impl Strategy<Value = TxnRequest> {
    let leaf = prop_oneof![
        1 => Just(RequestOp { request: None }),
        4 => range().prop_map(|range| operation(request_op::Request::RequestRange(range))),
        4 => put_request().prop_map(|put| operation(request_op::Request::RequestPut(put))),
        4 => delete_request()
            .prop_map(|delete| operation(request_op::Request::RequestDeleteRange(delete))),
    ];
    let operations = leaf.prop_recursive(4, 60, 4, |inner| {
        let branch = || vec(inner.clone(), 0..4);
        (vec(comparison(), 0..3), branch(), branch()).prop_map(|(compare, success, failure)| {
            operation(request_op::Request::RequestTxn(txn(
                compare, success, failure,
            )))
        })
    });
    let branch = || vec(operations.clone(), 0..5);
    (vec(comparison(), 0..4), branch(), branch())
        .prop_map(|(compare, success, failure)| txn(compare, success, failure))
}

/// A request as it is on the wire, and where it goes.
fn well_formed() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let compact = (number(), any::<bool>());
    prop_oneof![
        4 => range().prop_map(|range| (RANGE, range.encode_to_vec())),
        4 => put_request().prop_map(|put| (PUT, put.encode_to_vec())),
        2 => delete_request().prop_map(|delete| (DELETE, delete.encode_to_vec())),
        6 => txn_request().prop_map(|txn| (TXN, txn.encode_to_vec())),
        1 => compact.prop_map(|(revision, physical)| {
            (COMPACT, CompactionRequest { revision, physical }.encode_to_vec())
        }),
        1 => number()
            .prop_map(|revision| (HASH_KV, HashKvRequest { revision }.encode_to_vec())),
    ]
}

/// The same with some bytes changed, cut off or said twice, or none of it; for any call.
fn damaged() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let changes = vec((any::<Index>(), any::<u8>()), 0..6);
    let bytes = prop_oneof![
        6 => well_formed().prop_map(|(_, bytes)| bytes).boxed(),
        1 => vec(any::<u8>(), 0..200).boxed(),
    ];
    let cut = prop_oneof![2 => Just(None), 1 => any::<Index>().prop_map(Some)];
    (select(CALLS.to_vec()), bytes, changes, cut, any::<bool>()).prop_map(
        |(call, mut bytes, changes, cut, twice)| {
            for (place, value) in changes {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = value;
                }
            }
            if let Some(cut) = cut.filter(|_| !bytes.is_empty()) {
                bytes.truncate(cut.index(bytes.len()));
            }
            if twice && bytes.len() < 100_000 {
                bytes.extend(bytes.clone());
            }
            (call, bytes)
        },
    )
}

/// Sends one message with these bytes; how the call ended.
async fn send(channel: &Channel<R>, call: &str, message: &[u8]) -> Code {
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let request = http::Request::post(call)
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(Full::new(Bytes::from(framed))))
        .unwrap();
    let answer = match tower_service::Service::call(&mut channel.clone(), request).await {
        Ok(answer) => answer,
        Err(status) => return status.code(),
    };
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return status.code();
    }
    match answer.into_body().collect().await {
        Ok(body) => {
            let trailers = body.trailers().cloned().unwrap_or_default();
            Status::from_header_map(&trailers).map_or(Code::Unknown, |status| status.code())
        }
        Err(status) => status.code(),
    }
}

/// Sends `cases` drawn messages to one node, which goes on after each.
fn survives(
    cases: u32,
    messages: impl Strategy<Value = (&'static str, Vec<u8>)>,
    may_end: fn(Code) -> bool,
) {
    note_panics();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let served = runtime.block_on(Served::start());
    let channel = runtime.block_on(async { served.channel() });
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[5; 32]);
    let mut ends = std::collections::BTreeMap::<i32, u32>::new();
    let ended = std::cell::RefCell::new(&mut ends);
    let outcome = TestRunner::new_with_rng(config, random).run(&messages, |(call, message)| {
        let code = runtime.block_on(send(&channel, call, &message));
        *ended.borrow_mut().entry(code as i32).or_default() += 1;
        prop_assert!(may_end(code), "{call} ended with {code:?}");
        let mark = Bytes::from(message.len().to_string());
        let seen = runtime.block_on(async {
            let mut kv = kv(&served);
            let put = PutRequest {
                key: Bytes::from_static(b"mark"),
                value: mark.clone(),
                ..PutRequest::default()
            };
            kv.put(put).await?;
            kv.range(get("mark")).await
        });
        let seen = seen.map(|answer| answer.into_inner().kvs[0].value.clone());
        prop_assert_eq!(seen.map_err(|status| status.to_string()), Ok(mark));
        let panics = std::mem::take(&mut *PANICS.lock().unwrap());
        prop_assert!(panics.is_empty(), "{panics:?}");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let ways = ends.len();
    assert!(ways >= 3, "all of them ended alike: {ends:?}");
}

#[test]
fn requests_of_every_shape_are_answered_or_refused_for_a_reason() {
    let with_a_reason = |code| {
        matches!(
            code,
            Code::Ok
                | Code::InvalidArgument
                | Code::OutOfRange
                | Code::NotFound
                | Code::FailedPrecondition
                | Code::ResourceExhausted
        )
    };
    survives(1_500, well_formed(), with_a_reason);
}

#[test]
fn bytes_that_are_hardly_a_request_are_answered_and_the_node_goes_on() {
    // What cannot be decoded is an internal error to every gRPC server that uses the usual library.
    survives(1_500, damaged(), |code| {
        !matches!(code, Code::Unknown | Code::Unavailable | Code::Cancelled)
    });
}
