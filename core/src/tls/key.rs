//! Ed25519 keys, always made from 32 bytes that somebody else drew: in production from the operating system, in a
//! simulation from the seed.

use std::fmt;
use std::sync::Arc;

use rcgen::{PKCS_ED25519, PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use rustls::{SignatureScheme, sign};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::TlsError;

/// What stands before the seed in the PKCS#8 form of an Ed25519 key (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// What stands before the key in the `SubjectPublicKeyInfo` of an Ed25519 key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// SHA-256 of a public key in its `SubjectPublicKeyInfo` form: what a key is pinned and recognised by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Of a `SubjectPublicKeyInfo` in DER.
    #[must_use]
    pub fn of_spki(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

/// An Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// From a slice, which must have the right length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, TlsError> {
        bytes.try_into().map(Self).map_err(|_| TlsError::Malformed {
            what: "Ed25519 public key",
        })
    }

    /// From a `SubjectPublicKeyInfo` in DER, which must be that of an Ed25519 key.
    pub fn from_spki(spki: &[u8]) -> Result<Self, TlsError> {
        let key = spki.strip_prefix(&SPKI_PREFIX).ok_or(TlsError::Malformed {
            what: "Ed25519 public key",
        })?;
        Self::from_slice(key)
    }

    /// `SubjectPublicKeyInfo` in DER.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.0[..]].concat()
    }

    /// What it is recognised by.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of_spki(&self.spki())
    }

    /// Whether `signature` over `message` was made with its private half.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

/// An Ed25519 private key. Its seed is wiped from memory when the last of its clones is dropped, and never printed.
#[derive(Clone)]
pub struct PrivateKey(Arc<Material>);

/// Shared, because the pair is calculated from the seed, and each clone would be as dear as a signature.
struct Material {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl sign::SigningKey for PrivateKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn sign::Signer>> {
        let offered = offered.contains(&SignatureScheme::ED25519);
        offered.then(|| Box::new(self.clone()) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.public().spki().into())
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        rustls::SignatureAlgorithm::ED25519
    }
}

impl sign::Signer for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.sign(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl PrivateKey {
    /// The key of this seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed)
            .expect("every 32 bytes are an Ed25519 seed");
        let public = PublicKey::from_slice(pair.public_key().as_ref())
            .expect("an Ed25519 public key has 32 bytes");
        Self(Arc::new(Material { seed, pair, public }))
    }

    /// From PKCS#8 in DER, in the form that [`Self::to_pkcs8`] writes.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, TlsError> {
        let seed = der
            .strip_prefix(&PKCS8_PREFIX)
            .and_then(|seed| seed.try_into().ok());
        seed.map(Self::from_seed).ok_or(TlsError::Malformed {
            what: "Ed25519 private key",
        })
    }

    /// The seed: for the file that it is kept in, and for handing the CA's key over.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.0.seed
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.0.public
    }

    /// Signs `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0
            .pair
            .sign(message)
            .as_ref()
            .try_into()
            .expect("an Ed25519 signature has 64 bytes")
    }

    /// PKCS#8 in DER, as rustls wants it.
    #[must_use]
    pub fn to_pkcs8(&self) -> PrivateKeyDer<'static> {
        let der = [&PKCS8_PREFIX[..], &self.seed()[..]].concat();
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public().hash())
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0.public.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Self::sign(self, message).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];

    #[test]
    fn the_public_key_of_a_seed_is_that_of_the_standard() {
        let key = PrivateKey::from_seed(SEED);
        assert_eq!(key.public().0[..4], [0xd7, 0x5a, 0x98, 0x01]);
        assert!(key.public().verifies(b"hello", &key.sign(b"hello")));
        assert!(!key.public().verifies(b"hullo", &key.sign(b"hello")));
    }

    #[test]
    fn spki_and_back() {
        let public = PrivateKey::from_seed(SEED).public();
        assert_eq!(PublicKey::from_spki(&public.spki()).unwrap(), public);
        assert!(PublicKey::from_spki(&public.spki()[1..]).is_err());
        assert_eq!(public.spki(), public.subject_public_key_info());
    }

    #[test]
    fn a_seed_is_never_printed() {
        let shown = format!("{:?}", PrivateKey::from_seed(SEED));
        assert!(
            !shown.contains("9d61") && !shown.contains("157, 97"),
            "{shown}"
        );
    }
}
