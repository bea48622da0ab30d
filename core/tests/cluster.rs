//! Whole nodes over the real runtime, in one process.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as it must be ends the test"
)]

mod dialling;
mod nodes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use prost::Message as _;
use quorate::config::Beginning;
use quorate::etcd::MAX_REQUEST_BYTES;
use quorate::node::{Invitation, Node, Wipe, join};
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use quorate::proto::join::RoleWanted;
use quorate::proto::store::command::Body;
use quorate::raft::length;
use quorate::raft::proposer::ProposeError;
use quorate::raft::replica::{Replica, Stores};
use quorate::raft::types::Proposal;
use quorate::runtime::tokio::TokioRuntime;
use quorate::runtime::{Runtime as _, timeout};
use quorate::state::{FEATURE_LEVEL, Response, command};
use quorate::transport::Channel;

use nodes::{config, until};

type RealNode = Node<TokioRuntime>;

fn put(key: &str, value: &str) -> Body {
    Body::Put(PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    })
}

async fn get(replica: &Arc<Replica<TokioRuntime>>, key: &str) -> Option<String> {
    let request = RangeRequest {
        key: key.to_owned().into(),
        ..RangeRequest::default()
    };
    let readers = replica
        .readers()
        .await
        .expect("what is applied is committed");
    let readers = readers.expect("the state is open");
    let response = readers
        .with(|reader| reader.range(&request))
        .expect("a read");
    response
        .kvs
        .first()
        .map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
}

fn voters(node: &RealNode) -> usize {
    node.replica()
        .membership()
        .map_or(0, |membership| membership.membership().voter_ids().count())
}

async fn three(directory: &Path) -> Vec<RealNode> {
    let first = config(directory.join("one"), "one");
    let mut nodes = vec![
        RealNode::start(first, Beginning::Usual)
            .await
            .expect("the first node starts"),
    ];
    until("the first node leads", || {
        nodes[0].replica().leader() == Some(nodes[0].identity().node)
    })
    .await;
    for name in ["two", "three"] {
        let config = config(directory.join(name), name);
        let invitation = Invitation {
            ttl: Duration::from_secs(60),
            uses: 1,
            role: RoleWanted::Any,
            name: String::new(),
        };
        let (line, _) = nodes[0].handle().invite(invitation).await.expect("invited");
        let patience = Duration::from_secs(30);
        join::<TokioRuntime>(&config, line, RoleWanted::Any, Wipe::Refuse, patience)
            .await
            .expect("admitted");
        nodes.push(
            RealNode::start(config, Beginning::Existing)
                .await
                .expect("a joined node starts"),
        );
    }
    until("three voters", || {
        nodes.iter().all(|node| voters(node) == 3)
    })
    .await;
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_keeps_what_it_acknowledged_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path().join("one"), "one");
    let node = RealNode::start(config.clone(), Beginning::Usual)
        .await
        .unwrap();
    until("it leads", || node.replica().leader().is_some()).await;
    for number in 0..20 {
        let answer = node
            .replica()
            .command(put(&format!("key{number}"), "value"))
            .await
            .unwrap();
        assert!(matches!(answer, Response::Put(_)), "{answer:?}");
    }
    node.stop().await;
    let node = RealNode::start(config, Beginning::Existing).await.unwrap();
    until("it leads again", || node.replica().leader().is_some()).await;
    node.replica().barrier().unwrap().pass().await.unwrap();
    assert_eq!(get(node.replica(), "key19").await.as_deref(), Some("value"));
    node.stop().await;
}

