//! The network between simulated machines, with its faults.
//!
//! Neither simulator's own network can do what a cluster has to survive: one refuses at once where a real network would
//! swallow packets, knows no half-closed and no half-open connection and never makes a writer wait; the other's streams
//! never continue after a loss, and a crash there says goodbye on every connection. So they find the machines and make the
//! connections, and what happens on a connection is ours: one fault means one thing in both worlds.
//!
//! `rule` says as data what happens on which links; `connection` is what both ends of a connection know together, the bytes
//! on their way included; `stream` is one end. What TCP promises is kept: bytes arrive once and in order or the stream
//! breaks; a link that is cut loses nothing, and what was sent arrives in a burst when it is back; duplication and
//! reordering of packets are TCP's business and never seen above it.

mod connection;
mod rule;
mod stream;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use rand::rngs::SmallRng;

pub use self::rule::{Effect, Hosts, Rule, RuleId, Rules, Verdict, bridge, groups, majority_ring};
pub use self::stream::Linked;

use self::connection::{Connection, Side, WakeAfter};
use crate::disk::Disk;
use crate::host::HostId;
use crate::seed::Seed;
use crate::substrate::Substrate;
use crate::sync::guard;
use crate::trace::Trace;

/// The network of a world. Clones are the same network.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Mutex<Inner>>,
    trace: Trace,
}

/// The machine that asked for a connection, with its number, and the machine and port that it asked.
type Addresses = ((HostId, u64), (HostId, u16));

struct Inner {
    rules: Rules,
    rng: SmallRng,
    connections: BTreeMap<u64, Weak<Connection>>,
    /// Connections of which one end has shown up, for the other end.
    half_made: BTreeMap<Addresses, Arc<Connection>>,
    next: u64,
    machines: BTreeMap<HostId, Disk>,
    /// Who waits for the rules to change, by connection and side.
    blocked: BTreeMap<(u64, Side), Waker>,
    /// Who waits for a link to open to make a connection.
    dialling: Vec<Waker>,
    next_port: BTreeMap<HostId, u16>,
    carried: Carried,
}

/// What was put on links, since the world began or between two moments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// How many pieces; of a stream behind TLS that is how many records.
    pub messages: u64,
    /// Bytes in all of them.
    pub bytes: u64,
}

