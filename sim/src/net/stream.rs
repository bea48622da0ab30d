//! A stream with the faults of its link: [`Linked`], over any stream without.
//!
//! The bytes travel through the plain stream below, so that each simulator's network takes part; *when* they may be read
//! is decided here. What is below is taken from there early, which also keeps the simulators' own buffers short; a reader is woken
//! when bytes are due, and not to find out that they are on their way: a poll of a connection costs as much as a message.

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
    network: Network,
    connection: Arc<Connection>,
    side: Side,
    inbox: Arc<Inbox<S>>,
    wait: Option<(Duration, Pin<Box<T::Wait>>)>,
}

/// The stream below, and the bytes from it that are not due, or that nobody has asked for.
struct Inbox<S> {
    stream: Mutex<S>,
    arrived: Mutex<VecDeque<u8>>,
    bell: Arc<Bell>,
}

/// Rings when there is something below, so that nobody needs to look there in vain.
struct Bell {
    rung: AtomicBool,
    /// Who waits for bytes that are due already.
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

impl<S: AsyncRead + Unpin> Inbox<S> {
    fn new(stream: S) -> Self {
        Self {
            stream: Mutex::new(stream),
            arrived: Mutex::default(),
            bell: Arc::new(Bell {
                // Nobody has looked yet.
                rung: AtomicBool::new(true),
                reader: Mutex::new(None),
            }),
        }
    }

    /// Takes what is there from below. That the stream below has ended says nothing: what the peer's end means is
    /// decided by the connection.
    fn fetch(&self) {
        if !self.bell.rung.swap(false, Ordering::Relaxed) {
            return;
        }
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut context = Context::from_waker(&waker);
        let (mut stream, mut arrived) = (guard(&self.stream), guard(&self.arrived));
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                let mut buffer = ReadBuf::new(scratch);
                match Pin::new(&mut *stream).poll_read(&mut context, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        arrived.extend(buffer.filled());
                    }
                    Poll::Ready(_) | Poll::Pending => return,
                }
            }
        });
    }

    /// Hands on up to `length` bytes, all of which are due, as far as they are there; whoever finds none is woken when they are.
    fn hand_on(&self, length: usize, buffer: &mut ReadBuf<'_>, context: &Context<'_>) -> usize {
        let take = |buffer: &mut ReadBuf<'_>| take(&mut guard(&self.arrived), buffer, length);
        let taken = take(buffer);
        if taken > 0 {
            return taken;
        }
        *guard(&self.bell.reader) = Some(context.waker().clone());
        self.fetch();
        let taken = take(buffer);
        if taken > 0 {
            *guard(&self.bell.reader) = None;
        }
        taken
    }
}

