//! A stream with the faults of its link: [`Linked`], over any stream without.
//!
//! The bytes travel through the plain stream below, so that each simulator's network takes part; *when* they may be read
//! is decided here. A reader takes from below whatever is there, which also keeps the simulators' own buffers short, and
//! hands it on when it is due and the link is open.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Network;
use super::connection::{Connection, Readable, Side};
use crate::substrate::Time;
use crate::sync::guard;
use crate::trace::{Detail, Place};

thread_local! {
    /// Where bytes from below are put first. A thread polls one stream at a time.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 32 * 1024].into_boxed_slice());
}

/// One end of a connection with the faults of its link.
pub struct Linked<S, T: Time> {
    below: S,
    network: Network,
    connection: Arc<Connection>,
    side: Side,
    /// Bytes from below that are not due, or that nobody has asked for.
    arrived: VecDeque<u8>,
    wait: Option<(Duration, Pin<Box<T::Wait>>)>,
    bell: Arc<Bell>,
}

/// Rings when there is something below, so that nobody needs to look there in vain.
struct Bell {
    rung: AtomicBool,
    /// Who read last.
    reader: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Relaxed);
        let reader = guard(&self.reader).take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl<S, T: Time> Linked<S, T> {
    pub(super) fn new(below: S, network: Network, connection: Arc<Connection>, side: Side) -> Self {
        Self {
            below,
            network,
            connection,
            side,
            arrived: VecDeque::new(),
            wait: None,
            bell: Arc::new(Bell {
                // Nobody has looked yet.
                rung: AtomicBool::new(true),
                reader: Mutex::new(None),
            }),
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

impl<S: AsyncRead + Unpin, T: Time> Linked<S, T> {
    /// Takes what is there from below. That the stream below has ended says nothing: what the peer's end means is
    /// decided by the connection.
    fn pull(&mut self, context: &Context<'_>) {
        *guard(&self.bell.reader) = Some(context.waker().clone());
        if !self.bell.rung.swap(false, Ordering::Relaxed) {
            return;
        }
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut context = Context::from_waker(&waker);
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                let mut buffer = ReadBuf::new(scratch);
                match Pin::new(&mut self.below).poll_read(&mut context, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        self.arrived.extend(buffer.filled());
                    }
                    Poll::Ready(_) | Poll::Pending => return,
                }
            }
        });
    }
}

impl<S: AsyncRead + Unpin, T: Time> AsyncRead for Linked<S, T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            this.pull(context);
            let waker = context.waker();
            if this
                .network
                .is_closed_to(&this.connection, this.side, waker)
            {
                return Poll::Pending;
            }
            let now = T::elapsed();
            match this.connection.readable(this.side, now, waker)? {
                Readable::End => return Poll::Ready(Ok(())),
                Readable::Nothing => return Poll::Pending,
                Readable::NotBefore(due) => ready!(this.poll_until(due, context)),
                Readable::Bytes(due) => {
                    let length = due.min(this.arrived.len()).min(buffer.remaining());
                    // They are due and still below: `pull` has left a waker there.
                    if length == 0 {
                        return Poll::Pending;
                    }
                    take(&mut this.arrived, buffer, length);
                    this.connection.taken(this.side, length);
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

fn take(arrived: &mut VecDeque<u8>, buffer: &mut ReadBuf<'_>, length: usize) {
    let (front, back) = arrived.as_slices();
    let first = front.len().min(length);
    buffer.put_slice(&front[..first]);
    buffer.put_slice(&back[..length - first]);
    arrived.drain(..length);
}

impl<S: AsyncWrite + Unpin, T: Time> AsyncWrite for Linked<S, T> {
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
        let length = if this.connection.is_heard(this.side) {
            // Below, a peer that ended may be an error before its end is due here: then nobody reads, and it is no news.
            match Pin::new(&mut this.below).poll_write(context, bytes) {
                Poll::Ready(written) => written.unwrap_or(bytes.len()),
                Poll::Pending => return Poll::Pending,
            }
        } else {
            bytes.len()
        };
        // madsim sends on a flush only.
        let _ = Pin::new(&mut this.below).poll_flush(context);
        this.network
            .written(&this.connection, this.side, length, now);
        Poll::Ready(Ok(length))
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

    /// Nothing comes; counts who looks.
    #[derive(Default)]
    struct Empty {
        looked: u32,
        waker: Option<Waker>,
    }

    impl AsyncRead for Empty {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.looked += 1;
            self.waker = Some(context.waker().clone());
            Poll::Pending
        }
    }

    #[test]
    fn stream_below_is_looked_into_only_after_it_has_rung() {
        let network = Network::new(Seed::new(1), Trace::new(Keep::All));
        let connection = Connection::new(1, HostId::new(1), HostId::new(2));
        let mut stream: Linked<Empty, Never> = Linked::new(
            Empty::default(),
            network,
            Arc::new(connection),
            Side::Dialler,
        );
        for looked in 1..3 {
            for _ in 0..5 {
                let mut bytes = [0; 8];
                let mut buffer = ReadBuf::new(&mut bytes);
                let mut context = Context::from_waker(Waker::noop());
                let polled = Pin::new(&mut stream).poll_read(&mut context, &mut buffer);
                assert!(polled.is_pending());
            }
            assert_eq!(stream.below.looked, looked);
            let below = stream.below.waker.take();
            below.expect("it was looked into").wake();
        }
    }
}