/// On one thread, so that whoever watches runs whenever the start waits for something.
#[tokio::test]
async fn nobody_reads_before_it_is_known_what_was_committed() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path().join("one"), "one");
    let node = RealNode::start(config, Beginning::Usual).await.unwrap();
    let replica = Arc::clone(node.replica());
    until("it leads", || replica.leader().is_some()).await;
    replica.command(put("key", "value")).await.unwrap();
    replica.stop().await;
    let watched = Arc::clone(&replica);
    let watcher = TokioRuntime::spawn(async move {
        while watched.committed().is_some() {
            tokio::task::yield_now().await;
        }
        while watched.committed().is_none() {
            tokio::task::yield_now().await;
        }
        watched.raft().is_some()
    });
    replica.start(Stores::Existing).await.unwrap();
    assert!(watcher.await.unwrap(), "the readers came before Raft");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_large_values_is_cut_by_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path().join("one"), "one");
    let node = RealNode::start(config.clone(), Beginning::Usual)
        .await
        .unwrap();
    let replica = node.replica();
    until("it leads", || replica.leader().is_some()).await;
    let large = "x".repeat(1 << 20);
    for number in 0..70 {
        let answer = replica.command(put(&format!("key{number}"), &large)).await;
        assert!(matches!(answer, Ok(Response::Put(_))));
    }
    until("the log is cut", || {
        replica
            .log_bytes()
            .is_some_and(|bytes| bytes < length::MOST_BYTES)
    })
    .await;
    let purged = replica.metrics().unwrap().purged.unwrap().index;
    assert!((10..60).contains(&purged), "the newest are kept: {purged}");
    node.stop().await;
    let node = RealNode::start(config, Beginning::Existing).await.unwrap();
    // What is found at the start is counted too.
    let bytes = node.replica().log_bytes().unwrap();
    assert!((20 << 20..length::MOST_BYTES).contains(&bytes), "{bytes}");
    until("it leads again", || node.replica().leader().is_some()).await;
    node.replica().barrier().unwrap().pass().await.unwrap();
    for key in ["key0", "key69"] {
        assert_eq!(get(node.replica(), key).await.as_ref(), Some(&large));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_form_and_go_on_without_the_leader() {
    let directory = tempfile::tempdir().unwrap();
    let mut nodes = three(directory.path()).await;
    for (number, node) in nodes.iter().enumerate() {
        let answer = node
            .replica()
            .command(put(&format!("from{number}"), "any node takes writes"))
            .await
            .unwrap();
        assert!(matches!(answer, Response::Put(_)), "{answer:?}");
    }
    let leader = nodes[0].replica().leader();
    let at = nodes
        .iter()
        .position(|node| Some(node.identity().node) == leader)
        .unwrap();
    nodes.remove(at).stop().await;
    let answer = nodes[0]
        .replica()
        .command(put("after", "the leader left"))
        .await
        .unwrap();
    assert!(matches!(answer, Response::Put(_)), "{answer:?}");
    for node in &nodes {
        node.replica().barrier().unwrap().pass().await.unwrap();
        assert_eq!(
            get(node.replica(), "after").await.as_deref(),
            Some("the leader left")
        );
        assert_eq!(
            get(node.replica(), "from2").await.as_deref(),
            Some("any node takes writes")
        );
    }
    for node in nodes {
        node.stop().await;
    }
}

/// The node that leads, and one that does not.
fn leader_and_follower(nodes: &[RealNode]) -> (&RealNode, &RealNode) {
    let leads = |node: &&RealNode| node.replica().leads();
    let leader = nodes.iter().find(leads);
    let follower = nodes.iter().find(|node| !leads(node));
    (leader.expect("one leads"), follower.expect("two do not"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_larger_than_any_request_comes_back_through_a_follower() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = three(directory.path()).await;
    let (_, follower) = leader_and_follower(&nodes);
    let value = "v".repeat(1 << 20);
    for number in 0..12 {
        let put = put(&format!("large/{number:02}"), &value);
        follower.replica().command(put).await.unwrap();
    }
    let delete = Body::DeleteRange(DeleteRangeRequest {
        key: "large/".into(),
        range_end: "large0".into(),
        prev_kv: true,
    });
    let answer = follower.replica().command(delete).await.unwrap();
    let Response::DeleteRange(answer) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(answer.prev_kvs.len(), 12);
    assert!(answer.prev_kvs.iter().all(|kv| kv.value == value));
    for node in nodes {
        node.stop().await;
    }
}

/// A client of the etcd API, which sends and takes messages of any size.
fn client_of(node: &RealNode) -> KvClient<Channel<TokioRuntime>> {
    KvClient::new(dialling::channel(node.client_address()))
        .max_encoding_message_size(usize::MAX)
        .max_decoding_message_size(usize::MAX)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_request_passes_through_a_follower_and_outlasts_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut nodes = three(directory.path()).await;
    let follower = (0..3).find(|at| !nodes[*at].replica().leads());
    let follower = follower.expect("two do not lead");
    let sized = |bytes| {
        let mut request = PutRequest {
            key: "largest".into(),
            value: vec![b'v'; bytes].into(),
            ..PutRequest::default()
        };
        let beside = request.encoded_len() - bytes;
        request.value.truncate(bytes - beside);
        request
    };
    let largest = sized(MAX_REQUEST_BYTES);
    assert_eq!(largest.encoded_len(), MAX_REQUEST_BYTES);
    let mut client = client_of(&nodes[follower]);
    client.put(largest.clone()).await.expect("it is taken");
    let refused = client.put(sized(MAX_REQUEST_BYTES + 1)).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: request is too large");
    // It comes back from every disk.
    for at in 0..3 {
        let config = nodes[at].handle().config().clone();
        nodes.remove(at).stop().await;
        let again = RealNode::start(config, Beginning::Existing).await;
        nodes.insert(at, again.expect("it goes on"));
        let get = RangeRequest {
            key: "largest".into(),
            ..RangeRequest::default()
        };
        let mut client = client_of(&nodes[at]);
        let mut answer = client.range(get.clone()).await;
        for _ in 0..100 {
            if answer.is_ok() {
                break;
            }
            TokioRuntime::sleep(Duration::from_millis(100)).await;
            answer = client.range(get.clone()).await;
        }
        let answer = answer.expect("it is answered").into_inner();
        assert_eq!(answer.kvs[0].value, largest.value);
    }
    for node in nodes {
        node.stop().await;
    }
}

/// So many transactions, each within the one before, around a put.
fn nested(levels: usize) -> Body {
    let operation = |request| RequestOp {
        request: Some(request),
    };
    let innermost = PutRequest {
        key: "nested".into(),
        value: "innermost".into(),
        ..PutRequest::default()
    };
    let within = |operation: RequestOp| TxnRequest {
        success: vec![operation],
        ..TxnRequest::default()
    };
    let mut txn = within(operation(Request::RequestPut(innermost)));
    for _ in 1..levels {
        txn = within(operation(Request::RequestTxn(txn)));
    }
    Body::Txn(txn)
}

/// A decoder takes a hundred nested messages: what is deeper would be written and then end every node that reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_nest_as_deep_as_every_node_can_read_and_no_deeper() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = three(directory.path()).await;
    let (leader, follower) = leader_and_follower(&nodes);
    for node in [leader, follower] {
        for levels in [1, 2, 31, 32] {
            let answer = node.replica().command(nested(levels)).await;
            assert!(
                matches!(answer, Ok(Response::Txn(_))),
                "{levels}: {answer:?}"
            );
        }
        for levels in 33..60 {
            let answer = node.replica().command(nested(levels)).await;
            assert!(
                !matches!(answer, Ok(Response::Txn(_))),
                "{levels}: {answer:?}"
            );
        }
        let after = node.replica().command(put("after", "value")).await;
        assert!(matches!(after, Ok(Response::Put(_))), "{after:?}");
    }
    for node in nodes {
        node.stop().await;
    }
}

/// T5: what is on its way is bounded, whether or not anybody waits for it. On one thread nothing is done about it meanwhile.
#[tokio::test]
async fn commands_that_nobody_waits_for_any_more_take_room_until_they_are_done() {
    let directory = tempfile::tempdir().unwrap();
    let mut nodes = three(directory.path()).await;
    let lonely = nodes.pop().unwrap();
    for node in nodes {
        node.stop().await;
    }
    let value = "v".repeat(1 << 20);
    let mut refused = false;
    for number in 0..200 {
        let put = put(&format!("large/{number}"), &value);
        let given_up = lonely.replica().command(put).now_or_never();
        refused |= matches!(given_up, Some(Err(ProposeError::Overloaded)));
    }
    assert!(refused, "200 MiB are on their way");
    lonely.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_under_load_and_every_write_has_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = three(directory.path()).await;
    let (leader, follower) = leader_and_follower(&nodes);
    let mut writers = Vec::new();
    for writer in 0..64 {
        let replica = Arc::clone(match writer % 2 {
            0 => leader.replica(),
            _ => follower.replica(),
        });
        writers.push(TokioRuntime::spawn(async move {
            for number in 0..60 {
                let put = put(&format!("{writer}/{number}"), "value");
                replica.command(put).await.unwrap();
            }
        }));
    }
    TokioRuntime::sleep(Duration::from_millis(20)).await;
    let heir = leader.replica().hand_over(Duration::from_secs(2)).await;
    assert!(heir.is_some(), "followers are level once nothing is added");
    assert!(!leader.replica().leads());
    for writer in writers {
        writer.await.unwrap();
    }
    for node in nodes {
        node.stop().await;
    }
}

/// A leader of a later version, as far as followers can tell: its own `propose` would refuse the command.
async fn write_unknown(leader: &RealNode) {
    let mut command = command(put("key", "of a later version"));
    command.feature_level = FEATURE_LEVEL + 1;
    let raft = leader.replica().raft().expect("raft runs");
    let proposal = Proposal(command.encode_to_vec().into());
    drop(raft.client_write_many([proposal]).await.expect("taken"));
}

/// The entry that a node says it ended for.
fn entry_in(end: &str) -> u64 {
    let (_, rest) = end.split_once("log entry ").expect(end);
    let (index, _) = rest.split_once(' ').expect(end);
    index.parse().expect(end)
}

async fn end_of(node: &mut RealNode) -> String {
    let failed = timeout::<TokioRuntime, _>(Duration::from_secs(30), node.failed());
    failed.await.expect("it ends by itself").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_ends_before_it_takes_an_entry_of_a_later_version() {
    let directory = tempfile::tempdir().unwrap();
    let mut nodes = three(directory.path()).await;
    let (leader, _) = leader_and_follower(&nodes);
    write_unknown(leader).await;
    let leads = nodes.iter().position(|node| node.replica().leads());
    let leader = nodes.remove(leads.expect("one leads"));
    for mut node in nodes {
        let end = end_of(&mut node).await;
        assert!(end.contains("start the newer version"), "{end}");
        // So that it can never lead with it. What was in the log before it may have come meanwhile.
        let last = node.replica().metrics().unwrap().last_log_index;
        assert!(last < Some(entry_in(&end)), "{end}: {last:?}");
        node.stop().await;
    }
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_a_later_version_in_its_own_log_ends_a_node_and_stops_its_start() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path().join("one"), "one");
    let mut node = RealNode::start(config.clone(), Beginning::Usual)
        .await
        .unwrap();
    until("it leads", || node.replica().leader().is_some()).await;
    write_unknown(&node).await;
    let end = end_of(&mut node).await;
    assert!(end.contains("start the newer version"), "{end}");
    node.stop().await;
    let refused = RealNode::start(config, Beginning::Existing).await.err();
    let refused = refused.expect("an older version has no use for this log");
    assert_eq!(refused.to_string(), end);
}
