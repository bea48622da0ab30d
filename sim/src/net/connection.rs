//! What both ends of a connection know together, which in reality nobody does: what is on its way, when it is due, and who
//! has left without saying so.

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::task::Waker;
use std::time::Duration;

use tokio::io::ReadBuf;

use super::rule::Verdict;
use crate::host::HostId;

/// How many bytes may be on their way before a writer has to wait: what the buffers of two kernels hold.
pub(super) const WINDOW: usize = 256 * 1024;

/// Wakes somebody after a while, or before.
pub(super) type WakeAfter = fn(Duration, &Waker);

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// Who asked for it.
    Dialler,
    /// Who accepted it.
    Acceptor,
}

impl Side {
    pub(super) fn peer(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Dialler => 0,
            Self::Acceptor => 1,
        }
    }
}

/// What is the matter with an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is used.
    Open,
    /// Its process closed it; the machine answers what still comes with a reset.
    Closed,
    /// Its machine knows nothing of the connection and has said nothing: it lost its power, or was made to forget.
    Gone,
}

/// Bytes that were sent together.
#[derive(Debug)]
struct Segment {
    bytes: usize,
    due: Duration,
}

/// One direction.
#[derive(Debug, Default)]
struct Flow {
    segments: VecDeque<Segment>,
    /// What is in them.
    bytes: VecDeque<u8>,
    /// How many bytes were written and not read, those included that nobody will read any more.
    in_flight: usize,
    /// Nothing is due before what was sent earlier.
    last_due: Duration,
    /// When the pipe is free again, if it is narrow.
    pipe_free: Duration,
    /// When the end of the stream is due, once the writer has shut it.
    end_due: Option<Duration>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// When the reader will be woken without having asked.
    called: Option<Duration>,
}

impl Flow {
    /// Has the reader woken when bytes are due, unless it will be woken for others before.
    fn call_reader(&mut self, now: Duration, due: Duration, wake_after: WakeAfter) {
        if due <= now {
            return self.wake_reader();
        }
        let is_called = self.called.is_some_and(|at| now < at && at <= due);
        if let Some(reader) = self.reader.as_ref().filter(|_| !is_called) {
            self.called = Some(due);
            wake_after(due - now, reader);
        }
    }

    /// Moves up to `length` bytes, all of which are due, into the room that `buffer` has; answers how many.
    fn take(&mut self, length: usize, buffer: &mut ReadBuf<'_>) -> usize {
        let length = length.min(buffer.remaining());
        let (front, back) = self.bytes.as_slices();
        let first = front.len().min(length);
        buffer.put_slice(&front[..first]);
        buffer.put_slice(&back[..length - first]);
        self.bytes.drain(..length);
        self.in_flight -= length;
        let mut left = length;
        while let Some(segment) = self.segments.front_mut()
            && left > 0
        {
            let part = segment.bytes.min(left);
            segment.bytes -= part;
            left -= part;
            if segment.bytes == 0 {
                self.segments.pop_front();
            }
        }
        self.wake_writer();
        length
    }

    /// Nobody will read what is on its way.
    fn lose(&mut self) {
        self.segments.clear();
        self.bytes.clear();
    }

