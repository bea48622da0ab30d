//! openraft's state machine: an adapter onto [`State`], which knows nothing of Raft.
//!
//! The order of things, as durability demands it:
//!
//! 1. Entries come in a stream; they are gathered into batches of bounded size.
//! 2. A batch waits until this node's own log has it on disk: openraft applies what a majority has, and a state that is
//!    ahead of its own log could not be explained after a crash (T41).
//! 3. The batch is applied on the state's own worker, in a SQLite transaction that several batches share; the applied id is
//!    in it.
//! 4. The answers go out, and a batch ends where they have become many bytes. Where nobody waits for one, as on a follower,
//!    nothing is read for it. Whoever reads has the transaction committed first (see `unseen`).
//!
//! Those transactions are not synced. What makes the state durable is a *durable point*: a commit under FULL, made when
//! openraft asks for a snapshot. The snapshot *is* that point; nothing is copied until a follower needs the bytes.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, TryStreamExt as _};
use openraft::OptionalSend;
use openraft::storage::{
    ApplyResponder, EntryResponder, RaftLogReader as _, RaftSnapshotBuilder, RaftStateMachine,
};

use super::convert;
use super::log::Log;
use super::snapshot::Content;
use super::telling;
use super::types::{Entry, LogId, Snapshot, SnapshotMeta, StoredMembership, Types, term_of};
use super::unseen::Unseen;
use crate::database::{Checkpointer, Place};
use crate::proto::store;
use crate::runtime::buggify::stumble;
use crate::runtime::{Disk as _, Event, Runtime, Worker, watch};
use crate::state::{
    Applied, Durability, LAYOUT, Response, Snapshots, State, StateError, check, decode, is_brief,
};

/// A transaction takes at most so many entries,
const BATCH_ENTRIES: usize = 1024;
/// What was committed before the start is applied in steps of so many entries, as openraft's own are.
const CATCH_UP_ENTRIES: u64 = 64;
/// The write-ahead log is moved into the database after so many bytes of commands.
const CHECKPOINT_BYTES: usize = 8 << 20;
/// and at most so many bytes of commands.
const BATCH_BYTES: usize = 4 << 20;
/// A batch ends where its answers have so many bytes. The answer to a single entry may be larger.
const ANSWER_BYTES: usize = 16 << 20;
/// Batches are committed together until they have so many bytes of commands: most of their pages fit the writer's cache then.
const HELD_BYTES: usize = 4 << 20;
/// Nothing is held with less room on the disk than this.
const HELD_ROOM: u64 = 64 << 20;
/// A batch of few entries
const BRIEF_ENTRIES: usize = 16;
/// and bytes is applied where it came: on the task, and so the thread, that everything else of the node runs on.
const BRIEF_BYTES: usize = 64 << 10;

/// What the rest of the node learns from applying.
#[derive(Clone)]
pub struct Progress {
    /// The index up to which entries are applied and visible.
    pub applied: watch::Receiver<u64>,
    /// Counts changes of the tables about the cluster itself: members, tokens.
    pub cluster_changes: watch::Receiver<u64>,
}

/// The state of a node under openraft's trait.
pub struct Machine<R: Runtime> {
    state: Arc<Mutex<State>>,
    unseen: Unseen<R>,
    /// Where the state is.
    directory: PathBuf,
    log: Log<R>,
    snapshots: Snapshots,
    /// The last durable point: what openraft is told is the snapshot (T40).
    point: Arc<Mutex<Applied>>,
    cleaner: R::Worker,
    checkpointer: Arc<Mutex<Checkpointer>>,
    /// Bytes of commands applied since the write-ahead log was last moved into the database, and of what an earlier run left.
    unmoved: usize,
    applied: watch::Sender<u64>,
    cluster_changes: watch::Sender<u64>,
}

