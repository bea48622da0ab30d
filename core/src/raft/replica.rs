//! A node's part in Raft: the stores, the instance over them, and the ways to write and to read.
//!
//! An IO error ends an openraft instance for good, so the instance is something that a [`Replica`] *has*: when it ends,
//! the reason is kept for `status`, reads go on from what is there, and once the disk can be written again everything is
//! opened anew from it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ChangeMembershipRequest;
use openraft::{ChangeMembers, EmptyNode, Precondition, ServerState};
use prost::Message as _;
use tonic::Request;

use super::barrier::Barrier;
use super::config::Timing;
use super::convert;
use super::journal::Mark;
use super::length::{Room, cut};
use super::log::Log;
use super::machine::{Machine, Progress};
use super::marks::{enough_remember, has_forgotten};
use super::network::Network;
use super::peers::Peers;
use super::proposer::{Pause, ProposeError, Proposer};
use super::runtime::with_rare_ticks;
use super::snapshot::Incoming;
use super::types::{LogId, Metrics, NodeRaft, Payload, StoredMembership, Vote, term_of};
use super::unseen::Unseen;
use crate::database::{DatabaseError, Layout, Missing, Place};
use crate::etcd::EtcdError;
use crate::ids::{LogIndex, NodeId, Revision};
use crate::proto::{peer, store};
use crate::readers::Readers;
use crate::runtime::buggify::stumble;
use crate::runtime::{Event, Instant, Runtime, timeout, watch};
use crate::state::{Digest, Response, Snapshots, State, StateError, Sweep, command, members};

/// Versions of keys that one step of the sweep behind compaction looks at.
const SWEEP: u32 = 1_000;

/// The stores.
const LAYOUTS: [&Layout; 2] = [&super::journal::LAYOUT, &crate::state::LAYOUT];

/// Why a node with too little room takes no writes.
const DISK_FULL: &str = "its disk is nearly full: it takes no writes until there is room";

/// How a replica's stores are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// They must be there.
    Existing,
    /// They may be made: at bootstrap, and when a member starts to receive the log. Nothing was promised over them, so there is
    /// nothing that peers could remember of this node but an earlier time as a standby, which ended with that log.
    New,
}

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its disk was put back to an older state.
    #[error(
        "{peer} remembers that this node acknowledged more than its disk holds ({remembered:?}): the disk was put back to \
         an older state. Remove this node from the cluster, wipe its directory and join anew"
    )]
    Forgotten {
        /// Who remembers.
        peer: NodeId,
        /// What.
        remembered: Mark,
    },
    /// openraft refused.
    #[error("raft: {0}")]
    Raft(String),
}

impl StartError {
    /// Whether it will be the same at each further try, whatever happens to the disk.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::State(StateError::UnknownCommand { .. }) | Self::Forgotten { .. }
        )
    }
}

/// No disk is waited for longer than this: an election then takes ten to twenty seconds.
const SLOWEST_SYNC: Duration = Duration::from_secs(1);

/// A node's part in Raft.
pub struct Replica<R: Runtime> {
    place: Place,
    peers: Arc<Peers<R>>,
    timing: Timing,
    /// A sync that was too slow for an election to come to its end: the times of the next instance fit it.
    slow_sync: Mutex<Duration>,
    running: Mutex<Option<Running<R>>>,
    /// Open from the first start on, so that reads go on while Raft is being started again.
    readers: Mutex<Option<Arc<Readers>>>,
    /// Counts the beginnings and ends of instances.
    turns: AtomicU64,
    /// How far any instance has applied: a client may have been answered from that, though it was never committed.
    reached: AtomicU64,
    /// An instance has ended, and what it applied last is not committed.
    unshown: AtomicBool,
    may_vote: AtomicBool,
    /// It stands for no election before its log reaches this index.
    elects_from: AtomicU64,
    /// Why the node does not write, for people.
    trouble: Mutex<Option<String>>,
    /// What a read found damaged. It is told for as long as the process lives: nothing mends it.
    damage: Mutex<Option<String>>,
    /// The leader sent an entry that this version does not know.
    unknown: Mutex<Option<StateError>>,
    /// The disk is nearly full: nothing is taken that would be written.
    full: Arc<AtomicBool>,
    /// Leadership is being handed over: nothing is added to the log.
    pause: Pause,
    snapshot_slot: Arc<tokio::sync::Mutex<()>>,
}

/// A Raft instance and what belongs to it.
struct Running<R: Runtime> {
    raft: NodeRaft<R>,
    log: Log<R>,
    state: Arc<Mutex<State>>,
    unseen: Unseen<R>,
    proposer: Proposer<R>,
    barrier: Barrier<R>,
    progress: Progress,
    /// What an earlier run knew to be committed, or one of this process has applied.
    recovered: u64,
    /// What peers have said, when they asked, that they remember of this node.
    told: watch::Sender<BTreeMap<NodeId, Mark>>,
}

impl<R: Runtime> Clone for Running<R> {
    fn clone(&self) -> Self {
        Self {
            raft: self.raft.clone(),
            log: self.log.clone(),
            state: Arc::clone(&self.state),
            unseen: self.unseen.clone(),
            proposer: self.proposer.clone(),
            barrier: self.barrier.clone(),
            progress: self.progress.clone(),
            recovered: self.recovered,
            told: self.told.clone(),
        }
    }
}

