//! The cluster's certificate authority.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;

use super::TlsError;
use super::key::{PrivateKey, PublicKey};
use super::name::{PeerIdentity, client_uri, cluster_dns, is_reserved, node_dns, public_key};
use super::request;
use super::validity::{AUTHORITY_LIFE, NODE_LIFE, Validity};
use crate::ids::{ClusterId, Epoch, LogIndex, NodeId};
use crate::join::{Address, addresses};
use crate::proto::store::Member;
use crate::runtime::WallTime;

/// A certificate's serial number: 16 bytes in every encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial([u8; 16]);

impl Serial {
    /// From bytes that nobody can guess. The first one is kept between 0x40 and 0x7f: a leading zero would be dropped by the
    /// encoding and a set sign bit would add a byte, once in a while, and a simulation would not repeat.
    #[must_use]
    pub fn from_secret(mut bytes: [u8; 16]) -> Self {
        bytes[0] = bytes[0] & 0x3f | 0x40;
        Self(bytes)
    }
}

/// Whom a node's certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSubject {
    /// The life of the cluster.
    pub epoch: Epoch,
    /// The node.
    pub node: NodeId,
    /// The index at which it was admitted.
    pub admitted: LogIndex,
    /// Hosts under which clients of the etcd API reach it: names or IP addresses, from the member table. Two members may say the same
    /// host, for machines are shared and replaced; one that is taken for another by clients sees no more than it could read as itself.
    pub client_hosts: Vec<String>,
}

impl NodeSubject {
    /// What the member table says of a node, as its certificate says it in this epoch. A host in our own domain is left out,
    /// whatever the table says: it would be another node's name.
    #[must_use]
    pub fn of_member(member: &Member, epoch: Epoch) -> Self {
        let addresses = addresses(&member.client_addresses);
        let hosts = addresses.iter().map(Address::host);
        let hosts: BTreeSet<_> = hosts.filter(|host| !is_reserved(host)).collect();
        Self {
            epoch,
            node: NodeId(member.id),
            admitted: LogIndex(member.admitted_index),
            client_hosts: hosts.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// The CA: a key, and its certificate.
#[derive(Clone, Debug)]
pub struct Authority {
    cluster: ClusterId,
    key: PrivateKey,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// A new CA for a cluster.
    pub fn create(
        cluster: ClusterId,
        key: PrivateKey,
        serial: Serial,
        now: WallTime,
    ) -> Result<Self, TlsError> {
        let mut parameters = CertificateParams::default();
        // The key's hash is in the name because a cluster may trust two CAs of its own.
        let hash = key.public().hash().to_string();
        parameters.distinguished_name =
            common_name(&format!("quorate {:016x} {}", cluster.0, &hash[..16]));
        parameters.serial_number = Some(SerialNumber::from_slice(&serial.0));
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Validity::starting(now, AUTHORITY_LIFE).apply(&mut parameters);
        let certificate = parameters.self_signed(&key)?.der().clone();
        Ok(Self {
            cluster,
            key,
            certificate,
        })
    }

    /// The CA whose key and certificate were kept.
    pub fn open(
        cluster: ClusterId,
        key: PrivateKey,
        certificate: CertificateDer<'static>,
    ) -> Result<Self, TlsError> {
        if public_key(&certificate)? != key.public() {
            return Err(TlsError::KeyMismatch);
        }
        Ok(Self {
            cluster,
            key,
            certificate,
        })
    }

    /// Its certificate, which is what others trust.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// A node's certificate.
    pub fn issue_node(
        &self,
        subject: &NodeSubject,
        key: PublicKey,
        serial: Serial,
        now: WallTime,
    ) -> Result<CertificateDer<'static>, TlsError> {
        let NodeSubject {
            epoch,
            node,
            admitted,
            ref client_hosts,
        } = *subject;
        let identity = PeerIdentity {
            cluster: self.cluster,
            epoch,
            node,
            admitted,
            key,
        };
        let mut names = vec![
            SanType::URI(identity.uri().try_into()?),
            SanType::DnsName(node_dns(self.cluster, node).try_into()?),
            SanType::DnsName(cluster_dns(self.cluster).try_into()?),
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress(IpAddr::from([127, 0, 0, 1])),
        ];
        for host in client_hosts {
            names.push(match host.parse() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName(host.as_str().try_into()?),
            });
        }
        let usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let mut parameters = end_entity(names, usages, serial);
        parameters.distinguished_name = request::subject(node);
        Validity::starting(now, NODE_LIFE).apply(&mut parameters);
        self.sign(&parameters, key)
    }

    /// A certificate for a client of the etcd API. It opens no door between nodes.
    pub fn issue_client(
        &self,
        name: &str,
        key: PublicKey,
        serial: Serial,
        validity: Validity,
    ) -> Result<CertificateDer<'static>, TlsError> {
        let names = vec![SanType::URI(client_uri(self.cluster, name).try_into()?)];
        let mut parameters = end_entity(names, vec![ExtendedKeyUsagePurpose::ClientAuth], serial);
        parameters.distinguished_name = common_name(name);
        validity.apply(&mut parameters);
        self.sign(&parameters, key)
    }

