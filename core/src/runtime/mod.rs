//! What a node needs of the world, and nothing more.
//!
//! Everything in this crate is written against [`Runtime`]. In production it is [`tokio::TokioRuntime`]; in a simulation
//! it is one of `quorate-sim`'s, where time, network, disk and randomness follow a seed. One marker type stands for a
//! world and all its functions are associated ones, because openraft asks for time and tasks without a handle; *which
//! node* a task belongs to, and so its disk and its possibly skewed clock, is ambient: [`Runtime::spawn`] carries it on,
//! and a task started in any other way is a bug.
//!
//! | file | what it holds |
//! |---|---|
//! | `clock.rs` | [`Instant`] and [`WallTime`] |
//! | `net.rs` | [`Stream`] and [`Listener`] |
//! | `disk.rs` | [`Disk`]: the files outside SQLite |
//! | `event.rs` | [`Event`]: what a node tells a simulator |
//! | `buggify.rs` | named points at which a simulation may make trouble |
//! | `watch.rs` | a watch channel that wakes in order |
//! | `tokio.rs` | the production runtime |
//! | `contract.rs` | what every runtime must do, as a suite (feature `contract`) |

pub(crate) mod buggify;
pub mod clock;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod disk;
pub mod event;
pub mod net;
pub mod tokio;
pub mod watch;

use std::fmt::{self, Debug};
use std::future::Future;
use std::hash::Hash;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

pub use clock::{Instant, WallTime};
pub use disk::{Access, Disk, Found};
pub use event::Event;
pub use net::{Listener, Stream};

/// A world to run in.
pub trait Runtime:
    Debug + Clone + Copy + Default + Eq + Ord + Hash + Send + Sync + 'static
{
    /// A connection.
    type Stream: Stream;
    /// Where connections arrive.
    type Listener: Listener<Stream = Self::Stream>;
    /// The disk of the current node.
    type Disk: Disk;
    /// A running task.
    type Task<T: Send + 'static>: TaskHandle<T>;
    /// A sleep in progress.
    type Sleep: Future<Output = ()> + Send + 'static;
    /// A place where blocking jobs run one after the other.
    type Worker: Worker;

    /// Whether anybody listens to [`Runtime::observe`]: what costs more than a closure is prepared only then.
    const OBSERVED: bool = false;

    /// The monotonic clock of the current node.
    fn now() -> Instant;

    /// The wall clock of the current node.
    fn wall() -> WallTime;

    /// Completes after `duration` of the current node's monotonic clock.
    fn sleep(duration: Duration) -> Self::Sleep;

    /// Starts a task of the current node. Dropping the handle lets it run on.
    fn spawn<F>(future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    /// Randomness for jitter and for spreading load; never for anything that must not be guessed.
    fn random() -> u64;

    /// Randomness for keys, tokens and ids: the operating system's generator in production, the seed in a simulation.
    fn secret(bytes: &mut [u8]);

    /// Listens at `address`, `host:port`. What else an address may be is the world's matter; production knows `unix:PATH`.
    fn listen(address: &str) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Connects to `address`, as for [`Runtime::listen`]. May never complete when the network swallows packets.
    fn connect(address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Runs one blocking job beside the tasks.
    fn blocking<T: Send + 'static>(
        job: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;

    /// A new ordered worker, a thread of its own in production. `name` is for people (15 bytes are shown).
    fn worker(name: &str) -> Self::Worker;

    /// The disk of the current node.
    fn disk() -> Self::Disk;

    /// Tells the world what the current node did. A simulator checks it against what the node promised.
    #[inline(always)]
    fn observe(event: impl FnOnce() -> Event) {
        let _ = event;
    }

    /// Passes a point by name. A simulator may let that take a while, or let the machine lose its power there.
    #[cfg(feature = "buggify")]
    fn stumble(point: &'static str) -> impl Future<Output = ()> + Send {
        let _ = point;
        std::future::ready(())
    }

    /// Whether what may fail at this point shall fail now.
    #[cfg(feature = "buggify")]
    fn fails(point: &'static str) -> bool {
        let _ = point;
        false
    }
}

/// A handle on a task. As a future it yields what the task returned.
pub trait TaskHandle<T>: Future<Output = Result<T, TaskEnd>> + Send + Unpin {
    /// Ends the task at its next suspension.
    fn abort(&self);
}

/// Runs blocking jobs one after the other, in the order in which they were given.
pub trait Worker: Clone + Send + Sync + 'static {
    /// Runs `job` after those given before; the answer comes when it is done. The job runs even when the future is dropped.
    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;
}

/// Why a task yielded no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskEnd {
    /// It was aborted, or its node stopped.
    #[error("the task was aborted")]
    Aborted,
    /// It panicked.
    #[error("the task panicked")]
    Panicked,
}

/// A deadline that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

/// Runs `future` for at most `duration`; it is polled first, so that a ready one wins against a zero duration.
///
/// # Errors
/// [`Elapsed`] when the time was up first.
pub async fn timeout<R: Runtime, F: Future>(
    duration: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut sleep = pin!(R::sleep(duration));
    std::future::poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        sleep.as_mut().poll(context).map(|()| Err(Elapsed))
    })
    .await
}
