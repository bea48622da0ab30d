//! Signatures under certificates, each verified once.
//!
//! Whoever connects again shows the certificate that it showed before, and what the CA signed once it has signed for good. So a
//! signature that fitted is remembered, by the SHA-256 of key, signature and message together: two of the six signatures that a
//! handshake between members makes or verifies. Nothing is decided by that but whether those three fit: chains, dates, names and
//! standing are judged each time, and what a peer signs in a handshake is new each time and never looked for here.

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use ring::digest::{Context, SHA256};
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use super::provider::ed25519_only;

/// How many are remembered at most. With one more all are forgotten: there are as many as members and clients.
const REMEMBERED: usize = 1024;

/// Ed25519 for the signatures under certificates.
#[must_use]
pub fn ed25519_once() -> WebPkiSupportedAlgorithms {
    static ALL: [&dyn SignatureVerificationAlgorithm; 1] = [&Once];
    static MAPPING: [(SignatureScheme, &[&dyn SignatureVerificationAlgorithm]); 1] =
        [(SignatureScheme::ED25519, &ALL)];
    WebPkiSupportedAlgorithms {
        all: &ALL,
        mapping: &MAPPING,
    }
}

/// Asks the library only what is not remembered.
#[derive(Debug)]
struct Once;

static LIBRARY: LazyLock<&dyn SignatureVerificationAlgorithm> =
    LazyLock::new(|| ed25519_only().all[0]);

impl SignatureVerificationAlgorithm for Once {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        static MEMORY: Mutex<Memory> = Mutex::new(Memory::new());
        let verify = || LIBRARY.verify_signature(public_key, message, signature);
        // The lengths are fixed, so that no two triples are the same bytes one after the other.
        let (Ok(key), Ok(signed)) = (public_key.try_into(), signature.try_into()) else {
            return verify();
        };
        let fact = Fact::new(key, signed, message);
        let memory = || MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
        if !memory().knows(&fact) {
            verify()?;
            memory().learn(fact);
        }
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        LIBRARY.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        LIBRARY.signature_alg_id()
    }
}

/// That a signature fits a key and a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fact([u8; 32]);

impl Fact {
    fn new(key: &[u8; 32], signature: &[u8; 64], message: &[u8]) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(key);
        hash.update(signature);
        hash.update(message);
        let hash = hash.finish();
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// Facts that were found to hold.
struct Memory(BTreeSet<Fact>);

impl Memory {
    const fn new() -> Self {
        Self(BTreeSet::new())
    }

    fn knows(&self, fact: &Fact) -> bool {
        self.0.contains(fact)
    }

    fn learn(&mut self, fact: Fact) {
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert(fact);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::PrivateKey;

    #[test]
    fn forgery_is_refused_beside_the_genuine_that_is_remembered() {
        let (key, other) = (
            PrivateKey::from_seed([1; 32]),
            PrivateKey::from_seed([2; 32]),
        );
        let (message, signature) = (b"a certificate", key.sign(b"a certificate"));
        for _ in 0..2 {
            let genuine = Once.verify_signature(&key.public().0, message, &signature);
            assert!(genuine.is_ok());
            let mut flipped = signature;
            flipped[9] ^= 1;
            for (key, message, signature) in [
                (&key, &message[..], &flipped[..]),
                (&other, message, &signature),
                (&key, b"another", &signature),
                (&key, message, &signature[..63]),
                (&key, message, &[]),
            ] {
                let forged = Once.verify_signature(&key.public().0, message, signature);
                assert!(forged.is_err());
            }
        }
        let short = Once.verify_signature(&key.public().0[..31], message, &signature);
        assert!(short.is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let mut memory = Memory::new();
        let fact = |number: usize| Fact::new(&[0; 32], &[0; 64], &number.to_be_bytes());
        for number in 0..=REMEMBERED {
            memory.learn(fact(number));
            assert!(memory.knows(&fact(number)) && memory.0.len() <= REMEMBERED);
        }
        assert!(!memory.knows(&fact(0)), "all were forgotten");
    }

    #[test]
    fn it_stands_for_the_same_algorithm() {
        let (once, library) = (ed25519_once(), ed25519_only());
        assert_eq!(once.supported_schemes(), library.supported_schemes());
        assert_eq!(
            once.all[0].public_key_alg_id(),
            library.all[0].public_key_alg_id()
        );
        assert_eq!(
            once.all[0].signature_alg_id(),
            library.all[0].signature_alg_id()
        );
    }
}