impl<R: Runtime> Machine<R> {
    /// Adapts `state`, which was made durable, so that what it says it applied cannot be lost any more (T38); of an earlier
    /// run its write-ahead log has `unmoved` bytes.
    pub fn new(
        state: Arc<Mutex<State>>,
        unseen: Unseen<R>,
        log: Log<R>,
        place: &Place,
        unmoved: usize,
    ) -> (Self, Progress) {
        let (point, snapshots) = {
            let state = lock(&state);
            (state.applied(), state.snapshots())
        };
        let (applied, applied_seen) = watch::channel(point.log_id.map_or(0, |id| id.index));
        let (cluster_changes, cluster_seen) = watch::channel(0);
        let machine = Self {
            state,
            unseen,
            directory: place.directory().to_owned(),
            log,
            snapshots,
            point: Arc::new(Mutex::new(point)),
            cleaner: R::worker("state-checkpoint"),
            checkpointer: Arc::new(Mutex::new(Checkpointer::new(place, &LAYOUT))),
            unmoved,
            applied,
            cluster_changes,
        };
        let progress = Progress {
            applied: applied_seen,
            cluster_changes: cluster_seen,
        };
        (machine, progress)
    }

    /// Applies what an earlier run knew to be committed. openraft would do so at its start, but reads as many entries at once
    /// whatever their size; it finds nothing left to do. What the log holds beyond is looked at, so that nobody stands for
    /// election who could not apply it (T17).
    ///
    /// # Errors
    /// When the log cannot be read, or an entry not be applied, now or later.
    pub async fn catch_up(&mut self) -> io::Result<()> {
        let mut log = self.log.clone();
        let committed = self.log.committed().map_or(0, |id| id.index + 1);
        let mut next = lock(&self.state)
            .applied()
            .log_id
            .map_or(0, |id| id.index + 1);
        while next < committed {
            let end = committed.min(next + CATCH_UP_ENTRIES);
            let entries = log.entries_stream(next..end).await;
            self.apply(entries.map_ok(|entry| (entry, None))).await?;
            next = end;
        }
        let end = self.log.last().map_or(0, |id| id.index + 1);
        let mut rest = pin!(log.entries_stream(next..end).await);
        while let Some(entry) = rest.try_next().await? {
            check_known(&entry).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Moves the write-ahead log into the database when it has grown, beside what goes on; then the rest, which came
    /// meanwhile, while nobody writes. SQLite starts the file over only if a transaction begins with everything moved, and
    /// under load one is open nearly always.
    fn clean_up(&mut self, bytes: usize) {
        self.unmoved = self.unmoved.saturating_add(bytes);
        if self.unmoved < CHECKPOINT_BYTES {
            return;
        }
        self.unmoved = 0;
        let (cleaner, checkpointer) = (self.cleaner.clone(), Arc::clone(&self.checkpointer));
        let unseen = self.unseen.clone();
        drop(R::spawn(async move {
            let for_the_rest = Arc::clone(&checkpointer);
            let moved = match cleaner.run(move || lock(&checkpointer).run()).await {
                Ok(_) => {
                    unseen
                        .run(move |state| move_the_rest(state, &mut lock(&for_the_rest)))
                        .await
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = moved {
                // The next batch or durable point is refused, which ends this instance.
                tracing::warn!(%error, "the state's write-ahead file could not be moved into the database");
            }
        }));
    }

    /// Whether a transaction that is begun now can be expected to find room when it is committed: on a disk that is nearly
    /// full what clients were told would otherwise be readable only after there is room again.
    fn has_room(&self) -> bool {
        R::disk()
            .free_bytes(&self.directory)
            .is_ok_and(|free| free >= HELD_ROOM)
    }

    async fn apply_batch(
        &mut self,
        batch: Vec<(Entry, Option<ApplyResponder<Types<R>>>)>,
    ) -> io::Result<()> {
        let Some(last) = batch.last().map(|(entry, _)| entry.log_id) else {
            return Ok(());
        };
        self.log.wait_durable(last.index).await?;
        stumble!(R, "buggify/apply.begun");
        let decoded = Decoded::new(&batch).map_err(io::Error::other)?;
        let brief = decoded.is_brief();
        let mut responders = batch.into_iter().map(|(_, responder)| responder);
        let mut rest = Some(decoded);
        while let Some(part) = rest.take() {
            let may_hold = self.unseen.is_holding() || self.has_room();
            let apply = move |state: &mut State| part.apply::<R>(state, may_hold);
            let applied = if brief {
                self.unseen.run_brief(apply).await
            } else {
                self.unseen.run(apply).await
            };
            let applied = applied.map_err(io::Error::other)?;
            for event in applied.told {
                R::observe(|| event);
            }
            let last = applied.last;
            R::observe(|| Event::Applied {
                last: (last.term, last.index),
                revision: applied.revision,
            });
            stumble!(R, "buggify/apply.committed");
            for (answer, responder) in applied.answers.into_iter().zip(&mut responders) {
                if let (Some(answer), Some(responder)) = (answer, responder) {
                    responder.send(answer);
                }
            }
            self.clean_up(applied.bytes);
            // Nobody listening is fine, here and below.
            let _ = self.applied.send(last.index);
            if applied.about_the_cluster {
                self.cluster_changes.send_if_modified(|changes| {
                    *changes += 1;
                    true
                });
            }
            rest = applied.rest;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one transaction did.
struct AppliedBatch {
    /// For each of the entries that it took, if somebody waits for it.
    answers: Vec<Option<Response>>,
    /// The last of those entries,
    last: store::LogId,
    /// and the bytes of their commands.
    bytes: usize,
    /// The entries behind it.
    rest: Option<Decoded>,
    revision: i64,
    about_the_cluster: bool,
    /// What a simulator is told of it; nothing in production.
    told: Vec<Event>,
}

fn move_the_rest(state: &mut State, checkpointer: &mut Checkpointer) -> Result<(), StateError> {
    state.commit_held()?;
    checkpointer.run()?;
    Ok(())
}

/// Entries as the state takes them.
struct Decoded {
    entries: VecDeque<DecodedEntry>,
}

struct DecodedEntry {
    id: store::LogId,
    command: Option<store::Command>,
    membership: Option<store::Membership>,
    bytes: usize,
    /// Whether somebody waits for its answer.
    heard: bool,
}

impl Decoded {
    fn new<T>(entries: &[(Entry, Option<T>)]) -> Result<Self, StateError> {
        let decoded = entries.iter().map(|(entry, responder)| {
            let id = convert::log_id_out(&entry.log_id);
            let command = entry.payload.command.clone();
            let membership = entry.payload.membership.as_ref();
            Ok(DecodedEntry {
                id,
                command: command.map(|bytes| decode(id, bytes)).transpose()?,
                membership: membership.map(convert::membership_out),
                bytes: entry.payload.weight(),
                heard: responder.is_some(),
            })
        });
        Ok(Self {
            entries: decoded.collect::<Result<_, StateError>>()?,
        })
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    fn is_brief(&self) -> bool {
        let brief = |command: &Option<store::Command>| command.as_ref().is_none_or(is_brief);
        self.entries.len() <= BRIEF_ENTRIES
            && self.bytes() <= BRIEF_BYTES
            && self
                .entries
                .iter()
                .all(|entry| brief(&entry.command) && entry.membership.is_none())
    }

    /// Applies the entries, or the first of them when their answers are large.
    fn apply<R: Runtime>(
        mut self,
        state: &mut State,
        may_hold: bool,
    ) -> Result<AppliedBatch, StateError> {
        // A simulator compares states by what readers see.
        let compared = R::OBSERVED
            && self
                .entries
                .back()
                .is_some_and(|entry| telling::is_compared(entry.id.index));
        let enough = state.held_weight() + self.bytes() >= HELD_BYTES;
        let mut batch = state.begin()?;
        let mut answers = Vec::with_capacity(self.entries.len());
        let (mut answered, mut bytes, mut last) = (0, 0, store::LogId::default());
        let (mut about_the_cluster, mut told) = (false, Vec::new());
        while answered < ANSWER_BYTES
            && let Some(entry) = self.entries.pop_front()
        {
            let (command, membership) = (entry.command.as_ref(), entry.membership.as_ref());
            about_the_cluster |= membership.is_some()
                || command.is_some_and(|command| command.target() == store::Target::System);
            let response = if entry.heard {
                batch.apply(entry.id, command, membership)?
            } else {
                batch.apply_unheard(entry.id, command, membership)?
            };
            if R::OBSERVED {
                told.extend(telling::of_entry(entry.id, command, membership, &response));
            }
            let answer = entry.heard.then_some(response);
            answered += answer.as_ref().map_or(0, Response::weight);
            answers.push(answer);
            bytes += entry.bytes;
            last = entry.id;
        }
        let whole = self.entries.is_empty();
        if may_hold && !enough && !compared {
            batch.hold(bytes)?;
        } else {
            batch.commit(Durability::Lazy)?;
        }
        if R::OBSERVED {
            told.extend(telling::of_state(state, about_the_cluster));
        }
        Ok(AppliedBatch {
            answers,
            last,
            bytes,
            rest: (!whole).then_some(self),
            revision: state.revision().0,
            about_the_cluster,
            told,
        })
    }
}

/// Whether this version can apply an entry (T17).
///
/// # Errors
/// [`StateError::UnknownCommand`].
pub fn check_known(entry: &Entry) -> Result<(), StateError> {
    match &entry.payload.command {
        Some(command) => check(convert::log_id_out(&entry.log_id), command),
        None => Ok(()),
    }
}

/// Replaces `state` by what another one holds.
fn copy(other: &Snapshots, state: &mut State) -> Result<Applied, StateError> {
    let mut reader = other.open()?;
    while let Some(message) = reader.next_message()? {
        state.stage(&message)?;
    }
    state.install()
}

fn meta(applied: &Applied) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: applied.log_id.as_ref().map(convert::log_id_in),
        last_membership: convert::stored_membership_in(applied.membership.as_ref()),
    }
}

/// Makes a durable point.
pub struct Builder<R: Runtime> {
    unseen: Unseen<R>,
    snapshots: Snapshots,
    point: Arc<Mutex<Applied>>,
}

/// Everything applied is durable after this, and this is what it is.
fn durable_point(state: &mut State) -> Result<Applied, StateError> {
    state.make_durable()?;
    Ok(state.applied())
}

impl<R: Runtime> RaftSnapshotBuilder<Types<R>> for Builder<R> {
    type SnapshotData = Content;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let durable = self
            .unseen
            .run(durable_point)
            .await
            .map_err(io::Error::other)?;
        stumble!(R, "buggify/snapshot.durable");
        *lock(&self.point) = durable.clone();
        Ok(Snapshot {
            meta: meta(&durable),
            snapshot: Content::Here(self.snapshots.clone()),
        })
    }
}

impl<R: Runtime> RaftStateMachine<Types<R>> for Machine<R> {
    type SnapshotData = Content;
    type SnapshotBuilder = Builder<R>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let applied = lock(&self.state).applied();
        Ok((
            applied.log_id.as_ref().map(convert::log_id_in),
            convert::stored_membership_in(applied.membership.as_ref()),
        ))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types<R>>, io::Error>> + Unpin + OptionalSend,
    {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some((entry, responder)) = entries.try_next().await? {
            bytes += entry.payload.weight();
            let compared = R::OBSERVED && telling::is_compared(entry.log_id.index);
            batch.push((entry, responder));
            if batch.len() >= BATCH_ENTRIES || bytes >= BATCH_BYTES || compared {
                self.apply_batch(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
        self.apply_batch(batch).await
    }

    async fn get_snapshot_builder(&mut self) -> Builder<R> {
        Builder {
            unseen: self.unseen.clone(),
            snapshots: self.snapshots.clone(),
            point: Arc::clone(&self.point),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        content: Content,
    ) -> Result<(), io::Error> {
        stumble!(R, "buggify/snapshot.received");
        let installed = match content {
            Content::Staged(slot) => {
                let installed = self.unseen.run(State::install).await;
                drop(slot);
                installed
            }
            // Another state in this process: the same messages, without a network between.
            Content::Here(other) => self.unseen.run(move |state| copy(&other, state)).await,
        };
        let installed = installed.map_err(io::Error::other)?;
        let last = meta.last_log_id;
        if installed.log_id != last.as_ref().map(convert::log_id_out) {
            // A start goes by what the state itself says.
            return Err(io::Error::other("a snapshot is not what its head says"));
        }
        stumble!(R, "buggify/snapshot.installed");
        *lock(&self.point) = installed;
        R::observe(|| Event::Installed {
            last: last.map_or((0, 0), |id| (term_of(&id), id.index)),
        });
        let _ = self.applied.send(last.map_or(0, |id| id.index));
        self.cluster_changes.send_if_modified(|changes| {
            *changes += 1;
            true
        });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let point = lock(&self.point).clone();
        let snapshot = |point| Snapshot {
            meta: meta(&point),
            snapshot: Content::Here(self.snapshots.clone()),
        };
        Ok(point.log_id.is_some().then(|| snapshot(point)))
    }
}

#[cfg(test)]
mod tests {
    use openraft::StorageError;
    use openraft::testing::log::{StoreBuilder, Suite};

    use prost::Message as _;

    use super::*;
    use crate::database::Missing;
    use crate::ids::NodeId;
    use crate::proto::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest, request_op};
    use crate::proto::store::command::Body;
    use crate::raft::journal::{self, Aside, Journal, Step};
    use crate::raft::types::{Payload, log_id};
    use crate::runtime::tokio::TokioRuntime;
    use crate::state::command;

    type Real = Types<TokioRuntime>;

    /// Applies the commands as of `index`, and answers how large the answers of each part were.
    fn in_parts(state: &mut State, index: u64, bodies: Vec<Body>, heard: bool) -> Vec<Vec<usize>> {
        let entry = |(index, body)| {
            let payload = Payload {
                command: Some(command(body).encode_to_vec().into()),
                membership: None,
            };
            let log_id = log_id(1, index);
            (Entry { log_id, payload }, heard.then_some(()))
        };
        let entries: Vec<_> = (index..).zip(bodies).map(entry).collect();
        let (mut rest, mut parts) = (Some(Decoded::new(&entries).unwrap()), Vec::new());
        while let Some(part) = rest.take() {
            let applied = part.apply::<TokioRuntime>(state, true).unwrap();
            let weights = applied.answers.iter();
            let weights = weights.map(|answer| answer.as_ref().map_or(0, Response::weight));
            parts.push(weights.collect());
            rest = applied.rest;
        }
        parts
    }

    /// The damage behind what is read first is met when that is applied: it was not read together with all the rest.
    #[tokio::test]
    async fn what_was_committed_before_is_read_in_pieces() {
        const LARGE: usize = 1 << 20;
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path(), None);
        let (mut journal, _) = Journal::open(&place, Missing::Create).unwrap();
        let entry = |index| {
            let put = Body::Put(PutRequest {
                key: b"key".to_vec().into(),
                value: vec![1; LARGE].into(),
                ..PutRequest::default()
            });
            let payload = Payload {
                command: Some(command(put).encode_to_vec().into()),
                membership: None,
            };
            let log_id = log_id(1, index);
            Entry { log_id, payload }
        };
        let aside = Aside {
            committed: Some(log_id(1, 18)),
            marks: vec![],
        };
        let entries: Vec<Entry> = (0..20).map(entry).collect();
        journal.write(&[Step::Append(entries)], &aside).unwrap();
        drop(journal);
        let log = Log::<TokioRuntime>::open(&place, Missing::Refuse, NodeId(1)).unwrap();
        let beside = rusqlite::Connection::open(place.path(journal::LAYOUT.file)).unwrap();
        let catch_up = async || {
            let state = Arc::new(Mutex::new(State::open(&place, Missing::Create).unwrap()));
            let unseen = Unseen::new(Arc::clone(&state), TokioRuntime::worker("state-writer"));
            let mut machine = Machine::new(Arc::clone(&state), unseen, log.clone(), &place, 0);
            let caught_up = machine.0.catch_up().await;
            let applied = lock(&state).applied().log_id.map(|id| id.index);
            (caught_up.map_err(|error| error.to_string()), applied)
        };
        let flip = "UPDATE entry SET checksum = 4294967295 - checksum WHERE idx = 15";
        assert_eq!(beside.execute(flip, []).unwrap(), 1);
        let (caught_up, applied) = catch_up().await;
        let damage = caught_up.unwrap_err();
        assert!(damage.contains("entry 15"), "{damage}");
        assert!(applied.is_some_and(|index| (3..15).contains(&index)));
        assert_eq!(beside.execute(flip, []).unwrap(), 1);
        while place.open_connections(&LAYOUT) > 0 {
            TokioRuntime::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(catch_up().await, (Ok(()), Some(18)));
    }

    #[test]
    fn a_batch_holds_few_bytes_of_answers_and_none_where_nobody_waits() {
        const LARGE: usize = 1 << 20;
        let put = |number: u64| PutRequest {
            key: vec![b'k', u8::try_from(number).unwrap()].into(),
            value: vec![1; LARGE].into(),
            ..PutRequest::default()
        };
        let everything = RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            ..RangeRequest::default()
        };
        let read_all = Body::Txn(TxnRequest {
            success: vec![RequestOp {
                request: Some(request_op::Request::RequestRange(everything.clone())),
            }],
            ..TxnRequest::default()
        });
        let read = |_| RequestOp {
            request: Some(request_op::Request::RequestRange(everything.clone())),
        };
        let write = RequestOp {
            request: Some(request_op::Request::RequestPut(put(9))),
        };
        let read_all_often = Body::Txn(TxnRequest {
            success: std::iter::once(write).chain((0..100).map(read)).collect(),
            ..TxnRequest::default()
        });
        let mut digests = Vec::new();
        for heard in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let place = Place::new(directory.path(), None);
            let mut state = State::open(&place, Missing::Create).unwrap();
            let puts = (1..5).map(put).map(Body::Put).collect();
            assert_eq!(in_parts(&mut state, 1, puts, heard).len(), 1);
            let parts = in_parts(&mut state, 5, vec![read_all.clone(); 10], heard);
            let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
            if heard {
                assert_eq!(lengths, [4, 4, 2]);
                assert!(parts.iter().flatten().all(|answer| *answer > 4 * LARGE));
            } else {
                assert_eq!(lengths, [10]);
                assert!(parts.iter().flatten().all(|answer| *answer == 0));
            }
            // What is too much to be told is done all the same.
            let weights = in_parts(&mut state, 15, vec![read_all_often.clone()], heard).concat();
            assert!(weights[0] < 1_000, "{weights:?}");
            assert_eq!(state.revision().0, 6);
            assert_eq!(state.applied().log_id.unwrap().index, 15);
            state.commit_held().unwrap();
            digests.push(state.snapshots().digest().unwrap());
        }
        assert_eq!(digests[0], digests[1]);
    }

    struct Fresh;

    impl StoreBuilder<Real, Log<TokioRuntime>, Machine<TokioRuntime>, tempfile::TempDir> for Fresh {
        async fn build(
            &self,
        ) -> Result<(tempfile::TempDir, Log<TokioRuntime>, Machine<TokioRuntime>), StorageError<Real>>
        {
            let directory = tempfile::tempdir().unwrap();
            let place = Place::new(directory.path(), None);
            let log = Log::open(&place, Missing::Create, NodeId(1)).unwrap();
            let state = Arc::new(Mutex::new(State::open(&place, Missing::Create).unwrap()));
            let worker = TokioRuntime::worker("state-writer");
            let unseen = Unseen::new(Arc::clone(&state), worker);
            let (machine, _) = Machine::new(state, unseen, log.clone(), &place, 0);
            Ok((directory, log, machine))
        }
    }

    /// openraft's own suite for what it expects of a log store and a state machine.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn stores_are_what_openraft_expects() {
        Suite::test_all(Fresh).await.unwrap();
    }
}
