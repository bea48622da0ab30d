//! Certificate signing requests: what a node asks with, and the strict check of what was asked.
//!
//! Of a request nothing is taken over but the key: names, usages and dates are written by the signer. It is checked all the same,
//! because a request for more than a node may have is an attack or a bug, and either should be heard of.

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType,
};
use rustls::pki_types::CertificateSigningRequestDer;

use super::TlsError;
use super::key::{PrivateKey, PublicKey};
use super::name::node_dns;
use crate::ids::{ClusterId, NodeId};

/// A longer request is not looked at.
const LONGEST: usize = 2_048;

/// The request of a node for its certificate, in DER.
pub fn create(key: &PrivateKey, cluster: ClusterId, node: NodeId) -> Result<Vec<u8>, TlsError> {
    let mut parameters = CertificateParams::new(vec![node_dns(cluster, node)])?;
    parameters.distinguished_name = subject(node);
    parameters.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(parameters.serialize_request(key)?.der().to_vec())
}

/// The key of a request, if the request is exactly what [`create`] makes for this node: signed by the key itself, an Ed25519 key,
/// with this name and no other, for a node's usages, and without any right to sign.
pub fn check(request: &[u8], cluster: ClusterId, node: NodeId) -> Result<PublicKey, TlsError> {
    if request.len() > LONGEST {
        return Err(TlsError::Request("is too long"));
    }
    let request = CertificateSigningRequestDer::from(request);
    let asked = CertificateSigningRequestParams::from_der(&request)
        .map_err(|_| TlsError::Request("cannot be read, or is not signed by its own key"))?;
    if *asked.public_key.algorithm() != PKCS_ED25519 {
        return Err(TlsError::Request("is not for an Ed25519 key"));
    }
    let parameters = &asked.params;
    if parameters.is_ca != IsCa::NoCa && parameters.is_ca != IsCa::ExplicitNoCa {
        return Err(TlsError::Request("asks for the rights of a CA"));
    }
    let own_name =
        parameters.subject_alt_names == [SanType::DnsName(node_dns(cluster, node).try_into()?)];
    if !own_name || parameters.distinguished_name != subject(node) {
        return Err(TlsError::Request(
            "asks for names that are not the node's own",
        ));
    }
    let usual = |usage: &KeyUsagePurpose| *usage == KeyUsagePurpose::DigitalSignature;
    let extended = |usage: &ExtendedKeyUsagePurpose| {
        matches!(
            usage,
            ExtendedKeyUsagePurpose::ServerAuth | ExtendedKeyUsagePurpose::ClientAuth
        )
    };
    if !parameters.key_usages.iter().all(usual)
        || !parameters.extended_key_usages.iter().all(extended)
    {
        return Err(TlsError::Request("asks for usages that no node has"));
    }
    PublicKey::from_slice(asked.public_key.der_bytes())
}

/// The subject of a node's certificate: its id. The name that people give it may change.
pub(super) fn subject(node: NodeId) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, format!("{:016x}", node.0));
    subject
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(0xc1);
    const NODE: NodeId = NodeId(0xa);

    fn key() -> PrivateKey {
        PrivateKey::from_seed([7; 32])
    }

    fn altered(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut parameters = CertificateParams::new(vec![node_dns(CLUSTER, NODE)]).unwrap();
        parameters.distinguished_name = subject(NODE);
        change(&mut parameters);
        parameters.serialize_request(&key()).unwrap().der().to_vec()
    }

    fn refusal(request: &[u8]) -> String {
        check(request, CLUSTER, NODE).unwrap_err().to_string()
    }

    #[test]
    fn what_is_created_passes() {
        assert_eq!(
            check(&create(&key(), CLUSTER, NODE).unwrap(), CLUSTER, NODE).unwrap(),
            key().public()
        );
    }

    #[test]
    fn a_request_of_another_node_or_cluster_is_refused() {
        let names = "the certificate request asks for names that are not the node's own";
        assert_eq!(
            refusal(&create(&key(), CLUSTER, NodeId(0xb)).unwrap()),
            names
        );
        assert_eq!(
            refusal(&create(&key(), ClusterId(0xc2), NODE).unwrap()),
            names
        );
    }

    #[test]
    fn foreign_names_are_refused() {
        let names = "the certificate request asks for names that are not the node's own";
        let more = altered(|parameters| {
            parameters
                .subject_alt_names
                .push(SanType::DnsName("kubernetes".try_into().unwrap()));
        });
        assert_eq!(refusal(&more), names);
        let masters = altered(|parameters| {
            parameters
                .distinguished_name
                .push(DnType::OrganizationName, "system:masters");
        });
        assert_eq!(refusal(&masters), names);
    }

    #[test]
    fn the_rights_of_a_ca_are_refused() {
        let ca = altered(|parameters| {
            parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        });
        assert_eq!(
            refusal(&ca),
            "the certificate request asks for the rights of a CA"
        );
        let signing =
            altered(|parameters| parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
        assert_eq!(
            refusal(&signing),
            "the certificate request asks for usages that no node has"
        );
    }

    #[test]
    fn a_request_that_its_key_did_not_sign_is_refused() {
        let mut request = create(&key(), CLUSTER, NODE).unwrap();
        *request.last_mut().unwrap() ^= 1;
        assert!(refusal(&request).contains("not signed by its own key"));
        assert!(refusal(&[0x30; 3_000]).contains("too long"));
        assert!(refusal(b"").contains("cannot be read"));
    }
}