    /// `waker` is whom to wake for the next bytes.
    fn remember_reader(&mut self, waker: &Waker) {
        let known = self.reader.as_ref();
        if !known.is_some_and(|known| known.will_wake(waker)) {
            self.reader = Some(waker.clone());
        }
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

/// A connection between two machines.
pub(super) struct Connection {
    /// In the order of making: whoever goes through connections or wakes their readers does so by this number.
    id: u64,
    hosts: [HostId; 2],
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// By the side that writes.
    flows: [Flow; 2],
    ends: [End; 2],
    /// When each side learns that the connection was reset.
    resets: [Option<Duration>; 2],
    /// Nothing is delivered any more, in either direction, and nobody is told.
    silent: bool,
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Readable {
    /// So many bytes, which it has now.
    Bytes(usize),
    /// The stream has ended.
    End,
    /// Nothing before this moment.
    NotBefore(Duration),
    /// Nothing until somebody writes.
    Nothing,
}

impl Connection {
    pub(super) fn new(id: u64, dialler: HostId, acceptor: HostId) -> Self {
        let state = State {
            flows: [Flow::default(), Flow::default()],
            ends: [End::Open; 2],
            resets: [None; 2],
            silent: false,
        };
        Self {
            id,
            hosts: [dialler, acceptor],
            state: Mutex::new(state),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn host(&self, side: Side) -> HostId {
        self.hosts[side.index()]
    }

    /// The sides that are on this machine: none, one, or both when it talks to itself.
    pub(super) fn sides_on(&self, host: HostId) -> impl Iterator<Item = Side> {
        [Side::Dialler, Side::Acceptor]
            .into_iter()
            .filter(move |side| self.host(*side) == host)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        crate::sync::guard(&self.state)
    }

    /// What `side` reads at `now`; whoever gets nothing is woken when there is something.
    pub(super) fn read(
        &self,
        side: Side,
        now: Duration,
        waker: &Waker,
        buffer: &mut ReadBuf<'_>,
    ) -> io::Result<Readable> {
        let mut state = self.state();
        if state.silent {
            return Ok(Readable::Nothing);
        }
        let reset = state.resets[side.index()];
        if reset.is_some_and(|due| due <= now) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let flow = &mut state.flows[side.peer().index()];
        let due = flow
            .segments
            .iter()
            .take_while(|segment| segment.due <= now);
        let bytes = due.map(|segment| segment.bytes).sum();
        if bytes > 0 {
            return Ok(Readable::Bytes(flow.take(bytes, buffer)));
        }
        flow.remember_reader(waker);
        let next = flow
            .segments
            .front()
            .map(|segment| segment.due)
            .or(flow.end_due);
        match next {
            Some(due) if due <= now => Ok(Readable::End),
            // What is due first: the next bytes, their end, or the news of a reset.
            Some(due) => Ok(Readable::NotBefore(
                reset.map_or(due, |reset| reset.min(due)),
            )),
            None => Ok(reset.map_or(Readable::Nothing, Readable::NotBefore)),
        }
    }

    /// Whether `side` learns by `now` that the connection was reset, if its peer's machine can tell it.
    pub(super) fn is_reset(&self, side: Side, now: Duration) -> bool {
        let state = self.state();
        !state.silent && state.resets[side.index()].is_some_and(|due| due <= now)
    }

    /// How many bytes `side` may write; none when it has to wait for its peer to read.
    pub(super) fn room(&self, side: Side, waker: &Waker) -> io::Result<Option<usize>> {
        let mut state = self.state();
        let flow = &mut state.flows[side.index()];
        if flow.end_due.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if flow.in_flight >= WINDOW {
            flow.writer = Some(waker.clone());
            return Ok(None);
        }
        Ok(Some(WINDOW - flow.in_flight))
    }

    /// `side` writes `bytes`, for which there is room. `answers` says whether the peer's machine is up and reachable, so that it would
    /// answer a stray segment with a reset.
    pub(super) fn write(
        &self,
        side: Side,
        bytes: &[u8],
        now: Duration,
        verdict: Verdict,
        answers: bool,
        wake_after: WakeAfter,
    ) {
        let mut state = self.state();
        if state.silent {
            state.flows[side.index()].in_flight += bytes.len();
            return;
        }
        let Verdict::Passes {
            delay,
            bytes_per_second,
        } = verdict
        else {
            state.reset_both(now);
            return;
        };
        let heard = state.ends[side.peer().index()] == End::Open;
        let flow = &mut state.flows[side.index()];
        flow.in_flight += bytes.len();
        if !heard {
            if answers {
                state.resets[side.index()].get_or_insert(now + delay * 2);
                state.flows[side.peer().index()].wake_reader();
            }
            return;
        }
        let mut due = now + delay;
        if let Some(rate) = bytes_per_second {
            let nanos = (bytes.len() as u64).saturating_mul(1_000_000_000) / rate.max(1);
            let time = Duration::from_nanos(nanos);
            flow.pipe_free = flow.pipe_free.max(now) + time;
            due = due.max(flow.pipe_free + delay);
        }
        flow.last_due = flow.last_due.max(due);
        flow.bytes.extend(bytes);
        flow.segments.push_back(Segment {
            bytes: bytes.len(),
            due: flow.last_due,
        });
        flow.call_reader(now, flow.last_due, wake_after);
    }

    /// `side` says that it will write no more.
    pub(super) fn shut(&self, side: Side, now: Duration, delay: Duration) {
        let mut state = self.state();
        let flow = &mut state.flows[side.index()];
        if flow.end_due.is_none() {
            flow.end_due = Some(flow.last_due.max(now + delay));
            flow.wake_reader();
        }
    }

    /// The process of `side` closed it: the peer reads what was sent and then the end.
    pub(super) fn close(&self, side: Side, now: Duration, delay: Duration) {
        if self.state().ends[side.index()] == End::Open {
            self.shut(side, now, delay);
            let mut state = self.state();
            state.ends[side.index()] = End::Closed;
            // A peer that waits for room would wait for ever.
            if state.flows[side.peer().index()].in_flight > 0 {
                let due = state.flows[side.index()].last_due.max(now + delay);
                state.resets[side.peer().index()].get_or_insert(due);
            }
            state.flows[side.peer().index()].wake_writer();
            state.flows[side.index()].wake_reader();
        }
    }

    /// The machine of `side` lost its power: nobody is told.
    pub(super) fn lose(&self, side: Side) {
        let mut state = self.state();
        if state.ends[side.index()] != End::Closed {
            state.ends[side.index()] = End::Gone;
            // What it had sent and no other machine had received went with it, or arrives: the peer's kernel has it.
            state.flows[side.peer().index()].lose();
        }
    }

    /// The machine of `side` is there again and answers what is sent again to it: a peer that waits for an
    /// acknowledgement is reset.
    pub(super) fn answer(&self, side: Side, now: Duration) {
        let mut state = self.state();
        let waits = state.flows[side.peer().index()].in_flight > 0;
        if state.ends[side.index()] == End::Gone && waits && !state.silent {
            state.resets[side.peer().index()].get_or_insert(now);
            state.flows[side.index()].wake_reader();
            state.flows[side.peer().index()].wake_writer();
        }
    }

    /// Somebody between the two resets both.
    pub(super) fn reset(&self, now: Duration) {
        self.state().reset_both(now);
    }

    /// The machine of `side` resets its process and says nothing to the peer: the connection is half open.
    pub(super) fn half_open(&self, side: Side, now: Duration) {
        let mut state = self.state();
        state.ends[side.index()] = End::Gone;
        state.resets[side.index()] = Some(now);
        state.flows[side.peer().index()].lose();
        state.flows[side.peer().index()].wake_reader();
        state.flows[side.index()].wake_writer();
    }

    /// Nothing is delivered any more.
    pub(super) fn silence(&self) {
        self.state().silent = true;
    }
}

impl State {
    fn reset_both(&mut self, now: Duration) {
        self.resets = self
            .resets
            .map(|due| Some(due.map_or(now, |due| due.min(now))));
        for flow in &mut self.flows {
            flow.wake_reader();
            flow.wake_writer();
        }
    }
}
