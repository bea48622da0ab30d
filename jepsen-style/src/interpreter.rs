//! Runs a generator against clients, and records what happens.
//!
//! This is the only file of the crate where anything waits. It asks three things of the world ([`Runtime`]: the time, sleep,
//! a task), so a run is the same in a simulator, where time is a number, and against real processes. Each operation is a
//! task of its own that takes its client with it and brings it back; completions come back through one queue, in the order
//! in which they happened.
//!
//! The journal is written as things happen, before anyone judges them: what is recorded can be judged again.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::client::{Answer, Client, Clients, Pending};
use crate::generator::{Ask, Context, Generator, Next};
use crate::history::{
    Details, Event, EventKind, History, Operation, Outcome, PairError, Pairing, Process, Value,
};
use crate::random::Random;

/// What a run needs of the world.
pub trait Runtime: Send + Sync {
    /// The time since some start that does not move. Never goes back.
    fn now(&self) -> Duration;
    /// A future that is ready once so much time has passed.
    fn sleep(&self, time: Duration) -> Pending<'static, ()>;
    /// Runs a task beside this one.
    fn spawn(&self, task: Pending<'static, ()>);
}

/// What varies between runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many client processes there are at a time.
    pub clients: u32,
    /// What the choices of generators come from.
    pub seed: u64,
    /// How long to wait for what is still open when the generator is done. What is open after that stays so: its outcome
    /// is unknown.
    pub patience: Duration,
}

/// An operation on its way back.
struct Completion {
    thread: usize,
    client: Box<dyn Client>,
    ask: Ask,
    answer: Answer,
}

/// Completions in the order in which they happened.
#[derive(Default)]
struct Queue {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    completions: VecDeque<Completion>,
    waiting: Option<Waker>,
}

impl Queue {
    fn push(&self, completion: Completion) {
        let mut inside = self
            .inside
            .lock()
            .expect("nobody panics while holding the queue");
        inside.completions.push_back(completion);
        if let Some(waker) = inside.waiting.take() {
            waker.wake();
        }
    }

    fn poll(&self, waker: &Waker) -> Poll<Completion> {
        let mut inside = self
            .inside
            .lock()
            .expect("nobody panics while holding the queue");
        match inside.completions.pop_front() {
            Some(completion) => Poll::Ready(completion),
            None => {
                inside.waiting = Some(waker.clone());
                Poll::Pending
            }
        }
    }
}

/// A thread of the run: one process after another, one operation at a time.
struct Thread {
    process: Process,
    /// `None` while an operation is open.
    client: Option<Box<dyn Client>>,
}

/// One run.
struct Run<'a, R> {
    runtime: &'a R,
    clients: &'a mut dyn Clients,
    journal: &'a mut (dyn FnMut(&Event) + Send),
    settings: &'a Settings,
    started: Duration,
    threads: Vec<Thread>,
    completions: Arc<Queue>,
    pairing: Pairing,
    /// What is open, for the generator to be told of whole operations.
    open: BTreeMap<Process, Operation>,
}

/// Runs `generator` against clients that `clients` opens. Every event is given to `journal` as it happens. Ends when the
/// generator is done and what was open has completed, or patience has.
pub async fn run<R: Runtime>(
    runtime: &R,
    settings: &Settings,
    clients: &mut dyn Clients,
    generator: &mut dyn Generator,
    journal: &mut (dyn FnMut(&Event) + Send),
) -> Result<History, PairError> {
    let processes = (0..settings.clients)
        .map(Process::Client)
        .chain([Process::Nemesis]);
    let threads = processes
        .map(|process| Thread {
            process,
            client: Some(clients.open(process)),
        })
        .collect();
    let mut run = Run {
        runtime,
        clients,
        journal,
        settings,
        started: runtime.now(),
        threads,
        completions: Arc::default(),
        pairing: Pairing::default(),
        open: BTreeMap::new(),
    };
    run.drive(generator).await?;
    run.wind_down(generator).await?;
    Ok(run.pairing.finish())
}

