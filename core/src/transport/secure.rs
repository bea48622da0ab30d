//! Where TLS slots in: a wrapper around each accepted stream, and a way to dial.
//!
//! What a handshake learns about the other side (its identity, the exporter that binds a signature to this very
//! connection) is the wrapper's [`Secure::Peer`]; every handler sees it beside the request.

use std::future::Future;
use std::io;
use std::marker::PhantomData;

use crate::runtime::{Runtime, Stream};

/// Turns an accepted stream into the one that HTTP runs over.
pub trait Secure<S: Stream>: Send + Sync + 'static {
    /// What HTTP runs over.
    type Stream: Stream;
    /// What the handshake learnt about who connected.
    type Peer: Clone + Send + Sync + 'static;

    /// The accepting side of the handshake; the server limits its time.
    ///
    /// # Errors
    /// When the other side is not who it must be, or breaks off.
    fn accept(
        &self,
        stream: S,
    ) -> impl Future<Output = io::Result<(Self::Stream, Self::Peer)>> + Send;

    /// Whether a peer has shown nothing of itself and came for one errand: it gets little room and little time. By default, nobody.
    fn is_guest(&self, _peer: &Self::Peer) -> bool {
        false
    }

    /// Completes when a peer that was let in is not welcome any more; its connection is cut then. By default, never.
    fn unwelcome(&self, _peer: &Self::Peer) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// No protection: the stream as it is, and nothing known of the other side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl<S: Stream> Secure<S> for Plain {
    type Stream = S;
    type Peer = ();

    async fn accept(&self, stream: S) -> io::Result<(S, ())> {
        Ok((stream, ()))
    }
}

/// How a [`super::Channel`] reaches its peer. Asked anew for each connection, so that an address may change.
pub trait Dial: Send + Sync + 'static {
    /// What HTTP runs over.
    type Stream: Stream;

    /// Opens a connection, with its handshake; the channel limits its time.
    ///
    /// # Errors
    /// When there is nobody, or not who must be there.
    fn dial(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Dials one address without protection.
#[derive(Clone, Debug)]
pub struct PlainDial<R> {
    address: String,
    runtime: PhantomData<fn() -> R>,
}

impl<R> PlainDial<R> {
    /// Dials `address`, `host:port`.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            runtime: PhantomData,
        }
    }
}

impl<R: Runtime> Dial for PlainDial<R> {
    type Stream = R::Stream;

    async fn dial(&self) -> io::Result<R::Stream> {
        R::connect(&self.address).await
    }
}
