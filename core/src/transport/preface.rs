//! Tells HTTP/2 from HTTP/1.1 by the first bytes of a connection.
//!
//! gRPC clients speak HTTP/2 from the first byte; `curl` and the probes of a kubelet speak HTTP/1.1 to the health
//! pages of the same port. HTTP/2 without negotiation opens with 24 fixed bytes that no HTTP/1.1 request can begin with.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::runtime::Stream;

const HTTP2: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Reads until the protocol is plain; the stream that is handed back yields those bytes again.
pub(super) async fn detect<S: Stream>(mut stream: S) -> io::Result<(Protocol, Replayed<S>)> {
    let mut read = [0; HTTP2.len()];
    let mut end = 0;
    let protocol = loop {
        if end == HTTP2.len() {
            break Protocol::Http2;
        }
        match stream.read(&mut read[end..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => end += count,
        }
        if read[..end] != HTTP2[..end] {
            break Protocol::Http1;
        }
    };
    let replayed = Replayed {
        stream,
        read,
        start: 0,
        end,
    };
    Ok((protocol, replayed))
}

/// A stream whose first bytes were looked at and are yielded again.
pub(super) struct Replayed<S> {
    stream: S,
    read: [u8; HTTP2.len()],
    /// `read[start..end]` has yet to be yielded.
    start: usize,
    end: usize,
}

impl<S: Stream> AsyncRead for Replayed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.start == this.end {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let count = buffer.remaining().min(this.end - this.start);
        buffer.put_slice(&this.read[this.start..this.start + count]);
        this.start += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Replayed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    async fn told(sent: &[&[u8]]) -> (Protocol, Vec<u8>) {
        let (mut near, far) = tokio::io::duplex(1);
        let sent = sent.concat();
        let sending = async move { near.write_all(&sent).await.unwrap() };
        let telling = async {
            let (protocol, mut stream) = detect(far).await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            (protocol, all)
        };
        // Both at once, because the pipe holds a single byte.
        tokio::join!(sending, telling).1
    }

    #[tokio::test]
    async fn protocol_is_told_and_no_byte_is_lost() {
        let http2 = told(&[HTTP2, b"frames"]).await;
        assert_eq!(http2, (Protocol::Http2, [HTTP2, &b"frames"[..]].concat()));
        for http1 in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PRI * HTTP/1.1\r\n\r\n",
            b"PUT / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(told(&[http1]).await, (Protocol::Http1, http1.to_vec()));
        }
    }

    #[tokio::test]
    async fn silence_is_no_protocol() {
        for sent in [&b""[..], b"PRI * HTTP/2"] {
            let (mut near, far) = tokio::io::duplex(64);
            near.write_all(sent).await.unwrap();
            drop(near);
            assert!(detect(far).await.is_err());
        }
    }
}
