//! A stream with the faults of its link: [`Linked`].
//!
//! The simulator below has made the connection, and knows it for as long as this lives. The bytes go from one end to the other
//! by what both know ([`Connection`]): a simulator that carried them would only have to be waited for, with nothing that it
//! could add. A reader is woken when bytes are due, and not to find out that they are on their way: a poll of an HTTP/2
//! connection costs as much as a message.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Network;
use super::connection::{Connection, Readable, Side};
use crate::substrate::Time;
use crate::trace::{Detail, Place};

/// One end of a connection with the faults of its link.
pub struct Linked<S, T: Time> {
    network: Network,
    connection: Arc<Connection>,
    side: Side,
    wait: Option<(Duration, Pin<Box<T::Wait>>)>,
    /// How the simulator knows of the connection.
    _below: S,
}

impl<S, T: Time> Linked<S, T> {
    pub(super) fn new(below: S, network: Network, connection: Arc<Connection>, side: Side) -> Self {
        Self {
            network,
            connection,
            side,
            wait: None,
            _below: below,
        }
    }

    /// Waits for `due`.
    fn poll_until(&mut self, due: Duration, context: &mut Context<'_>) -> Poll<()> {
        if self.wait.as_ref().is_none_or(|(until, _)| *until != due) {
            let wait = T::wait(due.saturating_sub(T::elapsed()));
            self.wait = Some((due, Box::pin(wait)));
        }
        if let Some((_, wait)) = &mut self.wait {
            ready!(wait.as_mut().poll(context));
        }
        self.wait = None;
        Poll::Ready(())
    }
}

impl<S: Unpin, T: Time> AsyncRead for Linked<S, T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let waker = context.waker();
            if this
                .network
                .is_closed_to(&this.connection, this.side, waker)
            {
                return Poll::Pending;
            }
            let now = T::elapsed();
            match this.connection.read(this.side, now, waker, buffer)? {
                Readable::End => return Poll::Ready(Ok(())),
                Readable::Nothing => return Poll::Pending,
                Readable::NotBefore(due) => ready!(this.poll_until(due, context)),
                Readable::Bytes(length) => {
                    let (from, to) = (
                        this.connection.host(this.side.peer()),
                        this.connection.host(this.side),
                    );
                    this.network.trace().record(
                        now,
                        Place::Link(from, to),
                        "bytes",
                        Detail::Number(length as u64),
                    );
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: Unpin, T: Time> AsyncWrite for Linked<S, T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let now = T::elapsed();
        // The poll in which a machine's power went may go on for a while, but nothing leaves the machine any more.
        if this.network.is_dark(this.connection.host(this.side)) {
            return Poll::Pending;
        }
        // Behind a cut it is no news: like a kernel's, the buffer takes what it has room for.
        if this.connection.is_reset(this.side, now)
            && !this.network.is_deaf(&this.connection, this.side)
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let Some(room) = this.connection.room(this.side, context.waker())? else {
            return Poll::Pending;
        };
        let bytes = &bytes[..bytes.len().min(room)];
        this.network
            .write(&this.connection, this.side, bytes, now, T::wake_after);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.network.shut(&this.connection, this.side, T::elapsed());
        Poll::Ready(Ok(()))
    }
}

impl<S, T: Time> Drop for Linked<S, T> {
    fn drop(&mut self) {
        self.network
            .closed(&self.connection, self.side, T::elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::rule::Verdict;
    use super::*;
    use crate::host::HostId;
    use crate::seed::Seed;
    use crate::trace::{Keep, Trace};

    /// No time passes.
    struct Never;

    impl Time for Never {
        type Wait = std::future::Pending<()>;

        fn elapsed() -> Duration {
            Duration::ZERO
        }

        fn wait(_: Duration) -> Self::Wait {
            std::future::pending()
        }
    }

    /// What takes so long.
    const fn after(delay: Duration) -> Verdict {
        Verdict::Passes {
            delay,
            bytes_per_second: None,
        }
    }

    #[test]
    fn bytes_are_handed_on_in_order_when_they_are_due() {
        let network = Network::new(Seed::new(1), Trace::new(Keep::All));
        let connection = Arc::new(Connection::new(1, HostId::new(1), HostId::new(2)));
        let mut stream: Linked<(), Never> =
            Linked::new((), network, Arc::clone(&connection), Side::Dialler);
        let mut read = |room: usize| {
            let mut bytes = [0; 64];
            let mut buffer = ReadBuf::new(&mut bytes[..room]);
            let mut context = Context::from_waker(Waker::noop());
            let polled = Pin::new(&mut stream).poll_read(&mut context, &mut buffer);
            polled.is_ready().then(|| buffer.filled().to_vec())
        };
        let write = |bytes: &[u8], verdict| {
            let (from, wake) = (Side::Acceptor, Never::wake_after);
            connection.write(from, bytes, Duration::ZERO, verdict, true, wake);
        };
        assert_eq!(read(64), None);
        write(b"one", after(Duration::ZERO));
        write(b"two", after(Duration::ZERO));
        write(b"later", after(Duration::from_millis(1)));
        assert_eq!(read(2).as_deref(), Some(&b"on"[..]));
        assert_eq!(read(64).as_deref(), Some(&b"etwo"[..]));
        assert_eq!(read(64), None);
        // Nothing overtakes what was sent before.
        write(b"last", after(Duration::ZERO));
        assert_eq!(read(64), None);
    }
}
