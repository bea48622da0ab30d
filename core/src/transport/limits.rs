//! What messages may cost, over all connections and on one of them.
//!
//! Of the budget of all only bytes that have arrived are taken, so a length that is merely claimed keeps nobody else
//! waiting; it is taken of the share of its own connection, whose messages would otherwise all begin to arrive and leave
//! none the flow-control window to finish in. Several messages of which a part has arrived could hold the whole budget
//! and wait for one another for ever: therefore one of them at a time may go beyond it, the one that waits for longest,
//! and the others are refused when they have waited for too long.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tonic::Status;

use super::answers::Answers;
use super::deadline::within;
use crate::etcd::EtcdError;
use crate::runtime::Runtime;

/// A flag for compression and a length of four bytes stand before each message.
pub(super) const HEAD: usize = 5;
/// A message up to this size is not counted, and neither are the first bytes of a larger one: what bounds them is the
/// number of connections times that of their streams.
pub const UNCOUNTED_BYTES: usize = 4 * 1024;

/// How much is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one request message.
    pub message: usize,
    /// Bytes that all large request messages have together while they are received and answered. At most one message more
    /// than this is ever in memory.
    pub requests: usize,
    /// Bytes of these that the messages of one connection have or claim.
    pub connection: usize,
    /// How long a request message may take to arrive.
    pub receive: Duration,
    /// Bytes that all large answers have together until their clients have read them. One that is larger may pass when it
    /// is alone.
    pub answers: usize,
    /// How long a large message waits for room before it is refused.
    pub patience: Duration,
    /// How long a client may take to read an answer when others wait for the room that it takes.
    pub unread: Duration,
}

/// Keeps what receiving messages costs within [`Bounds`], over all connections that share it.
#[derive(Debug)]
pub struct Limits {
    bounds: Bounds,
    requests: Semaphore,
    /// Whoever holds it goes beyond the budget.
    beyond: Semaphore,
    answers: Arc<Answers>,
}

/// What one connection has of the budgets.
#[derive(Debug, Default)]
pub struct Holding {
    /// As large as the limits say that are met first; most connections never need it.
    share: OnceLock<Semaphore>,
    cut: Notify,
}

impl Holding {
    /// Ends the connection.
    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }

    /// Completes when the connection is to end, because its client does not read answers whose room others need.
    pub(super) async fn is_cut(&self) {
        self.cut.notified().await;
    }
}

impl Limits {
    /// Nothing is taken yet.
    ///
    /// # Panics
    /// When not even one message fits into the budget of all, or into the share of one connection.
    pub fn new(bounds: Bounds) -> Self {
        assert!(
            bounds.message <= bounds.requests && bounds.message <= bounds.connection,
            "a message must fit into every budget"
        );
        Self {
            requests: Semaphore::new(bounds.requests),
            beyond: Semaphore::new(1),
            answers: Arc::new(Answers::new(&bounds)),
            bounds,
        }
    }

    pub(super) const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub(super) const fn answers(&self) -> &Arc<Answers> {
        &self.answers
    }

    /// Room for one message of a connection, none of which has arrived.
    pub(super) const fn room<'a>(&'a self, holding: &'a Holding) -> Room<'a> {
        Room {
            limits: self,
            holding,
            share: None,
            arrived: 0,
            budget: None,
            beyond: None,
        }
    }

    /// Takes `bytes` of a budget, or the right to go beyond it.
    async fn take<'a, R: Runtime>(
        &'a self,
        budget: &'a Semaphore,
        bytes: usize,
    ) -> Result<Taken<'a>, Status> {
        let permits =
            u32::try_from(bytes).expect("a message is shorter than its limit, which is megabytes");
        let taking = async {
            tokio::select! {
                biased;
                permit = budget.acquire_many(permits) => permit.map(Taken::Bytes),
                permit = self.beyond.acquire() => permit.map(Taken::Beyond),
            }
        };
        let taken = within::<R, _>(Some(self.bounds.patience), taking)
            .await
            .map_err(|_elapsed| EtcdError::TooManyRequests)?;
        Ok(taken.expect("the semaphores are never closed"))
    }
}

enum Taken<'a> {
    Bytes(SemaphorePermit<'a>),
    Beyond(SemaphorePermit<'a>),
}

/// Room for the bytes of one request message; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room<'a> {
    limits: &'a Limits,
    holding: &'a Holding,
    share: Option<SemaphorePermit<'a>>,
    /// Bytes for which there is room.
    arrived: usize,
    budget: Option<SemaphorePermit<'a>>,
    beyond: Option<SemaphorePermit<'a>>,
}

impl Room<'_> {
    /// Whether the message goes beyond the budget. It should hurry: there is no room for a second such one.
    pub(super) const fn is_beyond(&self) -> bool {
        self.beyond.is_some()
    }

    /// Lets a message of `length` bytes begin.
    ///
    /// # Errors
    /// When its connection has too many others for too long.
    pub(super) async fn claim<R: Runtime>(&mut self, length: usize) -> Result<(), Status> {
        if length <= UNCOUNTED_BYTES {
            return Ok(());
        }
        let limits = self.limits;
        let share = || Semaphore::new(limits.bounds.connection);
        let share = self.holding.share.get_or_init(share);
        match limits.take::<R>(share, length).await? {
            Taken::Bytes(permit) => self.share = Some(permit),
            Taken::Beyond(permit) => self.beyond = Some(permit),
        }
        Ok(())
    }

    /// Makes room for the message when `arrived` bytes of it are here.
    ///
    /// # Errors
    /// When there is none for too long.
    pub(super) async fn grow<R: Runtime>(&mut self, arrived: usize) -> Result<(), Status> {
        if arrived <= UNCOUNTED_BYTES || arrived <= self.arrived || self.is_beyond() {
            return Ok(());
        }
        let limits = self.limits;
        let step = arrived - self.arrived;
        match (
            limits.take::<R>(&limits.requests, step).await?,
            &mut self.budget,
        ) {
            (Taken::Beyond(permit), _) => self.beyond = Some(permit),
            (Taken::Bytes(permit), Some(all)) => all.merge(permit),
            (Taken::Bytes(permit), none) => *none = Some(permit),
        }
        self.arrived = arrived;
        Ok(())
    }
}
