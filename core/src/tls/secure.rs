//! The handshakes on a runtime's streams.
//!
//! Members and strangers knock at one port and say by ALPN what they are: the first thing a client says decides which
//! configuration answers, so that a stranger never speaks to anything but the join service.

use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::CertificateDer;
use rustls::server::Acceptor;
use rustls::{CertificateError, ClientConfig, ConnectionCommon, ServerConfig};
use tokio::io::BufWriter;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, TlsConnector, client, server};

use super::config::{self, Credentials, JOIN_PROTOCOL, PEER_PROTOCOL};
use super::key::KeyHash;
use super::name::{PeerIdentity, cluster_dns, node_dns, server_name};
use super::peer::{Standing, judge, judge_member};
use super::{PeerRefusal, TlsError, Validity};
use crate::ids::{ClusterId, NodeId};
use crate::join::SharedView;
use crate::runtime::{Runtime, Stream};
use crate::transport::{Dial, Secure};

/// Under this label both ends of a joiner's connection derive the bytes that its proof is bound to.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-quorate-join-1";

/// A stream behind TLS. HTTP/2 writes a message in several pieces and then flushes; without the buffer each piece would
/// become a record of its own and a packet of its own, and wake the other side.
pub type Buffered<S> = BufWriter<S>;

/// The buffer of one connection: what one record can hold.
const BUFFER_BYTES: usize = 16 * 1024;

fn buffered<S: tokio::io::AsyncWrite>(stream: S) -> Buffered<S> {
    BufWriter::with_capacity(BUFFER_BYTES, stream)
}

/// Bytes that only the two ends of one connection know, and no relay can choose.
pub type Exporter = [u8; 32];

/// Who is at the other end, as the handshake showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A node of this cluster.
    Node {
        /// What its certificate says.
        identity: PeerIdentity,
        /// What it may do.
        standing: Standing,
    },
    /// Somebody without a certificate, who may only ask to join.
    Stranger {
        /// What a proof must be bound to.
        exporter: Exporter,
    },
}

/// A node's own side of every handshake. Clones share it, so that a renewed certificate reaches all of them.
#[derive(Clone, Debug)]
pub struct NodeTls<R> {
    view: SharedView,
    configurations: Arc<RwLock<Arc<Configurations>>>,
    runtime: PhantomData<fn() -> R>,
}

#[derive(Debug)]
struct Configurations {
    credentials: Credentials,
    peer_server: Arc<ServerConfig>,
    stranger_server: Arc<ServerConfig>,
    peer_client: Arc<ClientConfig>,
    api_server: Arc<ServerConfig>,
}

impl Configurations {
    fn new<R: Runtime>(credentials: Credentials, view: &SharedView) -> Result<Self, TlsError> {
        Ok(Self {
            peer_server: config::peer_server::<R>(&credentials, view.clone())?,
            stranger_server: config::stranger_server::<R>(&credentials)?,
            peer_client: config::peer_client::<R>(&credentials, view.clone())?,
            api_server: config::api_server::<R>(&credentials, view.clone())?,
            credentials,
        })
    }
}

impl<R: Runtime> NodeTls<R> {
    /// With these credentials, judging others by `view`.
    pub fn new(credentials: Credentials, view: SharedView) -> Result<Self, TlsError> {
        let configurations = Configurations::new::<R>(credentials, &view)?;
        Ok(Self {
            view,
            configurations: Arc::new(RwLock::new(Arc::new(configurations))),
            runtime: PhantomData,
        })
    }

    /// Shows `credentials` from now on; connections that stand keep what they were made with.
    pub fn renew(&self, credentials: Credentials) -> Result<(), TlsError> {
        let renewed = Arc::new(Configurations::new::<R>(credentials, &self.view)?);
        *self
            .configurations
            .write()
            .unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    /// The certificate that is shown now.
    #[must_use]
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.configurations().credentials.certificate().clone()
    }

    /// From when until when it is good.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.configurations().credentials.validity()
    }

    /// The member view by which others are judged.
    #[must_use]
    pub fn view(&self) -> &SharedView {
        &self.view
    }

    /// Whether a peer that was let in is still welcome: asked for every live connection when the view changes.
    pub fn still_welcome(&self, peer: &Peer) -> Result<(), PeerRefusal> {
        match peer {
            Peer::Node { identity, .. } => judge(&self.view.get(), identity).map(|_| ()),
            Peer::Stranger { .. } => Ok(()),
        }
    }

    /// Dials `node` wherever the member view says that it is at that moment.
    #[must_use]
    pub fn dial(&self, node: NodeId) -> NodeDial<R> {
        NodeDial {
            tls: self.clone(),
            node,
        }
    }

    /// The accepting side for clients of the etcd API.
    #[must_use]
    pub fn api(&self) -> ApiTls<R> {
        ApiTls(self.clone())
    }

    fn configurations(&self) -> Arc<Configurations> {
        Arc::clone(
            &self
                .configurations
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl<R: Runtime, S: Stream> Secure<S> for NodeTls<R> {
    type Stream = Buffered<server::TlsStream<S>>;
    type Peer = Peer;

    async fn accept(&self, stream: S) -> io::Result<(Self::Stream, Peer)> {
        let handshake = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let protocol = handshake
            .client_hello()
            .alpn()
            .and_then(|mut protocols| protocols.next())
            .map(<[u8]>::to_vec);
        let configurations = self.configurations();
        match protocol.as_deref() {
            Some(PEER_PROTOCOL) => {
                let stream = handshake
                    .into_stream(Arc::clone(&configurations.peer_server))
                    .await
                    .map_err(in_words)?;
                let peer = accepted_peer(&self.view, &stream)?;
                Ok((buffered(stream), peer))
            }
            Some(JOIN_PROTOCOL) => {
                let stream = handshake
                    .into_stream(Arc::clone(&configurations.stranger_server))
                    .await
                    .map_err(in_words)?;
                let exporter = exporter(stream.get_ref().1)?;
                Ok((buffered(stream), Peer::Stranger { exporter }))
            }
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "neither a member nor a joiner",
            )),
        }
    }

    fn is_guest(&self, peer: &Peer) -> bool {
        matches!(peer, Peer::Stranger { .. })
    }

    async fn unwelcome(&self, peer: &Peer) {
        until_refused(&self.view, || self.still_welcome(peer)).await;
    }
}

