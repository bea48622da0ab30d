//! `RangeStream`: the answer of a range in ordered pieces at one revision.
//!
//! Every piece but the last carries keys only; the last has the header, the total count and `more`, so that the pieces
//! merged by protobuf's own rules are what `Range` would have answered. A piece is as many keys as made about
//! [`PIECE_BYTES`] at the size of those before.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use prost::Message as _;
use tonic::Status;

use super::EtcdError;
use super::backend::Backend;
use super::convert::{header, read_failed, rejected};
use crate::ids::Revision;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};
use crate::state::validate;

/// About how large a piece is.
const PIECE_BYTES: usize = 1024 * 1024;
/// Keys of the first piece, when nothing is known of their size.
pub(super) const FIRST_PIECE: i64 = 16;

pub(super) async fn range_stream<B: Backend>(
    backend: Arc<B>,
    request: RangeRequest,
) -> Result<impl Stream<Item = Result<RangeStreamResponse, Status>> + Send + 'static + use<B>, Status>
{
    validate::range(&request).map_err(|rejection| rejected(&rejection))?;
    check_order(&request)?;
    if !request.serializable {
        backend.read_barrier().await.map_err(EtcdError::from)?;
    }
    let pieces = Pieces {
        backend,
        left: (request.limit > 0).then_some(request.limit),
        request,
        piece: FIRST_PIECE,
        first: None,
    };
    Ok(stream::try_unfold(Some(pieces), |pieces| async {
        match pieces {
            Some(pieces) => pieces.next().await.map(Some),
            None => Ok(None),
        }
    }))
}

/// Only what comes in the order of the table can be sent as it is read; clients know this answer and ask for a plain range.
fn check_order(request: &RangeRequest) -> Result<(), Status> {
    let by_key_upwards = request.sort_order() == SortOrder::None
        || (request.sort_order() == SortOrder::Ascend && request.sort_target() == SortTarget::Key);
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if by_key_upwards && filters.iter().all(|bound| *bound == 0) {
        return Ok(());
    }
    Err(Status::unimplemented(
        "a stream is ordered by key and unfiltered",
    ))
}

/// What is still to be sent.
struct Pieces<B> {
    backend: Arc<B>,
    request: RangeRequest,
    /// Keys that the request's limit still allows.
    left: Option<i64>,
    /// Keys of the next piece.
    piece: i64,
    /// Of the first piece: the revision that all others are read at, and the total count.
    first: Option<(Revision, i64)>,
}

impl<B: Backend> Pieces<B> {
    /// Reads one piece; what is left comes after it.
    async fn next(mut self) -> Result<(RangeStreamResponse, Option<Self>), Status> {
        let whole = self.request.count_only;
        let limit = self.left.map_or(self.piece, |left| left.min(self.piece));
        let request = RangeRequest {
            limit: if whole { self.request.limit } else { limit },
            ..self.request.clone()
        };
        let mut response = self.backend.range(request).await.map_err(read_failed)?;
        let present = response.header.as_ref().map_or(0, |header| header.revision);
        let (revision, count) = *self
            .first
            .get_or_insert((Revision(present), response.count));
        let sent = i64::try_from(response.kvs.len()).expect("a vector's length fits");
        self.left = self.left.map(|left| left - sent);
        let done = whole || !response.more || self.left == Some(0);
        if done {
            response.header = header(self.backend.as_ref(), Revision(present));
            response.count = count;
            return Ok((piece(response), None));
        }
        self.go_on_behind(&response, revision);
        let keys = RangeResponse {
            kvs: response.kvs,
            ..RangeResponse::default()
        };
        Ok((piece(keys), Some(self)))
    }

    fn go_on_behind(&mut self, response: &RangeResponse, revision: Revision) {
        if let Some(key) = behind(response) {
            self.request.key = key;
        }
        if self.request.range_end.is_empty() {
            // A single key has no second piece, but an empty end would now name another key.
            self.request.range_end = Bytes::from_static(b"\0");
        }
        if self.request.revision <= 0 {
            self.request.revision = revision.0;
        }
        self.piece = next_piece(response, self.piece);
    }
}

/// Where a range goes on behind the keys of an answer: at the smallest key after the last of them.
pub(super) fn behind(response: &RangeResponse) -> Option<Bytes> {
    let last = response.kvs.last()?;
    Some([&last.key[..], &[0]].concat().into())
}

/// How many keys the next piece has, after one of `piece` keys at most.
pub(super) fn next_piece(response: &RangeResponse, piece: i64) -> i64 {
    let bytes = response.encoded_len().max(1);
    let keys = response.kvs.len().saturating_mul(PIECE_BYTES) / bytes;
    // At most four times as many as before: the next ones may be larger.
    i64::try_from(keys)
        .unwrap_or(i64::MAX)
        .clamp(1, piece.saturating_mul(4))
}

const fn piece(response: RangeResponse) -> RangeStreamResponse {
    RangeStreamResponse {
        range_response: Some(response),
    }
}
