//! openraft's asynchronous runtime over ours.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft_rt::watch::{RecvError, SendError};
use openraft_rt::{OptionalSend, OptionalSync};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::runtime::{Elapsed, Instant, Runtime, TaskEnd, watch};

/// openraft takes instants before the present; a world that just started must have room for them.
const HEADROOM: Duration = Duration::from_secs(3600);

tokio::task_local! {
    /// How much longer openraft's tasks sleep when they sleep *until* something; see [`with_rare_ticks`].
    static LATER: Duration;
}

/// Starts openraft by `start` so that it ticks about once in a heartbeat of this length.
///
/// It would tick each 13/64 of one, and each tick wakes a thread and two tasks of a node that has nothing to do. Elections and
/// heartbeats are due by the clock and only looked after by ticks, and only between ticks is something slept *until*: towards
/// the next multiple of the period. Slept longer by eleven tenths of a heartbeat, every sixth is left, 1.22 heartbeats
/// apart, and a heartbeat leaves at each.
pub async fn with_rare_ticks<T>(heartbeat: Duration, start: impl Future<Output = T>) -> T {
    LATER.scope(heartbeat * 11 / 10, start).await
}

/// Our instants under openraft's trait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RaftInstant<R>(Instant, PhantomData<R>);

impl<R: Runtime> Add<Duration> for RaftInstant<R> {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration, PhantomData)
    }
}

impl<R: Runtime> AddAssign<Duration> for RaftInstant<R> {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl<R: Runtime> Sub<Duration> for RaftInstant<R> {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0 - duration, PhantomData)
    }
}

impl<R: Runtime> SubAssign<Duration> for RaftInstant<R> {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

impl<R: Runtime> Sub for RaftInstant<R> {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.0 - earlier.0
    }
}

impl<R> std::panic::UnwindSafe for RaftInstant<R> {}
impl<R> std::panic::RefUnwindSafe for RaftInstant<R> {}
impl<R> Unpin for RaftInstant<R> {}

impl<R: Runtime> openraft_rt::Instant for RaftInstant<R> {
    fn now() -> Self {
        Self(R::now() + HEADROOM, PhantomData)
    }
}

pin_project_lite::pin_project! {
    /// A future with a deadline.
    pub struct Timeout<F, S> {
        #[pin]
        future: F,
        #[pin]
        sleep: S,
    }
}

impl<F: Future, S: Future<Output = ()>> Future for Timeout<F, S> {
    type Output = Result<F::Output, Elapsed>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(value) = this.future.poll(context) {
            return Poll::Ready(Ok(value));
        }
        this.sleep.poll(context).map(|()| Err(Elapsed))
    }
}

/// openraft's `AsyncRuntime` over `R`.
#[derive(Debug)]
pub struct RaftRuntime<R>(PhantomData<R>);

impl<R: Runtime> openraft_rt::AsyncRuntime for RaftRuntime<R> {
    type JoinError = TaskEnd;
    type JoinHandle<T: OptionalSend + 'static> = R::Task<T>;
    type Sleep = R::Sleep;
    type Instant = RaftInstant<R>;
    type TimeoutError = Elapsed;
    type Timeout<T, F: Future<Output = T> + OptionalSend> = Timeout<F, R::Sleep>;
    type ThreadLocalRng = SmallRng;

    fn spawn<F>(future: F) -> Self::JoinHandle<F::Output>
    where
        F: Future + OptionalSend + 'static,
        F::Output: OptionalSend + 'static,
    {
        // What openraft's tasks start goes on as they do.
        match LATER.try_with(|later| *later) {
            Ok(later) => R::spawn(LATER.scope(later, future)),
            Err(_) => R::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> R::Sleep {
        R::sleep(duration)
    }

    fn sleep_until(deadline: RaftInstant<R>) -> R::Sleep {
        let later = LATER.try_with(|later| *later).unwrap_or_default();
        R::sleep(deadline - <RaftInstant<R> as openraft_rt::Instant>::now() + later)
    }

    fn timeout<T, F: Future<Output = T> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<T, F> {
        Timeout {
            future,
            sleep: R::sleep(duration),
        }
    }

    fn timeout_at<T, F: Future<Output = T> + OptionalSend>(
        deadline: RaftInstant<R>,
        future: F,
    ) -> Self::Timeout<T, F> {
        Timeout {
            future,
            sleep: Self::sleep_until(deadline),
        }
    }

    fn is_panic(end: &TaskEnd) -> bool {
        *end == TaskEnd::Panicked
    }

    fn thread_rng() -> SmallRng {
        SmallRng::seed_from_u64(R::random())
    }

    type Mpsc = openraft_rt_tokio::TokioMpsc;
    type Watch = FifoWatch;
    type Oneshot = openraft_rt_tokio::TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = openraft_rt_tokio::TokioMutex<T>;

    fn new(_threads: usize) -> Self {
        // Only openraft's own tests make a runtime; a node runs in one that is there already.
        Self(PhantomData)
    }

    fn block_on<F, T>(&mut self, _future: F) -> T
    where
        F: Future<Output = T>,
    {
        unreachable!("a node never blocks a thread on a future")
    }

    async fn spawn_blocking<F, T>(job: F) -> Result<T, io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Ok(R::blocking(job).await)
    }
}

/// Our watch channel under openraft's trait.
pub struct FifoWatch;

impl openraft_rt::Watch for FifoWatch {
    type Sender<T: OptionalSend + OptionalSync> = watch::Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = watch::Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = watch::Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(
        initial: T,
    ) -> (watch::Sender<T>, watch::Receiver<T>) {
        watch::channel(initial)
    }
}

impl<T: OptionalSend + OptionalSync> openraft_rt::WatchSender<FifoWatch, T> for watch::Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        Self::send(self, value).map_err(SendError)
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        Self::send_if_modified(self, modify)
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.borrow()
    }

    fn subscribe(&self) -> watch::Receiver<T> {
        Self::subscribe(self)
    }
}

impl<T: OptionalSend + OptionalSync> openraft_rt::WatchReceiver<FifoWatch, T>
    for watch::Receiver<T>
{
    async fn changed(&mut self) -> Result<(), RecvError> {
        Self::changed(self)
            .await
            .map_err(|watch::Closed| RecvError(()))
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.borrow()
    }

    fn borrow_and_update(&mut self) -> watch::Ref<'_, T> {
        Self::borrow_and_update(self)
    }
}