    fn sign(
        &self,
        parameters: &CertificateParams,
        key: PublicKey,
    ) -> Result<CertificateDer<'static>, TlsError> {
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key)?;
        Ok(parameters.signed_by(&key, &issuer)?.der().clone())
    }
}

fn end_entity(
    names: Vec<SanType>,
    usages: Vec<ExtendedKeyUsagePurpose>,
    serial: Serial,
) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names = names;
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = usages;
    parameters.serial_number = Some(SerialNumber::from_slice(&serial.0));
    parameters
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_millis(1_764_000_000_000);

    fn issue(seed: u8, serial: [u8; 16]) -> CertificateDer<'static> {
        let authority = Authority::create(
            ClusterId(1),
            PrivateKey::from_seed([seed; 32]),
            Serial::from_secret(serial),
            NOW,
        )
        .unwrap();
        let subject = NodeSubject {
            epoch: Epoch(1),
            node: NodeId(seed.into()),
            admitted: LogIndex(5),
            client_hosts: Vec::new(),
        };
        let key = PrivateKey::from_seed([seed ^ 0xff; 32]).public();
        authority
            .issue_node(&subject, key, Serial::from_secret(serial), NOW)
            .unwrap()
    }

    #[test]
    fn a_certificate_says_whose_it_is() {
        let identity = PeerIdentity::from_certificate(&issue(9, [3; 16])).unwrap();
        assert_eq!((identity.cluster, identity.epoch), (ClusterId(1), Epoch(1)));
        assert_eq!((identity.node, identity.admitted), (NodeId(9), LogIndex(5)));
        assert_eq!(identity.key, PrivateKey::from_seed([9 ^ 0xff; 32]).public());
    }

    #[test]
    fn no_node_gets_a_name_of_our_own_domain_by_its_addresses() {
        let victim = node_dns(ClusterId(1), NodeId(1));
        let member = Member {
            id: 2,
            client_addresses: vec![
                format!("https://{victim}:1"),
                format!("{}:1", victim.to_uppercase()),
                "node-2.lan:2379".to_owned(),
            ],
            ..Member::default()
        };
        let subject = NodeSubject::of_member(&member, Epoch(1));
        assert_eq!(subject.client_hosts, ["node-2.lan"]);
    }

    #[test]
    fn certificates_have_one_length_and_repeat() {
        let first = issue(1, [0; 16]);
        for (seed, serial) in [(2, [0xff; 16]), (77, [0x80; 16]), (200, [1; 16])] {
            assert_eq!(issue(seed, serial).len(), first.len(), "seed {seed}");
        }
        assert_eq!(issue(1, [0; 16]), first);
    }

    #[test]
    fn a_kept_authority_opens_with_its_own_key_only() {
        let key = PrivateKey::from_seed([1; 32]);
        let authority =
            Authority::create(ClusterId(1), key.clone(), Serial::from_secret([0; 16]), NOW)
                .unwrap();
        assert!(Authority::open(ClusterId(1), key, authority.certificate().clone()).is_ok());
        let other = PrivateKey::from_seed([2; 32]);
        assert!(Authority::open(ClusterId(1), other, authority.certificate().clone()).is_err());
    }
}
