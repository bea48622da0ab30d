//! Cluster, Maintenance and the pages: the node about itself.

use quorate::etcd::{BarrierError, EtcdError};
use quorate::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::proto::etcdserverpb::watch_client::WatchClient;
use quorate::proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, DefragmentRequest, MemberAddRequest, MemberListRequest,
    MoveLeaderRequest, StatusRequest, WatchRequest,
};
use quorate::runtime::Runtime as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use super::local::{CLUSTER, NODE, OTHER, TERM};
use super::*;

#[tokio::test]
async fn status_tells_how_the_node_is() {
    let served = Served::start().await;
    kv(&served).put(put("key", "value")).await.unwrap();
    let mut maintenance = MaintenanceClient::new(served.channel());
    let status = maintenance
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let header = status.header.unwrap();
    assert_eq!(
        (header.cluster_id, header.member_id, header.revision),
        (CLUSTER.0, NODE.0, 2)
    );
    assert_eq!((status.leader, status.raft_term), (NODE.0, TERM.0));
    assert_eq!((status.raft_index, status.raft_applied_index), (9, 8));
    assert!(status.db_size >= status.db_size_in_use && status.db_size_in_use > 0);
    assert!(status.errors.is_empty());
    // Kubernetes asks for progress only if this parses as 3.5.13 or later.
    let version: Vec<u32> = status
        .version
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect();
    assert!(version >= vec![3, 5, 13], "{version:?}");

    served.node.weather().leader = None;
    let status = maintenance
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (status.leader, status.errors),
        (0, vec!["etcdserver: no leader".to_owned()])
    );
}

#[tokio::test]
async fn members_are_listed_and_not_changed() {
    let served = Served::start().await;
    let mut cluster = ClusterClient::new(served.channel());
    let list = cluster
        .member_list(MemberListRequest { linearizable: true })
        .await
        .unwrap()
        .into_inner();
    let names: Vec<&str> = list
        .members
        .iter()
        .map(|member| member.name.as_str())
        .collect();
    assert_eq!(names, ["one", "two"]);
    let header = list.header.unwrap();
    assert_eq!(
        (header.member_id, header.revision, header.raft_term),
        (NODE.0, 0, TERM.0)
    );
    let added = cluster
        .member_add(MemberAddRequest::default())
        .await
        .unwrap_err();
    assert_eq!(added.code(), Code::Unimplemented);

    served.node.weather().barrier = Some(BarrierError::NoLeader);
    cluster
        .member_list(MemberListRequest {
            linearizable: false,
        })
        .await
        .unwrap();
    cluster
        .member_list(MemberListRequest { linearizable: true })
        .await
        .unwrap_err();
}

#[tokio::test]
async fn leadership_moves_to_who_can_take_it() {
    let served = Served::start().await;
    let mut maintenance = MaintenanceClient::new(served.channel());
    let to = |id| MoveLeaderRequest { target_id: id };
    let nobody = maintenance.move_leader(to(1)).await.unwrap_err();
    assert_eq!(nobody.message(), EtcdError::BadLeaderTransferee.text());
    maintenance.move_leader(to(OTHER.0)).await.unwrap();
    let not_mine = maintenance.move_leader(to(NODE.0)).await.unwrap_err();
    assert_eq!(not_mine.message(), EtcdError::NotLeader.text());
}

fn raised(kind: AlarmType) -> AlarmMember {
    AlarmMember {
        member_id: NODE.0,
        alarm: kind.into(),
    }
}

