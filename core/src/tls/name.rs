//! What a certificate says about its owner.
//!
//! Every name in a certificate is written with a fixed number of digits, so that its length does not depend on the ids drawn.

use rustls::pki_types::{CertificateDer, ServerName};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::TlsError;
use super::key::PublicKey;
use crate::ids::{ClusterId, Epoch, LogIndex, NodeId};

/// Under this name certificates carry the ids; it exists in no public DNS.
const DOMAIN: &str = "quorate.internal";

/// A node as its certificate names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The life of that cluster in which the certificate was issued.
    pub epoch: Epoch,
    /// The node.
    pub node: NodeId,
    /// The log index at which it was admitted.
    pub admitted: LogIndex,
    /// The key that the certificate is for.
    pub key: PublicKey,
}

impl PeerIdentity {
    /// From a node's certificate. Whether the certificate is worth anything is for others to judge.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let parsed = parse(certificate)?;
        let key = PublicKey::from_spki(parsed.public_key().raw)?;
        match uris_of(&parsed)?.as_slice() {
            [uri] => parse_uri(uri, key).ok_or(TlsError::Malformed {
                what: "certificate of a node",
            }),
            _ => Err(TlsError::Malformed {
                what: "certificate of a node",
            }),
        }
    }

    /// The URI that names it.
    #[must_use]
    pub fn uri(&self) -> String {
        let Self {
            cluster,
            epoch,
            node,
            admitted,
            key: _,
        } = self;
        format!(
            "quorate://{:016x}/{:016x}?admitted={:020}&epoch={:010}",
            cluster.0, node.0, admitted.0, epoch.0
        )
    }
}

fn parse_uri(uri: &str, key: PublicKey) -> Option<PeerIdentity> {
    let (cluster, rest) = uri.strip_prefix("quorate://")?.split_once('/')?;
    let (node, rest) = rest.split_once("?admitted=")?;
    let (admitted, epoch) = rest.split_once("&epoch=")?;
    let identity = PeerIdentity {
        cluster: ClusterId(u64::from_str_radix(cluster, 16).ok()?),
        epoch: Epoch(epoch.parse().ok()?),
        node: NodeId(u64::from_str_radix(node, 16).ok()?),
        admitted: LogIndex(admitted.parse().ok()?),
        key,
    };
    // One spelling only: what is parsed is what would be written.
    (identity.uri() == uri).then_some(identity)
}

/// The URI of a client of the etcd API; `name` is what the operator called it.
#[must_use]
pub fn client_uri(cluster: ClusterId, name: &str) -> String {
    format!("quorate://{:016x}/client/{name}", cluster.0)
}

/// All URIs among the names of a certificate's subject.
pub fn uris(certificate: &CertificateDer<'_>) -> Result<Vec<String>, TlsError> {
    uris_of(&parse(certificate)?)
}

fn uris_of(certificate: &X509Certificate<'_>) -> Result<Vec<String>, TlsError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| TlsError::Malformed {
            what: "certificate",
        })?;
    let names = names
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    let uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    Ok(uris.collect())
}

/// The public key of a certificate.
pub fn public_key(certificate: &CertificateDer<'_>) -> Result<PublicKey, TlsError> {
    PublicKey::from_spki(parse(certificate)?.public_key().raw)
}

/// The one among `authorities` whose name the certificate's issuer has.
pub fn issuer_among<'a>(
    certificate: &CertificateDer<'_>,
    authorities: &'a [CertificateDer<'static>],
) -> Option<&'a CertificateDer<'static>> {
    let parsed = parse(certificate).ok()?;
    let issued = |authority: &&CertificateDer<'static>| {
        parse(authority)
            .is_ok_and(|authority| authority.subject().as_raw() == parsed.issuer().as_raw())
    };
    authorities.iter().find(issued)
}

pub(super) fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, TlsError> {
    match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) => Ok(parsed),
        Err(_) => Err(TlsError::Malformed {
            what: "certificate",
        }),
    }
}

/// The DNS name that every node of a cluster answers to: all that a joiner knows.
#[must_use]
pub fn cluster_dns(cluster: ClusterId) -> String {
    format!("{:016x}.{DOMAIN}", cluster.0)
}

/// The DNS name of one node: what a member that dials it insists on.
#[must_use]
pub fn node_dns(cluster: ClusterId, node: NodeId) -> String {
    format!("{:016x}.{:016x}.{DOMAIN}", node.0, cluster.0)
}

/// Whether a host is in the domain of our own names, which belong to the nodes that they are made of and to nobody who asks for one.
#[must_use]
pub fn is_reserved(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host.strip_suffix(DOMAIN)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether `name` is that of `node`.
#[must_use]
pub fn is_node_dns(name: &ServerName<'_>, cluster: ClusterId, node: NodeId) -> bool {
    matches!(name, ServerName::DnsName(dns) if dns.as_ref() == node_dns(cluster, node))
}

/// The same for rustls.
#[must_use]
pub fn server_name(dns: &str) -> ServerName<'static> {
    ServerName::try_from(dns.to_owned())
        .expect("hexadecimal digits and a fixed domain are a DNS name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(cluster: u64, node: u64, admitted: u64, epoch: u64) -> PeerIdentity {
        PeerIdentity {
            cluster: ClusterId(cluster),
            epoch: Epoch(epoch),
            node: NodeId(node),
            admitted: LogIndex(admitted),
            key: PublicKey([1; 32]),
        }
    }

    #[test]
    fn a_uri_comes_back() {
        for identity in [
            identity(1, 2, 3, 4),
            identity(u64::MAX, u64::MAX, u64::MAX, 9_999_999_999),
        ] {
            assert_eq!(parse_uri(&identity.uri(), identity.key), Some(identity));
        }
    }

    #[test]
    fn there_is_one_spelling() {
        let uri = identity(1, 0xab, 3, 4).uri();
        for other in [
            uri.to_uppercase(),
            uri.replace("=0", "=+"),
            uri.replace("000ab", "0ab"),
            format!("{uri}&x=1"),
        ] {
            assert_eq!(parse_uri(&other, PublicKey([1; 32])), None, "{other}");
        }
    }

    #[test]
    fn a_client_is_not_a_node() {
        assert_eq!(
            parse_uri(&client_uri(ClusterId(1), "admin"), PublicKey([1; 32])),
            None
        );
    }

    #[test]
    fn our_own_names_are_told_from_others() {
        let node = node_dns(ClusterId(1), NodeId(2));
        for ours in [
            node.as_str(),
            &node.to_uppercase(),
            &cluster_dns(ClusterId(1)),
            "x.quorate.internal.",
            "quorate.internal",
        ] {
            assert!(is_reserved(ours), "{ours}");
        }
        for other in ["node-1.lan", "notquorate.internal", "quorate.internal.lan"] {
            assert!(!is_reserved(other), "{other}");
        }
    }

    #[test]
    fn uris_have_one_length() {
        assert_eq!(
            identity(1, 1, 1, 1).uri().len(),
            identity(u64::MAX, u64::MAX, u64::MAX, 77).uri().len()
        );
    }
}
