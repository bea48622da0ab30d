//! Who is let in, as rustls asks for it. Chains, dates, names and signatures are judged by the ordinary verifiers; what is
//! added here only ever refuses more.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, RootCertStore, SignatureScheme,
};

use super::key::KeyHash;
use super::name::{PeerIdentity, client_uri, is_node_dns, public_key, uris};
use super::once::ed25519_once;
use super::peer::{PeerRefusal, judge, judge_member};
use crate::join::{MemberView, SharedView};

/// Verifies nodes, on both sides of a connection between two of them.
#[derive(Debug)]
pub struct PeerVerifier {
    view: SharedView,
    crypto: Arc<CryptoProvider>,
    /// For certificates, which are shown again and again.
    issued: Arc<CryptoProvider>,
}

/// Verifies clients of the etcd API: certificates issued to clients, and nodes.
#[derive(Debug)]
pub struct ApiClientVerifier(PeerVerifier);

/// Verifies the member that a joiner talks to. The joiner knows nothing but the hash of the CA's public key, and the cluster's id.
///
/// The only root is the certificate *of the pinned key*, taken from what the server sent; everything else is the ordinary
/// verifier's work. To look for the pinned key somewhere in the chain would be no check at all: the CA's certificate is public, and
/// anybody can append it.
#[derive(Debug)]
pub struct PinnedVerifier {
    pins: Vec<KeyHash>,
    crypto: Arc<CryptoProvider>,
}

impl PeerVerifier {
    /// Judges by the newest view at the time of each handshake.
    #[must_use]
    pub fn new(view: SharedView, crypto: Arc<CryptoProvider>) -> Self {
        let issued = CryptoProvider {
            signature_verification_algorithms: ed25519_once(),
            ..CryptoProvider::clone(&crypto)
        };
        Self {
            view,
            crypto,
            issued: Arc::new(issued),
        }
    }

    fn check_client_chain(
        &self,
        view: &MemberView,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        WebPkiClientVerifier::builder_with_provider(roots(&view.trusted)?, Arc::clone(&self.issued))
            .build()
            .map_err(other)?
            .verify_client_cert(end_entity, intermediates, now)
    }
}

fn check_standing(
    end_entity: &CertificateDer<'_>,
    judge: impl FnOnce(&PeerIdentity) -> Result<(), PeerRefusal>,
) -> Result<PeerIdentity, Error> {
    let identity = PeerIdentity::from_certificate(end_entity).map_err(other)?;
    judge(&identity).map_err(other)?;
    Ok(identity)
}

fn roots(trusted: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone())?;
    }
    Ok(Arc::new(roots))
}

/// A refusal with our own words in it; the other side sees an alert without them.
fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// The part of both traits that is the same for all of them.
macro_rules! tls13_signatures {
    ($($path:tt)+) => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.$($path)+.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.$($path)+.signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let view = self.view.get();
        let verified = self.check_client_chain(&view, end_entity, intermediates, now)?;
        check_standing(end_entity, |identity| judge(&view, identity).map(drop))?;
        Ok(verified)
    }

    tls13_signatures!(crypto);
}

impl ServerCertVerifier for PeerVerifier {
    /// `server_name` is that of the node that was dialled, so that another member at a recycled address is not taken for it.
    ///
    /// That the name is among the certificate's is not enough: a certificate also names hosts that its owner gave us. Who the
    /// owner *is* stands in the one URI, and must be whom the name means.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let view = self.view.get();
        let verified = WebPkiServerVerifier::builder_with_provider(
            roots(&view.trusted)?,
            Arc::clone(&self.issued),
        )
        .build()
        .map_err(other)?
        .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let identity = check_standing(end_entity, |identity| judge(&view, identity).map(drop))?;
        if is_node_dns(server_name, identity.cluster, identity.node) {
            Ok(verified)
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    tls13_signatures!(crypto);
}

impl ApiClientVerifier {
    /// Judges by the newest view at the time of each handshake.
    #[must_use]
    pub fn new(view: SharedView, crypto: Arc<CryptoProvider>) -> Self {
        Self(PeerVerifier::new(view, crypto))
    }
}

/// A genuine certificate of this cluster that is for no client of its API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is neither a client's nor a member's of this cluster")]
struct NotAClient;

impl ClientCertVerifier for ApiClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let view = self.0.view.get();
        let verified = self
            .0
            .check_client_chain(&view, end_entity, intermediates, now)?;
        let client = client_uri(view.cluster, "");
        match uris(end_entity).map_err(other)?.as_slice() {
            [uri] if uri.starts_with(&client) => Ok(verified),
            [_] => check_standing(end_entity, |identity| judge_member(&view, identity))
                .map(|_| verified),
            _ => Err(other(NotAClient)),
        }
    }

    tls13_signatures!(0.crypto);
}

/// The server shows no certificate of a pinned key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the server belongs to another cluster, or somebody stands between: it shows no certificate of the CA that the join line names"
)]
pub struct PinNotShown;

impl PinnedVerifier {
    /// Trusts the CAs with these key hashes.
    #[must_use]
    pub fn new(pins: Vec<KeyHash>, crypto: Arc<CryptoProvider>) -> Self {
        Self { pins, crypto }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_pinned = |certificate: &&CertificateDer<'_>| {
            public_key(certificate).is_ok_and(|key| self.pins.contains(&key.hash()))
        };
        let pinned: Vec<CertificateDer<'static>> = intermediates
            .iter()
            .filter(is_pinned)
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        if pinned.is_empty() {
            return Err(other(PinNotShown));
        }
        WebPkiServerVerifier::builder_with_provider(roots(&pinned)?, Arc::clone(&self.crypto))
            .build()
            .map_err(other)?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    tls13_signatures!(crypto);
}
