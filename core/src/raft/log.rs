//! openraft's log store: one ordered queue, one transaction and one sync for all that waits in it.
//!
//! openraft pipelines: it appends about once for each write and goes on before the entries are durable. So `append` only
//! puts entries into memory, where readers find them at once, and into the queue. One task takes the whole queue, writes
//! it in one transaction on the worker, and completes the callbacks in order after the sync that covers them. While it
//! syncs, the next queue fills: that is the group commit, and it grows with the load by itself.
//!
//! The rules (numbers of the project's list of traps):
//! * Vote, append, truncate and purge are one serial order; vote and truncation are durable before they return (T9).
//! * The committed id and the marks of peers ride in a write that happens anyway; they never cause a sync (T7, T37).
//! * Reads hide rows behind the last id that the writer has yet to delete (T42).
//! * Any error is final for this Raft instance: the store refuses everything after it, and nothing is retried on pages
//!   whose sync failed (T9).

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::mem::take;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{Stream, try_unfold};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use prost::Message as _;
use tokio::sync::{Notify, oneshot};

use super::journal::{Aside, Contents, Journal, JournalReader, Mark, Step, checkpointer};
use super::length::{Length, Room};
use super::types::{Entry, LogId, Types, Vote, term_of};
use crate::database::{Checkpointer, DatabaseError, Missing, Place};
use crate::ids::NodeId;
use crate::runtime::buggify::stumble;
use crate::runtime::{Event, Instant, Runtime, Worker, watch};

/// At most so many bytes of entries are handed out in one read for replication, and read ahead of the state machine.
const READ_BYTES: usize = 1 << 20;
/// Durable entries stay in memory up to so many bytes, because followers that keep up read them next.
const TAIL_BYTES: usize = 4 << 20;
/// The committed id and the marks of peers are written down no more often than this.
const ASIDE_PERIOD: Duration = Duration::from_secs(1);
/// The write-ahead log is moved into the database after so many bytes of entries.
const CHECKPOINT_BYTES: usize = 2 << 20;

/// The log of a node. Clones share it; with the last one its writer ends, after what is queued.
pub struct Log<R: Runtime> {
    handle: Arc<Handle<R>>,
}

impl<R: Runtime> Clone for Log<R> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
        }
    }
}

struct Handle<R: Runtime> {
    shared: Arc<Shared<R>>,
}

impl<R: Runtime> Drop for Handle<R> {
    fn drop(&mut self) {
        self.shared.memory().closed = true;
        self.shared.queued.notify_one();
    }
}

struct Shared<R: Runtime> {
    me: NodeId,
    memory: Mutex<Memory<R>>,
    reader: Mutex<JournalReader>,
    queued: Notify,
    flushed: watch::Sender<()>,
    sync_micros: AtomicU64,
    unwritten: Arc<AtomicUsize>,
}

/// Counts appends: an index can come twice, after a truncation, a sequence number cannot.
type Sequence = u64;

struct Memory<R: Runtime> {
    /// Entries that are not durable yet, and durable ones up to [`TAIL_BYTES`], each with the append that brought it.
    tail: BTreeMap<u64, (Sequence, Entry)>,
    tail_bytes: usize,
    /// Of all entries, in memory or not.
    length: Length,
    vote: Option<Vote>,
    last: Option<LogId>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    marks: BTreeMap<NodeId, Mark>,
    aside: Aside,
    aside_due: Instant,
    queue: Vec<Job<R>>,
    sequence: Sequence,
    durable: Sequence,
    /// Why nothing can be written any more.
    broken: Option<String>,
    /// Nobody is left who could queue anything.
    closed: bool,
}

/// A step in the queue and whom to tell when it is durable.
enum Job<R: Runtime> {
    Append {
        sequence: Sequence,
        /// The term of the entry before them.
        after: u64,
        entries: Vec<Entry>,
        done: IOFlushed<Types<R>>,
    },
    Vote {
        vote: Vote,
        done: oneshot::Sender<io::Result<()>>,
    },
    Truncate {
        from: u64,
        done: oneshot::Sender<io::Result<()>>,
    },
    Purge {
        to: LogId,
    },
    /// Nothing but what rides along otherwise.
    Aside {
        done: oneshot::Sender<io::Result<()>>,
    },
}

