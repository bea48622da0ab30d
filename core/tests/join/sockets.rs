//! The conversation over real sockets and TLS, with files on a real disk: what the scripts leave out.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::ids::{ClusterId, Epoch, LogIndex, NodeId};
use quorate::join::driver::{JoinError, join};
use quorate::join::founder::{Founded, found, sign};
use quorate::join::inviter::{Leadership, Proposal};
use quorate::join::joiner::{Found, JoinFailure, Wish};
use quorate::join::keep::IdentityFiles;
use quorate::join::service::{Host, JoinService, Known};
use quorate::join::{Address, Claim, JoinLine, MemberView, SharedView, Token, TokenId};
use quorate::membership::Signer;
use quorate::proto::join::join_client::JoinClient;
use quorate::proto::join::join_server::JoinServer;
use quorate::proto::join::submit_reply::Outcome;
use quorate::proto::join::{HelloRequest, RelayedSubmit, RoleWanted, SubmitReply, SubmitRequest};
use quorate::proto::store;
use quorate::runtime::tokio::TokioRuntime as World;
use quorate::runtime::{Instant, Listener, Runtime, TaskHandle};
use quorate::state::Rejection;
use quorate::tls::config::{Credentials, api_client};
use quorate::tls::doors::Doors;
use quorate::tls::name::{node_dns, server_name};
use quorate::tls::peer::stored_hash;
use quorate::tls::secure::{Exporter, NodeTls, connect_as_stranger, explain};
use quorate::tls::{KeyHash, NodeSubject, PrivateKey, PublicKey};
use quorate::transport::{
    Body, Channel, ChannelOptions, Connection, Dial, Guests, Handler, Http1, JOIN_MESSAGE_BYTES,
    Request, ServerOptions, Services, Windows, serve,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Status;

const CLUSTER: ClusterId = ClusterId(0xc1);
const PATIENCE: Duration = Duration::from_secs(20);

/// A leader with a state of its own making.
struct Leader {
    founded: Founded,
    state: Mutex<(MemberView, Option<store::Token>)>,
}

impl Host for Leader {
    async fn look_up(&self, token: TokenId) -> Known {
        let (view, stored) = self.state.lock().unwrap().clone();
        Known {
            view: Arc::new(view),
            token: stored.filter(|stored| stored.id == token.0[..]),
            highest: World::wall(),
            now: World::wall(),
            feature_level: 1,
            leadership: Leadership::Here,
            signer: Signer::Held,
        }
    }

    async fn propose(&self, admission: store::MemberAdmit) -> Proposal {
        let mut state = self.state.lock().unwrap();
        let (view, token) = &mut *state;
        let Some(token) = token.as_mut().filter(|token| token.uses_left > 0) else {
            return Proposal::Rejected(Rejection::TokenUsedUp);
        };
        token.uses_left -= 1;
        view.index.0 += 1;
        let member = store::Member {
            admitted_index: view.index.0,
            ..admission.member.unwrap()
        };
        view.members.insert(NodeId(member.id), member.clone());
        Proposal::Admitted(member)
    }

    async fn sign(&self, subject: NodeSubject, key: PublicKey) -> Option<Vec<u8>> {
        sign::<World>(&self.founded.authority, &subject, key).ok()
    }

    async fn relay(&self, _request: RelayedSubmit) -> Option<SubmitReply> {
        None
    }

    fn clock(&self) -> Instant {
        World::now()
    }
}

struct Cluster {
    address: Address,
    token: Token,
    pin: KeyHash,
    leader: Arc<Leader>,
    view: SharedView,
    server: <World as Runtime>::Task<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn cluster() -> Cluster {
    let first = store::Member {
        id: 0xa,
        name: "a".to_owned(),
        ..Default::default()
    };
    let founded = found::<World>(CLUSTER, Epoch(1), first).unwrap();
    let token = Token::from_secret([9; 32]);
    let stored = store::Token {
        id: token.id().0.to_vec().into(),
        public_key: token.public_key().0.to_vec().into(),
        uses_left: 1,
        expires_at_ms: (World::wall() + Duration::from_secs(3_600)).millis(),
        ..Default::default()
    };
    let membership = founded.membership.clone();
    let authority = founded.authority.certificate().clone();
    let pin = founded.authority.key().public().hash();
    let mut view = membership.view.clone();
    view.index = LogIndex(10);
    let credentials = Credentials::new(membership.key, membership.certificate, authority).unwrap();
    let shared = SharedView::new(view.clone());
    let tls = NodeTls::<World>::new(credentials, shared.clone()).unwrap();
    let leader = Arc::new(Leader {
        founded,
        state: Mutex::new((view, Some(stored))),
    });
    let service = JoinServer::new(JoinService::new(Arc::clone(&leader)))
        .max_decoding_message_size(JOIN_MESSAGE_BYTES);
    let doors = Arc::new(Doors::new(
        shared.clone(),
        Services::new(),
        Services::new().and(service),
        Arc::new(Services::new()),
        |_| (),
        |_| false,
    ));
    let listener = World::listen("127.0.0.1:0").await.unwrap();
    let address = Address::parse(&listener.local_address()).unwrap();
    let server = World::spawn(async move {
        serve::<World, _, _>(listener, tls, doors, options(), std::future::pending()).await;
    });
    Cluster {
        address,
        token,
        pin,
        leader,
        view: shared,
        server,
    }
}

fn options() -> ServerOptions {
    ServerOptions {
        name: "peer",
        max_connections: 64,
        max_handshakes: 64,
        guests: Guests {
            max_connections: 2,
            max_concurrent_streams: 1,
            life: Duration::from_secs(5),
        },
        max_concurrent_streams: 16,
        max_requests: 1_000,
        windows: Windows::CLIENT,
        max_header_bytes: 16 * 1024,
        handshake_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(60),
        keepalive_interval: Duration::from_secs(10),
        keepalive_timeout: Duration::from_secs(10),
        drain_timeout: Duration::from_secs(1),
        http1: Http1::Refused,
    }
}

fn line(cluster: &Cluster) -> JoinLine {
    JoinLine {
        addresses: vec![cluster.address.clone()],
        token: cluster.token.clone(),
        cluster: CLUSTER,
        pins: vec![cluster.pin],
    }
}

fn wish(name: &str) -> Wish {
    Wish {
        name: name.to_owned(),
        peer_addresses: vec![Address::parse("127.0.0.1:7400").unwrap()],
        client_addresses: vec![Address::parse("127.0.0.1:7379").unwrap()],
        failure_domain: String::new(),
        role: RoleWanted::Any,
        feature_level: 1,
    }
}

fn files(directory: &Path) -> IdentityFiles<<World as Runtime>::Disk> {
    IdentityFiles::new(World::disk(), directory)
}

#[tokio::test]
async fn a_machine_joins_over_tls_and_is_a_member_ever_after() {
    let cluster = cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let files = files(&directory.path().join("data"));
    let text = line(&cluster).encode();
    let node = join::<World>(JoinLine::parse(&text).unwrap(), wish("b"), &files, PATIENCE)
        .await
        .unwrap();

    let kept = files.read().unwrap().unwrap();
    assert_eq!(kept.view.members.len(), 2);
    assert!(kept.view.members.contains_key(&node));
    assert_eq!(
        files.found().unwrap(),
        Found::Member {
            cluster: CLUSTER,
            node
        }
    );
    assert_eq!(
        cluster
            .leader
            .state
            .lock()
            .unwrap()
            .1
            .as_ref()
            .unwrap()
            .uses_left,
        0
    );

    let again = join::<World>(line(&cluster), wish("b"), &files, PATIENCE)
        .await
        .unwrap();
    assert_eq!(again, node);
}

#[tokio::test]
async fn a_refused_machine_keeps_nothing() {
    let cluster = cluster().await;
    cluster.leader.state.lock().unwrap().1 = None;
    let directory = tempfile::tempdir().unwrap();
    let files = files(directory.path());
    let failed = join::<World>(line(&cluster), wish("b"), &files, PATIENCE).await;
    let Err(JoinError::Failed(JoinFailure::Refused { text, .. })) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(
        text,
        "the token is unknown: it was revoked, or expired long ago"
    );
    assert_eq!(files.found().unwrap(), Found::Nothing);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_wrong_pin_ends_before_anything_is_asked() {
    let cluster = cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let files = files(directory.path());
    let line = JoinLine {
        pins: vec![KeyHash([1; 32])],
        ..line(&cluster)
    };
    let failed = join::<World>(line, wish("b"), &files, Duration::from_millis(300)).await;
    let Err(JoinError::Failed(JoinFailure::OutOfTime { attempts })) = failed else {
        panic!("{failed:?}")
    };
    assert!(
        attempts[0].1.contains("somebody stands between"),
        "{attempts:?}"
    );
    assert_eq!(cluster.leader.state.lock().unwrap().0.members.len(), 1);
    assert_eq!(files.found().unwrap(), Found::Nothing);
}

/// What is logged on this thread while it is held.
struct Log {
    written: Arc<Mutex<Vec<u8>>>,
    _heard: tracing::subscriber::DefaultGuard,
    /// Where there is but one listener, tracing asks only that of the thread on which something is first said, once for all:
    /// another test's, which has none.
    _second: tracing::Dispatch,
}

impl Log {
    fn listen() -> Self {
        let written = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&written);
        let writer = move || Writer(Arc::clone(&to));
        let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
        Self {
            written,
            _heard: tracing::subscriber::set_default(subscriber),
            _second: tracing_subscriber::fmt().with_writer(std::io::sink).into(),
        }
    }

    /// How many lines hold all of these words.
    fn lines(&self, words: &[&str]) -> usize {
        let written = self.written.lock().unwrap();
        let text = String::from_utf8_lossy(&written);
        let holds = |line: &&str| words.iter().all(|word| line.contains(word));
        text.lines().filter(holds).count()
    }
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A connection of a stranger that speaks for itself.
async fn stranger(cluster: &Cluster) -> (JoinClient<Channel<World>>, Exporter) {
    let address = cluster.address.as_str();
    let (stream, exporter) = connect_as_stranger::<World>(address, CLUSTER, vec![cluster.pin])
        .await
        .unwrap();
    let options = ChannelOptions {
        connect_timeout: PATIENCE,
        call_timeout: PATIENCE,
        keepalive_interval: PATIENCE,
        keepalive_timeout: PATIENCE,
        rest_min: PATIENCE,
        rest_max: PATIENCE,
    };
    let dial = Once(Mutex::new(Some(stream)));
    (JoinClient::new(Channel::new(dial, options)), exporter)
}

struct Once<S>(Mutex<Option<S>>);

impl<S: quorate::runtime::Stream> Dial for Once<S> {
    type Stream = S;

    async fn dial(&self) -> std::io::Result<S> {
        let stream = self.0.lock().unwrap().take();
        stream.ok_or_else(|| std::io::ErrorKind::NotConnected.into())
    }
}

/// Somebody with a good token and a program of his own asks for more than a node is given.
#[tokio::test]
async fn foreign_names_and_the_rights_of_a_ca_are_refused_by_the_member() {
    let cluster = cluster().await;
    let log = Log::listen();
    let node = NodeId(0xb);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let own = node_dns(CLUSTER, node);
    let request = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut parameters = rcgen::CertificateParams::new(vec![own.clone()]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        let name = format!("{:016x}", node.0);
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        change(&mut parameters);
        parameters.serialize_request(&key).unwrap().der().to_vec()
    };
    let foreign = |parameters: &mut rcgen::CertificateParams| {
        let name = "kubernetes".try_into().unwrap();
        parameters
            .subject_alt_names
            .push(rcgen::SanType::DnsName(name));
    };
    let authority = |parameters: &mut rcgen::CertificateParams| {
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    };
    let before = cluster.leader.state.lock().unwrap().clone();
    for (csr, words) in [
        (request(&foreign), "names that are not the node's own"),
        (request(&authority), "the rights of a CA"),
    ] {
        let (mut client, exporter) = stranger(&cluster).await;
        let role = RoleWanted::Any;
        let claim = Claim {
            cluster: CLUSTER,
            exporter: &exporter,
            csr: &csr,
            node,
            role,
        };
        let submitted = client.submit(SubmitRequest {
            cluster: CLUSTER.0,
            epoch: 1,
            node: node.0,
            name: "b".to_owned(),
            peer_addresses: vec!["127.0.0.1:7400".to_owned()],
            feature_level: 1,
            role: role.into(),
            token_key: cluster.token.public_key().0.to_vec().into(),
            proof: cluster.token.prove(&claim).to_vec().into(),
            csr: csr.clone().into(),
            ..SubmitRequest::default()
        });
        let reply = submitted.await.unwrap().into_inner();
        let Some(Outcome::Refused(refused)) = reply.outcome else {
            panic!("{reply:?}")
        };
        assert!(refused.text.contains(words), "{refused:?}");
        assert_eq!(log.lines(&["asked to join", words]), 1);
    }
    assert_eq!(before, *cluster.leader.state.lock().unwrap());
}

/// Whatever a stranger calls itself, it writes no line of its own into the member's log, and fills none.
#[tokio::test]
async fn a_strangers_name_is_cut_and_escaped_in_the_log() {
    let cluster = cluster().await;
    let log = Log::listen();
    let (mut client, _) = stranger(&cluster).await;
    let name = format!("x\n2026-01-01 ERROR forged \u{1b}[2J{}", "y".repeat(2_000));
    let request = SubmitRequest {
        cluster: CLUSTER.0,
        epoch: 1,
        node: 0xb,
        name,
        ..SubmitRequest::default()
    };
    client.submit(request).await.unwrap();
    assert_eq!(log.lines(&["asked to join", "forged", "yyy"]), 1);
    assert_eq!(
        log.lines(&["yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"]),
        0
    );
    assert_eq!(log.lines(&["\u{1b}[2J"]), 0);

    let long = SubmitRequest {
        name: "z".repeat(JOIN_MESSAGE_BYTES),
        ..SubmitRequest::default()
    };
    let refused = client.submit(long).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused:?}");
    assert_eq!(log.lines(&["asked to join"]), 1);
}

/// Two may ask at a time (here); a third is sent away at once, and members never notice.
#[tokio::test]
async fn strangers_have_little_room_and_take_none_from_members() {
    let members = Members::of(cluster().await).await;
    let hello = async || {
        let (mut client, _) = stranger(&members.cluster).await;
        let request = HelloRequest {
            cluster: CLUSTER.0,
            ..HelloRequest::default()
        };
        client.hello(request).await.map(|_| client)
    };
    let held = [hello().await.unwrap(), hello().await.unwrap()];
    assert!(hello().await.is_err());
    // The cluster's first node knows this one as a member now, and finds room.
    let mut view = members.view.clone();
    let address = members.cluster.address.to_string();
    let row = view.members.get_mut(&NodeId(0xa)).unwrap();
    row.peer_addresses = vec![address];
    assert!(members.cluster.view.offer(MemberView {
        index: LogIndex(11),
        ..members.view.clone()
    }));
    let tls = members.tls(0xb, SharedView::new(view), &[]);
    tls.dial(NodeId(0xa)).dial().await.unwrap();
    drop(held);
    for _ in 0..500 {
        if hello().await.is_ok() {
            return;
        }
        World::sleep(Duration::from_millis(10)).await;
    }
    panic!("no room although the others have gone");
}

#[tokio::test]
async fn a_member_says_that_a_clock_is_an_hour_off() {
    let cluster = cluster().await;
    let log = Log::listen();
    let hour = Duration::from_secs(3_600);
    for (wall, lines) in [
        (World::wall(), 0),
        (World::wall() + hour / 2, 0),
        (World::wall() - hour * 2, 1),
    ] {
        let (mut client, _) = stranger(&cluster).await;
        let hello = client.hello(HelloRequest {
            cluster: CLUSTER.0,
            node: 0,
            wall_ms: wall.millis(),
        });
        hello.await.unwrap();
        assert_eq!(
            log.lines(&["whose clock is 120 minutes behind this one"]),
            lines
        );
    }
}

/// Two members more than the cluster has, and a listener with the doors of one of them.
struct Members {
    cluster: Cluster,
    view: MemberView,
}

impl Members {
    async fn of(cluster: Cluster) -> Self {
        let (mut view, _) = cluster.leader.state.lock().unwrap().clone();
        for node in [0xb, 0xc] {
            let row = store::Member {
                id: node,
                key_hash: stored_hash(key_of(node).public().hash()),
                admitted_index: 5,
                ..store::Member::default()
            };
            view.members.insert(NodeId(node), row);
        }
        Self { cluster, view }
    }

    /// A member's side of its handshakes; its certificate names `hosts` too.
    fn tls(&self, node: u64, view: SharedView, hosts: &[String]) -> NodeTls<World> {
        let authority = &self.cluster.leader.founded.authority;
        let subject = NodeSubject {
            epoch: Epoch(1),
            node: NodeId(node),
            admitted: LogIndex(5),
            client_hosts: hosts.to_vec(),
        };
        let key = key_of(node);
        let certificate = sign::<World>(authority, &subject, key.public()).unwrap();
        let authority = authority.certificate().clone();
        NodeTls::new(
            Credentials::new(key, certificate.into(), authority).unwrap(),
            view,
        )
        .unwrap()
    }
}

fn key_of(node: u64) -> PrivateKey {
    PrivateKey::from_seed([u8::try_from(node).unwrap(); 32])
}

/// A member that got a certificate for another's name, and waits at the other's address.
#[tokio::test]
async fn an_impostor_with_a_genuine_certificate_is_not_taken_for_whom_was_dialled() {
    let mut members = Members::of(cluster().await).await;
    let (victim, impostor, dialler) = (0xa, 0xb, 0xc);
    let view = SharedView::new(members.view.clone());
    let hosts = [node_dns(CLUSTER, NodeId(victim))];
    let its_tls = members.tls(impostor, view.clone(), &hosts);
    let doors = Doors::new(
        view,
        Services::new(),
        Services::new(),
        Arc::new(Services::new()),
        |_| (),
        |_| false,
    );
    let listener = World::listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address();
    let server = World::spawn(async move {
        let stop = std::future::pending();
        serve::<World, _, _>(listener, its_tls, Arc::new(doors), options(), stop).await;
    });
    for node in [victim, impostor] {
        let row = members.view.members.get_mut(&NodeId(node)).unwrap();
        row.peer_addresses = vec![address.clone()];
    }
    let tls = members.tls(dialler, SharedView::new(members.view.clone()), &[]);
    tls.dial(NodeId(impostor)).dial().await.unwrap();
    let error = tls.dial(NodeId(victim)).dial().await.unwrap_err();
    assert_eq!(explain(&error), "it is another node, or of another cluster");
    server.abort();
}

/// Nothing is served; who comes in is what counts.
struct Silence;

impl<P: Send + Sync + 'static> Handler<P> for Silence {
    async fn handle(
        self: Arc<Self>,
        _connection: Arc<Connection<P>>,
        _request: Request,
    ) -> http::Response<Body> {
        Status::unimplemented("nothing").into_http()
    }
}

#[tokio::test]
async fn removal_ends_a_members_connection_to_the_client_api() {
    let members = Members::of(cluster().await).await;
    let view = SharedView::new(members.view.clone());
    let api = members.tls(0xb, view.clone(), &[]).api();
    let listener = World::listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address();
    let server = World::spawn(async move {
        let stop = std::future::pending();
        serve::<World, _, _>(listener, api, Arc::new(Silence), options(), stop).await;
    });
    let trusted = members.view.trusted.clone();
    let connect = async || {
        let tls = members.tls(0xc, view.clone(), &[]);
        let chain = vec![tls.certificate(), trusted[0].clone()];
        let client = api_client::<World>(&trusted, chain, &key_of(0xc)).unwrap();
        let stream = World::connect(&address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(client);
        let mut stream = connector.connect(server_name("localhost"), stream).await?;
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await?;
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
        // The server's own settings: it was let in.
        stream.read_exact(&mut [0; 9]).await?;
        Ok::<_, std::io::Error>(stream)
    };
    let mut stream = connect().await.unwrap();
    let mut later = members.view.clone();
    later.index.0 += 1;
    later.members.remove(&NodeId(0xc));
    assert!(view.offer(later));
    let ended = async {
        let mut bytes = [0; 64];
        while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert!(connect().await.is_err());
    server.abort();
}

#[tokio::test]
async fn the_signing_key_is_kept_and_deleted() {
    let cluster = cluster().await;
    let directory = tempfile::tempdir().unwrap();
    let files = files(directory.path());
    assert!(files.signer(CLUSTER).unwrap().is_none());
    files
        .keep_signer(&cluster.leader.founded.authority)
        .unwrap();
    let kept = files.signer(CLUSTER).unwrap().unwrap();
    assert_eq!(kept.key().public().hash(), cluster.pin);
    files.forget_signer().unwrap();
    assert!(files.signer(CLUSTER).unwrap().is_none());
}
