//! openraft's state machine: an adapter onto [`State`], which knows nothing of Raft.
//!
//! The order of things, as durability demands it:
//!
//! 1. Entries come in a stream; they are gathered into batches of bounded size.
//! 2. A batch waits until this node's own log has it on disk: openraft applies what a majority has, and a state that is
//!    ahead of its own log could not be explained after a crash (T41).
//! 3. One SQLite transaction applies the batch, with the applied id in it, on the state's own worker.
//! 4. After COMMIT the answers go out, and readers learn that they may see it (T22).
//!
//! That transaction is not synced. What makes the state durable is a *durable point*: a commit under FULL, made when
//! openraft asks for a snapshot. The snapshot *is* that point; nothing is copied until a follower needs the bytes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, TryStreamExt as _};
use openraft::OptionalSend;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};

use super::convert;
use super::log::Log;
use super::snapshot::Content;
use super::telling;
use super::types::{Entry, LogId, Snapshot, SnapshotMeta, StoredMembership, Types, term_of};
use crate::database::{Opened, Place, checkpoint};
use crate::proto::store;
use crate::runtime::buggify::stumble;
use crate::runtime::{Event, Runtime, Worker, watch};
use crate::state::{Applied, Durability, LAYOUT, Response, Snapshots, State, StateError, decode};

/// A transaction takes at most so many entries,
const BATCH_ENTRIES: usize = 1024;
/// The write-ahead log is moved into the database after so many bytes of commands.
const CHECKPOINT_BYTES: usize = 4 << 20;
/// and at most so many bytes of commands.
const BATCH_BYTES: usize = 4 << 20;

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
    worker: R::Worker,
    log: Log<R>,
    snapshots: Snapshots,
    /// The last durable point: what openraft is told is the snapshot (T40).
    point: Arc<Mutex<Applied>>,
    cleaner: R::Worker,
    checkpointer: Arc<Mutex<Opened>>,
    /// Bytes of commands applied since the write-ahead log was last moved into the database.
    unmoved: usize,
    applied: watch::Sender<u64>,
    cluster_changes: watch::Sender<u64>,
}

impl<R: Runtime> Machine<R> {
    /// Adapts `state`, which was made durable, so that what it says it applied cannot be lost any more (T38).
    ///
    /// # Errors
    /// When the connection that moves the write-ahead log cannot be opened.
    pub fn new(
        state: Arc<Mutex<State>>,
        worker: R::Worker,
        log: Log<R>,
        place: &Place,
    ) -> Result<(Self, Progress), StateError> {
        let (point, snapshots) = {
            let state = lock(&state);
            (state.applied(), state.snapshots())
        };
        let (applied, applied_seen) = watch::channel(point.log_id.map_or(0, |id| id.index));
        let (cluster_changes, cluster_seen) = watch::channel(0);
        let machine = Self {
            state,
            worker,
            log,
            snapshots,
            point: Arc::new(Mutex::new(point)),
            cleaner: R::worker("state-checkpoint"),
            checkpointer: Arc::new(Mutex::new(place.checkpointer(&LAYOUT)?)),
            // What an earlier run left unmoved is moved with the first batch.
            unmoved: CHECKPOINT_BYTES,
            applied,
            cluster_changes,
        };
        let progress = Progress {
            applied: applied_seen,
            cluster_changes: cluster_seen,
        };
        Ok((machine, progress))
    }

    /// Moves the write-ahead log into the database when it has grown, beside what goes on.
    fn clean_up(&mut self, bytes: usize) {
        self.unmoved += bytes;
        if self.unmoved < CHECKPOINT_BYTES {
            return;
        }
        self.unmoved = 0;
        let (cleaner, checkpointer) = (self.cleaner.clone(), Arc::clone(&self.checkpointer));
        drop(R::spawn(async move {
            let moved = cleaner.run(move || checkpoint(&lock(&checkpointer)));
            if let Err(error) = moved.await {
                // The next batch or durable point is refused, which ends this instance.
                tracing::warn!(%error, "the state's write-ahead file could not be moved into the database");
            }
        }));
    }