impl<R: Runtime> Run<'_, R> {
    /// Does what the generator says until it is done.
    async fn drive(&mut self, generator: &mut dyn Generator) -> Result<(), PairError> {
        let mut random = Random::new(self.settings.seed);
        loop {
            let mut free: Vec<Process> = self
                .threads
                .iter()
                .filter(|thread| thread.client.is_some())
                .map(|thread| thread.process)
                .collect();
            // Who is asked first must not depend on the thread: processes that were lost came back with larger numbers.
            free.sort_unstable();
            let mut context = Context {
                now: self.now(),
                free: &free,
                open: self.open.len(),
                clients: self.settings.clients,
                random: &mut random,
            };
            let until = match generator.next(&mut context) {
                Next::Ask(process, ask) => {
                    self.begin(process, ask)?;
                    continue;
                }
                Next::Wait(until) => Some(until),
                Next::Blocked if self.open.is_empty() => return Ok(()),
                Next::Blocked => None,
                Next::Done => return Ok(()),
            };
            if let Some(completion) = self.completion(until).await {
                self.end(completion, generator)?;
            }
        }
    }

    /// Waits for what is still open.
    async fn wind_down(&mut self, generator: &mut dyn Generator) -> Result<(), PairError> {
        let until = self.now() + self.settings.patience;
        while !self.open.is_empty() {
            match self.completion(Some(until)).await {
                Some(completion) => self.end(completion, generator)?,
                None if self.now() >= until => break,
                None => {}
            }
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.runtime.now().saturating_sub(self.started)
    }

    fn begin(&mut self, process: Process, ask: Ask) -> Result<(), PairError> {
        let found = self
            .threads
            .iter_mut()
            .enumerate()
            .find(|(_, thread)| thread.process == process);
        let Some((number, client)) =
            found.and_then(|(number, thread)| Some((number, thread.client.take()?)))
        else {
            return Err(PairError::TwoOpen {
                process,
                function: ask.function.to_string(),
                open: "another operation".to_owned(),
            });
        };
        let event = self.event(process, EventKind::Invoke, &ask, ask.input.clone(), None);
        self.open.insert(process, opened(&event));
        self.record(event)?;
        let completions = Arc::clone(&self.completions);
        self.runtime.spawn(Box::pin(async move {
            let mut client = client;
            let answer = client.invoke(&ask).await;
            completions.push(Completion {
                thread: number,
                client,
                ask,
                answer,
            });
        }));
        Ok(())
    }

    fn end(
        &mut self,
        completion: Completion,
        generator: &mut dyn Generator,
    ) -> Result<(), PairError> {
        let Completion {
            thread,
            client,
            ask,
            answer,
        } = completion;
        let process = self.threads[thread].process;
        let Answer {
            outcome,
            output,
            error,
            node,
        } = answer;
        let kind = match outcome {
            Outcome::Ok => EventKind::Ok,
            Outcome::Failed => EventKind::Fail,
            Outcome::Unknown => EventKind::Info,
        };
        let details = (!error.is_nil() || !node.is_nil()).then(|| {
            Box::new(Details {
                error,
                node,
                others: Vec::new(),
            })
        });
        let event = self.event(process, kind, &ask, output, details);
        if let Some(mut operation) = self.open.remove(&process) {
            operation.outcome = outcome;
            operation.output = event.value.clone();
            operation.details.clone_from(&event.details);
            generator.completed(&operation);
        }
        self.record(event)?;
        self.threads[thread].client = Some(client);
        if let (Outcome::Unknown, Process::Client(number)) = (outcome, process) {
            // Its operation may still take effect, so this process can never ask again.
            let next = Process::Client(number + self.settings.clients);
            self.threads[thread] = Thread {
                process: next,
                client: Some(self.clients.open(next)),
            };
        }
        Ok(())
    }

    fn event(
        &self,
        process: Process,
        kind: EventKind,
        ask: &Ask,
        value: Value,
        details: Option<Box<Details>>,
    ) -> Event {
        let nanoseconds = u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX);
        Event {
            process,
            kind,
            function: ask.function.clone(),
            key: ask.key.clone(),
            value,
            nanoseconds,
            details,
        }
    }

    fn record(&mut self, event: Event) -> Result<(), PairError> {
        (self.journal)(&event);
        self.pairing.push(event)
    }

    /// The next completion; `None` if there is none until `until`. Exclusive, because a shared borrow across a wait would
    /// ask of every client that threads can share it, and a run could not be a task.
    async fn completion(&mut self, until: Option<Duration>) -> Option<Completion> {
        let mut timer: Option<Pending<'static, ()>> =
            until.map(|until| self.runtime.sleep(until.saturating_sub(self.now())));
        poll_fn(|context| {
            if let Poll::Ready(completion) = self.completions.poll(context.waker()) {
                return Poll::Ready(Some(completion));
            }
            match timer.as_mut().map(|timer| Pin::new(timer).poll(context)) {
                Some(Poll::Ready(())) => Poll::Ready(None),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

fn opened(event: &Event) -> Operation {
    Operation {
        process: event.process,
        function: event.function.clone(),
        key: event.key.clone(),
        input: event.value.clone(),
        output: Value::Nil,
        outcome: Outcome::Unknown,
        invoked: crate::history::Moment {
            order: 0,
            nanoseconds: event.nanoseconds,
        },
        ended: None,
        details: None,
    }
}