impl<R: Runtime> Replica<R> {
    /// A replica that does not run yet.
    #[must_use]
    pub fn new(place: Place, peers: Arc<Peers<R>>, timing: Timing) -> Arc<Self> {
        Arc::new(Self {
            place,
            peers,
            timing,
            slow_sync: Mutex::default(),
            running: Mutex::new(None),
            readers: Mutex::new(None),
            turns: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            unshown: AtomicBool::new(false),
            may_vote: AtomicBool::new(false),
            elects_from: AtomicU64::new(0),
            trouble: Mutex::new(None),
            damage: Mutex::new(None),
            unknown: Mutex::new(None),
            full: Arc::default(),
            pause: Pause::default(),
            snapshot_slot: Arc::default(),
        })
    }

    /// Makes the stores of a node that will receive everything from others.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn make_stores(place: &Place) -> Result<(), StartError> {
        settle::<R>(place)?;
        super::journal::Journal::open(place, Missing::Create)?;
        State::open(place, Missing::Create)?.make_durable()?;
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, Option<Running<R>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, look: impl FnOnce(&Running<R>) -> T) -> Option<T> {
        self.running().as_ref().map(look)
    }

    /// The other nodes.
    #[must_use]
    pub fn peers(&self) -> &Arc<Peers<R>> {
        &self.peers
    }

    /// The timing that the configuration and the disk gave.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing
    }

    fn fitted_timing(&self) -> Timing {
        let slow = *self
            .slow_sync
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.timing.fit_for(slow)
    }

    /// How long a node is without a leader before it asks whether its own disk is why: many elections.
    #[must_use]
    pub fn patience_without_leader(&self) -> Duration {
        self.timing.election().1 * 20
    }

    /// Gives the next instance of Raft times that fit the disk, if the last sync took longer than an election has time for, and
    /// answers whether it did. Votes are synced, so that on disks that have become slow nobody is ever elected (T46).
    #[must_use]
    pub fn refit_timing(&self) -> bool {
        let sync = self.with(|running| running.log.last_sync());
        let sync = sync.unwrap_or_default().min(SLOWEST_SYNC);
        let outgrown = self.timing.fit_for(sync).heartbeat() > self.fitted_timing().heartbeat();
        if outgrown {
            *self
                .slow_sync
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = sync;
        }
        outgrown
    }

    /// The instance, while it runs.
    #[must_use]
    pub fn raft(&self) -> Option<NodeRaft<R>> {
        self.with(|running| running.raft.clone())
    }

    /// The way to write, while Raft runs.
    #[must_use]
    pub fn proposer(&self) -> Option<Proposer<R>> {
        self.with(|running| running.proposer.clone())
    }

    /// The way to linearizable reads, while Raft runs.
    #[must_use]
    pub fn barrier(&self) -> Option<Barrier<R>> {
        self.with(|running| running.barrier.clone())
    }

    /// The readers of the state, once it was opened, who see everything that this node has applied.
    ///
    /// # Errors
    /// When that cannot be committed.
    pub async fn readers(&self) -> Result<Option<Arc<Readers>>, StateError> {
        self.show_applied().await?;
        Ok(self.committed())
    }

    /// The readers of the state for an answer to a client: who see what any instance of this process has applied, and what an
    /// earlier run knew to be committed. None when that does not come about.
    ///
    /// What an instance applied last may be lost with it, and a reader that has passed its barrier must not be answered from
    /// what is left (T21, T22).
    ///
    /// # Errors
    /// When what is applied cannot be committed.
    pub async fn serving_readers(&self) -> Result<Option<Arc<Readers>>, StateError> {
        loop {
            let turn = self.turns.load(Ordering::SeqCst);
            if self.wait_recovered().await.is_err() {
                return Ok(None);
            }
            let readers = self.readers().await?;
            if self.unshown.load(Ordering::SeqCst) {
                return Ok(None);
            }
            if self.turns.load(Ordering::SeqCst) == turn {
                return Ok(readers);
            }
        }
    }

    /// The readers of the state, once it was opened, who see what is committed: of what the cluster knows of itself
    /// everything, of the keyspace perhaps not the last of what is applied.
    #[must_use]
    pub fn committed(&self) -> Option<Arc<Readers>> {
        self.readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn show_applied(&self) -> Result<(), StateError> {
        match self.with(|running| running.unseen.clone()) {
            Some(unseen) => unseen.show().await,
            // While Raft is being started again, what was shown last is still there.
            None => Ok(()),
        }
    }

    /// The revision up to which commands are applied, while Raft runs.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.with(|running| running.unseen.revision())
    }

    /// What applying tells, while Raft runs.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        self.with(|running| running.progress.clone())
    }

    /// How often the tables about the cluster itself have changed since Raft was started; while it runs.
    #[must_use]
    pub fn cluster_changes(&self) -> Option<u64> {
        self.with(|running| *running.progress.cluster_changes.borrow())
    }

    /// Whether this node's memory was compared with that of its peers.
    #[must_use]
    pub fn may_vote(&self) -> bool {
        self.may_vote.load(Ordering::SeqCst)
    }

    /// The vote that it holds.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.with(|running| running.log.vote()).flatten()
    }

    /// What this node last saw of `node`, if it keeps a log itself.
    #[must_use]
    pub fn recall(&self, node: NodeId) -> Option<Mark> {
        self.with(|running| running.log.mark(node).unwrap_or_default())
    }

    /// The last entry that `node` acknowledged to this one since it leads. Raft counts on it, and never looks behind it again.
    #[must_use]
    pub fn acknowledged(&self, node: NodeId) -> Option<LogId> {
        self.metrics()?.replication?.get(&node).copied().flatten()
    }

    /// Remembers what `node` has on its disk.
    pub fn remember(&self, node: NodeId, mark: Mark) {
        self.with(|running| running.log.remember(node, mark));
    }

    /// What openraft publishes, while it runs.
    #[must_use]
    pub fn metrics(&self) -> Option<Metrics<R>> {
        self.with(|running| running.raft.metrics().borrow().clone())
    }

    /// The last entry that is certainly committed, as far as the log was told.
    #[must_use]
    pub fn known_committed(&self) -> Option<LogId> {
        self.with(|running| running.log.committed()).flatten()
    }

    /// Who leads, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.with(|running| running.raft.metrics().borrow().current_leader)
            .flatten()
    }

    /// Why the node does not write, if so.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let full = || self.is_full().then(|| DISK_FULL.to_owned());
        self.damage().or_else(|| trouble.clone()).or_else(full)
    }

    /// What a read has found damaged.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        self.damage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes note of damage that a read has met: the node goes on with what is well, and says so.
    pub fn note_damage(&self, error: &StateError) {
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        if damage.is_none() {
            tracing::error!(%error, "what is stored here is damaged");
            *damage = Some(error.to_string());
        }
    }

    /// Nothing hinders this node any more, if it was this that did.
    pub fn clear_trouble(&self, told: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_deref() == Some(told) {
            *trouble = None;
        }
    }

    /// Sets or clears the reason why the node does not write.
    pub fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Takes note that the log goes on with an entry that this version does not know (T17): the node has to end. It is refused, so
    /// that nobody leads who could not apply what was committed.
    pub fn note_unknown(&self, error: StateError) {
        *self.unknown.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Why this version can be no part of the cluster, if so; it is told once.
    #[must_use]
    pub fn take_unknown(&self) -> Option<StartError> {
        let unknown = self
            .unknown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        unknown.map(StartError::State)
    }

    /// Whether the disk is too full to take writes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::SeqCst)
    }

    /// Stops or resumes taking writes.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Why the Raft instance ended by itself, or can do no more than hear its leader: a store that may not be written any more is
    /// not always asked to. A follower that waits for a snapshot applies nothing, and whoever sends it one has the refusals.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        let fatal = self.with(|running| {
            running
                .raft
                .metrics()
                .borrow()
                .running_state
                .clone()
                .err()
                .map(|error| error.to_string())
        });
        let stores = || LAYOUTS.iter().find_map(|layout| self.place.ended(layout));
        let lost = || {
            let lost = self.with(|running| running.unseen.is_lost());
            lost.unwrap_or_default()
                .then(|| StateError::Lost.to_string())
        };
        fatal.and_then(|fatal| fatal.or_else(stores).or_else(lost))
    }

    /// The member table.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn members(&self) -> Result<Vec<store::Member>, StateError> {
        match self.committed() {
            Some(readers) => readers.with(|reader| members(reader.connection())),
            None => Ok(Vec::new()),
        }
    }

    /// Brings a command into the log and waits for what it answered.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn command(&self, body: store::command::Body) -> Result<Response, ProposeError> {
        match self.proposer() {
            Some(proposer) => proposer.propose(&command(body)).await,
            None => Err(ProposeError::Refused("raft does not run".to_owned())),
        }
    }

    /// Opens the stores and starts Raft over them. Reads end until they are open, and everything that an earlier run left open
    /// is closed first.
    ///
    /// # Errors
    /// When a store cannot be used or Raft refuses it; see [`StartError`].
    pub async fn start(self: &Arc<Self>, stores: Stores) -> Result<(), StartError> {
        let missing = if stores == Stores::New {
            Missing::Create
        } else {
            Missing::Refuse
        };
        let node = self.peers.identity().node;
        self.release().await;
        let place = self.place.clone();
        let unmoved = R::blocking(move || settle::<R>(&place)).await?;
        let log = Log::<R>::open(&self.place, missing, node)?;
        let mut state = State::open(&self.place, missing)?;
        // openraft purges its log up to what the state says it applied, without asking: durable first (T38).
        state.make_durable()?;
        check_follows(log.purged().map_or(0, |id| id.index), &state)?;
        let readers = Arc::new(Readers::open(&self.place)?);
        let state = Arc::new(Mutex::new(state));
        let known = log.committed().map_or(0, |id| id.index);
        let recovered = known.max(self.reached.load(Ordering::SeqCst));
        let unseen = Unseen::new(Arc::clone(&state), R::worker("state-writer"));
        let (mut machine, progress) = Machine::new(
            Arc::clone(&state),
            unseen.clone(),
            log.clone(),
            &self.place,
            unmoved,
        );
        let caught_up = machine.catch_up().await;
        caught_up.map_err(not_applied)?;
        let timing = self.fitted_timing();
        let mut config = timing.raft_config();
        // However slowly this disk votes: who follows it may have another one, and waits for it no longer than before.
        config.heartbeat_interval = self.timing.raft_config().heartbeat_interval;
        // Nobody stands for election before its memory was compared (T19).
        config.enable_elect = false;
        let config = config
            .validate()
            .map_err(|error| StartError::Raft(error.to_string()))?;
        let network = Network {
            peers: Arc::clone(&self.peers),
            log: log.clone(),
            patience: timing.election().0,
            notice_hold: self.timing.heartbeat() / 10,
        };
        let raft = NodeRaft::<R>::new(node, Arc::new(config), network, log.clone(), machine);
        let raft = with_rare_ticks(self.timing.heartbeat(), raft).await;
        let raft = raft.map_err(|error| StartError::Raft(error.to_string()))?;
        let patience = self.timing.request_timeout();
        let rest = self.timing.heartbeat() / 2;
        let running = Running {
            proposer: Proposer::new(
                raft.clone(),
                Arc::clone(&self.peers),
                Arc::clone(&self.full),
                log.unwritten(),
                self.pause.clone(),
                patience,
                rest,
            ),
            barrier: Barrier::new(
                raft.clone(),
                Arc::clone(&self.peers),
                progress.applied.clone(),
                patience,
                rest,
            ),
            raft,
            log,
            state,
            unseen,
            progress,
            recovered,
            told: watch::channel(BTreeMap::new()).0,
        };
        *self.running() = Some(running);
        self.unshown.store(false, Ordering::SeqCst);
        self.turns.fetch_add(1, Ordering::SeqCst);
        // Not before it can be asked how far the state has to come: until then it may be older than what was read (T21, T42).
        *self.readers.lock().unwrap_or_else(PoisonError::into_inner) = Some(readers);
        self.set_trouble(None);
        if stores == Stores::New {
            self.let_vote();
        }
        Ok(())
    }

    /// Ends Raft and closes the stores.
    pub async fn stop(&self) {
        self.may_vote.store(false, Ordering::SeqCst);
        let Some(running) = self.take_running() else {
            return;
        };
        if let Err(error) = running.raft.shutdown().await {
            tracing::warn!(%error, "raft did not end in order");
        }
        if let Err(error) = running.log.write_aside().await {
            tracing::warn!(%error, "what was seen of peers since the last write is not written down");
        }
        let applied = *running.progress.applied.borrow();
        self.reached.fetch_max(applied, Ordering::SeqCst);
        // What is open then could not be opened again.
        match running.unseen.show().await {
            Ok(()) => self.unshown.store(false, Ordering::SeqCst),
            Err(error) => {
                tracing::warn!(%error, "what was applied last could not be committed; the log has it");
            }
        }
    }

    /// Ends the instance's turn.
    fn take_running(&self) -> Option<Running<R>> {
        let mut running = self.running();
        if running.is_some() {
            // Before anybody finds nothing running.
            self.unshown.store(true, Ordering::SeqCst);
            self.turns.fetch_add(1, Ordering::SeqCst);
        }
        running.take()
    }

    /// Closes what reads, and waits for whatever else is open: a request, a snapshot that is sent or received. What has not
    /// ended in the time of a request is left to whoever opens the stores next, who is refused.
    async fn release(&self) {
        *self.readers.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let deadline = R::now() + self.timing.request_timeout();
        let is_open = || {
            LAYOUTS
                .iter()
                .any(|layout| self.place.open_connections(layout) > 0)
        };
        while is_open() && R::now() < deadline {
            R::sleep(self.timing.heartbeat() / 4).await;
        }
    }

    /// Makes this node the one voter of a new cluster.
    ///
    /// # Errors
    /// When Raft refuses, for instance because it is initialised already.
    pub async fn initialize(&self) -> Result<(), StartError> {
        let raft = self
            .raft()
            .ok_or_else(|| StartError::Raft("it does not run".to_owned()))?;
        let only = BTreeMap::from([(self.peers.identity().node, EmptyNode {})]);
        raft.initialize(only)
            .await
            .map_err(|error| StartError::Raft(error.to_string()))
    }

    /// Compares this node's memory with that of its peers and lets it vote once enough of them have answered: the rule of
    /// `marks.rs`. Gives up at `deadline`; then it still may not vote, and this is to be called again.
    ///
    /// All peers are asked, or have asked this node and told it by the way, and each may find it forgetful. When all voters
    /// have said it, that is all there is to know. A single dead one must not hold up every restart for ever:
    /// [`Replica::memory_patience`] after a majority of the voters, this node among them, has said it, it does without the
    /// others. Without a majority nothing could be decided anyway. A node that votes alone has nobody to wait for.
    ///
    /// # Errors
    /// [`StartError::Forgotten`] when a peer remembers more than this node holds.
    pub async fn compare_memory(&self, deadline: Instant) -> Result<(), StartError> {
        let (mut answered, mut enough_since) = (BTreeSet::new(), None);
        while !self.may_vote() {
            let held = self.with(|running| (running.log.vote(), running.log.last()));
            let Some((vote, last)) = held else {
                return Ok(());
            };
            let began = R::now();
            let others = self.peers.others();
            let asked = join_all(others.iter().map(|node| self.memory_of(*node))).await;
            let memories: BTreeMap<NodeId, Mark> = asked.into_iter().flatten().collect();
            for (&peer, &remembered) in &memories {
                if has_forgotten(vote.as_ref(), last.as_ref(), remembered) {
                    R::observe(|| Event::Recovered {
                        path: "memory compared and found older",
                    });
                    return Err(StartError::Forgotten { peer, remembered });
                }
            }
            answered.extend(memories.into_keys());
            answered.insert(self.peers.identity().node);
            let voters = self.peers.tls().view().get().voters();
            if enough_remember(&voters, &answered) {
                enough_since.get_or_insert(began);
            }
            let waited =
                enough_since.is_some_and(|since| R::now() - since >= self.memory_patience());
            if waited || (enough_since.is_some() && voters.is_subset(&answered)) {
                self.let_vote();
            } else if R::now() >= deadline {
                return Ok(());
            } else {
                // A refused connection is an answer within no time at all.
                R::sleep((began + self.timing.election().0) - R::now()).await;
            }
        }
        Ok(())
    }

    /// How long a node waits for the last voters to say what they remember of it.
    #[must_use]
    pub fn memory_patience(&self) -> Duration {
        self.timing.election().1 * 4
    }

    /// What a peer last saw of this node, if it keeps a log and has said so or answers.
    async fn memory_of(&self, node: NodeId) -> Option<(NodeId, Mark)> {
        if let Some(mark) = self.told_by(node).await {
            return Some((node, mark));
        }
        let answer = self.ask_memory(node).await?;
        Some((node, convert::mark_in(answer.term, answer.last)))
    }

    /// What a peer said by itself. Of two nodes that start at once the one with the smaller id asks, and the other waits a
    /// moment for it: one connection instead of two.
    async fn told_by(&self, node: NodeId) -> Option<Mark> {
        let mut told = self.with(|running| running.told.subscribe())?;
        if node < self.peers.identity().node {
            let asked = told.wait_for(|told| told.contains_key(&node));
            let _ = timeout::<R, _>(self.timing.heartbeat(), asked).await;
        }
        let told = told.borrow();
        told.get(&node).copied()
    }

    /// Takes note of what `node`, which asks this one, remembers of it.
    pub fn note_told(&self, node: NodeId, mark: Mark) {
        self.with(|running| {
            let told = &running.told;
            told.send_if_modified(|told| told.insert(node, mark) != Some(mark));
        });
    }

    /// Whether this node has acknowledged entries to `leader` since that one leads; `None` when it does not answer.
    pub async fn is_counted_on(&self, leader: NodeId) -> Option<bool> {
        let answer = self.ask_memory(leader).await?;
        Some(answer.acknowledged.is_some())
    }

    async fn ask_memory(&self, node: NodeId) -> Option<peer::RecallResponse> {
        let limit = self.timing.election().1;
        let memory = self.recall(node).map(|mark| peer::Memory {
            term: mark.term,
            last: Some(convert::last_of(mark)),
        });
        let mut request = Request::new(peer::RecallRequest {
            route: Some(self.peers.identity().route(node)),
            memory,
        });
        request.set_timeout(limit);
        let mut client = self.peers.client(node);
        let answer = timeout::<R, _>(limit, client.recall(request)).await;
        Some(answer.ok()?.ok()?.into_inner())
    }

    /// Lets this node vote: its memory is what its peers remember, or it has none that anybody could.
    fn let_vote(&self) {
        self.may_vote.store(true, Ordering::SeqCst);
        self.let_elect();
    }

    /// Lets this node stand for election, if it may vote and its log reaches far enough.
    pub fn let_elect(&self) {
        let from = self.elects_from.load(Ordering::SeqCst);
        let reaches =
            |running: &Running<R>| running.log.last().map_or(0, |last| last.index) >= from;
        if self.may_vote()
            && self.with(reaches).unwrap_or_default()
            && let Some(raft) = self.raft()
        {
            raft.runtime_config().elect(true);
        }
    }

    /// This node's log says nothing of the present before it reaches `index`: until then it stands for no election.
    pub fn elects_from(&self, index: LogIndex) {
        self.elects_from.store(index.0, Ordering::SeqCst);
    }

    /// Where the stores are.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Ends Raft for good and closes all that reads the state: this node becomes a spare.
    pub async fn close(&self) {
        self.stop().await;
        self.release().await;
        self.set_trouble(None);
    }

    /// Forgets what `node` acknowledged: it has given its log up in order.
    pub fn forget(&self, node: NodeId) {
        self.with(|running| running.log.forget(node));
    }

    /// Room for a snapshot that arrives: for one at a time.
    ///
    /// # Errors
    /// When Raft does not run, or another snapshot is on its way.
    pub fn receive_snapshot(&self) -> io::Result<Incoming<R>> {
        let running = self
            .running()
            .clone()
            .ok_or_else(|| io::Error::other("raft does not run"))?;
        let slot = Arc::clone(&self.snapshot_slot).try_lock_owned();
        let slot = slot.map_err(|_| io::Error::other("another snapshot is being received"))?;
        Ok(Incoming::new(running.unseen, slot))
    }

    /// The membership that Raft uses, which may not be committed.
    #[must_use]
    pub fn membership(&self) -> Option<StoredMembership> {
        self.with(|running| {
            running
                .raft
                .metrics()
                .borrow()
                .membership_config
                .as_ref()
                .clone()
        })
    }

    /// One step of the configuration: these voters, these standbys, and `command` in the same log entry.
    ///
    /// The joint entry, when there is one, carries no command; so does nothing happen twice. The step is refused when the
    /// membership is not `expected` any more.
    ///
    /// # Errors
    /// With openraft's words; the outcome of a step that failed half way is found in the membership.
    pub async fn change_membership(
        &self,
        voters: BTreeSet<NodeId>,
        standbys: BTreeSet<NodeId>,
        command: Option<&store::Command>,
        expected: &StoredMembership,
    ) -> Result<(), String> {
        let raft = self.raft().ok_or("raft does not run")?;
        let nodes: BTreeMap<_, _> = voters
            .union(&standbys)
            .map(|node| (*node, EmptyNode {}))
            .collect();
        let present: BTreeSet<NodeId> = expected
            .membership()
            .nodes()
            .map(|(node, _)| *node)
            .collect();
        let gone: BTreeSet<NodeId> = present
            .difference(&voters.union(&standbys).copied().collect())
            .copied()
            .collect();
        let new: BTreeMap<_, _> = nodes
            .into_iter()
            .filter(|(node, _)| !present.contains(node))
            .collect();
        let mut changes = Vec::new();
        if !new.is_empty() {
            changes.push(ChangeMembers::AddNodes(new));
        }
        let was: BTreeSet<NodeId> = expected.membership().voter_ids().collect();
        if voters != was {
            changes.push(ChangeMembers::ReplaceAllVoters(voters));
        }
        let gone: BTreeSet<NodeId> = gone.into_iter().collect();
        let payload = Payload {
            command: command.map(|command| command.encode_to_vec().into()),
            membership: None,
        };
        if !gone.is_empty() {
            changes.push(ChangeMembers::RemoveNodes(gone));
        }
        let request = ChangeMembershipRequest::new(ChangeMembers::Batch(changes), true)
            .with_payload(Payload::default(), payload)
            .with_preconditions([Precondition::LastMembershipLogId {
                last_membership_log_id: *expected.log_id(),
            }]);
        match raft.change_membership_with_payload(request).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                Err("this node does not lead".to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Ends a joint configuration that somebody left: its last set votes from now on, and `command` writes that down.
    ///
    /// # Errors
    /// With openraft's words.
    pub async fn finish_joint(
        &self,
        command: &store::Command,
        expected: &StoredMembership,
    ) -> Result<(), String> {
        let raft = self.raft().ok_or("raft does not run")?;
        R::observe(|| Event::Recovered {
            path: "joint configuration finished",
        });
        let payload = Payload {
            command: Some(command.encode_to_vec().into()),
            membership: None,
        };
        let request =
            ChangeMembershipRequest::new(ChangeMembers::AddVoterIds(BTreeSet::new()), true)
                .with_payload(Payload::default(), payload)
                .with_preconditions([Precondition::LastMembershipLogId {
                    last_membership_log_id: *expected.log_id(),
                }]);
        raft.change_membership_with_payload(request)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Whether this node leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leader() == Some(self.peers.identity().node)
    }

    /// Voters that may take over at once: heard within two heartbeats and level with the log (T20).
    #[must_use]
    pub fn heirs(&self) -> Vec<NodeId> {
        let metrics = self.metrics();
        let candidates = metrics.map(|metrics| self.candidates(&metrics));
        let level = candidates.into_iter().flatten().filter(|(_, level)| *level);
        level.map(|(node, _)| node).collect()
    }

    /// The other voters that were heard within two heartbeats, and whether each is level with the log; none unless this node
    /// leads.
    fn candidates(&self, metrics: &Metrics<R>) -> Vec<(NodeId, bool)> {
        let (ServerState::Leader, Some(replication), Some(heartbeat)) =
            (metrics.state, &metrics.replication, &metrics.heartbeat)
        else {
            return Vec::new();
        };
        let me = self.peers.identity().node;
        let recent = |node: &NodeId| {
            let acked = heartbeat.get(node).copied().flatten();
            acked.is_some_and(|acked| since(&*acked) <= self.timing.heartbeat() * 2)
        };
        let level = |node: &NodeId| {
            replication.get(node).copied().flatten().map(|id| id.index) == metrics.last_log_index
        };
        let voters = metrics.membership_config.membership().voter_ids();
        voters
            .filter(|node| *node != me && recent(node))
            .map(|node| (node, level(&node)))
            .collect()
    }

    /// The term as this node knows it.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.with(|running| running.raft.metrics().borrow().current_term)
            .unwrap_or(0)
    }

    /// Waits until this run has applied again what an earlier one knew to be committed: a restarted state may be older
    /// than what it already showed (T21, T42).
    ///
    /// # Errors
    /// When that does not come about in the time of a request, for instance because the cluster has no quorum.
    pub async fn wait_recovered(&self) -> io::Result<()> {
        let waits = self.with(|running| {
            let reached = *running.progress.applied.borrow() >= running.recovered;
            (!reached).then(|| (running.recovered, running.progress.applied.clone()))
        });
        // While Raft is being started again, what was shown last is still there.
        let Some((recovered, mut applied)) = waits.flatten() else {
            return Ok(());
        };
        R::observe(|| Event::Recovered {
            path: "read waited for what was committed before",
        });
        let reached = applied.wait_for(|applied| *applied >= recovered);
        match timeout::<R, _>(self.timing.request_timeout(), reached).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(io::Error::other("what was committed is not applied yet")),
        }
    }

    /// Hands leadership to `to`, if it is a voter that may take over at once.
    ///
    /// # Errors
    /// etcd's: this node does not lead, or `to` may not.
    pub async fn move_leader(&self, to: NodeId) -> Result<(), EtcdError> {
        let me = self.peers.identity().node;
        if !self.leads() {
            return Err(EtcdError::NotLeader);
        }
        if to == me {
            return Ok(());
        }
        if !self.heirs().contains(&to) {
            return Err(EtcdError::BadLeaderTransferee);
        }
        let raft = self.raft().ok_or(EtcdError::Stopped)?;
        stumble!(R, "buggify/leadership.heir-chosen");
        raft.trigger()
            .transfer_leader(to)
            .await
            .map_err(|_| EtcdError::Stopped)?;
        let mut metrics = raft.metrics();
        let moved = metrics.wait_for(|metrics| metrics.current_leader == Some(to));
        match timeout::<R, _>(self.timing.request_timeout(), moved).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(EtcdError::Timeout),
        }
    }

    /// Hands leadership to a voter, as [`Replica::hand_over_to`] does.
    pub async fn hand_over(&self, limit: Duration) -> Option<NodeId> {
        self.hand_over_to(|_| true, limit).await
    }

    /// Hands leadership to a voter that `fits`, and answers which, once somebody else leads or `limit` is over. It has to be
    /// level with the log (T20), so nothing is added to that meanwhile: what clients want waits for the next leader. Without
    /// such a voter nothing is done: a transfer cannot be called off, and to a dead target it costs an election.
    pub async fn hand_over_to(
        &self,
        fits: impl Fn(NodeId) -> bool + Send,
        limit: Duration,
    ) -> Option<NodeId> {
        let raft = self.raft()?;
        let _pause = self.pause.begin();
        let heir = timeout::<R, _>(limit, self.heir(&raft, fits)).await;
        let heir = heir.ok().flatten()?;
        stumble!(R, "buggify/leadership.hand-over");
        raft.trigger().transfer_leader(heir).await.ok()?;
        let mut metrics = raft.metrics();
        let me = self.peers.identity().node;
        let changed =
            metrics.wait_for(|metrics| metrics.current_leader.is_some_and(|leader| leader != me));
        if matches!(timeout::<R, _>(limit, changed).await, Ok(Ok(_))) {
            R::observe(|| Event::Recovered {
                path: "leadership handed over",
            });
        }
        Some(heir)
    }

    /// Waits for one of those that fit to be level; none when there is none to wait for.
    async fn heir(&self, raft: &NodeRaft<R>, fits: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let mut metrics = raft.metrics();
        loop {
            let candidates = self.candidates(&metrics.borrow_and_update());
            let mut fitting = candidates
                .into_iter()
                .filter(|(node, _)| fits(*node))
                .peekable();
            fitting.peek()?;
            if let Some((heir, _)) = fitting.find(|(_, level)| *level) {
                return Some(heir);
            }
            metrics.changed().await.ok()?;
        }
    }

    /// Makes frozen views of the state and all that is applied to it, while it is open.
    ///
    /// # Errors
    /// When that cannot be committed.
    pub async fn snapshots(&self) -> Result<Option<Snapshots>, StateError> {
        self.show_applied().await?;
        let snapshots = self.with(|running| {
            running
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .snapshots()
        });
        Ok(snapshots)
    }

    /// The digest of everything replicated, and what it covers. Reads the whole state.
    ///
    /// # Errors
    /// When the state is not open or cannot be read.
    pub async fn digest(&self) -> io::Result<Digest> {
        let snapshots = self.snapshots().await.map_err(io::Error::other)?;
        let snapshots = snapshots.ok_or_else(|| io::Error::other("the state is not open"))?;
        R::blocking(move || snapshots.digest())
            .await
            .map_err(io::Error::other)
    }

    /// Deletes history that compaction took from readers, in small steps beside what goes on, until none is left.
    ///
    /// # Errors
    /// When the state is not open or cannot be written.
    pub async fn sweep(&self) -> io::Result<()> {
        loop {
            let Some(unseen) = self.with(|running| running.unseen.clone()) else {
                return Err(io::Error::other("the state is not open"));
            };
            let step = unseen.run(|state| state.compact_step(SWEEP));
            match step.await.map_err(io::Error::other)? {
                Sweep::Done => return Ok(()),
                // Let the writes that came meanwhile go first.
                Sweep::More => R::sleep(Duration::from_millis(1)).await,
                Sweep::Pinned => R::sleep(Duration::from_millis(500)).await,
            }
        }
    }

    /// Goes one step towards a log that is not longer than it should be, in bytes: has a snapshot named, or what the last one
    /// covers purged. Does nothing for a log that is short enough, nor waits for what it begins: it is called again.
    ///
    /// openraft postpones a purge while it sends what is to go to a follower.
    pub async fn shorten_log(&self, room: Room) {
        let Some((excess, raft)) = self
            .with(|running| Some((running.log.excess(room)?, running.raft.clone())))
            .flatten()
        else {
            return;
        };
        let cut = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow();
            let index = |id: Option<LogId>| id.map(|id| id.index);
            cut(
                Some(excess),
                index(metrics.last_applied),
                index(metrics.snapshot),
                index(metrics.purged),
            )
        };
        // An instance that has ended has nothing to shorten.
        if let Some(upto) = cut.purge {
            tracing::debug!(upto, "the log has many bytes: its beginning is purged");
            drop(raft.trigger().purge_log(upto).await);
        }
        if cut.snapshot {
            drop(raft.trigger().snapshot().await);
        }
    }

    /// The bytes of the log's entries, nearly, while Raft runs.
    #[must_use]
    pub fn log_bytes(&self) -> Option<u64> {
        self.with(|running| running.log.bytes())
    }

    /// How this node is.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn report(&self) -> io::Result<peer::ReportResponse> {
        let mut report = peer::ReportResponse {
            node: self.peers.identity().node.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trouble: self.trouble().unwrap_or_default(),
            disk_full: self.is_full(),
            compares_memory: self.raft().is_some() && !self.may_vote(),
            wall_ms: R::wall().millis(),
            ..peer::ReportResponse::default()
        };
        let Some(running) = self.running().clone() else {
            return Ok(report);
        };
        {
            let metrics = running.raft.metrics();
            let metrics = metrics.borrow();
            report.term = metrics.current_term;
            report.leader = metrics.current_leader.map_or(0, |leader| leader.0);
            report.applied = metrics.last_applied.as_ref().map(convert::log_id_out);
        }
        report.last = running.log.last().as_ref().map(|id| store::LogId {
            term: term_of(id),
            index: id.index,
        });
        report.last_sync_micros =
            u64::try_from(running.log.last_sync().as_micros()).unwrap_or(u64::MAX);
        let readers = self.readers().await.map_err(io::Error::other)?;
        let Some(readers) = readers else {
            return Ok(report);
        };
        let figures = R::blocking(move || {
            readers.with(|reader| Ok::<_, StateError>((reader.revisions()?, reader.size()?)))
        });
        let (revisions, (bytes, in_use)) = figures.await.map_err(io::Error::other)?;
        report.revision = revisions.current.0;
        report.compacted = revisions.compacted.0;
        report.database_bytes = bytes;
        report.database_bytes_in_use = in_use;
        Ok(report)
    }
}

