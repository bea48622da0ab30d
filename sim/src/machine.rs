//! A simulated machine, and the life that a node leads on it between two starts.
//!
//! Which machine a task runs on is *ambient*: openraft and core ask for time and tasks without a handle, so that a thread
//! remembers whose task it is polling. [`Ambient`] wraps every task to keep that true, and is where a machine without
//! power, a paused one and a panic are dealt with, in the same way in every world.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quorate::runtime::{Event, Instant, TaskEnd};
use rand::rngs::SmallRng;
use tokio::sync::oneshot;

use crate::buggify::{Points, Stumble};
use crate::clock::MachineClock;
use crate::disk::{Disk, Mount};
use crate::host::HostId;
use crate::invariants::{Witness, kind};
use crate::net::Network;
use crate::seed::Seed;
use crate::sync::guard;
use crate::trace::{Detail, Place, Trace};

/// What stays when a node stops: the machine with its clock, its disk and its place in the network.
pub struct Machine {
    id: HostId,
    clock: Mutex<MachineClock>,
    disk: Disk,
    network: Network,
    trace: Trace,
    jitter: Mutex<SmallRng>,
    secrets: Mutex<SmallRng>,
    gate: Mutex<Gate>,
    /// What the gate says, for whoever only wants to pass.
    paused: AtomicBool,
    panics: Mutex<Vec<String>>,
    witness: Witness,
    points: Mutex<Points>,
}

/// Holds the tasks of a paused machine back.
#[derive(Default)]
struct Gate {
    /// How often it was.
    pauses: u64,
    waiting: BTreeMap<u64, Waker>,
    tasks: u64,
}

impl Machine {
    /// A machine with an empty disk, plugged into the network.
    #[must_use]
    pub fn new(
        id: HostId,
        seed: Seed,
        network: Network,
        trace: Trace,
        witness: Witness,
    ) -> Arc<Self> {
        let disk = Disk::new(seed.labelled("disk"));
        network.plug(id, disk.clone());
        Arc::new(Self {
            id,
            clock: Mutex::new(MachineClock::new()),
            disk,
            network,
            trace,
            jitter: Mutex::new(seed.labelled("jitter").rng()),
            secrets: Mutex::new(seed.labelled("secrets").rng()),
            gate: Mutex::new(Gate::default()),
            paused: AtomicBool::new(false),
            panics: Mutex::new(Vec::new()),
            witness,
            points: Mutex::new(Points::new(seed.labelled("points"))),
        })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> HostId {
        self.id
    }

    /// Its disk.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Its clocks.
    pub fn clock(&self) -> MutexGuard<'_, MachineClock> {
        guard(&self.clock)
    }

    /// The network that it is plugged into.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Stops polling its tasks. Its clocks run on and its kernel goes on receiving.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
        guard(&self.gate).pauses += 1;
    }

    /// How often it was paused: the number of the last time.
    #[must_use]
    pub fn pauses(&self) -> u64 {
        guard(&self.gate).pauses
    }

    /// Polls its tasks again.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::SeqCst);
        std::mem::take(&mut guard(&self.gate).waiting)
            .into_values()
            .for_each(Waker::wake);
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    /// What tasks on it panicked with, all lives together.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        guard(&self.panics).clone()
    }

    /// The same, forgotten: for a test that expects one.
    #[must_use]
    pub fn take_panics(&self) -> Vec<String> {
        std::mem::take(&mut guard(&self.panics))
    }

    /// The named points of core, as this machine meets them.
    pub fn points(&self) -> MutexGuard<'_, Points> {
        guard(&self.points)
    }

    /// A task passes a point.
    pub(crate) fn stumble(&self, point: &'static str, elapsed: Duration) -> Option<Stumble> {
        let stumble = self.points().stumble(point)?;
        self.note(point, stumble, elapsed);
        if let Stumble::Crash(_) = stumble {
            self.disk.cut_power();
        }
        Some(stumble)
    }

    /// Whether what a task does fails at a point.
    pub(crate) fn fails(&self, point: &'static str, elapsed: Duration) -> bool {
        let fails = self.points().fails(point);
        if fails {
            self.note(point, Stumble::Fail, elapsed);
        }
        fails
    }

    fn note(&self, point: &'static str, stumble: Stumble, elapsed: Duration) {
        let detail = Detail::Text(stumble.to_string());
        self.trace
            .record(elapsed, Place::Host(self.id), point, detail);
    }

    /// A node on it did something.
    pub(crate) fn tell(&self, elapsed: Duration, event: &Event) {
        let detail = match event {
            // Told with every message.
            Event::LetIn { node } => Detail::Number(*node),
            event => Detail::Text(format!("{event:?}")),
        };
        self.trace
            .record(elapsed, Place::Host(self.id), kind(event), detail);
        self.witness.see(elapsed, self.id, event);
    }

    pub(crate) fn jitter(&self) -> MutexGuard<'_, SmallRng> {
        guard(&self.jitter)
    }

    pub(crate) fn secrets(&self) -> MutexGuard<'_, SmallRng> {
        guard(&self.secrets)
    }

    /// Whether `task` has to wait, with the waker that is then called.
    fn holds_back(&self, task: u64, context: &Context<'_>) -> bool {
        let paused = self.is_paused();
        if paused {
            let waker = context.waker().clone();
            guard(&self.gate).waiting.insert(task, waker);
        }
        paused
    }

    fn next_task(&self) -> u64 {
        let mut gate = guard(&self.gate);
        gate.tasks += 1;
        gate.tasks
    }

    fn panicked(&self, payload: &(dyn std::any::Any + Send), elapsed: Duration) {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message")
            .to_owned();
        self.trace.record(
            elapsed,
            Place::Host(self.id),
            "panic",
            Detail::Text(text.clone()),
        );
        guard(&self.panics).push(text);
    }
}

