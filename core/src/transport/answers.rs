//! Memory of answers that wait for their clients to read them.
//!
//! Flow control lets a client take an answer as slowly as it likes, and until then the answer is in memory. All that are
//! not small have a budget together. Slow readers are left alone as long as it suffices; when somebody waits in vain for
//! room, the connections that have not taken their answers for longest are cut.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::Holding;
use super::deadline::within;
use super::limits::{Bounds, HEAD, UNCOUNTED_BYTES};
use crate::etcd::EtcdError;
use crate::runtime::{Instant, Runtime};

/// So many times the budget may wait for it: answers that were read while there was room for them.
const ROOMLESS: usize = 4;

/// Bytes of answers, over all connections.
#[derive(Debug)]
pub(super) struct Answers {
    total: usize,
    patience: Duration,
    unread: Duration,
    bytes: Arc<Semaphore>,
    /// Bytes of answers for which there is no room yet. They are in memory as well, not even encoded.
    roomless: AtomicUsize,
    waiting: Mutex<Waiting>,
}

/// The answers that are in memory, oldest first.
#[derive(Debug, Default)]
struct Waiting {
    answers: BTreeMap<u64, Answer>,
    number: u64,
}

#[derive(Debug)]
struct Answer {
    since: Instant,
    bytes: usize,
    connection: Arc<Holding>,
}

impl Answers {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            total: bounds.answers,
            patience: bounds.patience,
            unread: bounds.unread,
            bytes: Arc::new(Semaphore::new(bounds.answers)),
            roomless: AtomicUsize::new(0),
            waiting: Mutex::default(),
        }
    }

    /// The message with its head, for a client behind `connection`.
    ///
    /// # Errors
    /// When it is too large for a message, or there is no room for it for too long.
    pub(super) async fn encode<R: Runtime>(
        self: &Arc<Self>,
        answer: &impl Message,
        connection: &Arc<Holding>,
    ) -> Result<Bytes, Status> {
        let length = answer.encoded_len();
        let Ok(stated) = u32::try_from(length) else {
            return Err(Status::resource_exhausted(format!(
                "grpc: an answer of {length} bytes cannot be sent"
            )));
        };
        let room = if length <= UNCOUNTED_BYTES {
            None
        } else {
            Some(self.room::<R>(length, connection).await?)
        };
        let mut buffer = BytesMut::with_capacity(HEAD + length);
        buffer.put_u8(0);
        buffer.put_u32(stated);
        answer
            .encode(&mut buffer)
            .expect("the buffer has the encoded length");
        Ok(match room {
            None => buffer.freeze(),
            Some(room) => Bytes::from_owner(Kept { buffer, room }),
        })
    }

    /// Room for `length` bytes; what is larger than the whole budget gets all of it.
    async fn room<R: Runtime>(
        self: &Arc<Self>,
        length: usize,
        connection: &Arc<Holding>,
    ) -> Result<Room, Status> {
        let bytes = length.min(self.total);
        let permits = u32::try_from(bytes).expect("the budget is megabytes");
        let _queued = Queued::new(&self.roomless, bytes, self.total * ROOMLESS)?;
        let mut taking = pin!(Arc::clone(&self.bytes).acquire_many_owned(permits));
        let half = Some(self.patience / 2);
        let permit = match within::<R, _>(half, taking.as_mut()).await {
            Ok(permit) => permit,
            Err(_elapsed) => {
                self.cut_who_does_not_read(bytes, R::now());
                within::<R, _>(half, taking)
                    .await
                    .map_err(|_elapsed| EtcdError::TooManyRequests)?
            }
        };
        let mut waiting = self.waiting();
        waiting.number += 1;
        let number = waiting.number;
        let answer = Answer {
            since: R::now(),
            bytes,
            connection: Arc::clone(connection),
        };
        waiting.answers.insert(number, answer);
        drop(waiting);
        Ok(Room {
            _permit: permit.expect("the semaphore is never closed"),
            number,
            answers: Arc::clone(self),
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts connections, those first whose answers are oldest, until `wanted` bytes come free.
    fn cut_who_does_not_read(&self, wanted: usize, now: Instant) {
        let mut freed = 0;
        for answer in self.waiting().answers.values() {
            if freed >= wanted || now - answer.since < self.unread {
                return;
            }
            freed += answer.bytes;
            answer.connection.cut();
        }
    }
}

/// Bytes of an answer that waits for room.
struct Queued<'a> {
    roomless: &'a AtomicUsize,
    bytes: usize,
}

impl<'a> Queued<'a> {
    /// One answer may always wait, others as long as all that do are no more than `most`.
    fn new(roomless: &'a AtomicUsize, bytes: usize, most: usize) -> Result<Self, EtcdError> {
        let before = roomless.fetch_add(bytes, Ordering::Relaxed);
        let queued = Self { roomless, bytes };
        if before > 0 && before + bytes > most {
            return Err(EtcdError::TooManyRequests);
        }
        Ok(queued)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.roomless.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Room for one answer; given back when it is dropped.
struct Room {
    _permit: OwnedSemaphorePermit,
    number: u64,
    answers: Arc<Answers>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.answers.waiting().answers.remove(&self.number);
    }
}

/// An answer's bytes. HTTP/2 keeps pieces of them until they are sent, and they give back their room with the last.
struct Kept {
    buffer: BytesMut,
    #[expect(dead_code, reason = "held for its drop")]
    room: Room,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_answers_wait_for_room() {
        let roomless = AtomicUsize::new(0);
        let queue = |bytes| Queued::new(&roomless, bytes, 100);
        let large = queue(100).expect("one always may");
        assert!(queue(1).is_err(), "with the other one that is too much");
        drop(large);
        let waiting = [queue(40), queue(60)];
        assert!(waiting.iter().all(Result::is_ok));
        assert!(queue(1).is_err());
        drop(waiting);
        assert_eq!(roomless.load(Ordering::Relaxed), 0);
    }
}
