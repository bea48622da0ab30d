//! One command's change of the keyspace: puts and deletes that share a revision.

use bytes::Bytes;

use super::error::{Rejection, StateError};
use super::keyspace::{Keyspace, Newest, Version};
use super::mark::Mark;
use super::position::Position;
use super::range::{self, Bounds, View};
use super::validate::NESTED_OPERATIONS;
use crate::proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, ResponseHeader,
};
use crate::proto::mvccpb::{Event, KeyValue, event::EventType};

/// What is told about each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// Nobody watches: nothing is collected.
    Nothing,
    /// Events without what was there before.
    Events,
    /// Events with the key as it was before.
    EventsWithPrevious,
}

/// Whether anybody waits for what a command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// The answer is whole.
    Somebody,
    /// What a command reads only to answer with it is left out. The state becomes the same.
    Nobody,
}

/// Why an operation within a command did not happen: an answer, or the end of this node's service.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::State(error.into())
    }
}

/// Deletes are looked up in pages, so that a delete of everything needs no memory for it.
const DELETE_PAGE: usize = 512;

/// A transaction reads no more to answer with, once it has so many bytes: small requests could otherwise ask for the whole
/// keyspace a thousand times over, all of which would have to be in memory at once.
pub const LONGEST_ANSWER: usize = 64 << 20;

/// Room that a revision keeps beside what a transaction finds and deletes: for its puts, and for the deletes of what it put
/// itself. It puts no key twice.
const OWN: i64 = 2 * NESTED_OPERATIONS as i64;

/// A change in the making. All that it modifies has the revision after the present one; whether there is such a revision
/// shows when it ends.
pub(super) struct Change<'b, 'c> {
    pub(super) keyspace: &'b mut Keyspace<'c>,
    pub(super) mark: &'b mut Mark,
    listening: Listening,
    hearing: Hearing,
    /// Bytes that a transaction has read to answer with.
    answered: usize,
    /// More than [`LONGEST_ANSWER`] was to be read, and was not.
    left_out: bool,
    changes: i64,
    events: Vec<Event>,
}

impl<'b, 'c> Change<'b, 'c> {
    pub(super) fn new(
        keyspace: &'b mut Keyspace<'c>,
        mark: &'b mut Mark,
        listening: Listening,
        hearing: Hearing,
    ) -> Self {
        Self {
            keyspace,
            mark,
            listening,
            hearing,
            answered: 0,
            left_out: false,
            changes: 0,
            events: Vec::new(),
        }
    }

    /// Whether what is about to be read will be told.
    pub(super) fn is_heard(&mut self) -> bool {
        let is_heard = self.hearing == Hearing::Somebody;
        let fits = self.answered <= LONGEST_ANSWER;
        self.left_out |= is_heard && !fits;
        is_heard && fits
    }

    /// So many bytes more are in the answer of a transaction.
    pub(super) fn has_answered(&mut self, bytes: usize) {
        self.answered += bytes;
    }

    /// Whether something of a transaction's answer was left out, because it was too long.
    pub(super) fn is_untold(&self) -> bool {
        self.left_out
    }

    /// The revision as an operation within the change sees it.
    pub(super) fn revision(&self) -> i64 {
        self.mark.revision + i64::from(self.changes > 0)
    }

    pub(super) fn view(&self) -> View {
        View {
            revision: self.revision(),
            compacted: self.mark.compacted,
        }
    }

