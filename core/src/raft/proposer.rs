//! Writes: from any node into the log, in batches, with an outcome that never lies.
//!
//! Commands wait in one lane and leave it in batches, a few batches at a time: to openraft when this node leads, to the
//! leader in one message when it does not. Under load the batches grow by themselves, and what a message, a channel or a
//! task costs is shared by all the commands in it.
//!
//! A command is sent on only when it *certainly* was not taken: openraft said so by the one variant that means it, or the
//! message never left this node. In every other case the outcome is unknown, nobody sends it again, and the client is
//! told (T6). Two helpers of openraft would answer "try the leader" for an entry that may still commit; they are not used.

use std::mem::take;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use openraft::errors::ClientWriteError;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tonic::Request;

use super::answer::answer_in;
use super::peers::Peers;
use super::types::{NodeRaft, Proposal};
use crate::ids::NodeId;
use crate::proto::peer::{self, propose_outcome};
use crate::proto::store;
use crate::runtime::{Instant, Runtime, timeout};
use crate::state::{Response, check};
use crate::transport::{ANSWER_BYTES, was_not_sent};

/// Where a command is that is in no log yet.
const NOWHERE: store::LogId = store::LogId { term: 0, index: 0 };
/// Commands in flight on a node, in number and in bytes; beyond it a write is refused at once.
const MAX_COMMANDS: usize = 5_000;
/// See [`MAX_COMMANDS`].
const MAX_BYTES: usize = 32 << 20;
/// A batch is cut after so many bytes, well below what a peer decodes.
const BATCH_BYTES: usize = 1 << 20;
/// And after so many commands.
const BATCH_COMMANDS: usize = 512;
/// The answers to a peer's batch are one message. Those behind so many bytes are left out, and their outcome is unknown to
/// who asked.
const BATCH_ANSWER_BYTES: usize = 64 << 20;
/// Batches on their way at a time: more would keep them small, fewer would wait for each other's syncs.
const BATCHES: usize = 4;

/// Why a command was not answered by the state machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not taken: too much is in flight.
    #[error("too many requests")]
    Overloaded,
    /// Not taken: nobody led for as long as the request might wait.
    #[error("no leader")]
    NoLeader,
    /// Not taken: this node does not lead; perhaps that one does.
    #[error("not the leader")]
    NotLeader(Option<NodeId>),
    /// Not taken: the disk is nearly full.
    #[error("no space")]
    NoSpace,
    /// Not taken: this node cannot write at the moment, for this reason.
    #[error("{0}")]
    Refused(String),
    /// It may or may not take effect.
    #[error("the outcome is unknown")]
    Unknown,
}

/// The way into the log.
pub struct Proposer<R: Runtime> {
    shared: Arc<Shared<R>>,
}

impl<R: Runtime> Clone for Proposer<R> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

struct Shared<R: Runtime> {
    raft: NodeRaft<R>,
    peers: Arc<Peers<R>>,
    /// The disk is nearly full: refused before openraft sees it, which would end over it.
    full: Arc<AtomicBool>,
    /// Bytes of entries that wait for this node's disk. A command whose time is over is still one of them.
    unwritten: Arc<AtomicUsize>,
    pause: Pause,
    commands: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    lane: Mutex<Lane>,
    patience: Duration,
    /// Between two attempts to reach a leader.
    rest: Duration,
}

#[derive(Default)]
struct Lane {
    waiting: Vec<Waiting>,
    batches: usize,
}

struct Waiting {
    command: Bytes,
    deadline: Instant,
    answer: oneshot::Sender<Result<Response, ProposeError>>,
    /// Taken until the command is on its way no more, whether or not somebody still waits for its answer.
    _room: Room,
}

/// While it is on, a leader adds no commands to its log: they wait for the next leader, as if nobody led.
#[derive(Clone, Default)]
pub struct Pause(Arc<AtomicUsize>);

/// Keeps a [`Pause`] on for as long as it lives; several may.
pub struct Paused(Pause);