impl<R: Runtime> Job<R> {
    fn step(&self) -> Option<Step> {
        Some(match self {
            Self::Append { entries, .. } => Step::Append(entries.clone()),
            Self::Vote { vote, .. } => Step::Vote(*vote),
            Self::Truncate { from, .. } => Step::TruncateFrom(*from),
            Self::Purge { to } => Step::PurgeTo(*to),
            Self::Aside { .. } => return None,
        })
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Append { entries, .. } => {
                entries.iter().map(|entry| entry.payload.weight()).sum()
            }
            _ => 0,
        }
    }

    fn event(&self) -> Option<Event> {
        Some(match self {
            Self::Append { after, entries, .. } => Event::LogFlushed {
                last: pair(&entries.last()?.log_id),
                after: *after,
                entries: entries
                    .iter()
                    .map(|entry| (term_of(&entry.log_id), checksum(entry)))
                    .collect(),
            },
            Self::Vote { vote, .. } => Event::VoteSaved {
                term: vote.leader_id.term,
                node: vote.leader_id.voted_for.0,
                committed: vote.committed,
            },
            Self::Truncate { .. } | Self::Aside { .. } => return None,
            Self::Purge { to } => Event::LogPurged { to: pair(to) },
        })
    }

    fn complete(self, outcome: io::Result<()>) {
        match self {
            Self::Append { done, .. } => done.io_completed(outcome),
            // Whoever asked may be gone with its Raft instance.
            Self::Vote { done, .. } | Self::Truncate { done, .. } | Self::Aside { done } => {
                drop(done.send(outcome));
            }
            Self::Purge { .. } => {}
        }
    }
}

/// Of all that an entry carries, for a simulator to compare.
fn checksum(entry: &Entry) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    if let Some(command) = &entry.payload.command {
        hasher.update(command);
    }
    if let Some(membership) = &entry.payload.membership {
        hasher.update(&super::convert::membership_out(membership).encode_to_vec());
    }
    hasher.finalize()
}

fn pair(id: &LogId) -> (u64, u64) {
    (term_of(id), id.index)
}

fn failed(reason: &str) -> io::Error {
    io::Error::other(format!("the log cannot be written: {reason}"))
}

impl<R: Runtime> Log<R> {
    /// Opens the log of the node `me` and starts its writer.
    ///
    /// # Errors
    /// When the database cannot be opened or is damaged.
    pub fn open(place: &Place, missing: Missing, me: NodeId) -> Result<Self, DatabaseError> {
        let (journal, contents) = Journal::open(place, missing)?;
        let reader = JournalReader::open(place)?;
        R::observe(|| Event::LogOpened {
            node: me.0,
            vote: contents.vote.map(|vote| {
                (
                    vote.leader_id.term,
                    vote.leader_id.voted_for.0,
                    vote.committed,
                )
            }),
            last: contents.last.as_ref().map(pair),
        });
        let shared = Arc::new(Shared {
            me,
            memory: Mutex::new(Memory::new(contents)),
            reader: Mutex::new(reader),
            queued: Notify::new(),
            flushed: watch::channel(()).0,
            sync_micros: AtomicU64::new(0),
            unwritten: Arc::default(),
        });
        drop(R::spawn(write_queue::<R>(
            Arc::clone(&shared),
            journal,
            checkpointer(place),
        )));
        Ok(Self {
            handle: Arc::new(Handle { shared }),
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory<R>> {
        self.handle.shared.memory()
    }

    /// The last log id.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.memory().last
    }

    /// The entry up to which the log was purged.
    #[must_use]
    pub fn purged(&self) -> Option<LogId> {
        self.memory().purged
    }

    /// The last entry that may go, if the log has more bytes than it should.
    #[must_use]
    pub fn excess(&self, room: Room) -> Option<u64> {
        self.memory().length.excess(room)
    }

    /// The bytes of its entries, nearly.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memory().length.bytes()
    }

    /// The last entry that is on the disk; none when it is not known which.
    #[must_use]
    pub fn durable(&self) -> Option<LogId> {
        self.memory().durable_end()
    }

    /// The last id known to be committed; it may be stale.
    #[must_use]
    pub fn committed(&self) -> Option<LogId> {
        self.memory().committed
    }

    /// The vote.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.memory().vote
    }

