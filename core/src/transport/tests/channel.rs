//! The client half against peers that are slow, silent, gone or back again.

use std::io;

use tonic::Code;

use super::*;

#[tokio::test]
async fn many_calls_share_a_connection() {
    let server = TestServer::start(options()).await;
    let channel = channel(&server);
    let calls: Vec<_> = (0..500_u32)
        .map(|number| (channel.clone(), number.to_string()))
        .map(|(channel, value)| {
            in_background(async move { (echo(&channel, value.as_bytes()).await, value) })
        })
        .collect();
    for call in calls {
        let (answer, value) = call.await.unwrap();
        assert_eq!(answer.unwrap(), value);
    }
}

#[tokio::test]
async fn call_to_nobody_was_not_sent() {
    let mut server = TestServer::start(options()).await;
    let channel = channel(&server);
    server.say_stop();
    (&mut server.task).await.unwrap();
    let status = echo(&channel, b"value").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(was_not_sent(&status), "{status:?}");
}

#[tokio::test]
async fn channel_finds_a_peer_that_comes_back() {
    let mut server = TestServer::start(options()).await;
    let channel = channel(&server);
    echo(&channel, b"before").await.unwrap();
    server.say_stop();
    (&mut server.task).await.unwrap();
    echo(&channel, b"between").await.unwrap_err();
    let _again = TestServer::start_at(&server.address, options()).await;
    while echo(&channel, b"after").await.is_err() {
        R::sleep(Duration::from_millis(1)).await;
    }
}

/// Reaches silence on the first dial and the server on the next.
struct SilentFirst {
    address: String,
    dials: AtomicUsize,
}

impl Dial for SilentFirst {
    type Stream = tokio::io::DuplexStream;

    async fn dial(&self) -> io::Result<tokio::io::DuplexStream> {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        if self.dials.fetch_add(1, Ordering::SeqCst) == 0 {
            drop(R::spawn(async move {
                // Holds the other end, says nothing, for ever.
                let _held = theirs;
                std::future::pending::<()>().await;
            }));
            return Ok(ours);
        }
        let mut server = R::connect(&self.address).await?;
        drop(R::spawn(async move {
            tokio::io::copy_bidirectional(&mut theirs, &mut server).await
        }));
        Ok(ours)
    }
}

#[tokio::test]
async fn silent_peer_costs_a_deadline_and_then_a_new_connection() {
    let server = TestServer::start(options()).await;
    let dial = SilentFirst {
        address: server.address.clone(),
        dials: AtomicUsize::new(0),
    };
    let impatient = ChannelOptions {
        call_timeout: Duration::from_millis(50),
        keepalive_interval: Duration::from_millis(100),
        keepalive_timeout: Duration::from_millis(100),
        ..channel_options()
    };
    let channel = Channel::<R>::new(dial, impatient);
    let status = echo(&channel, b"value").await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(!was_not_sent(&status), "nobody knows what became of it");
    while echo(&channel, b"value").await.is_err() {
        R::sleep(Duration::from_millis(1)).await;
    }
}

/// Never gets through.
struct Nowhere;

impl Dial for Nowhere {
    type Stream = tokio::io::DuplexStream;

    async fn dial(&self) -> io::Result<tokio::io::DuplexStream> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn dial_that_never_ends_is_given_up() {
    let impatient = ChannelOptions {
        connect_timeout: Duration::from_millis(20),
        ..channel_options()
    };
    let channel = Channel::<R>::new(Nowhere, impatient);
    let status = echo(&channel, b"value").await.unwrap_err();
    assert!(was_not_sent(&status), "{status:?}");
    let mut brief = request(ECHO, framed(&put(b"value")));
    brief
        .headers_mut()
        .insert("grpc-timeout", "1m".parse().unwrap());
    let status = send(&channel, brief).await.unwrap_err();
    assert!(was_not_sent(&status), "{status:?}");
}

#[tokio::test]
async fn generated_clients_and_servers_work_over_it() {
    use crate::proto::etcdserverpb::cluster_client::ClusterClient;
    use crate::proto::etcdserverpb::cluster_server::{Cluster, ClusterServer};
    use crate::proto::etcdserverpb::*;

    struct Members;

    #[tonic::async_trait]
    impl Cluster for Members {
        async fn member_list(
            &self,
            request: tonic::Request<MemberListRequest>,
        ) -> Result<tonic::Response<MemberListResponse>, Status> {
            let connection = request.extensions().get::<Arc<Connection<()>>>();
            let name = connection.expect("the connection is known").remote.clone();
            let member = Member {
                name,
                ..Member::default()
            };
            Ok(tonic::Response::new(MemberListResponse {
                header: None,
                members: vec![member],
            }))
        }
        async fn member_add(
            &self,
            _: tonic::Request<MemberAddRequest>,
        ) -> Result<tonic::Response<MemberAddResponse>, Status> {
            Err(Status::failed_precondition("full"))
        }
        async fn member_remove(
            &self,
            _: tonic::Request<MemberRemoveRequest>,
        ) -> Result<tonic::Response<MemberRemoveResponse>, Status> {
            Err(Status::unimplemented(""))
        }
        async fn member_update(
            &self,
            _: tonic::Request<MemberUpdateRequest>,
        ) -> Result<tonic::Response<MemberUpdateResponse>, Status> {
            Err(Status::unimplemented(""))
        }
        async fn member_promote(
            &self,
            _: tonic::Request<MemberPromoteRequest>,
        ) -> Result<tonic::Response<MemberPromoteResponse>, Status> {
            Err(Status::unimplemented(""))
        }
    }

    let listener = R::listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address();
    let services = Arc::new(Services::new().and(ClusterServer::new(Members)));
    let serving = R::spawn(serve::<R, _, _>(
        listener,
        Plain,
        services,
        options(),
        std::future::pending(),
    ));
    let channel = Channel::<R>::new(PlainDial::<R>::new(address), channel_options());
    let mut client = ClusterClient::new(channel.clone());
    let list = client
        .member_list(MemberListRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(list.members[0].name.starts_with("127.0.0.1:"));
    let full = client
        .member_add(MemberAddRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (full.code(), full.message()),
        (Code::FailedPrecondition, "full")
    );
    let status = send(&channel, request("/etcdserverpb.KV/Put", vec![]))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    serving.abort();
}