impl<S, T: Time> Linked<S, T> {
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

impl<S: AsyncRead + Send + Unpin + 'static, T: Time> Linked<S, T> {
    pub(super) fn new(below: S, network: Network, connection: Arc<Connection>, side: Side) -> Self {
        let inbox = Arc::new(Inbox::new(below));
        if T::POLLS_ANYWHERE {
            let inbox = Arc::downgrade(&inbox);
            let fetch = move || {
                if let Some(inbox) = inbox.upgrade() {
                    inbox.fetch();
                }
            };
            connection.set_fetch(side, Box::new(fetch));
        }
        Self {
            network,
            connection,
            side,
            inbox,
            wait: None,
        }
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
                Readable::NotBefore(due) => {
                    this.inbox.fetch();
                    ready!(this.poll_until(due, context));
                }
                Readable::Bytes(due) => {
                    let length = this.inbox.hand_on(due, buffer, context);
                    // They are due and still below, where the bell is left.
                    if length == 0 {
                        return Poll::Pending;
                    }
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

/// Moves up to `length` bytes into the room that `buffer` has; answers how many.
fn take(arrived: &mut VecDeque<u8>, buffer: &mut ReadBuf<'_>, length: usize) -> usize {
    let length = length.min(arrived.len()).min(buffer.remaining());
    let (front, back) = arrived.as_slices();
    let first = front.len().min(length);
    buffer.put_slice(&front[..first]);
    buffer.put_slice(&back[..length - first]);
    arrived.drain(..length);
    length
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
            match Pin::new(&mut *guard(&this.inbox.stream)).poll_write(context, bytes) {
                Poll::Ready(written) => written.unwrap_or(bytes.len()),
                Poll::Pending => return Poll::Pending,
            }
        } else {
            bytes.len()
        };
        // madsim sends on a flush only.
        let _ = Pin::new(&mut *guard(&this.inbox.stream)).poll_flush(context);
        this.connection.fetch(this.side.peer());
        this.network
            .written(&this.connection, this.side, length, now, T::wake_after);
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
    use super::super::rule::Verdict;
    use super::*;
    use crate::host::HostId;
    use crate::seed::Seed;
    use crate::trace::{Keep, Trace};

    /// No time passes.
    struct Never;

    impl Time for Never {
        const POLLS_ANYWHERE: bool = true;
        type Wait = std::future::Pending<()>;

        fn elapsed() -> Duration {
            Duration::ZERO
        }

        fn wait(_: Duration) -> Self::Wait {
            std::future::pending()
        }
    }

    /// Gives so many bytes; counts who looks.
    #[derive(Default)]
    struct Below {
        bytes: usize,
        looked: u32,
        waker: Option<Waker>,
    }

    impl AsyncRead for Below {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.looked += 1;
            if self.bytes == 0 {
                self.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            buffer.put_slice(&[0; 64][..std::mem::take(&mut self.bytes)]);
            Poll::Ready(Ok(()))
        }
    }

    /// What travels at once.
    const AT_ONCE: Verdict = Verdict::Passes {
        delay: Duration::ZERO,
        bytes_per_second: None,
    };

    #[test]
    fn bytes_are_fetched_early_and_handed_on_when_they_are_due() {
        let network = Network::new(Seed::new(1), Trace::new(Keep::All));
        let connection = Arc::new(Connection::new(1, HostId::new(1), HostId::new(2)));
        let mut stream: Linked<Below, Never> = Linked::new(
            Below::default(),
            network,
            Arc::clone(&connection),
            Side::Dialler,
        );
        let looked = |stream: &Linked<Below, Never>| guard(&stream.inbox.stream).looked;
        let put = |stream: &Linked<Below, Never>, bytes| {
            let mut below = guard(&stream.inbox.stream);
            below.bytes = bytes;
            below.waker.take()
        };
        let read = |stream: &mut Linked<Below, Never>| {
            let mut bytes = [0; 64];
            let mut buffer = ReadBuf::new(&mut bytes);
            let mut context = Context::from_waker(Waker::noop());
            let polled = Pin::new(stream).poll_read(&mut context, &mut buffer);
            polled.is_ready().then(|| buffer.filled().len())
        };
        let write = |bytes| {
            let (from, wake) = (Side::Acceptor, Never::wake_after);
            connection.written(from, bytes, Duration::ZERO, AT_ONCE, true, wake);
        };
        assert_eq!((read(&mut stream), looked(&stream)), (None, 0));
        // They are due, and late: it is looked into once, until it rings.
        write(8);
        for _ in 0..5 {
            assert_eq!((read(&mut stream), looked(&stream)), (None, 1));
        }
        put(&stream, 20).expect("it was looked into").wake();
        assert_eq!((read(&mut stream), looked(&stream)), (Some(8), 3));
        // The rest was there too early, and is kept.
        assert_eq!((read(&mut stream), looked(&stream)), (None, 3));
        write(12);
        assert_eq!((read(&mut stream), looked(&stream)), (Some(12), 3));
        // What its writer has fetched is there when it is due.
        put(&stream, 5).expect("it was looked into").wake();
        connection.fetch(Side::Dialler);
        assert_eq!((read(&mut stream), looked(&stream)), (None, 5));
        write(5);
        assert_eq!((read(&mut stream), looked(&stream)), (Some(5), 5));
    }
}