    async fn apply_batch(
        &mut self,
        batch: Vec<(Entry, Option<ApplyResponder<Types<R>>>)>,
    ) -> io::Result<()> {
        let Some(last) = batch.last().map(|(entry, _)| entry.log_id) else {
            return Ok(());
        };
        self.log.wait_durable(last.index).await?;
        let bytes = batch.iter().map(|(entry, _)| entry.payload.weight()).sum();
        let (entries, responders): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let state = Arc::clone(&self.state);
        stumble!(R, "buggify/apply.begun");
        let applied = self
            .worker
            .run(move || apply_all::<R>(&mut lock(&state), &entries))
            .await
            .map_err(io::Error::other)?;
        for event in applied.told {
            R::observe(|| event);
        }
        R::observe(|| Event::Applied {
            last: (term_of(&last), last.index),
            revision: applied.revision,
        });
        stumble!(R, "buggify/apply.committed");
        for (responder, response) in responders.into_iter().zip(applied.responses) {
            if let Some(responder) = responder {
                responder.send(response);
            }
        }
        self.clean_up(bytes);
        // Nobody listening is fine, here and below.
        let _ = self.applied.send(last.index);
        if applied.about_the_cluster {
            self.cluster_changes.send_if_modified(|changes| {
                *changes += 1;
                true
            });
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one transaction did.
struct AppliedBatch {
    responses: Vec<Response>,
    revision: i64,
    about_the_cluster: bool,
    /// What a simulator is told of it; nothing in production.
    told: Vec<Event>,
}

fn apply_all<R: Runtime>(state: &mut State, entries: &[Entry]) -> Result<AppliedBatch, StateError> {
    let mut batch = state.begin()?;
    let mut responses = Vec::with_capacity(entries.len());
    let mut about_the_cluster = false;
    let mut told = Vec::new();
    for entry in entries {
        let id = convert::log_id_out(&entry.log_id);
        let command = entry
            .payload
            .command
            .clone()
            .map(|bytes| decode(id, bytes))
            .transpose()?;
        let membership = entry
            .payload
            .membership
            .as_ref()
            .map(convert::membership_out);
        about_the_cluster |= membership.is_some()
            || command
                .as_ref()
                .is_some_and(|c| c.target() == store::Target::System);
        let response = batch.apply(id, command.as_ref(), membership.as_ref())?;
        if R::OBSERVED {
            told.extend(telling::of_entry(
                id,
                command.as_ref(),
                membership.as_ref(),
                &response,
            ));
        }
        responses.push(response);
    }
    batch.commit(Durability::Lazy)?;
    if R::OBSERVED {
        told.extend(telling::of_state(state, about_the_cluster));
    }
    Ok(AppliedBatch {
        responses,
        revision: state.revision().0,
        about_the_cluster,
        told,
    })
}

/// Replaces `state` by what another one holds.
fn copy(other: &Snapshots, state: &mut State) -> Result<Applied, StateError> {
    let mut reader = other.open()?;
    while let Some(chunk) = reader.next_chunk()? {
        state.stage(&chunk)?;
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
    state: Arc<Mutex<State>>,
    worker: R::Worker,
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
        let state = Arc::clone(&self.state);
        let durable = self
            .worker
            .run(move || durable_point(&mut lock(&state)))
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
            state: Arc::clone(&self.state),
            worker: self.worker.clone(),
            snapshots: self.snapshots.clone(),
            point: Arc::clone(&self.point),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        content: Content,
    ) -> Result<(), io::Error> {
        let state = Arc::clone(&self.state);
        stumble!(R, "buggify/snapshot.received");
        let installed = match content {
            Content::Staged(slot) => {
                let installed = self.worker.run(move || lock(&state).install()).await;
                drop(slot);
                installed
            }
            // Another state in this process: the same messages, without a network between.
            Content::Here(other) => {
                self.worker
                    .run(move || copy(&other, &mut lock(&state)))
                    .await
            }
        };
        let installed = installed.map_err(io::Error::other)?;
        stumble!(R, "buggify/snapshot.installed");
        *lock(&self.point) = installed;
        let last = meta.last_log_id;
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

    use super::*;
    use crate::database::Missing;
    use crate::ids::NodeId;
    use crate::runtime::tokio::TokioRuntime;

    type Real = Types<TokioRuntime>;

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
            let (machine, _) = Machine::new(state, worker, log.clone(), &place).unwrap();
            Ok((directory, log, machine))
        }
    }

    /// openraft's own suite for what it expects of a log store and a state machine.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn stores_are_what_openraft_expects() {
        Suite::test_all(Fresh).await.unwrap();
    }
}
