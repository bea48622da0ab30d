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
use quorate::join::{Address, JoinLine, MemberView, SharedView, Token, TokenId};
use quorate::membership::Signer;
use quorate::proto::join::join_server::JoinServer;
use quorate::proto::join::{RelayedSubmit, RoleWanted, SubmitReply};
use quorate::proto::store;
use quorate::runtime::tokio::TokioRuntime as World;
use quorate::runtime::{Instant, Listener, Runtime, TaskHandle};
use quorate::state::Rejection;
use quorate::tls::config::Credentials;
use quorate::tls::doors::Doors;
use quorate::tls::secure::NodeTls;
use quorate::tls::{KeyHash, NodeSubject, PublicKey};
use quorate::transport::{Http1, ServerOptions, Services, serve};

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
    let service = JoinServer::new(JoinService::new(Arc::clone(&leader)));
    let doors = Arc::new(Doors::new(
        shared,
        Services::new(),
        Services::new().and(service),
        Arc::new(Services::new()),
        |_| (),
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
        server,
    }
}

fn options() -> ServerOptions {
    ServerOptions {
        name: "peer",
        max_connections: 64,
        max_concurrent_streams: 16,
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