    /// How long the last write with its sync took.
    #[must_use]
    pub fn last_sync(&self) -> Duration {
        Duration::from_micros(self.handle.shared.sync_micros.load(Ordering::Relaxed))
    }

    /// How many bytes of entries wait for the disk, now and later: while it stands still, they pile up in memory.
    #[must_use]
    pub fn unwritten(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.handle.shared.unwritten)
    }

    /// Why nothing can be written, if so.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        self.memory().broken.clone()
    }

    /// What was last seen of `node`.
    #[must_use]
    pub fn mark(&self, node: NodeId) -> Option<Mark> {
        self.memory().marks.get(&node).copied()
    }

    /// Remembers that `node` acknowledged `mark`. Kept on disk with the next write.
    pub fn remember(&self, node: NodeId, mark: Mark) {
        let mut memory = self.memory();
        let known = memory.marks.entry(node).or_insert(mark);
        if *known <= mark {
            *known = mark;
            memory.aside.marks.retain(|(other, _)| *other != node);
            memory.aside.marks.push((node, mark));
        }
    }

    /// Forgets what `node` acknowledged: it has given its log up in order, and begins anew if it ever gets one again.
    pub fn forget(&self, node: NodeId) {
        let mut memory = self.memory();
        if memory.marks.remove(&node).is_some() {
            memory.aside.marks.retain(|(other, _)| *other != node);
            memory.aside.marks.push((node, Mark::default()));
        }
    }

    /// Waits for all that is queued, and writes down the committed id and what was seen of peers: in an orderly end nothing that
    /// was known is lost, or a peer that comes back with an older disk would be believed; and nothing is still being purged when
    /// the log is opened again.
    ///
    /// # Errors
    /// When the log cannot be written any more.
    pub async fn write_aside(&self) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.push(|memory| {
            memory.aside_due = Instant::default();
            Job::Aside { done }
        })?;
        answer.await.map_err(io::Error::other)?
    }

    /// Waits until the entry at `index`, which is in the log, is durable here. The state machine asks: nothing is applied
    /// that this node's own log could lose (T41).
    ///
    /// # Errors
    /// When the log cannot be written any more.
    pub async fn wait_durable(&self, index: u64) -> io::Result<()> {
        let mut flushed = self.handle.shared.flushed.subscribe();
        loop {
            {
                let memory = self.memory();
                if memory
                    .tail
                    .get(&index)
                    .is_none_or(|(sequence, _)| *sequence <= memory.durable)
                {
                    return Ok(());
                }
                if let Some(reason) = &memory.broken {
                    return Err(failed(reason));
                }
            }
            flushed
                .changed()
                .await
                .map_err(|watch::Closed| failed("its writer is gone"))?;
        }
    }

    fn push(&self, change: impl FnOnce(&mut Memory<R>) -> Job<R>) -> io::Result<()> {
        let mut memory = self.memory();
        if let Some(reason) = &memory.broken {
            return Err(failed(reason));
        }
        let job = change(&mut memory);
        let shared = &self.handle.shared;
        shared.unwritten.fetch_add(job.bytes(), Ordering::Relaxed);
        memory.queue.push(job);
        drop(memory);
        self.handle.shared.queued.notify_one();
        Ok(())
    }

    async fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let (from, to, tail) = self.memory().find(range, max_bytes);
        if from >= to {
            return Ok(tail);
        }
        let shared = Arc::clone(&self.handle.shared);
        let mut entries = R::blocking(move || {
            let reader = shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.read(from..to, max_bytes)
        })
        .await
        .map_err(io::Error::other)?;
        self.memory().check_begins(from..to, entries.first())?;
        // When the bound was met on disk, the tail does not follow what was read. A log that begins behind `from` has
        // nothing there.
        if entries
            .last()
            .is_none_or(|last| last.log_id.index + 1 == to)
        {
            entries.extend(tail);
        }
        Ok(entries)
    }
}