/// Whether the log goes on where the state ends. The log is purged only up to what the state has made durable, so that a state
/// which ends before has lost something, and applying the log to it would pass over what lies between.
fn check_follows(purged: u64, state: &State) -> Result<(), StateError> {
    let applied = state.applied().log_id.map_or(0, |id| id.index);
    if applied >= purged {
        return Ok(());
    }
    Err(StateError::Damaged(format!(
        "it ends with entry {applied}, and the log begins behind entry {purged}"
    )))
}

/// What is wrong with the log or the state when a start cannot apply one to the other.
fn not_applied(error: io::Error) -> StartError {
    match error.downcast::<StateError>() {
        Ok(error) => StartError::State(error),
        Err(error) => StartError::Raft(error.to_string()),
    }
}

/// Makes certain what will be found when the stores are opened, and answers the bytes of the state's write-ahead log.
fn settle<R: Runtime>(place: &Place) -> Result<usize, DatabaseError> {
    let disk = R::disk();
    place.settle(&disk, &super::journal::LAYOUT)?;
    let unmoved = place.settle(&disk, &crate::state::LAYOUT)?;
    Ok(usize::try_from(unmoved).unwrap_or(usize::MAX))
}

fn since<R: Runtime>(acked: &super::runtime::RaftInstant<R>) -> Duration {
    <super::runtime::RaftInstant<R> as openraft_rt::Instant>::now() - *acked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_that_begins_behind_the_state_is_not_applied_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path(), None);
        let state = State::open(&place, Missing::Create).unwrap();
        assert!(check_follows(0, &state).is_ok());
        let refused = check_follows(3, &state).unwrap_err().to_string();
        assert!(refused.contains("behind entry 3"), "{refused}");
    }
}