#[tokio::test]
async fn alarms_are_listed_by_kind() {
    let served = Served::start().await;
    let mut maintenance = MaintenanceClient::new(served.channel());
    let both = vec![raised(AlarmType::Nospace), raised(AlarmType::Corrupt)];
    served.node.weather().alarms = both.clone();
    let list = |kind: AlarmType| AlarmRequest {
        alarm: kind.into(),
        ..AlarmRequest::default()
    };
    assert_eq!(
        maintenance
            .alarm(list(AlarmType::None))
            .await
            .unwrap()
            .into_inner()
            .alarms,
        both
    );
    let space = maintenance
        .alarm(list(AlarmType::Nospace))
        .await
        .unwrap()
        .into_inner()
        .alarms;
    assert_eq!(space, [raised(AlarmType::Nospace)]);
}

#[tokio::test]
async fn what_is_not_offered_is_unimplemented() {
    let served = Served::start().await;
    let mut maintenance = MaintenanceClient::new(served.channel());
    let status = maintenance
        .defragment(DefragmentRequest {})
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let mut watch = WatchClient::new(served.channel());
    let requests = tokio_stream::iter([WatchRequest::default()]);
    assert_eq!(
        watch.watch(requests).await.unwrap_err().code(),
        Code::Unimplemented
    );
}

/// Asks for a page as `curl` would.
async fn page(served: &Served, path: &str) -> (u16, String) {
    let mut stream = R::connect(&served.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, content) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), content.to_owned())
}

#[tokio::test]
async fn pages_tell_whether_the_node_is_well() {
    let served = Served::start().await;
    let well = r#"{"health":"true","reason":""}"#;
    let verbose = "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n";
    let version = r#"{"etcdserver":"3.6.6","etcdcluster":"3.6.0","storage":"3.6.0"}"#;
    let table = [
        ("/health", 200, well),
        ("/health?serializable=true", 200, well),
        ("/livez", 200, "ok\n"),
        ("/livez/serializable_read", 200, "ok\n"),
        ("/readyz", 200, "ok\n"),
        ("/readyz?verbose", 200, verbose),
        (
            "/readyz/linearizable_read?verbose",
            200,
            "[+]linearizable_read ok\nok\n",
        ),
        ("/version", 200, version),
        ("/livez/linearizable_read", 404, "404 page not found\n"),
        ("/", 404, "404 page not found\n"),
        ("/etcdserverpb.KV/Range", 404, "404 page not found\n"),
    ];
    for (path, status, content) in table {
        assert_eq!(
            page(&served, path).await,
            (status, content.to_owned()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn pages_tell_what_is_wrong() {
    let served = Served::start().await;
    served.node.weather().barrier = Some(BarrierError::NoQuorum);
    served.node.weather().alarms = vec![raised(AlarmType::Nospace)];
    let table = [
        (
            "/health",
            503,
            r#"{"health":"false","reason":"ALARM NOSPACE"}"#,
        ),
        (
            "/health?exclude=NOSPACE",
            503,
            r#"{"health":"false","reason":"RANGE ERROR:etcdserver: request timed out"}"#,
        ),
        (
            "/health?exclude=NOSPACE&serializable=true",
            200,
            r#"{"health":"true","reason":""}"#,
        ),
        ("/livez", 200, "ok\n"),
        ("/readyz?exclude=linearizable_read", 200, "ok\n"),
        (
            "/readyz",
            503,
            "[+]data_corruption ok\n[+]serializable_read ok\n[-]linearizable_read failed: etcdserver: request timed out\n[+]non_learner ok\n",
        ),
    ];
    for (path, status, content) in table {
        assert_eq!(
            page(&served, path).await,
            (status, content.to_owned()),
            "{path}"
        );
    }
    served.node.weather().leader = None;
    served.node.weather().learner = true;
    let (status, content) = page(&served, "/health?exclude=NOSPACE&serializable=true").await;
    assert_eq!(
        (status, content.as_str()),
        (503, r#"{"health":"false","reason":"RAFT NO LEADER"}"#)
    );
    let (status, content) = page(&served, "/readyz/non_learner").await;
    assert_eq!(
        (status, content.as_str()),
        (
            503,
            "[-]non_learner failed: etcdserver: rpc not supported for learner\n"
        )
    );
}