impl<R: Runtime> Shared<R> {
    fn memory(&self) -> MutexGuard<'_, Memory<R>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Runtime> Memory<R> {
    fn new(contents: Contents) -> Self {
        let first = contents.purged.map_or(0, |id| id.index + 1);
        let length = contents
            .last
            .map(|last| Length::found(first, last.index, contents.bytes));
        Self {
            tail: BTreeMap::new(),
            tail_bytes: 0,
            length: length.unwrap_or_default(),
            vote: contents.vote,
            last: contents.last,
            purged: contents.purged,
            committed: contents.committed,
            marks: contents.marks.into_iter().collect(),
            aside: Aside::default(),
            aside_due: Instant::default(),
            queue: Vec::new(),
            sequence: 0,
            durable: 0,
            broken: None,
            closed: false,
        }
    }

    /// What of `range` is in memory, and the part before it that must be read from disk.
    fn find(&self, range: Range<u64>, max_bytes: usize) -> (u64, u64, Vec<Entry>) {
        let from = range.start.max(self.purged.map_or(0, |id| id.index + 1));
        let end = range.end.min(self.last.map_or(0, |id| id.index + 1));
        if from >= end {
            return (from, from, Vec::new());
        }
        let mut bytes = 0;
        let in_memory = self.tail.range(from..end).map(|(_, (_, entry))| entry);
        let entries: Vec<Entry> = in_memory
            .take_while(|entry| {
                let fits = bytes == 0 || bytes < max_bytes;
                bytes += entry.payload.weight();
                fits
            })
            .cloned()
            .collect();
        (
            from,
            entries.first().map_or(end, |entry| entry.log_id.index),
            entries,
        )
    }

    fn durable_end(&self) -> Option<LogId> {
        let pending = self.tail.iter().rev();
        let pending = pending.take_while(|(_, (sequence, _))| *sequence > self.durable);
        let Some((first, _)) = pending.last() else {
            return self.last;
        };
        let before = self.tail.range(..first).next_back();
        before.map(|(_, (_, entry))| entry.log_id)
    }

    /// Whether what was read of a range, which was all on the disk when that began, begins where the log does. Entries that
    /// are gone from the disk would be passed over without a word.
    fn check_begins(&self, range: Range<u64>, first: Option<&Entry>) -> io::Result<()> {
        // Meanwhile some may have been purged, and others been truncated and written anew. A log need not have the entry 0.
        let begins = range.start.max(self.purged.map_or(1, |id| id.index + 1));
        let ends = range.end.min(self.last.map_or(0, |id| id.index + 1));
        let there = first.is_some_and(|entry| entry.log_id.index <= begins);
        if begins >= ends || there || self.tail.contains_key(&begins) {
            return Ok(());
        }
        Err(io::Error::other(format!("log entry {begins} is missing")))
    }

    fn append(&mut self, entries: Vec<Entry>, done: IOFlushed<Types<R>>) -> Job<R> {
        self.sequence += 1;
        let after = self.last.as_ref().map_or(0, term_of);
        for entry in &entries {
            let index = entry.log_id.index;
            debug_assert!(
                self.last.is_none_or(|last| last.index + 1 == index),
                "the log has no holes: {index} after {:?}",
                self.last
            );
            self.tail_bytes += entry.payload.weight();
            self.length.add(index, entry.payload.weight());
            self.last = Some(entry.log_id);
            self.tail.insert(index, (self.sequence, entry.clone()));
        }
        Job::Append {
            sequence: self.sequence,
            after,
            entries,
            done,
        }
    }

