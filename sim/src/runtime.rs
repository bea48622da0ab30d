//! Core's runtime over any simulator: the same code in every world, so that a fault means the same everywhere.

use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quorate::runtime::{Event, Instant, Listener, Runtime, TaskEnd, TaskHandle, WallTime, Worker};
use rand::Rng;
use tokio::sync::{mpsc, oneshot};

use crate::buggify::Stumble;
use crate::clock::MachineClock;
use crate::disk::Mount;
use crate::host::HostId;
use crate::machine::{Abort, Ambient, Ends, Life, current, shown_by, with_current};
use crate::net::{Linked, Network};
use crate::substrate::Substrate;

/// Less than this is not worth a wait: simulators wait for a millisecond at least. It stays on the account.
const SHORTEST_WAIT: Duration = Duration::from_micros(500);

/// The runtime over the simulator `S`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Simulated<S>(PhantomData<S>);

/// The life whose task asks.
fn here() -> Arc<Life> {
    current().expect("a task of a simulated node is started by Runtime::spawn")
}

impl<S: Substrate> Runtime for Simulated<S> {
    type Stream = Linked<S::Plain, S>;
    type Listener = SimulatedListener<S>;
    type Disk = Mount;
    type Task<T: Send + 'static> = SimulatedTask<T>;
    type Sleep = SimulatedSleep<S>;
    type Worker = SimulatedWorker;

    const OBSERVED: bool = true;

    /// In the destructor of something that outlived its machine there is no clock to ask: then the world's.
    fn now() -> Instant {
        let right = || MachineClock::new().now(S::elapsed());
        shown_by(|life| life.machine.clock().now(S::elapsed())).unwrap_or_else(right)
    }

    fn wall() -> WallTime {
        let right = || MachineClock::new().wall(S::elapsed());
        with_current(|life| life.machine.clock().wall(S::elapsed())).unwrap_or_else(right)
    }

    fn sleep(duration: Duration) -> SimulatedSleep<S> {
        let life = here();
        let deadline = Self::now() + duration;
        let real = life.machine.clock().real(duration);
        SimulatedSleep {
            life,
            deadline,
            wait: Box::pin(S::wait(real)),
        }
    }

    fn spawn<F>(future: F) -> SimulatedTask<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let life = here();
        let over = life.is_over();
        let (task, ends) = Ambient::new(life, future, S::elapsed);
        // A destructor of a dying machine may ask for a task, which nothing would run.
        if !over {
            S::spawn(task);
        }
        SimulatedTask::new(ends)
    }

    fn random() -> u64 {
        here().machine.jitter().next_u64()
    }

    fn secret(bytes: &mut [u8]) {
        here().machine.secrets().fill_bytes(bytes);
    }

    async fn listen(address: &str) -> io::Result<SimulatedListener<S>> {
        let machine = Arc::clone(&here().machine);
        let (_, port) = split(address)?;
        let port = if port == 0 {
            machine.network().free_port(machine.id())
        } else {
            port
        };
        let acceptor = S::bind(port).await?;
        Ok(SimulatedListener {
            acceptor,
            host: machine.id(),
            port,
            network: machine.network().clone(),
        })
    }

    async fn connect(address: &str) -> io::Result<Self::Stream> {
        let machine = Arc::clone(&here().machine);
        let (to, port) = split(address)?;
        machine
            .network()
            .connect::<S>(machine.id(), to.unwrap_or(machine.id()), port)
            .await
    }

    async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
        let life = here();
        let answer = job();
        pay::<S>(&life).await;
        answer
    }

    fn worker(_name: &str) -> SimulatedWorker {
        let (jobs, queue) = mpsc::unbounded_channel();
        // Dropping the handle lets it run on until nobody can give it a job.
        let _task = Self::spawn(work::<S>(here(), queue));
        SimulatedWorker { jobs }
    }

    fn disk() -> Mount {
        here().mount.clone()
    }

    async fn stumble(point: &'static str) {
        let life = here();
        match life.machine.stumble(point, S::elapsed()) {
            None | Some(Stumble::Fail) => {}
            Some(Stumble::Yield) => yield_once().await,
            Some(Stumble::Delay(time)) => S::wait(time).await,
            // The world drops this task when it sees that the power is gone.
            Some(Stumble::Crash(_)) => std::future::pending().await,
        }
    }

    fn fails(point: &'static str) -> bool {
        here().machine.fails(point, S::elapsed())
    }

    fn observe(event: impl FnOnce() -> Event) {
        // A destructor of a dying machine does nothing any more that anyone could rely on.
        if let Some(life) = current().filter(|life| !life.is_over()) {
            life.machine.tell(S::elapsed(), &event());
        }
    }
}

