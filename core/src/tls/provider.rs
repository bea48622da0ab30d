//! rustls on a runtime's clock and randomness, with the one choice of each kind that is left.
//!
//! ring is the library below: it signs Ed25519, and a process that only asks for something starts quickly. Its key exchange draws
//! from the operating system whatever it is told, so that in a simulation the *bytes* of a connection differ from run to run, but
//! never their number.

use std::marker::PhantomData;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{
    CryptoProvider, GetRandomFailed, SecureRandom, WebPkiSupportedAlgorithms, ring,
};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{CipherSuite, SignatureScheme};

use crate::runtime::Runtime;

/// The runtime's secret bytes, as rustls asks for them: hellos, session ids.
#[derive(Debug)]
struct Secrets<R>(PhantomData<fn() -> R>);

impl<R: Runtime> SecureRandom for Secrets<R> {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        R::secret(buffer);
        Ok(())
    }
}

/// The runtime's wall clock, by which certificates are valid or not.
#[derive(Debug)]
struct Clock<R>(PhantomData<fn() -> R>);

impl<R: Runtime> TimeProvider for Clock<R> {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(
            R::wall().millis(),
        )))
    }
}

/// What rustls calculates with.
#[must_use]
pub fn crypto<R: Runtime>() -> Arc<CryptoProvider> {
    let ring = ring::default_provider();
    let mut cipher_suites = ring.cipher_suites;
    // As strong as the one curve, and its SHA-256 is calculated by the processor: with SHA-384 the hashes of handshakes were a
    // fourteenth of the instructions of five nodes that start.
    cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(CryptoProvider {
        cipher_suites,
        kx_groups: vec![ring::kx_group::X25519],
        signature_verification_algorithms: ed25519_only(),
        secure_random: &Secrets::<R>(PhantomData),
        key_provider: ring.key_provider,
    })
}

/// When rustls thinks it is.
#[must_use]
pub fn clock<R: Runtime>() -> Arc<dyn TimeProvider> {
    Arc::new(Clock::<R>(PhantomData))
}

/// Signatures, in handshakes and in certificates.
#[must_use]
pub fn ed25519_only() -> WebPkiSupportedAlgorithms {
    let all = ring::default_provider().signature_verification_algorithms;
    let ed25519 = all
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == SignatureScheme::ED25519);
    let ed25519 = ed25519.expect("ring verifies Ed25519");
    WebPkiSupportedAlgorithms {
        all: ed25519.1,
        mapping: slice::from_ref(ed25519),
    }
}

#[cfg(test)]
mod tests {
    use rustls::SupportedCipherSuite;

    use super::*;
    use crate::runtime::tokio::TokioRuntime;

    #[test]
    fn suite_of_the_quickest_hash_is_offered_first_and_no_other_is_left_out() {
        let suites = |provider: &CryptoProvider| {
            let suites = provider.cipher_suites.iter();
            suites.map(SupportedCipherSuite::suite).collect::<Vec<_>>()
        };
        let offered = suites(&crypto::<TokioRuntime>());
        assert_eq!(offered[0], CipherSuite::TLS13_AES_128_GCM_SHA256);
        let known = suites(&ring::default_provider());
        assert_eq!(offered.len(), known.len());
        assert!(known.iter().all(|suite| offered.contains(suite)));
    }
}
