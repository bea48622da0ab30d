//! What clients hear when the cluster is in trouble.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quorate::etcd::{BarrierError, EtcdError, ProposeError};
use quorate::runtime::Runtime as _;
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use super::*;

fn said(status: &Status) -> (Code, &str) {
    (status.code(), status.message())
}

#[tokio::test]
async fn failed_proposal_is_told_as_what_it_is_and_never_tried_again() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    let table = [
        (
            ProposeError::Unknown,
            Code::Unavailable,
            "etcdserver: request timed out, possibly due to connection lost",
        ),
        (
            ProposeError::Overloaded,
            Code::ResourceExhausted,
            "etcdserver: too many requests",
        ),
        (
            ProposeError::NoLeader,
            Code::Unavailable,
            "etcdserver: no leader",
        ),
        (
            ProposeError::NoSpace,
            Code::ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
        ),
        (
            ProposeError::Stopped,
            Code::Unavailable,
            "etcdserver: server stopped",
        ),
    ];
    for (error, code, text) in table {
        served.node.weather().propose = Some(error);
        let before = served.node.proposals.load(Ordering::SeqCst);
        let status = kv.put(put("key", "value")).await.unwrap_err();
        assert_eq!(said(&status), (code, text));
        assert_eq!(
            served.node.proposals.load(Ordering::SeqCst),
            before + 1,
            "{error}"
        );
    }
}

#[tokio::test]
async fn without_a_quorum_only_local_reads_are_answered() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    kv.put(put("key", "value")).await.unwrap();
    let table = [
        (BarrierError::NoLeader, EtcdError::NoLeader),
        (BarrierError::LeaderChanged, EtcdError::LeaderChanged),
        (BarrierError::NoQuorum, EtcdError::Timeout),
        (
            BarrierError::Behind,
            EtcdError::TimeoutWaitingForAppliedIndex,
        ),
        (BarrierError::Stopped, EtcdError::Stopped),
    ];
    for (barrier, error) in table {
        served.node.weather().barrier = Some(barrier);
        let status = kv.range(get("key")).await.unwrap_err();
        assert_eq!(said(&status), (error.code(), error.text()));
        let local = RangeRequest {
            serializable: true,
            ..get("key")
        };
        assert_eq!(
            kv.range(local).await.unwrap().into_inner().kvs[0].value,
            "value"
        );
    }
}

#[tokio::test]
async fn caller_that_requires_a_leader_gets_an_error_without_one() {
    let served = Served::start().await;
    let mut kv = kv(&served);
    served.node.weather().leader = None;
    let local = RangeRequest {
        serializable: true,
        ..get("key")
    };
    kv.range(local.clone()).await.unwrap();
    let mut demanding = tonic::Request::new(local);
    demanding
        .metadata_mut()
        .insert("hasleader", "true".parse().unwrap());
    let status = kv.range(demanding).await.unwrap_err();
    assert_eq!(said(&status), (Code::Unavailable, "etcdserver: no leader"));
}

/// Small requests are counted as requests: those of thousands of connections together would have no bound.
#[tokio::test]
async fn more_requests_than_are_served_at_a_time_are_refused() {
    let served = Served::at_most(2).await;
    let gate = Arc::new(Semaphore::new(0));
    served.node.weather().gate = Some(Arc::clone(&gate));
    let ask = || {
        let mut kv = kv(&served);
        R::spawn(async move { kv.range(get("key")).await })
    };
    let waiting = [ask(), ask()];
    while served.node.barriers.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    let refused = kv(&served).range(get("key")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert_eq!(refused.message(), "etcdserver: too many requests");
    gate.add_permits(2);
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    kv(&served).range(get("key")).await.unwrap();
}