/// Lets everything go first that is ready.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// `host:port`, where a host of all zeros or of the loopback is the own machine.
fn split(address: &str) -> io::Result<(Option<HostId>, u16)> {
    let invalid = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{address}: no host:port of this world"),
        )
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
    let port = port.parse().map_err(|_| invalid())?;
    let host = match host {
        "0.0.0.0" | "127.0.0.1" | "localhost" | "[::]" => None,
        host => Some(HostId::at(host).ok_or_else(invalid)?),
    };
    Ok((host, port))
}

/// Waits for as long as the disk says that the jobs so far took.
async fn pay<S: Substrate>(life: &Life) {
    if let Some(owed) = life.machine.disk().take_owed_from(SHORTEST_WAIT) {
        S::wait(owed).await;
    }
}

/// A wait by the clock of its machine.
pub struct SimulatedSleep<S: Substrate> {
    life: Arc<Life>,
    deadline: Instant,
    wait: Pin<Box<S::Wait>>,
}

impl<S: Substrate> Future for SimulatedSleep<S> {
    type Output = ();

    /// The rate of the clock may have changed meanwhile, so that the world's time is up and the machine's is not.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.wait.as_mut().poll(context));
            let left = {
                let clock = self.life.machine.clock();
                clock.real(self.deadline - clock.now(S::elapsed()))
            };
            if left.is_zero() {
                return Poll::Ready(());
            }
            self.wait = Box::pin(S::wait(left));
        }
    }
}

/// A handle on a simulated task.
pub struct SimulatedTask<T> {
    answer: oneshot::Receiver<Result<T, TaskEnd>>,
    abort: Arc<Abort>,
}

impl<T> SimulatedTask<T> {
    fn new(ends: Ends<T>) -> Self {
        Self {
            answer: ends.answer,
            abort: ends.abort,
        }
    }
}

impl<T> Future for SimulatedTask<T> {
    type Output = Result<T, TaskEnd>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Without an answer it was dropped with its machine.
        Pin::new(&mut self.answer)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(TaskEnd::Aborted)))
    }
}

impl<T: Send> TaskHandle<T> for SimulatedTask<T> {
    fn abort(&self) {
        self.abort.ask();
    }
}

impl<T> fmt::Debug for SimulatedTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedTask")
    }
}

/// Runs a job and answers what tells its result, once its time is over.
type Job = Box<dyn FnOnce() -> Box<dyn FnOnce() + Send> + Send>;

/// Runs jobs one after the other, each for as long as the disk took for it.
#[derive(Debug, Clone)]
pub struct SimulatedWorker {
    jobs: mpsc::UnboundedSender<Job>,
}

async fn work<S: Substrate>(life: Arc<Life>, mut queue: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = queue.recv().await {
        let tell = job();
        pay::<S>(&life).await;
        tell();
    }
}

impl Worker for SimulatedWorker {
    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            let value = job();
            // Who waited may be gone; the job's effect stands.
            Box::new(move || drop(answer.send(value)))
        });
        let given = self.jobs.send(job);
        match (given, answered.await) {
            (Ok(()), Ok(value)) => value,
            // The machine is dying, or a job has panicked: nobody waits for an answer any more.
            _ => std::future::pending().await,
        }
    }
}

/// Where connections to a simulated machine arrive.
pub struct SimulatedListener<S: Substrate> {
    acceptor: S::Acceptor,
    host: HostId,
    port: u16,
    network: Network,
}

impl<S: Substrate> Listener for SimulatedListener<S> {
    type Stream = Linked<S::Plain, S>;

    async fn accept(&self) -> io::Result<(Self::Stream, String)> {
        let (stream, (host, port)) = self
            .network
            .accept::<S>(self.host, self.port, &self.acceptor)
            .await?;
        Ok((stream, format!("{}:{port}", host.ip())))
    }

    fn local_address(&self) -> String {
        format!("{}:{}", self.host.ip(), self.port)
    }
}
