//! A token is the private half of a key pair; the cluster keeps only the public half.
//!
//! Whoever holds the token can *sign*, and so prove possession without sending it: nothing that a member stores, logs, backs up or
//! relays lets anybody join. A proof covers this very connection, this very certificate request, this node id and this role, so
//! there is nothing to replay and nothing to swap on the way.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::ids::{ClusterId, NodeId};
use crate::proto::join::RoleWanted;
use crate::tls::secure::Exporter;
use crate::tls::{PrivateKey, PublicKey};

/// What a proof begins with, so that a token's signature is good for nothing else.
const LABEL: &[u8] = b"quorate join proof 1\0";

/// Names a token without giving it away: the first 8 bytes of the SHA-256 of its public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenId(pub [u8; 8]);

impl TokenId {
    /// Of the token with this public key.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        let digest: [u8; 32] = Sha256::digest(key.0).into();
        Self(*digest.first_chunk().expect("32 bytes begin with 8"))
    }

    /// From the form in which the state keeps it.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// From what an operator typed: 16 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten()?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// A token. Wiped from memory when dropped; `Debug` shows its id only.
#[derive(Clone)]
pub struct Token(PrivateKey);

impl Token {
    /// From 32 bytes that nobody can guess.
    #[must_use]
    pub fn from_secret(bytes: [u8; 32]) -> Self {
        Self(PrivateKey::from_seed(bytes))
    }

    /// The 32 bytes: for the join line, and nothing else.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        self.0.seed()
    }

    /// What the cluster keeps.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.0.public()
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> TokenId {
        TokenId::of(&self.public_key())
    }

    /// Proves possession for one request over one connection.
    #[must_use]
    pub fn prove(&self, claim: &Claim<'_>) -> [u8; 64] {
        self.0.sign(&claim.message())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, redacted)", self.id())
    }
}

/// What a proof is about.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The cluster to join.
    pub cluster: ClusterId,
    /// The exporter of the connection that the request came by.
    pub exporter: &'a Exporter,
    /// The certificate request.
    pub csr: &'a [u8],
    /// The id that the joiner has chosen.
    pub node: NodeId,
    /// The role that it asks for.
    pub role: RoleWanted,
}

impl Claim<'_> {
    /// Every part has a fixed length, so that no two claims have one message.
    fn message(&self) -> Vec<u8> {
        let csr: [u8; 32] = Sha256::digest(self.csr).into();
        let parts: [&[u8]; 6] = [
            LABEL,
            &self.cluster.0.to_be_bytes(),
            self.exporter,
            &csr,
            &self.node.0.to_be_bytes(),
            &(self.role as i32).to_be_bytes(),
        ];
        parts.concat()
    }

    /// Whether `proof` was made with the token of this public key.
    #[must_use]
    pub fn is_proven(&self, key: &PublicKey, proof: &[u8]) -> bool {
        key.verifies(&self.message(), proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORTER: Exporter = [5; 32];

    fn claim() -> Claim<'static> {
        Claim {
            cluster: ClusterId(1),
            exporter: &EXPORTER,
            csr: b"request",
            node: NodeId(2),
            role: RoleWanted::Any,
        }
    }

    #[test]
    fn a_proof_holds_for_its_claim_and_no_other() {
        let token = Token::from_secret([9; 32]);
        let proof = token.prove(&claim());
        assert!(claim().is_proven(&token.public_key(), &proof));
        let others = [
            Claim {
                cluster: ClusterId(2),
                ..claim()
            },
            Claim {
                exporter: &[6; 32],
                ..claim()
            },
            Claim {
                csr: b"another",
                ..claim()
            },
            Claim {
                node: NodeId(3),
                ..claim()
            },
            Claim {
                role: RoleWanted::Spare,
                ..claim()
            },
        ];
        for other in others {
            assert!(!other.is_proven(&token.public_key(), &proof), "{other:?}");
        }
        assert!(!claim().is_proven(&Token::from_secret([8; 32]).public_key(), &proof));
        assert!(!claim().is_proven(&token.public_key(), &proof[..63]));
    }

    #[test]
    fn a_token_is_never_printed() {
        let token = Token::from_secret([0xab; 32]);
        let shown = format!("{token:?}");
        assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
        assert_eq!(shown, format!("Token({}, redacted)", token.id()));
    }

    #[test]
    fn ids_are_typed_as_they_are_shown() {
        let id = Token::from_secret([1; 32]).id();
        assert_eq!(TokenId::parse(&id.to_string()), Some(id));
        assert_eq!(TokenId::from_slice(&id.0), Some(id));
        for wrong in [
            "",
            "12",
            "+123456789abcdef",
            "0123456789abcdeg",
            "0123456789abcdef0",
        ] {
            assert_eq!(TokenId::parse(wrong), None, "{wrong}");
        }
    }
}