/// Completes when the view says what makes `judge` refuse.
async fn until_refused(view: &SharedView, judge: impl Fn() -> Result<(), PeerRefusal>) {
    let mut views = view.subscribe();
    while judge().is_ok() {
        if views.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Judged once more after the handshake: the verifier's answer was for rustls, this one is for the services.
fn accepted_peer<S>(view: &SharedView, stream: &server::TlsStream<S>) -> io::Result<Peer> {
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = certificates
        .first()
        .ok_or_else(|| io::Error::other("a member without a certificate"))?;
    let identity = PeerIdentity::from_certificate(certificate).map_err(io::Error::other)?;
    let standing = judge(&view.get(), &identity).map_err(io::Error::other)?;
    Ok(Peer::Node { identity, standing })
}

/// Who uses the etcd API, as the handshake showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiPeer {
    /// The owner of a certificate that was issued to a client.
    Client,
    /// A member of the cluster, for as long as it is one.
    Node(PeerIdentity),
}

/// The etcd API behind TLS: clients show a certificate of the cluster.
#[derive(Clone, Debug)]
pub struct ApiTls<R>(NodeTls<R>);

impl<R: Runtime, S: Stream> Secure<S> for ApiTls<R> {
    type Stream = Buffered<server::TlsStream<S>>;
    type Peer = ApiPeer;

    async fn accept(&self, stream: S) -> io::Result<(Self::Stream, ApiPeer)> {
        let configuration = Arc::clone(&self.0.configurations().api_server);
        let accepted = TlsAcceptor::from(configuration).accept(stream).await;
        let stream = accepted.map_err(in_words)?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let shown = certificates.first().map(PeerIdentity::from_certificate);
        // The verifier let it in: what is not a node's certificate is a client's.
        let peer = match shown {
            Some(Ok(identity)) => ApiPeer::Node(identity),
            _ => ApiPeer::Client,
        };
        Ok((buffered(stream), peer))
    }

    /// A member that was removed uses the API no longer. A client's certificate is good until it expires.
    async fn unwelcome(&self, peer: &ApiPeer) {
        match peer {
            ApiPeer::Client => std::future::pending().await,
            ApiPeer::Node(identity) => {
                let view = &self.0.view;
                until_refused(view, || judge_member(&view.get(), identity)).await;
            }
        }
    }
}

/// Dials one node and insists on it.
#[derive(Clone, Debug)]
pub struct NodeDial<R> {
    tls: NodeTls<R>,
    node: NodeId,
}

impl<R: Runtime> NodeDial<R> {
    async fn dial_at(&self, address: &str) -> io::Result<client::TlsStream<R::Stream>> {
        let stream = R::connect(address).await?;
        let configuration = Arc::clone(&self.tls.configurations().peer_client);
        let name = node_dns(self.tls.view.get().cluster, self.node);
        TlsConnector::from(configuration)
            .connect(server_name(&name), stream)
            .await
    }
}

impl<R: Runtime> Dial for NodeDial<R> {
    type Stream = Buffered<client::TlsStream<R::Stream>>;

    /// One address of the node after the other, until it answers.
    async fn dial(&self) -> io::Result<Self::Stream> {
        let view = self.tls.view.get();
        let addresses = view.members.get(&self.node);
        let addresses = addresses.map_or(&[][..], |member| &member.peer_addresses);
        let mut error = io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("no address of node {} is known", self.node),
        );
        for address in addresses {
            match self.dial_at(address).await {
                Ok(stream) => return Ok(buffered(stream)),
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }
}

/// Connects as a stranger to a member of `cluster` whose CA has one of these key hashes.
pub async fn connect_as_stranger<R: Runtime>(
    address: &str,
    cluster: ClusterId,
    pins: Vec<KeyHash>,
) -> io::Result<(client::TlsStream<R::Stream>, Exporter)> {
    let configuration = config::joiner_client::<R>(pins).map_err(io::Error::other)?;
    let stream = R::connect(address).await?;
    let name = server_name(&cluster_dns(cluster));
    let connector = TlsConnector::from(configuration);
    let stream = connector.connect(name, stream).await?;
    let exporter = exporter(stream.get_ref().1)?;
    Ok((stream, exporter))
}

/// Why a handshake failed, for people. Only this side's own findings have words: the other side's come as an alert without any.
#[must_use]
pub fn explain(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(found)) => match found {
            CertificateError::Other(refusal) => refusal.0.to_string(),
            CertificateError::UnknownIssuer => {
                "its certificate was not issued by the CA that is trusted".to_owned()
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                format!("its certificate is out of date, or a clock is wrong: {error}")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is another node, or of another cluster".to_owned()
            }
            _ => error.to_string(),
        },
        _ => error.to_string(),
    }
}

/// The same failure, told as [`explain`] tells it: it stands in the log.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn in_words(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), explain(&error))
}

/// The bytes that both ends of this connection derive, and nobody else.
fn exporter<D>(connection: &ConnectionCommon<D>) -> io::Result<Exporter> {
    connection
        .export_keying_material([0; 32], EXPORTER_LABEL, None)
        .map_err(io::Error::other)
}