impl Pause {
    /// Begins it.
    #[must_use]
    pub fn begin(&self) -> Paused {
        self.0.fetch_add(1, Ordering::SeqCst);
        Paused(self.clone())
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Room taken in the bounds; given back when dropped.
struct Room {
    _command: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl<R: Runtime> Proposer<R> {
    /// For a running Raft. `patience` is how long a command may take before its outcome is unknown, `rest` the time between
    /// two attempts to reach a leader.
    #[must_use]
    pub fn new(
        raft: NodeRaft<R>,
        peers: Arc<Peers<R>>,
        full: Arc<AtomicBool>,
        unwritten: Arc<AtomicUsize>,
        pause: Pause,
        patience: Duration,
        rest: Duration,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                raft,
                peers,
                full,
                unwritten,
                pause,
                commands: Arc::new(Semaphore::new(MAX_COMMANDS)),
                bytes: Arc::new(Semaphore::new(MAX_BYTES)),
                lane: Mutex::default(),
                patience,
                rest,
            }),
        }
    }

    /// Brings a command into the log, through the leader wherever it is, and returns what applying it answered.
    ///
    /// # Errors
    /// See [`ProposeError`]: only [`ProposeError::Unknown`] leaves open whether it takes effect.
    pub async fn propose(&self, command: &store::Command) -> Result<Response, ProposeError> {
        let command = Bytes::from(command.encode_to_vec());
        // What the replicas could not read must never come into the log: it would end all of them.
        check(NOWHERE, &command).map_err(|error| ProposeError::Refused(error.to_string()))?;
        let room = self.shared.room(command.len())?;
        let deadline = R::now() + self.shared.patience;
        let (answer, answered) = oneshot::channel();
        self.shared.lane().waiting.push(Waiting {
            command,
            deadline,
            answer,
            _room: room,
        });
        Shared::start_batch(&self.shared);
        // A moment longer, to hear that it has not been sent anywhere when its time is over.
        let limit = self.shared.patience + self.shared.rest * 2;
        match timeout::<R, _>(limit, answered).await {
            Ok(Ok(outcome)) => outcome,
            // The lane ended with its node, or the command is somewhere on its way.
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// Proposes commands that a peer sent here, if this node leads. That peer may run a newer version: with a command that
    /// is not known here none of its batch is taken.
    pub async fn propose_here(&self, commands: Vec<Bytes>) -> Vec<Result<Response, ProposeError>> {
        let count = commands.len();
        if let Some(error) = commands
            .iter()
            .find_map(|command| check(NOWHERE, command).err())
        {
            return vec![Err(ProposeError::Refused(error.to_string())); count];
        }
        let bytes = commands.iter().map(Bytes::len).sum();
        let room = match self.shared.room_for(count, bytes) {
            Ok(room) => room,
            Err(error) => return vec![Err(error); count],
        };
        let deadline = R::now() + self.shared.patience;
        let (mut outcomes, mut bytes) = (Vec::with_capacity(count), 0);
        let answer = |outcome: Result<Response, ProposeError>| {
            let fits = bytes < BATCH_ANSWER_BYTES;
            bytes += outcome.as_ref().map_or(0, Response::weight);
            outcomes.push(if fits {
                outcome
            } else {
                Err(ProposeError::Unknown)
            });
        };
        self.shared.write_here(commands, deadline, answer).await;
        drop(room);
        outcomes
    }
}

impl<R: Runtime> Shared<R> {
    fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self, bytes: usize) -> Result<Room, ProposeError> {
        self.room_for(1, bytes)
    }

    fn room_for(&self, count: usize, bytes: usize) -> Result<Room, ProposeError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(ProposeError::NoSpace);
        }
        if self.unwritten.load(Ordering::Relaxed) > MAX_BYTES {
            return Err(ProposeError::Overloaded);
        }
        let take = |semaphore: &Arc<Semaphore>, amount: usize| {
            let amount = u32::try_from(amount).map_err(|_| ProposeError::Overloaded)?;
            Arc::clone(semaphore)
                .try_acquire_many_owned(amount)
                .map_err(|_| ProposeError::Overloaded)
        };
        Ok(Room {
            _command: take(&self.commands, count)?,
            _bytes: take(&self.bytes, bytes)?,
        })
    }

    /// Sends a batch off, if one more may be on its way.
    fn start_batch(shared: &Arc<Self>) {
        {
            let mut lane = shared.lane();
            if lane.batches >= BATCHES || lane.waiting.is_empty() {
                return;
            }
            lane.batches += 1;
        }
        drop(R::spawn(Arc::clone(shared).run_batches()));
    }

    /// Batch after batch until nothing waits.
    async fn run_batches(self: Arc<Self>) {
        loop {
            let batch = {
                let mut lane = self.lane();
                let batch = cut_batch(&mut lane.waiting);
                if batch.is_empty() {
                    lane.batches -= 1;
                    return;
                }
                batch
            };
            self.carry(batch).await;
        }
    }

    /// Carries a batch to whoever leads; what certainly was not taken is tried again until its deadline.
    async fn carry(&self, mut batch: Vec<Waiting>) {
        loop {
            let now = R::now();
            batch.retain(|waiting| !waiting.answer.is_closed());
            let (late, live): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .partition(|waiting| waiting.deadline <= now);
            answer_all(late, &ProposeError::NoLeader);
            // Whoever has less patience has it outside of this: a single caller in a hurry makes nobody else's outcome unknown.
            let Some(deadline) = live.iter().map(|waiting| waiting.deadline).max() else {
                return;
            };
            let commands: Vec<Bytes> = live.iter().map(|waiting| waiting.command.clone()).collect();
            batch = Vec::new();
            let mut live = live.into_iter();
            // Each is answered as soon as it can be: all answers of a batch together may be large.
            let answer = |outcome| {
                let waiting = live.next().expect("no command has two outcomes");
                match outcome {
                    Err(ProposeError::NotLeader(_) | ProposeError::NoLeader) => batch.push(waiting),
                    outcome => drop(waiting.answer.send(outcome)),
                }
            };
            match self.raft.current_leader().await {
                Some(leader) if leader == self.peers.identity().node => {
                    self.write_here(commands, deadline, answer).await;
                }
                Some(leader) => {
                    let outcomes = self.write_there(leader, commands, deadline).await;
                    outcomes.into_iter().for_each(answer);
                }
                None => commands
                    .iter()
                    .map(|_| Err(ProposeError::NoLeader))
                    .for_each(answer),
            }
            if batch.is_empty() {
                return;
            }
            R::sleep(self.rest).await;
        }
    }

    /// As the leader: into this node's own log. Each command has one outcome, in order.
    async fn write_here(
        &self,
        commands: Vec<Bytes>,
        deadline: Instant,
        mut answer: impl FnMut(Result<Response, ProposeError>),
    ) {
        let mut left = commands.len();
        if self.pause.is_on() {
            (0..left).for_each(|_| answer(Err(ProposeError::NotLeader(None))));
            return;
        }
        let written = timeout::<R, _>(deadline - R::now(), async {
            let proposals = commands.into_iter().map(Proposal);
            let Ok(mut answers) = self.raft.client_write_many(proposals).await else {
                return;
            };
            while left > 0
                && let Some(Ok(written)) = answers.next().await
            {
                left -= 1;
                answer(match written {
                    Ok(written) => match written.response {
                        Response::Untold => Err(ProposeError::Unknown),
                        response => Ok(response),
                    },
                    // The one variant that means "not appended". LogEntryDiscarded also names a leader, but means
                    // "perhaps committed".
                    Err(ClientWriteError::ForwardToLeader(forward)) => {
                        Err(ProposeError::NotLeader(forward.leader_id))
                    }
                    Err(_) => Err(ProposeError::Unknown),
                });
            }
        });
        let _ = written.await;
        (0..left).for_each(|_| answer(Err(ProposeError::Unknown)));
    }

    /// Through the leader: one message there, one answer back.
    async fn write_there(
        &self,
        leader: NodeId,
        commands: Vec<Bytes>,
        deadline: Instant,
    ) -> Vec<Result<Response, ProposeError>> {
        let count = commands.len();
        let route = Some(self.peers.identity().route(leader));
        let mut request = Request::new(peer::ProposeRequest { route, commands });
        request.set_timeout(deadline - R::now());
        let client = self.peers.client(leader);
        let mut client = client.max_decoding_message_size(ANSWER_BYTES);
        let mut outcomes: Vec<_> = match client.propose(request).await {
            Ok(answer) => answer
                .into_inner()
                .outcomes
                .into_iter()
                .map(outcome_in)
                .collect(),
            Err(status) if was_not_sent(&status) => vec![Err(ProposeError::NotLeader(None)); count],
            Err(_) => Vec::new(),
        };
        outcomes.resize_with(count, || Err(ProposeError::Unknown));
        outcomes
    }
}

