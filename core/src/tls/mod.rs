//! Who is who on the wire: keys, certificates, and what a handshake accepts.
//!
//! A cluster is its own certificate authority (CA). Each node makes its key at home and has a certificate that names cluster, epoch,
//! node and the log index at which it was admitted. All traffic between nodes is mutual TLS 1.3; there is nothing to configure.
//!
//! | file | what it holds |
//! |---|---|
//! | `key.rs` | [`PrivateKey`]: an Ed25519 key made from 32 given bytes |
//! | `name.rs` | what a certificate says about its owner: [`PeerIdentity`], and the DNS names derived from it |
//! | `authority.rs` | [`Authority`]: makes the CA and signs certificates |
//! | `request.rs` | certificate signing requests: made, and checked strictly |
//! | `validity.rs` | from when until when, and when to renew |
//! | `peer.rs` | whether a peer with this identity is welcome: pure |
//! | `verifier.rs` | the same as rustls asks for it, chains and signatures included |
//! | `once.rs` | signatures under certificates, each verified once |
//! | `pem.rs` | keys and certificates as text |
//! | `provider.rs` | rustls on the runtime's clock and randomness; one curve, one kind of signature |
//! | `config.rs` | the configurations: between peers (both sides), towards strangers, as a stranger, towards clients |
//! | `secure.rs` | the handshakes on the runtime's streams |
//! | `doors.rs` | which services answer whom |
//!
//! # What is switched off, and why
//!
//! *Resumption.* A resumed session skips the verifier of client certificates: a removed node would be let in by a ticket from
//! better days. So no tickets are sent, no session is stored on either side, and no early data is taken.
//!
//! *Choice.* TLS 1.3, X25519, Ed25519 and nothing else: no negotiation to attack, and nothing on the wire varies in length with
//! a key (serial numbers have a fixed length too), which keeps simulations repeatable.
//!
//! # Why a certificate names an index
//!
//! A node that was cut off while others were admitted does not know them, and if it refused them, would never learn: with its old
//! friends removed, it would be alone for ever. So a certificate says at which log index its owner was admitted; whoever has
//! not applied that index yet lets the peer in for Raft's own calls, which bring the index.

pub mod authority;
pub mod config;
pub mod doors;
pub mod key;
pub mod name;
pub mod once;
pub mod peer;
pub mod pem;
pub mod provider;
pub mod request;
pub mod secure;
#[cfg(test)]
mod tests;
pub mod validity;
pub mod verifier;

pub use authority::{Authority, NodeSubject, Serial};
pub use key::{KeyHash, PrivateKey, PublicKey};
pub use name::PeerIdentity;
pub use peer::{PeerRefusal, Standing};
pub use validity::Validity;

/// What goes wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The bytes are not what they should be.
    #[error("not a valid {what}")]
    Malformed {
        /// What they should be.
        what: &'static str,
    },
    /// A certificate request asks for something that a node may not have.
    #[error("the certificate request {0}")]
    Request(&'static str),
    /// A key and a certificate do not belong together.
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
    /// From the library that writes certificates.
    #[error("cannot write a certificate: {0}")]
    Write(#[from] rcgen::Error),
    /// From the TLS library.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}
