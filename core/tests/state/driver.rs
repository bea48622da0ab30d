//! A state in a temporary directory, with a counter in place of a log.

use bytes::Bytes;
use quorate::database::{Missing, Place};
use quorate::proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse,
};
use quorate::proto::store::{LeaseGrant, LogId, command::Body};
use quorate::state::{
    self, Durability, Listening, ReadError, Reader, Response, RevisionEvents, State,
};

pub(crate) struct Driver {
    dir: tempfile::TempDir,
    pub(crate) state: State,
    pub(crate) reader: Reader,
    pub(crate) index: u64,
}

impl Driver {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = place(&dir);
        let state = State::open(&place, Missing::Create).unwrap();
        Self {
            state,
            reader: Reader::open(&place).unwrap(),
            dir,
            index: 0,
        }
    }

    pub(crate) fn place(&self) -> Place {
        place(&self.dir)
    }

    /// Closes everything and opens it again, as after the death of the process.
    pub(crate) fn reopen(self) -> Self {
        let Self {
            dir,
            state,
            reader,
            index,
        } = self;
        drop((state, reader));
        let place = place(&dir);
        let state = State::open(&place, Missing::Refuse).unwrap();
        Self {
            state,
            // From now on no read of more than three keys is one transaction.
            reader: Reader::open(&place).unwrap().in_slices_of(3),
            dir,
            index,
        }
    }

    /// One entry in a batch of its own.
    pub(crate) fn apply(&mut self, body: impl Into<Body>) -> Response {
        self.apply_with_events(body).0
    }

    pub(crate) fn apply_with_events(
        &mut self,
        body: impl Into<Body>,
    ) -> (Response, Vec<RevisionEvents>) {
        self.state.listen(Listening::EventsWithPrevious);
        self.index += 1;
        let mut batch = self.state.begin().unwrap();
        let response = batch
            .apply(log_id(self.index), Some(&state::command(body.into())), None)
            .unwrap();
        let events = batch.take_events();
        batch.commit(Durability::Lazy).unwrap();
        (response, events)
    }

    /// One entry whose answer nobody waits for.
    pub(crate) fn apply_unheard(&mut self, body: impl Into<Body>) -> Response {
        self.index += 1;
        let (id, command) = (log_id(self.index), state::command(body.into()));
        let mut batch = self.state.begin().unwrap();
        let response = batch.apply_unheard(id, Some(&command), None).unwrap();
        batch.commit(Durability::Lazy).unwrap();
        response
    }

    /// All entries in one batch.
    pub(crate) fn apply_all(&mut self, bodies: &[Body]) -> Vec<Response> {
        let mut batch = self.state.begin().unwrap();
        let mut responses = Vec::new();
        for body in bodies {
            self.index += 1;
            responses.push(
                batch
                    .apply(
                        log_id(self.index),
                        Some(&state::command(body.clone())),
                        None,
                    )
                    .unwrap(),
            );
        }
        batch.commit(Durability::Lazy).unwrap();
        responses
    }

    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
        self.reader.range(request)
    }

    /// Key and value of all that exists.
    pub(crate) fn everything(&self) -> Vec<(Bytes, Bytes)> {
        let all = RangeRequest {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            ..RangeRequest::default()
        };
        self.range(&all)
            .unwrap()
            .kvs
            .into_iter()
            .map(|kv| (kv.key, kv.value))
            .collect()
    }
}

pub(crate) fn log_id(index: u64) -> LogId {
    LogId { term: 1, index }
}

pub(crate) fn put(key: &str, value: &str) -> Body {
    Body::Put(PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..PutRequest::default()
    })
}

pub(crate) fn delete(key: &str) -> Body {
    Body::DeleteRange(DeleteRangeRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        ..DeleteRangeRequest::default()
    })
}

pub(crate) fn compact(revision: i64) -> Body {
    Body::Compact(CompactionRequest {
        revision,
        physical: false,
    })
}

pub(crate) fn grant(id: i64) -> Body {
    Body::LeaseGrant(LeaseGrant {
        id,
        ttl_seconds: 60,
    })
}

fn place(dir: &tempfile::TempDir) -> Place {
    Place::new(dir.path(), None)
}
