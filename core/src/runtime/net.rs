//! Streams between nodes and to clients.

use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

/// A connected, ordered, reliable byte stream. It may go silent for ever: whoever waits on one has a deadline.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Where connections arrive.
pub trait Listener: Send + Sync + 'static {
    /// What a connection is.
    type Stream: Stream;

    /// The next connection and the address of who opened it.
    ///
    /// # Errors
    /// When the operating system refuses, for instance because no file descriptor is left; the listener stays usable.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, String)>> + Send;

    /// The bound address, with the port that was chosen when port 0 was asked for.
    fn local_address(&self) -> String;
}