impl std::ops::Sub for Carried {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            messages: self.messages - earlier.messages,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

impl Network {
    /// A network without faults and without machines.
    #[must_use]
    pub fn new(seed: Seed, trace: Trace) -> Self {
        let inner = Inner {
            rules: Rules::default(),
            rng: seed.rng(),
            connections: BTreeMap::new(),
            half_made: BTreeMap::new(),
            next: 0,
            machines: BTreeMap::new(),
            blocked: BTreeMap::new(),
            dialling: Vec::new(),
            next_port: BTreeMap::new(),
            carried: Carried::default(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            trace,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        guard(&self.inner)
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Plugs a machine in. Its disk tells whether it has power.
    pub fn plug(&self, host: HostId, disk: Disk) {
        self.lock().machines.insert(host, disk);
    }

    /// Adds rules.
    pub fn add(&self, rules: impl IntoIterator<Item = Rule>) -> Vec<RuleId> {
        let mut inner = self.lock();
        let ids = rules
            .into_iter()
            .map(|rule| inner.rules.add(rule))
            .collect();
        inner.wake_all();
        ids
    }

    /// Adds a rule that is no fault: a link's speed.
    pub fn add_speed(&self, rule: Rule) {
        self.lock().rules.add_speed(rule);
    }

    /// How many messages or connections each effect of rules has struck.
    #[must_use]
    pub fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.lock().rules.struck().clone()
    }

    /// What was put on links so far.
    #[must_use]
    pub fn carried(&self) -> Carried {
        self.lock().carried
    }

    /// Takes rules back.
    pub fn remove(&self, ids: &[RuleId]) {
        let mut inner = self.lock();
        ids.iter().for_each(|id| inner.rules.remove(*id));
        inner.wake_all();
    }

    /// Takes all faults back. Connections that were reset or silenced stay so.
    pub fn heal(&self) {
        let mut inner = self.lock();
        inner.rules.heal();
        inner.wake_all();
    }

    /// Whether nothing passes from one machine to another.
    #[must_use]
    pub fn is_blocked(&self, from: HostId, to: HostId) -> bool {
        self.lock().rules.is_blocked(from, to)
    }

    /// Resets the connections between two machines: both ends learn it. Answers how many there were.
    pub fn reset(&self, one: HostId, other: HostId, now: Duration) -> usize {
        let connections = self.between(one, other);
        connections
            .iter()
            .for_each(|connection| connection.reset(now));
        connections.len()
    }

    /// Makes the connections between two machines half open: `forgetful` loses them and says nothing to the other.
    pub fn half_open(&self, forgetful: HostId, other: HostId, now: Duration) -> usize {
        let connections = self.between(forgetful, other);
        for connection in &connections {
            connection
                .sides_on(forgetful)
                .for_each(|side| connection.half_open(side, now));
        }
        connections.len()
    }

    /// The machine's power went: its connections fall silent.
    pub fn power_lost(&self, host: HostId) {
        for connection in self.of(host) {
            connection
                .sides_on(host)
                .for_each(|side| connection.lose(side));
        }
        self.forget_half_made(host);
    }

    /// Connections whose other end will never show up.
    fn forget_half_made(&self, host: HostId) {
        self.lock()
            .half_made
            .retain(|(dialler, acceptor), _| dialler.0 != host && acceptor.0 != host);
    }

    /// The machine has power again, and resets who still talks to its former life.
    pub fn power_back(&self, host: HostId, now: Duration) {
        for connection in self.of(host) {
            connection
                .sides_on(host)
                .for_each(|side| connection.answer(side, now));
        }
    }

    /// The machine's processes ended and its kernel says goodbye for them.
    pub fn process_ended(&self, host: HostId, now: Duration) {
        for connection in self.of(host) {
            connection
                .sides_on(host)
                .for_each(|side| connection.close(side, now, Duration::ZERO));
        }
        self.forget_half_made(host);
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        let mut inner = self.lock();
        inner
            .connections
            .retain(|_, connection| connection.strong_count() > 0);
        inner
            .connections
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }

    fn of(&self, host: HostId) -> Vec<Arc<Connection>> {
        let mut connections = self.connections();
        connections.retain(|connection| connection.sides_on(host).next().is_some());
        connections
    }

    fn between(&self, one: HostId, other: HostId) -> Vec<Arc<Connection>> {
        let mut connections = self.of(one);
        connections.retain(|connection| connection.sides_on(other).next().is_some());
        connections
    }

    fn is_dark(&self, host: HostId) -> bool {
        self.lock().is_dark(host)
    }

    /// Whether nothing comes through to `side` just now.
    fn is_deaf(&self, connection: &Connection, side: Side) -> bool {
        self.is_blocked(connection.host(side.peer()), connection.host(side))
    }

    /// Whether nothing comes through to `side` just now; then `waker` is woken when the rules change.
    fn is_closed_to(&self, connection: &Connection, side: Side, waker: &Waker) -> bool {
        let (from, to) = (connection.host(side.peer()), connection.host(side));
        let mut inner = self.lock();
        if inner.rules.is_forgotten(from, to) {
            connection.silence();
        }
        let blocked = inner.rules.is_blocked(from, to);
        if blocked {
            inner.blocked.insert((connection.id(), side), waker.clone());
        }
        blocked
    }

    fn write(
        &self,
        connection: &Connection,
        side: Side,
        bytes: &[u8],
        now: Duration,
        wake_after: WakeAfter,
    ) {
        let (from, to) = (connection.host(side), connection.host(side.peer()));
        let mut inner = self.lock();
        inner.carried.messages += 1;
        inner.carried.bytes += bytes.len() as u64;
        if inner.rules.is_forgotten(from, to) {
            connection.silence();
        }
        let Inner { rules, rng, .. } = &mut *inner;
        let verdict = rules.verdict(from, to, rng);
        let reachable = !rules.is_blocked(from, to) && !rules.is_blocked(to, from);
        let answers = reachable && !inner.is_dark(to);
        drop(inner);
        connection.write(side, bytes, now, verdict, answers, wake_after);
    }

    fn shut(&self, connection: &Connection, side: Side, now: Duration) {
        connection.shut(
            side,
            now,
            self.delay(connection.host(side), connection.host(side.peer())),
        );
    }

    fn closed(&self, connection: &Connection, side: Side, now: Duration) {
        let host = connection.host(side);
        if self.is_dark(host) {
            connection.lose(side);
        } else {
            connection.close(side, now, self.delay(host, connection.host(side.peer())));
        }
    }

    fn delay(&self, from: HostId, to: HostId) -> Duration {
        let mut inner = self.lock();
        let Inner { rules, rng, .. } = &mut *inner;
        match rules.verdict(from, to, rng) {
            Verdict::Passes { delay, .. } => delay,
            Verdict::GivenUp => Duration::from_secs(1),
        }
    }

    /// The connection between these addresses, made by whichever end asks first.
    fn connection(&self, addresses: Addresses) -> Arc<Connection> {
        let mut inner = self.lock();
        if let Some(connection) = inner.half_made.remove(&addresses) {
            return connection;
        }
        inner.next += 1;
        let id = inner.next;
        let connection = Arc::new(Connection::new(id, addresses.0.0, addresses.1.0));
        inner.connections.insert(id, Arc::downgrade(&connection));
        inner.half_made.insert(addresses, Arc::clone(&connection));
        connection
    }

    /// A port of `host` that was not given out before.
    pub(crate) fn free_port(&self, host: HostId) -> u16 {
        let mut inner = self.lock();
        let port = inner.next_port.entry(host).or_insert(30_000);
        *port += 1;
        *port
    }

    /// Waits while a link between two machines is cut or the other has no power, as TCP goes on asking. Refused if a rule
    /// says so.
    async fn await_way(&self, from: HostId, to: HostId) -> io::Result<()> {
        poll_fn(|context| {
            let mut inner = self.lock();
            if inner.rules.refuses(from, to) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
            }
            let dark = inner
                .machines
                .get(&to)
                .is_none_or(|disk| !disk.is_powered());
            if dark || inner.rules.is_blocked(from, to) || inner.rules.is_blocked(to, from) {
                inner.dialling.push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Connects a machine to a port of another.
    pub(crate) async fn connect<S: Substrate>(
        &self,
        from: HostId,
        to: HostId,
        port: u16,
    ) -> io::Result<Linked<S::Plain, S>> {
        self.await_way(from, to).await?;
        let round_trip = self.delay(from, to) + self.delay(to, from);
        if !round_trip.is_zero() {
            S::wait(round_trip).await;
            self.await_way(from, to).await?;
        }
        let (plain, number) = S::connect(to, port).await?;
        let connection = self.connection(((from, number), (to, port)));
        Ok(Linked::new(plain, self.clone(), connection, Side::Dialler))
    }

    /// The next connection to a port of this machine, and where it comes from.
    pub(crate) async fn accept<S: Substrate>(
        &self,
        host: HostId,
        port: u16,
        acceptor: &S::Acceptor,
    ) -> io::Result<(Linked<S::Plain, S>, (HostId, u64))> {
        let (plain, from) = S::accept(acceptor).await?;
        let connection = self.connection((from, (host, port)));
        Ok((
            Linked::new(plain, self.clone(), connection, Side::Acceptor),
            from,
        ))
    }

    /// Wakes who waits for a machine to come back.
    pub(crate) fn machine_changed(&self) {
        self.lock().wake_all();
    }
}

impl Inner {
    fn is_dark(&self, host: HostId) -> bool {
        let disk = self.machines.get(&host);
        disk.is_some_and(|disk| !disk.is_powered())
    }

    fn wake_all(&mut self) {
        for waker in std::mem::take(&mut self.blocked)
            .into_values()
            .chain(std::mem::take(&mut self.dialling))
        {
            waker.wake();
        }
    }
}