    fn truncate(&mut self, last: Option<LogId>, done: oneshot::Sender<io::Result<()>>) -> Job<R> {
        let from = last.map_or(0, |id| id.index + 1);
        let gone = self.tail.split_off(&from);
        self.tail_bytes -= gone
            .values()
            .map(|(_, entry)| entry.payload.weight())
            .sum::<usize>();
        self.length.truncate_from(from);
        // Cutting behind the end cuts nothing.
        self.last = self.last.min(last);
        Job::Truncate { from, done }
    }

    fn purge(&mut self, to: LogId) -> Job<R> {
        let kept = self.tail.split_off(&(to.index + 1));
        self.tail_bytes = kept.values().map(|(_, entry)| entry.payload.weight()).sum();
        self.tail = kept;
        self.length.purge_to(to.index);
        self.purged = Some(to);
        // After a snapshot was installed the log may end before what it covers: it starts over behind it.
        self.last = self.last.max(Some(to));
        Job::Purge { to }
    }

    /// What rides along with a write at `now`: at most once a second, because each part of it dirties a page of its own,
    /// and all of it may be stale.
    fn take_aside(&mut self, now: Instant) -> Aside {
        if now < self.aside_due {
            return Aside::default();
        }
        self.aside_due = now + ASIDE_PERIOD;
        take(&mut self.aside)
    }

    /// Lets go of durable entries beyond the bound, oldest first.
    fn trim(&mut self) {
        while self.tail_bytes > TAIL_BYTES
            && let Some(oldest) = self.tail.first_entry()
            && oldest.get().0 <= self.durable
        {
            self.tail_bytes -= oldest.remove().1.payload.weight();
        }
    }
}

