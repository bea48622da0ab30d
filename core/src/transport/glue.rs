//! hyper's executor and timer, made from a [`Runtime`].

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::runtime::Runtime;

/// Starts every future as a task: what a client connection needs.
pub(super) struct TaskExecutor<R>(PhantomData<fn() -> R>);

/// Polls a future once where it stands and makes a task only of one that has to wait.
///
/// hyper hands over one future for each request when the request's frames have been read. A read of the local state
/// completes in that first poll; as a task it would cost an allocation, a trip through the scheduler and often the
/// wake-up of another thread, which together are more than the read itself. The answers of all requests that came in one
/// packet then also leave in one packet. A future that waits (for a proposal, for a body that is still arriving) is
/// polled again by its task, which leaves its own waker.
///
/// A panic ends its request and nothing else, as it would in a task.
pub(super) struct InlineExecutor<R>(PhantomData<fn() -> R>);

/// The runtime's clock, as hyper's keepalive needs it.
pub(super) struct RuntimeTimer<R>(PhantomData<fn() -> R>);

macro_rules! marker {
    ($name:ident) => {
        impl<R> $name<R> {
            pub(super) const fn new() -> Self {
                Self(PhantomData)
            }
        }

        impl<R> Clone for $name<R> {
            fn clone(&self) -> Self {
                Self::new()
            }
        }

        impl<R> fmt::Debug for $name<R> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(stringify!($name))
            }
        }
    };
}
marker!(TaskExecutor);
marker!(InlineExecutor);
marker!(RuntimeTimer);

impl<R: Runtime, F> hyper::rt::Executor<F> for TaskExecutor<R>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(R::spawn(future));
    }
}

impl<R: Runtime, F> hyper::rt::Executor<F> for InlineExecutor<R>
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut future = Box::pin(future);
        let mut context = Context::from_waker(Waker::noop());
        // The future is dropped after a panic, so nobody sees what it has left half done.
        let poll = AssertUnwindSafe(|| future.as_mut().poll(&mut context));
        match std::panic::catch_unwind(poll) {
            Ok(Poll::Ready(())) => {}
            Ok(Poll::Pending) => drop(R::spawn(future)),
            Err(_panic) => tracing::error!("a request ended in a panic"),
        }
    }
}

impl<R: Runtime> hyper::rt::Timer for RuntimeTimer<R> {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(TimerSleep(Mutex::new(Box::pin(R::sleep(duration)))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    /// hyper's default would be the process's clock, which in a simulation is another clock than the one that
    /// `sleep` follows: keepalive would then fire at random.
    fn now(&self) -> Instant {
        origin() + R::now().since_start()
    }
}

/// Where the runtime's time zero lies on the scale of [`std::time::Instant`]. Any point would do: hyper only looks at
/// differences, and both ends of each come from the runtime.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "the type has no other constructor, and its value cancels out"
    )]
    *ORIGIN.get_or_init(Instant::now)
}

/// A sleep that is `Sync`, as hyper demands. The lock is never taken: the only access is through `&mut`.
struct TimerSleep<S>(Mutex<Pin<Box<S>>>);

impl<S: Future<Output = ()> + Send> Future for TimerSleep<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        sleep.as_mut().poll(context)
    }
}

impl<S: Future<Output = ()> + Send + 'static> hyper::rt::Sleep for TimerSleep<S> {}
