//! Notices of commits, which wait a moment for entries to travel with.
//!
//! When a write is committed, openraft tells each follower at once, in an append without entries. A client that writes again as
//! soon as it was answered brings the next entries a moment later, which say the same besides: with one client every second
//! message was such a notice. A notice is therefore held back for a little, and dropped when entries come. Nobody needs it
//! sooner: whoever asks for a read index is brought the commit index by the heartbeat that confirms it.

use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use openraft::raft::AppendEntriesRequest;

use super::types::Types;
use crate::runtime::Runtime;

/// The requests of `appends`, those that only tell of a commit held back for up to `patience`. The first one is never held:
/// a heartbeat and a probe, which expect their own answer, are the only ones of their stream.
pub fn with_notices_held<R, S>(
    appends: S,
    patience: Duration,
) -> impl Stream<Item = AppendEntriesRequest<Types<R>>> + Send + Unpin + 'static
where
    R: Runtime,
    S: Stream<Item = AppendEntriesRequest<Types<R>>> + Send + Unpin + 'static,
{
    let state = (appends.fuse(), true);
    let held = futures_util::stream::unfold(state, move |(mut appends, first)| async move {
        let mut append = appends.next().await?;
        if append.entries.is_empty() && !first {
            let mut over = std::pin::pin!(R::sleep(patience).fuse());
            while append.entries.is_empty() {
                let next = tokio::select! {
                    biased;
                    next = appends.next() => next,
                    () = &mut over => None,
                };
                match next {
                    Some(later) => append = later,
                    None => break,
                }
            }
        }
        Some((append, (appends, false)))
    });
    Box::pin(held)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use openraft::Entry;

    use super::*;
    use crate::ids::NodeId;
    use crate::raft::types::{Payload, Vote, log_id};
    use crate::runtime::tokio::TokioRuntime;

    type Append = AppendEntriesRequest<Types<TokioRuntime>>;

    /// Longer than a test may take.
    const NEVER: Duration = Duration::from_secs(600);

    /// An append of the entries from `from` to before `to`, told when `committed` is.
    fn append(from: u64, to: u64, committed: u64) -> Append {
        let entry = |index| Entry {
            log_id: log_id(1, index),
            payload: Payload::default(),
        };
        Append {
            vote: Vote::new_committed(1, NodeId(1)),
            prev_log_id: Some(log_id(1, from - 1)),
            leader_commit: Some(log_id(1, committed)),
            entries: (from..to).map(entry).collect(),
        }
    }

    /// What comes out, by the number of entries and the commit index of each.
    async fn out(
        appends: impl Stream<Item = Append> + Send + Unpin + 'static,
        patience: Duration,
        count: usize,
    ) -> Vec<(usize, u64)> {
        let held = with_notices_held::<TokioRuntime, _>(appends, patience).take(count);
        let shown = held.map(|append| {
            let committed = append.leader_commit.map_or(0, |id| id.index);
            (append.entries.len(), committed)
        });
        shown.collect().await
    }

    #[tokio::test]
    async fn notice_goes_with_the_entries_that_follow_it() {
        let appends = [
            append(2, 4, 1),
            append(4, 4, 2),
            append(4, 4, 3),
            append(4, 5, 3),
        ];
        let appends = stream::iter(appends);
        assert_eq!(out(appends, NEVER, 9).await, [(2, 1), (1, 3)]);
    }

    #[tokio::test]
    async fn first_of_a_stream_is_never_held() {
        let appends = stream::iter([append(2, 2, 1)]).chain(stream::pending());
        assert_eq!(out(appends, NEVER, 1).await, [(0, 1)]);
    }

    #[tokio::test]
    async fn last_notice_is_sent_when_nothing_follows() {
        let appends = || stream::iter([append(2, 3, 1), append(3, 3, 2)]);
        let told = [(1, 1), (0, 2)];
        assert_eq!(out(appends(), NEVER, 9).await, told, "the stream ends");
        let silent = appends().chain(stream::pending());
        let patience = Duration::from_millis(5);
        let began = TokioRuntime::now();
        assert_eq!(out(silent, patience, 2).await, told, "the patience does");
        assert!(TokioRuntime::now() - began >= patience);
    }
}
