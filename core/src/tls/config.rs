//! The rustls configurations. Each is TLS 1.3 on the runtime's clock without resumption; they differ in who must show what.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};

use super::TlsError;
use super::key::{KeyHash, PrivateKey};
use super::name::PeerIdentity;
use super::provider::{clock, crypto};
use super::validity::Validity;
use super::verifier::{ApiClientVerifier, PeerVerifier, PinnedVerifier};
use crate::join::SharedView;
use crate::runtime::Runtime;

/// Spoken between members.
pub const PEER_PROTOCOL: &[u8] = b"quorate-peer/1";

/// Spoken with strangers that hold a join line.
pub const JOIN_PROTOCOL: &[u8] = b"quorate-join/1";

/// Spoken with clients of the etcd API.
pub const HTTP2_PROTOCOL: &[u8] = b"h2";

/// A node's key, with the certificate for it and that of the CA which issued it.
#[derive(Clone, Debug)]
pub struct Credentials {
    key: PrivateKey,
    certificate: CertificateDer<'static>,
    validity: Validity,
    authority: CertificateDer<'static>,
    /// What handshakes show and sign with. Made once: every configuration would calculate the key pair anew.
    shown: Arc<SingleCertAndKey>,
}

impl Credentials {
    /// A key and its certificates; refused if the certificate is for another key.
    pub fn new(
        key: PrivateKey,
        certificate: CertificateDer<'static>,
        authority: CertificateDer<'static>,
    ) -> Result<Self, TlsError> {
        if PeerIdentity::from_certificate(&certificate)?.key != key.public() {
            return Err(TlsError::KeyMismatch);
        }
        // The CA's certificate too, since a joiner finds its root of trust in it.
        let chain = vec![certificate.clone(), authority.clone()];
        let shown = CertifiedKey::new(chain, Arc::new(key.clone()));
        Ok(Self {
            key,
            validity: Validity::of(&certificate)?,
            certificate,
            authority,
            shown: Arc::new(shown.into()),
        })
    }

    /// The node's certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// From when until when it is good.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// That of the CA which issued it.
    #[must_use]
    pub fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    /// The node's key.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    fn shown(&self) -> Arc<SingleCertAndKey> {
        Arc::clone(&self.shown)
    }
}

/// Accepts members.
pub fn peer_server<R: Runtime>(
    credentials: &Credentials,
    view: SharedView,
) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = Arc::new(PeerVerifier::new(view, crypto::<R>()));
    server::<R>(credentials, Some(verifier), PEER_PROTOCOL)
}

/// Dials members.
pub fn peer_client<R: Runtime>(
    credentials: &Credentials,
    view: SharedView,
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(PeerVerifier::new(view, crypto::<R>()));
    let config = client_builder::<R>(verifier)?.with_client_cert_resolver(credentials.shown());
    Ok(finish_client(config, PEER_PROTOCOL))
}

/// Accepts strangers that want to join: they have no certificate yet, and can reach nothing but the join service.
pub fn stranger_server<R: Runtime>(
    credentials: &Credentials,
) -> Result<Arc<ServerConfig>, TlsError> {
    server::<R>(credentials, None, JOIN_PROTOCOL)
}

/// Dials a member as a stranger, trusting only the CAs with these key hashes.
pub fn joiner_client<R: Runtime>(pins: Vec<KeyHash>) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(PinnedVerifier::new(pins, crypto::<R>()));
    let config = client_builder::<R>(verifier)?.with_no_client_auth();
    Ok(finish_client(config, JOIN_PROTOCOL))
}

/// Accepts clients of the etcd API; they must show a certificate of this cluster.
pub fn api_server<R: Runtime>(
    credentials: &Credentials,
    view: SharedView,
) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = Arc::new(ApiClientVerifier::new(view, crypto::<R>()));
    server::<R>(credentials, Some(verifier), HTTP2_PROTOCOL)
}

/// Dials the etcd API of a cluster whose CAs are `trusted`, with a client's or a node's key and certificates.
pub fn api_client<R: Runtime>(
    trusted: &[CertificateDer<'static>],
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKey,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone())?;
    }
    let builder = ClientConfig::builder_with_details(crypto::<R>(), clock::<R>())
        .with_protocol_versions(&[&TLS13])?;
    let config = builder
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key.to_pkcs8())?;
    Ok(finish_client(config, HTTP2_PROTOCOL))
}

fn server<R: Runtime>(
    credentials: &Credentials,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    protocol: &[u8],
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder: ConfigBuilder<ServerConfig, WantsVerifier> =
        ServerConfig::builder_with_details(crypto::<R>(), clock::<R>())
            .with_protocol_versions(&[&TLS13])?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(credentials.shown());
    config.alpn_protocols = vec![protocol.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn client_builder<R: Runtime>(
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TlsError> {
    let builder = ClientConfig::builder_with_details(crypto::<R>(), clock::<R>())
        .with_protocol_versions(&[&TLS13])?;
    // Not dangerous: each of these verifiers does what the ordinary one does, and then refuses more.
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

fn finish_client(mut config: ClientConfig, protocol: &[u8]) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Arc::new(config)
}