    pub(super) fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            revision: self.revision(),
            ..ResponseHeader::default()
        })
    }

    /// Makes the new revision the present one, if anything was modified, and hands out the events.
    pub(super) fn finish(self) -> Vec<Event> {
        self.mark.revision = self.revision();
        self.events
    }

    /// A put whose preconditions have been checked.
    pub(super) fn put(&mut self, request: &PutRequest) -> Result<PutResponse, StateError> {
        let before = self.keyspace.newest(&request.key)?;
        let existing = before.filter(Newest::exists);
        let tells_previous = request.prev_kv && self.is_heard();
        let old_value = match &existing {
            Some(existing)
                if tells_previous
                    || request.ignore_value
                    || self.listening == Listening::EventsWithPrevious =>
            {
                Some(self.keyspace.value(&request.key, existing)?)
            }
            _ => None,
        };
        let value = match (&old_value, request.ignore_value) {
            (Some(old), true) => old.clone(),
            _ => request.value.clone(),
        };
        let lease = match &existing {
            Some(existing) if request.ignore_lease => existing.lease,
            _ => request.lease,
        };
        let position = self.next_position();
        let created = existing.map_or(position.revision().0, |existing| existing.created);
        let version = existing.map_or(1, |existing| existing.version + 1);
        let new = Version {
            position,
            key: &request.key,
            value: &value,
            created,
            version,
            lease,
        };
        self.keyspace.add(&new, before.as_ref())?;
        self.mark.live += i64::from(existing.is_none());
        let previous = existing
            .zip(old_value)
            .map(|(existing, value)| existing.key_value(request.key.clone(), value));
        if self.listening != Listening::Nothing {
            let kv = KeyValue {
                key: request.key.clone(),
                create_revision: created,
                mod_revision: position.revision().0,
                version,
                value,
                lease,
            };
            self.tell(EventType::Put, kv, previous.clone());
        }
        Ok(PutResponse {
            header: self.header(),
            prev_kv: previous.filter(|_| tells_previous),
        })
    }

    /// Deletes what exists of a range, for which [`Change::check_room`] has found room.
    pub(super) fn delete_range(
        &mut self,
        request: &DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, StateError> {
        let bounds = Bounds::new(&request.key, &request.range_end);
        let tells_previous = request.prev_kv && self.is_heard();
        let mut response = DeleteRangeResponse::default();
        if let Bounds::One(key) = bounds {
            if let Some(existing) = self.keyspace.existing(key)? {
                response
                    .prev_kvs
                    .extend(self.delete(&request.key, &existing, tells_previous)?);
                response.deleted = 1;
            }
        } else {
            let mut last: Option<Bytes> = None;
            loop {
                let page = range::existing_keys(
                    self.keyspace.connection(),
                    &bounds,
                    last.as_deref(),
                    DELETE_PAGE,
                )?;
                for (key, existing) in &page {
                    response
                        .prev_kvs
                        .extend(self.delete(key, existing, tells_previous)?);
                    response.deleted += 1;
                }
                match page.into_iter().next_back() {
                    Some((key, _)) => last = Some(key),
                    None => break,
                }
            }
        }
        response.header = self.header();
        Ok(response)
    }

    /// Whether the keys of a lease are no more than one change can number.
    ///
    /// # Errors
    /// When they are.
    pub(super) fn check_attached(&self, lease: i64) -> Result<(), Failure> {
        let room = Position::CHANGES - OWN;
        if self.mark.live <= room {
            return Ok(());
        }
        let mut statement = self
            .keyspace
            .connection()
            .prepare_cached("SELECT count(*) FROM lease_keys WHERE lease = ?1")?;
        if statement.query_row([lease], |row| row.get::<_, i64>(0))? > room {
            return Err(Rejection::TooManyOperations.into());
        }
        Ok(())
    }

    /// Deletes every key of a lease, in the order of the keys.
    pub(super) fn delete_attached(&mut self, lease: i64) -> Result<(), StateError> {
        loop {
            let page: Vec<Bytes> = {
                let mut statement = self
                    .keyspace
                    .connection()
                    .prepare_cached("SELECT key FROM lease_keys WHERE lease = ?1 ORDER BY key")?;
                let keys = statement.query_map([lease], |row| range::blob(row, 0))?;
                keys.take(DELETE_PAGE).collect::<Result<_, _>>()?
            };
            if page.is_empty() {
                return Ok(());
            }
            for key in page {
                let existing = self.keyspace.existing(&key)?;
                let existing = existing.ok_or_else(|| {
                    StateError::Damaged(format!("lease {lease:x} holds a key that does not exist"))
                })?;
                self.delete(&key, &existing, false)?;
            }
        }
    }

    fn delete(
        &mut self,
        key: &Bytes,
        existing: &Newest,
        answer: bool,
    ) -> Result<Option<KeyValue>, StateError> {
        let wanted = answer || self.listening == Listening::EventsWithPrevious;
        let previous = if wanted {
            Some(existing.key_value(key.clone(), self.keyspace.value(key, existing)?))
        } else {
            None
        };
        let position = self.next_position();
        let tombstone = Version {
            position,
            key,
            value: &[],
            created: 0,
            version: 0,
            lease: 0,
        };
        self.keyspace.add(&tombstone, Some(existing))?;
        self.mark.live -= 1;
        if self.listening != Listening::Nothing {
            let kv = KeyValue {
                key: key.clone(),
                mod_revision: position.revision().0,
                ..KeyValue::default()
            };
            self.tell(EventType::Delete, kv, previous.clone());
        }
        Ok(previous.filter(|_| answer))
    }

    fn next_position(&mut self) -> Position {
        let position = Position::new(self.mark.revision + 1, self.changes);
        self.changes += 1;
        position
    }

    /// Deletes of more keys than a revision can number are refused whole.
    pub(super) fn check_room(&self, deletes: &[&DeleteRangeRequest]) -> Result<(), Failure> {
        let room = Position::CHANGES - OWN;
        if self.mark.live <= room {
            return Ok(());
        }
        let mut keys = 0;
        for request in deletes {
            keys += range::count(
                self.keyspace.connection(),
                &Bounds::new(&request.key, &request.range_end),
            )?;
        }
        if keys > room {
            Err(Rejection::TooManyOperations.into())
        } else {
            Ok(())
        }
    }

    fn tell(&mut self, kind: EventType, kv: KeyValue, prev_kv: Option<KeyValue>) {
        let prev_kv = prev_kv.filter(|_| self.listening == Listening::EventsWithPrevious);
        self.events.push(Event {
            r#type: kind.into(),
            kv: Some(kv),
            prev_kv,
        });
    }
}
