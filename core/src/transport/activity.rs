//! Whether a connection is in use, for the idle timeout.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::Body;

/// Counts the requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Activity {
    /// A request begins; it lasts as long as what is returned.
    pub(super) fn begin(self: &Arc<Self>) -> Use {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Use(Arc::clone(self))
    }

    /// How many requests there have been, if all of them are over.
    pub(super) fn quiet_after(&self) -> Option<u64> {
        let begun = self.begun.load(Ordering::Relaxed);
        (begun == self.ended.load(Ordering::Relaxed)).then_some(begun)
    }
}

/// A request in progress.
#[derive(Debug)]
pub(super) struct Use(Arc<Activity>);

impl Drop for Use {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// A body that keeps its request in progress until it is sent or dropped: a watch is one request of days.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) body: Body,
    #[expect(dead_code, reason = "held for its drop")]
    pub(super) in_use: Use,
    pub(super) turn: Option<Arc<OwnedSemaphorePermit>>,
}

/// Bytes that HTTP/2 may keep long after their body is gone, and the request's turn for as long.
struct Unsent {
    bytes: Bytes,
    #[expect(dead_code, reason = "held for its drop")]
    turn: Arc<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let Some(turn) = &self.turn else {
            return Poll::Ready(frame);
        };
        let keep = |bytes| {
            let turn = Arc::clone(turn);
            Bytes::from_owner(Unsent { bytes, turn })
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(keep))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
