//! Handshakes in memory: who gets in, who does not, and what the other side is told.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, Error, HandshakeKind, ServerConfig,
    ServerConnection,
};

use super::config::{self, Credentials};
use super::name::{cluster_dns, node_dns, server_name};
use super::peer::stored_hash;
use super::*;
use crate::ids::{ClusterId, Epoch, LogIndex, NodeId};
use crate::join::{MemberView, SharedView};
use crate::proto::store;
use crate::runtime::tokio::TokioRuntime as World;
use crate::runtime::{Runtime, WallTime};

const CLUSTER: ClusterId = ClusterId(0xc1);
const YEAR: Duration = Duration::from_secs(366 * 24 * 3_600);

/// A cluster's CA, and the view of its nodes 1, 2 and 3 at index 50.
struct Cluster {
    id: ClusterId,
    authority: Authority,
    view: MemberView,
}

fn node_key(node: u64) -> PrivateKey {
    PrivateKey::from_seed([u8::try_from(node).unwrap(); 32])
}

impl Cluster {
    fn new(id: ClusterId, authority_seed: u8) -> Self {
        let key = PrivateKey::from_seed([authority_seed; 32]);
        let serial = Serial::from_secret([authority_seed; 16]);
        let authority = Authority::create(id, key, serial, World::wall() - YEAR * 3).unwrap();
        let mut view = MemberView::empty(id, Epoch(1), vec![authority.certificate().clone()]);
        view.index = LogIndex(50);
        for node in 1..=3 {
            let key_hash = stored_hash(node_key(node).public().hash());
            view.members.insert(
                NodeId(node),
                store::Member {
                    id: node,
                    key_hash,
                    ..Default::default()
                },
            );
        }
        Self {
            id,
            authority,
            view,
        }
    }

    fn shared(&self) -> SharedView {
        SharedView::new(self.view.clone())
    }

    fn issue(&self, node: u64, admitted: u64, now: WallTime) -> Credentials {
        self.issue_for(node, admitted, now, Vec::new())
    }

    fn issue_for(
        &self,
        node: u64,
        admitted: u64,
        now: WallTime,
        client_hosts: Vec<String>,
    ) -> Credentials {
        let subject = NodeSubject {
            epoch: Epoch(1),
            node: NodeId(node),
            admitted: LogIndex(admitted),
            client_hosts,
        };
        let serial = Serial::from_secret([7; 16]);
        let certificate = self
            .authority
            .issue_node(&subject, node_key(node).public(), serial, now)
            .unwrap();
        Credentials::new(
            node_key(node),
            certificate,
            self.authority.certificate().clone(),
        )
        .unwrap()
    }

    fn credentials(&self, node: u64) -> Credentials {
        self.issue(node, 10, World::wall())
    }
}

/// Carries what one side has written to the other.
fn carry<A, B>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<bool, Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(!bytes.is_empty())
}

fn shake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let mut client = ClientConnection::new(client, server_name(name))?;
    let mut server = ServerConnection::new(server)?;
    loop {
        let forth = carry(&mut client, &mut server)?;
        let back = carry(&mut server, &mut client)?;
        if !forth && !back {
            return Ok((client, server));
        }
    }
}

/// Node 2, with `client`, dials node 1, with `server`; both judge by the cluster's view.
fn between(
    cluster: &Cluster,
    client: &Credentials,
    server: &Credentials,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let client = config::peer_client::<World>(client, cluster.shared()).unwrap();
    let server = config::peer_server::<World>(server, cluster.shared()).unwrap();
    shake(client, server, &node_dns(cluster.id, NodeId(1)))
}

fn refusal<T>(result: Result<T, Error>) -> String {
    result.err().expect("it must be refused").to_string()
}