/// The time between a start and the next stop.
pub(crate) struct Life {
    /// No other of the process has it.
    number: u64,
    pub(crate) machine: Arc<Machine>,
    pub(crate) mount: Mount,
    over: AtomicBool,
    /// What its tasks hold, by their numbers.
    held: Mutex<BTreeMap<u64, Weak<dyn Drops>>>,
}

impl Life {
    pub(crate) fn new(machine: Arc<Machine>) -> Arc<Self> {
        static LIVES: AtomicU64 = AtomicU64::new(0);
        let mount = machine.disk().mount();
        Arc::new(Self {
            number: LIVES.fetch_add(1, Ordering::Relaxed),
            machine,
            mount,
            over: AtomicBool::new(false),
            held: Mutex::default(),
        })
    }

    /// Nothing of it is polled any more.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_ended() || !self.machine.disk.is_powered()
    }

    fn is_ended(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Drops what all its tasks hold, in the order in which they were made.
    ///
    /// What a task holds says goodbye to others when it is dropped, so that the order shows. Left to a simulator it is
    /// not the same each time: tokio keeps tasks in lists by the last bits of their numbers (`OwnedTasks`), and those
    /// count all tasks of the process.
    fn drop_all(self: &Arc<Self>) {
        let held = std::mem::take(&mut *guard(&self.held));
        let _entered = enter(self);
        for task in held.into_values() {
            if let Some(task) = task.upgrade() {
                task.drop_it();
            }
        }
    }
}

/// What can be told to drop what it holds.
trait Drops: Send + Sync {
    fn drop_it(&self);
}

/// The future of a task until it has ended; locked while it is polled.
struct Held<F>(Mutex<Option<Pin<Box<F>>>>);

