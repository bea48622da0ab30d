//! What a simulator has to give: time, tasks and connections. Everything else is ours and the same in every world.

use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::io;
use std::task::Waker;
use std::time::Duration;

use crate::host::HostId;

/// Simulated time.
pub trait Time: 'static {
    /// A wait in progress.
    type Wait: Future<Output = ()> + Send + 'static;

    /// How long the world has run.
    fn elapsed() -> Duration;

    /// Completes after `duration`.
    fn wait(duration: Duration) -> Self::Wait;

    /// Wakes somebody after `duration`, or before: who is woken looks again and waits for the rest.
    fn wake_after(_duration: Duration, waker: &Waker) {
        waker.wake_by_ref();
    }
}

/// A simulator, below the faults.
pub trait Substrate: Time + Debug + Clone + Copy + Default + Eq + Ord + Hash + Send + Sync {
    /// A connection as the simulator made it.
    type Plain: Send + Unpin + 'static;
    /// Where they arrive.
    type Acceptor: Send + Sync + 'static;

    /// Starts a task of the simulated machine that the caller runs on.
    fn spawn(task: impl Future<Output = ()> + Send + 'static);

    /// Listens on a port of the machine that the caller runs on.
    fn bind(port: u16) -> impl Future<Output = io::Result<Self::Acceptor>> + Send;

    /// The next connection, the machine that it comes from, and the number that its dialler has.
    fn accept(
        acceptor: &Self::Acceptor,
    ) -> impl Future<Output = io::Result<(Self::Plain, (HostId, u64))>> + Send;

    /// Connects to a port of a machine; answers a number, too, by which both ends know the connection, and which no other from
    /// this machine to that port ever has: an end that died before the other showed up must not be taken for a later one.
    fn connect(
        host: HostId,
        port: u16,
    ) -> impl Future<Output = io::Result<(Self::Plain, u64)>> + Send;
}