/// The one task that writes. It ends when the log is closed and the queue is empty, or with the first error.
async fn write_queue<R: Runtime>(
    shared: Arc<Shared<R>>,
    journal: Journal,
    checkpointer: Checkpointer,
) {
    let (writer, cleaner) = (R::worker("log-writer"), R::worker("log-checkpoint"));
    let (journal, checkpointer) = (
        Arc::new(Mutex::new(journal)),
        Arc::new(Mutex::new(checkpointer)),
    );
    // Opening the log has moved what an earlier run left.
    let mut unmoved = 0;
    // Most of the write-ahead file is moved beside the writes. What they added meanwhile is moved between two of them:
    // SQLite starts the file over only if a write finds everything moved, and without that it would grow for as long as
    // the load lasts, and each sync would have to write the file's new length too.
    let nearly_moved = Arc::new(AtomicBool::new(false));
    while let Some((jobs, aside)) = next_write(&shared).await {
        for job in &jobs {
            if let Job::Truncate { from, .. } = job {
                R::observe(|| Event::LogTruncated { from: *from });
            }
        }
        stumble!(R, "buggify/log.taken");
        unmoved += jobs.iter().map(Job::bytes).sum::<usize>();
        let steps: Vec<Step> = jobs.iter().filter_map(Job::step).collect();
        let began = R::now();
        let written = {
            let journal = Arc::clone(&journal);
            writer
                .run(move || {
                    journal
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .write(&steps, &aside)
                })
                .await
        };
        shared.sync_micros.store(
            u64::try_from((R::now() - began).as_micros()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        stumble!(R, "buggify/log.written");
        if !finish(&shared, jobs, written) {
            return;
        }
        if nearly_moved.swap(false, Ordering::Relaxed) {
            move_pages::<R>(&writer, &checkpointer).await;
        }
        if unmoved >= CHECKPOINT_BYTES {
            unmoved = 0;
            let (cleaner, checkpointer) = (cleaner.clone(), Arc::clone(&checkpointer));
            let nearly_moved = Arc::clone(&nearly_moved);
            // In order on its own worker, beside the next writes.
            drop(R::spawn(async move {
                move_pages::<R>(&cleaner, &checkpointer).await;
                nearly_moved.store(true, Ordering::Relaxed);
            }));
        }
    }
}

/// After an error the next write is refused, which ends this instance.
async fn move_pages<R: Runtime>(worker: &R::Worker, checkpointer: &Arc<Mutex<Checkpointer>>) {
    let checkpointer = Arc::clone(checkpointer);
    let moved = worker.run(move || {
        checkpointer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .run()
    });
    if let Err(error) = moved.await {
        tracing::warn!(%error, "the log's write-ahead file could not be moved into the database");
    }
}

/// All that waits, when something does; none when nothing will come any more.
async fn next_write<R: Runtime>(shared: &Shared<R>) -> Option<(Vec<Job<R>>, Aside)> {
    loop {
        {
            let mut memory = shared.memory();
            if !memory.queue.is_empty() {
                let jobs = take(&mut memory.queue);
                return Some((jobs, memory.take_aside(R::now())));
            }
            if memory.closed {
                return None;
            }
        }
        shared.queued.notified().await;
    }
}

/// Notes what is durable and tells everyone who waits; false when the log is broken from now on.
fn finish<R: Runtime>(
    shared: &Shared<R>,
    jobs: Vec<Job<R>>,
    written: Result<(), DatabaseError>,
) -> bool {
    let broken = written.err().map(|error| error.to_string());
    let mut jobs = jobs;
    {
        let mut memory = shared.memory();
        if let Some(reason) = &broken {
            tracing::error!(%reason, "the log cannot be written; this Raft instance ends");
            memory.broken = Some(reason.clone());
            // What was queued meanwhile has nobody else who would answer it, and Raft waits for its vote.
            jobs.append(&mut memory.queue);
        } else {
            let newest = jobs
                .iter()
                .filter_map(|job| {
                    if let Job::Append { sequence, .. } = job {
                        Some(*sequence)
                    } else {
                        None
                    }
                })
                .max();
            memory.durable = memory.durable.max(newest.unwrap_or(0));
            memory.trim();
        }
    }
    let written = jobs.iter().map(Job::bytes).sum();
    shared.unwritten.fetch_sub(written, Ordering::Relaxed);
    for job in jobs {
        if R::OBSERVED
            && broken.is_none()
            && let Some(event) = job.event()
        {
            R::observe(|| event);
        }
        if broken.is_none()
            && let Job::Vote { vote, .. } = &job
            && vote.committed
            && vote.leader_id.voted_for == shared.me
        {
            // What its log held when it was elected stands before the vote in the queue, so it has been told of by now.
            let term = vote.leader_id.term;
            R::observe(|| Event::Led { term });
        }
        job.complete(
            broken
                .as_deref()
                .map_or(Ok(()), |reason| Err(failed(reason))),
        );
    }
    // Nobody listening is fine.
    let _ = shared.flushed.send(());
    broken.is_none()
}

fn plain(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

/// A range that is read piece by piece.
struct Pieces<R: Runtime> {
    log: Log<R>,
    rest: Range<u64>,
    read: std::vec::IntoIter<Entry>,
    began: bool,
}

impl<R: Runtime> Pieces<R> {
    async fn next(mut self) -> io::Result<Option<(Entry, Self)>> {
        if self.read.len() == 0 && self.rest.start < self.rest.end {
            self.read = self
                .log
                .read(self.rest.clone(), READ_BYTES)
                .await?
                .into_iter();
        }
        let Some(entry) = self.read.next() else {
            return Ok(None);
        };
        // The first may be missing because it was purged; between two pieces nothing may be.
        let index = entry.log_id.index;
        if self.began && index != self.rest.start {
            let expected = self.rest.start;
            return Err(io::Error::other(format!(
                "log entry {index} came where {expected} was expected"
            )));
        }
        self.began = true;
        self.rest.start = index.saturating_add(1);
        Ok(Some((entry, self)))
    }
}

impl<R: Runtime> RaftLogReader<Types<R>> for Log<R> {
    async fn try_get_log_entries<B: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: B,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(plain(&range), usize::MAX).await
    }

    /// What is applied comes in pieces: all that a follower missed may be committed at once, and is more than there is memory
    /// for (T5).
    async fn entries_stream<B: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: B,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend {
        let pieces = Pieces {
            log: self.clone(),
            rest: plain(&range),
            read: Vec::new().into_iter(),
            began: false,
        };
        Box::pin(try_unfold(pieces, Pieces::next))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.vote())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(start..end, READ_BYTES).await
    }
}

impl<R: Runtime> RaftLogStorage<Types<R>> for Log<R> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types<R>>, io::Error> {
        let memory = self.memory();
        Ok(LogState {
            last_purged_log_id: memory.purged,
            last_log_id: memory.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, answer) = oneshot::channel();
        self.push(|memory| {
            memory.vote = Some(*vote);
            Job::Vote { vote: *vote, done }
        })?;
        answer.await.map_err(io::Error::other)?
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let mut memory = self.memory();
        memory.committed = committed;
        memory.aside.committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.memory().committed)
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<Types<R>>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        if entries.is_empty() {
            done.io_completed(Ok(()));
            return Ok(());
        }
        self.push(|memory| memory.append(entries, done))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let (done, answer) = oneshot::channel();
        self.push(|memory| memory.truncate(last, done))?;
        answer.await.map_err(io::Error::other)?
    }

    async fn purge(&mut self, to: LogId) -> Result<(), io::Error> {
        self.push(|memory| memory.purge(to))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, TryStreamExt as _};

    use super::*;
    use crate::ids::NodeId;
    use crate::raft::types::{Payload, log_id};
    use crate::runtime::tokio::TokioRuntime;

    fn entry(index: u64) -> Entry {
        Entry {
            log_id: log_id(1, index),
            payload: Payload::default(),
        }
    }

    /// A log of the entries up to 20, all of them on the disk, purged up to 10 or not at all.
    fn memory(purged: Option<u64>) -> Memory<TokioRuntime> {
        Memory::new(Contents {
            vote: None,
            last: Some(log_id(1, 20)),
            purged: purged.map(|index| log_id(1, index)),
            committed: None,
            marks: Vec::<(NodeId, Mark)>::new(),
            bytes: 0,
        })
    }

    #[tokio::test]
    async fn what_was_seen_of_peers_since_the_last_write_outlives_an_orderly_end() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path(), None);
        let mark = |index| Mark {
            term: 1,
            last: (1, index),
        };
        let mut log = Log::<TokioRuntime>::open(&place, Missing::Create, NodeId(1)).unwrap();
        log.remember(NodeId(2), mark(1));
        log.save_vote(&Vote::new(1, NodeId(1))).await.unwrap();
        // Within the same second, so that no other write would take them along.
        log.remember(NodeId(2), mark(7));
        log.save_vote(&Vote::new(2, NodeId(1))).await.unwrap();
        // What is committed is believed only as far as there are entries.
        let entries: Vec<Entry> = (0..6).map(entry).collect();
        log.append(entries, IOFlushed::noop()).await.unwrap();
        log.save_committed(Some(log_id(1, 5))).await.unwrap();
        log.write_aside().await.unwrap();
        let (_, on_disk) = Journal::open(&place, Missing::Refuse).unwrap();
        assert_eq!(on_disk.marks, [(NodeId(2), mark(7))]);
        assert_eq!(on_disk.committed, Some(log_id(1, 5)));
        assert_eq!(on_disk.vote, Some(Vote::new(2, NodeId(1))));
        // What is queued is done, though nothing rides along.
        log.purge(log_id(1, 3)).await.unwrap();
        log.write_aside().await.unwrap();
        let (_, on_disk) = Journal::open(&place, Missing::Refuse).unwrap();
        assert_eq!(on_disk.purged, Some(log_id(1, 3)));
    }

    /// A bit that flipped behind the first pieces is met when they have been handed out, so they were read without the rest.
    #[tokio::test]
    async fn what_is_to_be_applied_is_read_in_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path(), None);
        let (mut journal, _) = Journal::open(&place, Missing::Create).unwrap();
        let large = |index| Entry {
            payload: Payload {
                command: Some(vec![1; READ_BYTES / 2].into()),
                membership: None,
            },
            ..entry(index)
        };
        let entries: Vec<Entry> = (1..10).map(large).collect();
        journal
            .write(&[Step::Append(entries.clone())], &Aside::default())
            .unwrap();
        drop(journal);
        let mut log = Log::<TokioRuntime>::open(&place, Missing::Refuse, NodeId(1)).unwrap();
        let whole: Vec<Entry> = log
            .entries_stream(1..100)
            .await
            .try_collect()
            .await
            .unwrap();
        assert_eq!(whole, entries);

        let beside = rusqlite::Connection::open(place.path(super::super::journal::LAYOUT.file));
        let flip = "UPDATE entry SET command = zeroblob(length(command)) WHERE idx = 7";
        assert_eq!(beside.unwrap().execute(flip, []).unwrap(), 1);
        let stream = log.entries_stream(1..=9).await;
        let read: Vec<_> = stream.map_ok(|entry| entry.log_id.index).collect().await;
        let (damaged, sound) = read.split_last().unwrap();
        let sound: Vec<u64> = sound.iter().map(|index| *index.as_ref().unwrap()).collect();
        assert_eq!(sound, (1..7).collect::<Vec<_>>());
        let damaged = damaged.as_ref().unwrap_err().to_string();
        assert!(damaged.contains("entry 7 fails its checksum"), "{damaged}");
    }

    #[tokio::test]
    async fn entries_wait_for_the_disk_until_they_are_on_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path(), None);
        let mut log = Log::<TokioRuntime>::open(&place, Missing::Create, NodeId(1)).unwrap();
        let waiting = log.unwritten();
        // On one thread nothing is written before something is waited for.
        let entries: Vec<Entry> = (0..6).map(entry).collect();
        let bytes: usize = entries.iter().map(|entry| entry.payload.weight()).sum();
        log.append(entries, IOFlushed::noop()).await.unwrap();
        assert_eq!(waiting.load(Ordering::Relaxed), bytes);
        assert!(bytes > 0);
        log.save_vote(&Vote::new(1, NodeId(1))).await.unwrap();
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }

    /// Group commit: a transaction of SQLite's writes a page or two, however little is in it.
    #[tokio::test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the test looks at the file itself"
    )]
    async fn what_waits_together_is_written_in_one_transaction() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path(), None);
        let mut log = Log::<TokioRuntime>::open(&place, Missing::Create, NodeId(1)).unwrap();
        for index in 0..200 {
            log.append([entry(index)], IOFlushed::noop()).await.unwrap();
        }
        log.save_vote(&Vote::new(1, NodeId(1))).await.unwrap();
        let written = directory
            .path()
            .join(format!("{}-wal", super::super::journal::LAYOUT.file));
        let bytes = std::fs::metadata(written).unwrap().len();
        assert!((1..200 * 1024).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_is_gone_from_the_disk_is_not_passed_over() {
        let purged = memory(Some(10));
        let check = |range, first: Option<u64>| {
            purged
                .check_begins(range, first.map(entry).as_ref())
                .is_ok()
        };
        assert!(check(11..15, Some(11)));
        assert!(!check(11..15, Some(12)) && !check(11..15, None));
        // What was purged meanwhile is no loss.
        assert!(check(5..15, Some(11)) && check(5..11, None));
        assert!(!check(5..15, Some(13)));
        // Nor is what was truncated.
        assert!(check(21..25, None));

        assert_eq!(purged.durable_end(), Some(log_id(1, 20)));
        let mut writing = memory(Some(10));
        for index in 19..23 {
            let sequence = if index < 21 { 0 } else { 1 };
            writing.tail.insert(index, (sequence, entry(index)));
        }
        writing.last = Some(log_id(1, 22));
        assert_eq!(writing.durable_end(), Some(log_id(1, 20)));
        writing.durable = 1;
        assert_eq!(writing.durable_end(), Some(log_id(1, 22)));

        let whole = memory(None);
        assert!(whole.check_begins(0..5, Some(&entry(0))).is_ok());
        assert!(whole.check_begins(0..5, Some(&entry(1))).is_ok());
        assert!(whole.check_begins(0..5, Some(&entry(2))).is_err());
    }
}