impl<F: Send> Drops for Held<F> {
    fn drop_it(&self) {
        // What is just being polled is dropped by its task.
        let future = match self.0.try_lock() {
            Ok(mut held) => held.take(),
            Err(TryLockError::Poisoned(held)) => held.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        };
        // Not under the lock: what is dropped may do anything.
        drop(future);
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Life>>> = const { RefCell::new(None) };
    /// How long the world has run, once the task that is being polled has asked.
    static ELAPSED: Cell<Option<Duration>> = const { Cell::new(None) };
    /// What the monotonic clock of its machine shows, once it has asked.
    static SHOWN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// What `ask` says of how long the world has run. No time passes while a task is polled, and a poll asks often: only the first
/// time is it asked.
pub(crate) fn elapsed_by(ask: impl FnOnce() -> Duration) -> Duration {
    if let Some(elapsed) = ELAPSED.get() {
        return elapsed;
    }
    let elapsed = ask();
    if CURRENT.with_borrow(Option::is_some) {
        ELAPSED.set(Some(elapsed));
    }
    elapsed
}

/// What `read` finds the monotonic clock to show at the life whose task is being polled; asked once a poll, as how long the
/// world has run.
pub(crate) fn shown_by(read: impl FnOnce(&Life) -> Instant) -> Option<Instant> {
    if SHOWN.get().is_none() {
        SHOWN.set(with_current(read));
    }
    SHOWN.get()
}

/// The life whose task is being polled.
pub(crate) fn current() -> Option<Arc<Life>> {
    CURRENT.with_borrow(Clone::clone)
}

/// The number of the life whose task is being polled, if it goes on.
pub(crate) fn running_life() -> Option<u64> {
    with_current(|life| (!life.is_ended()).then_some(life.number)).flatten()
}

/// What `read` finds at the life whose task is being polled. It must not change which that is.
pub(crate) fn with_current<T>(read: impl FnOnce(&Life) -> T) -> Option<T> {
    CURRENT.with_borrow(|life| life.as_deref().map(read))
}

/// Makes `life` the current one until the answer is dropped.
fn enter(life: &Arc<Life>) -> Entered {
    forget_time();
    Entered(CURRENT.replace(Some(Arc::clone(life))))
}

/// Another life asks anew, and so does the next poll.
fn forget_time() {
    ELAPSED.set(None);
    SHOWN.set(None);
}

struct Entered(Option<Arc<Life>>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
        forget_time();
    }
}

/// How a task is told to end.
#[derive(Default)]
pub(crate) struct Abort {
    asked: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Abort {
    fn remember(&self, waker: &Waker) {
        let mut known = guard(&self.waker);
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        if let Some(waker) = guard(&self.waker).take() {
            waker.wake();
        }
    }
}

/// A task of a machine.
pub(crate) struct Ambient<F: Future + Send + 'static> {
    life: Arc<Life>,
    number: u64,
    held: Arc<Held<F>>,
    answer: Option<oneshot::Sender<Result<F::Output, TaskEnd>>>,
    abort: Arc<Abort>,
    elapsed: fn() -> Duration,
}

/// The other end of a task.
pub(crate) struct Ends<T> {
    pub(crate) answer: oneshot::Receiver<Result<T, TaskEnd>>,
    pub(crate) abort: Arc<Abort>,
}

impl<F: Future + Send + 'static> Ambient<F> {
    pub(crate) fn new(
        life: Arc<Life>,
        future: F,
        elapsed: fn() -> Duration,
    ) -> (Self, Ends<F::Output>) {
        let (sender, answer) = oneshot::channel();
        let abort = Arc::new(Abort::default());
        let number = life.machine.next_task();
        let held = Arc::new(Held(Mutex::new(Some(Box::pin(future)))));
        let listed: Weak<Held<F>> = Arc::downgrade(&held);
        guard(&life.held).insert(number, listed);
        let ends = Ends {
            answer,
            abort: Arc::clone(&abort),
        };
        (
            Self {
                life,
                number,
                held,
                answer: Some(sender),
                abort,
                elapsed,
            },
            ends,
        )
    }

    fn end(&mut self, outcome: Result<F::Output, TaskEnd>) {
        self.drop_future();
        if let Some(answer) = self.answer.take() {
            // Who waited may be gone.
            let _ = answer.send(outcome);
        }
    }

    /// What a future drops may ask for the time or start a task.
    fn drop_future(&mut self) {
        guard(&self.life.held).remove(&self.number);
        let _entered = enter(&self.life);
        self.held.drop_it();
    }
}

impl<F: Future + Send + 'static> Future for Ambient<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // Of most tasks nobody keeps the handle.
        if Arc::strong_count(&this.abort) > 1 {
            this.abort.remember(context.waker());
        }
        // The world drops it; until then it does nothing, as a machine without power.
        if this.life.is_over() {
            return Poll::Pending;
        }
        if this.life.machine.holds_back(this.number, context) {
            return Poll::Pending;
        }
        if this.abort.asked.load(Ordering::SeqCst) {
            this.end(Err(TaskEnd::Aborted));
            return Poll::Ready(());
        }
        let polled = {
            let mut held = guard(&this.held.0);
            let Some(future) = held.as_mut() else {
                return Poll::Ready(());
            };
            let _entered = enter(&this.life);
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)))
        };
        match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => this.end(Ok(output)),
            Err(payload) => {
                this.life
                    .machine
                    .panicked(payload.as_ref(), (this.elapsed)());
                this.end(Err(TaskEnd::Panicked));
            }
        }
        Poll::Ready(())
    }
}

// Neither the boxed future nor anything else here is pinned in place.
impl<F: Future + Send + 'static> Unpin for Ambient<F> {}

impl<F: Future + Send + 'static> Drop for Ambient<F> {
    /// The first task of an ended life to be dropped takes all others with it.
    fn drop(&mut self) {
        if self.life.is_ended() {
            self.life.drop_all();
        }
        self.drop_future();
    }
}