fn as_joiner(
    cluster: ClusterId,
    pin: KeyHash,
    server: Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Error> {
    shake(
        config::joiner_client::<World>(vec![pin]).unwrap(),
        server,
        &cluster_dns(cluster),
    )
}

#[test]
fn members_meet_over_tls_1_3() {
    let cluster = Cluster::new(CLUSTER, 100);
    let (client, server) =
        between(&cluster, &cluster.credentials(2), &cluster.credentials(1)).unwrap();
    assert_eq!(
        client.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    assert_eq!(client.alpn_protocol(), Some(config::PEER_PROTOCOL));
    let shown = server.peer_certificates().unwrap()[0].clone();
    assert_eq!(
        PeerIdentity::from_certificate(&shown).unwrap().node,
        NodeId(2)
    );
}

#[test]
fn an_expired_certificate_is_refused_on_either_side() {
    let cluster = Cluster::new(CLUSTER, 100);
    let old = cluster.issue(2, 10, World::wall() - YEAR);
    assert!(refusal(between(&cluster, &old, &cluster.credentials(1))).contains("expired"));
    let old = cluster.issue(1, 10, World::wall() - YEAR);
    assert!(refusal(between(&cluster, &cluster.credentials(2), &old)).contains("expired"));
}

#[test]
fn a_signer_whose_clock_is_half_an_hour_early_does_no_harm() {
    let cluster = Cluster::new(CLUSTER, 100);
    let early = cluster.issue(2, 10, World::wall() + Duration::from_secs(1_800));
    between(&cluster, &early, &cluster.credentials(1)).unwrap();
    let hours = cluster.issue(2, 10, World::wall() + Duration::from_secs(2 * 3_600));
    assert!(refusal(between(&cluster, &hours, &cluster.credentials(1))).contains("not valid yet"));
}

#[test]
fn a_foreign_authority_gets_nowhere() {
    let cluster = Cluster::new(CLUSTER, 100);
    let foreign = Cluster::new(CLUSTER, 101);
    assert!(
        refusal(between(
            &cluster,
            &foreign.credentials(2),
            &cluster.credentials(1)
        ))
        .contains("UnknownIssuer")
    );
    assert!(
        refusal(between(
            &cluster,
            &cluster.credentials(2),
            &foreign.credentials(1)
        ))
        .contains("UnknownIssuer")
    );
}

#[test]
fn a_certificate_of_another_cluster_by_the_same_authority_is_refused() {
    let cluster = Cluster::new(CLUSTER, 100);
    let key = cluster.authority.key().clone();
    let authority = Authority::open(
        ClusterId(0xc2),
        key,
        cluster.authority.certificate().clone(),
    )
    .unwrap();
    let other = Cluster {
        id: ClusterId(0xc2),
        authority,
        view: cluster.view.clone(),
    };
    let message = refusal(between(
        &cluster,
        &other.credentials(2),
        &cluster.credentials(1),
    ));
    assert!(message.contains("WrongCluster"), "{message}");
}

#[test]
fn a_removed_node_is_refused_from_the_moment_the_view_says_so() {
    let mut cluster = Cluster::new(CLUSTER, 100);
    let (server, client) = (cluster.credentials(1), cluster.credentials(2));
    between(&cluster, &client, &server).unwrap();
    cluster.view.members.remove(&NodeId(2));
    cluster.view.tombstones.insert(
        NodeId(2),
        store::Tombstone {
            id: 2,
            ..Default::default()
        },
    );
    let message = refusal(between(&cluster, &client, &server));
    assert!(message.contains("Removed"), "{message}");
}

#[test]
fn one_configuration_follows_the_view() {
    let cluster = Cluster::new(CLUSTER, 100);
    let view = cluster.shared();
    let server = config::peer_server::<World>(&cluster.credentials(1), view.clone()).unwrap();
    let client = config::peer_client::<World>(&cluster.credentials(2), cluster.shared()).unwrap();
    let name = node_dns(CLUSTER, NodeId(1));
    shake(Arc::clone(&client), Arc::clone(&server), &name).unwrap();
    let mut later = cluster.view.clone();
    later.index = LogIndex(51);
    later.members.remove(&NodeId(2));
    assert!(view.offer(later));
    assert!(refusal(shake(client, server, &name)).contains("Unknown"));
}

#[test]
fn a_node_admitted_later_than_this_one_has_applied_is_let_in() {
    let cluster = Cluster::new(CLUSTER, 100);
    between(
        &cluster,
        &cluster.issue(9, 51, World::wall()),
        &cluster.credentials(1),
    )
    .unwrap();
    let message = refusal(between(
        &cluster,
        &cluster.issue(9, 50, World::wall()),
        &cluster.credentials(1),
    ));
    assert!(message.contains("Unknown"), "{message}");
}

#[test]
fn the_dialler_insists_on_the_node_it_dialled() {
    let cluster = Cluster::new(CLUSTER, 100);
    let message = refusal(between(
        &cluster,
        &cluster.credentials(2),
        &cluster.credentials(3),
    ));
    assert!(message.contains("not valid for name"), "{message}");
}

/// Whatever hosts a certificate names, it is for the node in its URI.
#[test]
fn another_nodes_name_among_the_hosts_does_not_make_a_node_that_other() {
    let cluster = Cluster::new(CLUSTER, 100);
    let hosts = vec![node_dns(CLUSTER, NodeId(1))];
    let impostor = cluster.issue_for(3, 10, World::wall(), hosts);
    let message = refusal(between(&cluster, &cluster.credentials(2), &impostor));
    assert!(message.contains("NotValidForName"), "{message}");
}

#[test]
fn the_api_takes_members_only_and_none_from_the_future() {
    let cluster = Cluster::new(CLUSTER, 100);
    let trusted = cluster.view.trusted.clone();
    let shake_as = |node: &Credentials| {
        let chain = vec![node.certificate().clone(), trusted[0].clone()];
        let client = config::api_client::<World>(&trusted, chain, node.key()).unwrap();
        let api = config::api_server::<World>(&cluster.credentials(1), cluster.shared());
        shake(client, api.unwrap(), "localhost")
    };
    shake_as(&cluster.credentials(2)).unwrap();
    let message = refusal(shake_as(&cluster.issue(9, 51, World::wall())));
    assert!(message.contains("Unknown"), "{message}");
}

#[test]
fn a_stranger_cannot_use_the_members_door() {
    let cluster = Cluster::new(CLUSTER, 100);
    let server = config::peer_server::<World>(&cluster.credentials(1), cluster.shared()).unwrap();
    let pin = cluster.authority.key().public().hash();
    let refused = as_joiner(CLUSTER, pin, server);
    assert!(refused.is_err());
}

#[test]
fn a_client_of_the_api_is_no_peer_and_gets_into_the_api_only() {
    let cluster = Cluster::new(CLUSTER, 100);
    let key = PrivateKey::from_seed([50; 32]);
    let validity = Validity::starting(World::wall(), YEAR);
    let serial = Serial::from_secret([1; 16]);
    let certificate = cluster
        .authority
        .issue_client("kube-apiserver", key.public(), serial, validity)
        .unwrap();
    let trusted = cluster.view.trusted.clone();
    let client = || config::api_client::<World>(&trusted, vec![certificate.clone()], &key).unwrap();
    let api = config::api_server::<World>(&cluster.credentials(1), cluster.shared()).unwrap();
    shake(client(), Arc::clone(&api), "localhost").unwrap();
    assert!(
        Credentials::new(key.clone(), certificate.clone(), trusted[0].clone()).is_err(),
        "it is no node's certificate"
    );

    let mut as_peer = (*client()).clone();
    as_peer.alpn_protocols = vec![config::PEER_PROTOCOL.to_vec()];
    let peers = config::peer_server::<World>(&cluster.credentials(1), cluster.shared()).unwrap();
    assert!(
        refusal(shake(
            Arc::new(as_peer),
            peers,
            &node_dns(CLUSTER, NodeId(1))
        ))
        .contains("certificate of a node")
    );

    let foreign = Cluster::new(CLUSTER, 101);
    let forged = foreign
        .authority
        .issue_client("kube-apiserver", key.public(), serial, validity)
        .unwrap();
    let forged = config::api_client::<World>(&trusted, vec![forged], &key).unwrap();
    assert!(refusal(shake(forged, api, "localhost")).contains("UnknownIssuer"));
}

#[test]
fn the_pinned_authority_is_the_only_root() {
    let cluster = Cluster::new(CLUSTER, 100);
    let pin = cluster.authority.key().public().hash();
    let server = config::stranger_server::<World>(&cluster.credentials(1)).unwrap();
    let (client, server) = as_joiner(CLUSTER, pin, server).unwrap();
    let exporter = |bytes: Result<[u8; 32], Error>| bytes.unwrap();
    assert_eq!(
        exporter(client.export_keying_material([0; 32], b"label", None)),
        exporter(server.export_keying_material([0; 32], b"label", None)),
    );
}

#[test]
fn a_man_in_the_middle_with_his_own_authority_shows_no_pinned_key() {
    let cluster = Cluster::new(CLUSTER, 100);
    let middle = Cluster::new(CLUSTER, 101);
    let server = config::stranger_server::<World>(&middle.credentials(1)).unwrap();
    let message = refusal(as_joiner(
        CLUSTER,
        cluster.authority.key().public().hash(),
        server,
    ));
    assert!(message.contains("PinNotShown"), "{message}");
}

#[test]
fn appending_the_public_certificate_of_the_authority_does_not_help() {
    let cluster = Cluster::new(CLUSTER, 100);
    let middle = Cluster::new(CLUSTER, 101);
    // A certificate of his own CA, with the cluster's real CA certificate appended where the joiner looks for the pin.
    let certificate = middle.credentials(1).certificate().clone();
    let credentials = Credentials::new(
        node_key(1),
        certificate,
        cluster.authority.certificate().clone(),
    )
    .unwrap();
    let server = config::stranger_server::<World>(&credentials).unwrap();
    let message = refusal(as_joiner(
        CLUSTER,
        cluster.authority.key().public().hash(),
        server,
    ));
    assert!(message.contains("UnknownIssuer"), "{message}");
}

#[test]
fn a_joiner_insists_on_the_cluster_that_its_line_names() {
    let cluster = Cluster::new(CLUSTER, 100);
    let server = config::stranger_server::<World>(&cluster.credentials(1)).unwrap();
    let message = refusal(as_joiner(
        ClusterId(0xc2),
        cluster.authority.key().public().hash(),
        server,
    ));
    assert!(message.contains("not valid for name"), "{message}");
}

#[test]
fn plain_text_gets_nowhere() {
    let cluster = Cluster::new(CLUSTER, 100);
    let server = config::peer_server::<World>(&cluster.credentials(1), cluster.shared()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let mut bytes: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let read: io::Result<usize> = server.read_tls(&mut bytes);
    assert!(read.is_ok());
    assert!(server.process_new_packets().is_err());
}

#[test]
fn nothing_is_resumed() {
    let cluster = Cluster::new(CLUSTER, 100);
    let client = config::peer_client::<World>(&cluster.credentials(2), cluster.shared()).unwrap();
    let server = config::peer_server::<World>(&cluster.credentials(1), cluster.shared()).unwrap();
    for _ in 0..3 {
        let (client, server) = shake(
            Arc::clone(&client),
            Arc::clone(&server),
            &node_dns(CLUSTER, NodeId(1)),
        )
        .unwrap();
        assert_eq!(client.tls13_tickets_received(), 0);
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
    }
}

/// A client that would resume if it could: the server must not give it the means.
#[test]
fn a_client_that_wants_to_resume_is_shaken_in_full() {
    let cluster = Cluster::new(CLUSTER, 100);
    let mut eager =
        (*config::peer_client::<World>(&cluster.credentials(2), cluster.shared()).unwrap()).clone();
    eager.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let eager = Arc::new(eager);
    let server = config::peer_server::<World>(&cluster.credentials(1), cluster.shared()).unwrap();
    for _ in 0..3 {
        let (client, _) = shake(
            Arc::clone(&eager),
            Arc::clone(&server),
            &node_dns(CLUSTER, NodeId(1)),
        )
        .unwrap();
        assert_eq!(client.tls13_tickets_received(), 0);
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn a_renewed_certificate_is_as_good_as_the_first() {
    let cluster = Cluster::new(CLUSTER, 100);
    let first = cluster.issue(2, 10, World::wall() - YEAR * 3 / 4);
    assert!(
        Validity::of(first.certificate())
            .unwrap()
            .needs_renewal(World::wall())
    );
    between(&cluster, &first, &cluster.credentials(1)).unwrap();
    let renewed = cluster.credentials(2);
    assert!(
        !Validity::of(renewed.certificate())
            .unwrap()
            .needs_renewal(World::wall())
    );
    assert_ne!(first.certificate(), renewed.certificate());
    between(&cluster, &renewed, &cluster.credentials(1)).unwrap();
}

#[test]
fn two_authorities_are_trusted_while_one_replaces_the_other() {
    let mut cluster = Cluster::new(CLUSTER, 100);
    let next = Cluster::new(CLUSTER, 101);
    assert!(between(&cluster, &next.credentials(2), &cluster.credentials(1)).is_err());
    let certificate: CertificateDer<'static> = next.authority.certificate().clone();
    cluster.view.trusted.push(certificate);
    between(&cluster, &next.credentials(2), &cluster.credentials(1)).unwrap();
}