fn answer_all(batch: Vec<Waiting>, error: &ProposeError) {
    for waiting in batch {
        // Who has given up does not listen any more.
        let _ = waiting.answer.send(Err(error.clone()));
    }
}

/// Takes commands off the front until a bound is met; at least one if there is one.
fn cut_batch(waiting: &mut Vec<Waiting>) -> Vec<Waiting> {
    let mut bytes = 0;
    let fits = |waiting: &Waiting| {
        let first = bytes == 0;
        bytes += waiting.command.len().max(1);
        first || bytes <= BATCH_BYTES
    };
    let count = waiting
        .iter()
        .take(BATCH_COMMANDS)
        .map(fits)
        .take_while(|fits| *fits)
        .count();
    if count == waiting.len() {
        take(waiting)
    } else {
        waiting.drain(..count).collect()
    }
}

fn outcome_in(outcome: peer::ProposeOutcome) -> Result<Response, ProposeError> {
    match outcome.outcome {
        Some(propose_outcome::Outcome::Answer(answer)) => {
            answer_in(answer).map_err(|_| ProposeError::Unknown)
        }
        Some(propose_outcome::Outcome::NotLeader(node)) => Err(ProposeError::NotLeader(
            Some(NodeId(node)).filter(|node| node.0 != 0),
        )),
        Some(propose_outcome::Outcome::NoSpace(_)) => Err(ProposeError::NoSpace),
        Some(propose_outcome::Outcome::Overloaded(_)) => Err(ProposeError::Overloaded),
        Some(propose_outcome::Outcome::Refused(why)) => Err(ProposeError::Refused(why)),
        Some(propose_outcome::Outcome::Unknown(_)) | None => Err(ProposeError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(bytes: usize) -> Waiting {
        Waiting {
            command: Bytes::from(vec![0; bytes]),
            deadline: Instant::default(),
            answer: oneshot::channel().0,
            _room: room(),
        }
    }

    fn room() -> Room {
        let one = || {
            let semaphore = Arc::new(Semaphore::new(1));
            semaphore.try_acquire_owned().expect("it is there")
        };
        Room {
            _command: one(),
            _bytes: one(),
        }
    }

    fn cut(sizes: &[usize]) -> Vec<usize> {
        let mut lane: Vec<_> = sizes.iter().map(|bytes| waiting(*bytes)).collect();
        let mut batches = Vec::new();
        while !lane.is_empty() {
            batches.push(cut_batch(&mut lane).len());
        }
        batches
    }

    #[test]
    fn batches_are_bounded_and_never_empty() {
        assert_eq!(cut(&[10; 3]), [3]);
        assert_eq!(
            cut(&[BATCH_BYTES * 2, 1, 1]),
            [1, 2],
            "a large command travels alone"
        );
        assert_eq!(cut(&[BATCH_BYTES / 2; 5]), [2, 2, 1]);
        assert_eq!(cut(&[1; BATCH_COMMANDS + 1]), [BATCH_COMMANDS, 1]);
    }
}
