//! Time, tasks and connections of madsim.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use madsim::net::{TcpListener, TcpStream};
use madsim::time::{Sleep, TimeHandle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::host::HostId;
use crate::machine::elapsed_by;
use crate::substrate::{Substrate, Time};

/// A number is on its way no longer than this: far more than the network below ours takes.
const HELLO: Duration = Duration::from_millis(1);

thread_local! {
    /// The time of the world that this thread runs: looking for it would cost more than to read it.
    static WORLD: RefCell<Option<TimeHandle>> = const { RefCell::new(None) };
}

/// From now on it is the time of this world.
pub(super) fn keep_time(time: TimeHandle) {
    WORLD.set(Some(time));
}

/// The simulator madsim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Madsim;

/// A wait that asks madsim once for each waker: madsim keeps, and calls, a timer for every time that it is asked, and whoever limits
/// a connection's silence asks with each message.
pub struct Wait {
    sleep: Sleep,
    /// Whom madsim will wake.
    asked: Option<Waker>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker();
        let is_asked = self
            .asked
            .as_ref()
            .is_some_and(|asked| asked.will_wake(waker));
        if is_asked && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        self.asked = Some(waker.clone());
        Pin::new(&mut self.sleep).poll(context)
    }
}

impl Time for Madsim {
    type Wait = Wait;

    fn elapsed() -> Duration {
        elapsed_by(|| {
            let told = WORLD.with_borrow(|time| time.as_ref().map(TimeHandle::elapsed));
            // What is dropped with its world has no time to ask for.
            told.or_else(|| TimeHandle::try_current().map(|time| time.elapsed()))
                .unwrap_or_default()
        })
    }

    fn wait(duration: Duration) -> Self::Wait {
        Wait {
            sleep: madsim::time::sleep(duration),
            asked: None,
        }
    }

    /// A timer that was asked for goes off also when nobody waits for it any more.
    fn wake_after(duration: Duration, waker: &Waker) {
        let mut sleep = madsim::time::sleep(duration);
        let mut context = Context::from_waker(waker);
        if Pin::new(&mut sleep).poll(&mut context).is_ready() {
            waker.wake_by_ref();
        }
    }
}

impl Substrate for Madsim {
    type Plain = TcpStream;
    type Acceptor = TcpListener;

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        drop(madsim::task::spawn(task));
    }

    async fn bind(port: u16) -> io::Result<TcpListener> {
        TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).await
    }

    /// The first bytes are the number. A dialler that died on the way sends none, and is passed over.
    async fn accept(acceptor: &TcpListener) -> io::Result<(TcpStream, (HostId, u64))> {
        loop {
            let (mut stream, from) = acceptor.accept().await?;
            let number = madsim::time::timeout(HELLO, stream.read_u64()).await;
            if let Ok(Ok(number)) = number {
                return Ok((stream, (machine(from)?, number)));
            }
        }
    }

    /// madsim gives the lowest free port, and so the same one again and again: the number is drawn, and said first of all.
    async fn connect(host: HostId, port: u16) -> io::Result<(TcpStream, u64)> {
        let mut stream = TcpStream::connect(format!("{}:{port}", host.ip())).await?;
        let number = madsim::rand::random();
        stream.write_u64(number).await?;
        stream.flush().await?;
        Ok((stream, number))
    }
}

fn machine(address: SocketAddr) -> io::Result<HostId> {
    let host = HostId::at(&address.ip().to_string());
    host.ok_or_else(|| io::Error::other(format!("{address} is no machine")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use madsim::runtime::Runtime;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn wait_that_is_polled_often_wakes_each_who_asked_once() {
        let counts: [Arc<Count>; 2] = Default::default();
        let wakers = counts.clone().map(Waker::from);
        Runtime::with_seed_and_config(1, madsim::Config::default()).block_on(async move {
            let mut wait = Madsim::wait(Duration::from_millis(10));
            for waker in &wakers {
                for _ in 0..100 {
                    let mut context = Context::from_waker(waker);
                    assert!(Pin::new(&mut wait).poll(&mut context).is_pending());
                }
            }
            Madsim::wait(Duration::from_millis(20)).await;
            let mut context = Context::from_waker(&wakers[1]);
            assert!(Pin::new(&mut wait).poll(&mut context).is_ready());
        });
        assert_eq!(counts.map(|count| count.0.load(Ordering::Relaxed)), [1, 1]);
    }
}
