//! The sending half of Raft's messages.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::Stream;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend};
use tonic::{Request, Status};

use super::convert;
use super::journal::Mark;
use super::line::Line;
use super::log::Log;
use super::notices::with_notices_held;
use super::peers::{Client, Peers};
use super::snapshot::{Content, Outgoing};
use super::types::{Snapshot, Types, Vote, term_of};
use crate::ids::NodeId;
use crate::proto::peer::{self, append_response, snapshot_request};
use crate::runtime::buggify::{fails, stumble};
use crate::runtime::{Elapsed, Runtime, timeout};
use crate::state::Applied;

/// Makes a sender for each target.
pub struct Network<R: Runtime> {
    /// The nodes.
    pub peers: Arc<Peers<R>>,
    /// Remembers what the peers acknowledged.
    pub log: Log<R>,
    /// How long an append may take at least. openraft would allow less than a heartbeat, and a follower that syncs for
    /// longer than that would be sent the same entries again and again.
    pub patience: Duration,
    /// How long a notice of a commit waits for entries.
    pub notice_hold: Duration,
}

impl<R: Runtime> RaftNetworkFactory<Types<R>> for Network<R> {
    type Network = Sender<R>;

    async fn new_client(&mut self, target: NodeId, _node: &EmptyNode) -> Sender<R> {
        let (peers, log) = (Arc::clone(&self.peers), self.log.clone());
        Sender {
            target,
            client: peers.client(target),
            peers,
            log,
            patience: self.patience,
            notice_hold: self.notice_hold,
            line: None,
        }
    }
}

/// Sends to one target.
pub struct Sender<R: Runtime> {
    target: NodeId,
    client: Client<R>,
    peers: Arc<Peers<R>>,
    log: Log<R>,
    patience: Duration,
    notice_hold: Duration,
    /// Open, unless an append is on its way or was never answered.
    line: Option<Line>,
}

/// The answers to a stream of appends, in their order.
type Answers<'s, R> = BoxStream<'s, Result<StreamAppendResult<Types<R>>, RPCError<Types<R>>>>;

fn request<M>(message: M, timeout: Duration) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// How long a snapshot may take. One that stands still is given up long before.
const LONGEST_SNAPSHOT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Ends when `taken` has not grown for `limit`, or for a little longer.
async fn stands_still<R: Runtime>(taken: &AtomicU64, limit: Duration) {
    let mut before = taken.load(Ordering::Relaxed);
    loop {
        R::sleep(limit).await;
        let now = taken.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

/// openraft backs off from a target that is unreachable, and retries at once after other failures.
fn failed<R: Runtime>(status: &Status) -> RPCError<Types<R>> {
    match status.code() {
        tonic::Code::DeadlineExceeded
        | tonic::Code::Unavailable
        | tonic::Code::FailedPrecondition => RPCError::Unreachable(Unreachable::new(status)),
        _ => RPCError::Network(NetworkError::new(status)),
    }
}

fn malformed<R: Runtime>(what: &str) -> RPCError<Types<R>> {
    let error = io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    RPCError::Unreachable(Unreachable::new(&error))
}

impl<R: Runtime> Sender<R> {
    fn append_message(&self, append: &AppendEntriesRequest<Types<R>>) -> peer::AppendRequest {
        peer::AppendRequest {
            route: Some(self.peers.identity().route(self.target)),
            vote: Some(convert::vote_out(&append.vote)),
            previous: append.prev_log_id.as_ref().map(convert::log_id_out),
            entries: append.entries.iter().map(convert::entry_out).collect(),
            committed: append.leader_commit.as_ref().map(convert::log_id_out),
            durable: self.log.durable().as_ref().map(convert::log_id_out),
        }
    }

    /// Asks on the line that is open, or on a new one. An old line may have ended since it was last used, and then the question
    /// is put again: an append that arrives twice is one append.
    async fn ask(
        &mut self,
        append: &AppendEntriesRequest<Types<R>>,
    ) -> Result<peer::AppendResponse, Status> {
        let asked = match self.line.take() {
            Some(line) => line.ask(self.append_message(append)).await.ok(),
            None => None,
        };
        let (answer, line) = match asked {
            Some(answered) => answered,
            None => {
                let message = self.append_message(append);
                Line::open(&mut self.client, message).await?
            }
        };
        self.line = Some(line);
        Ok(answer)
    }

    fn vote_message(&self, request: &VoteRequest<Types<R>>) -> peer::VoteRequest {
        peer::VoteRequest {
            route: Some(self.peers.identity().route(self.target)),
            vote: Some(convert::vote_out(&request.vote)),
            last: request.last_log_id.as_ref().map(convert::log_id_out),
            leadership_transfer: request.leadership_transfer,
        }
    }

    fn vote_answer(
        &self,
        answer: &peer::VoteResponse,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        let vote = convert::required_vote(answer.vote.as_ref())
            .map_err(|error| malformed(&error.to_string()))?;
        let last = answer.last.as_ref().map(convert::log_id_in);
        Ok(VoteResponse {
            vote,
            vote_granted: answer.granted,
            last_log_id: last,
        })
    }

    fn snapshot_head(&self, vote: &Vote, applied: &Applied) -> peer::SnapshotHead {
        let (membership_id, membership) = applied.membership.clone().unzip();
        peer::SnapshotHead {
            route: Some(self.peers.identity().route(self.target)),
            vote: Some(convert::vote_out(vote)),
            last: applied.log_id,
            membership_id,
            membership,
        }
    }
}

/// The head, then the chunks as they are read; counts those that were `taken`. A read error ends the stream early, and the
/// receiver, which finds no end mark, discards what it has.
fn snapshot_parts<R: Runtime>(
    head: peer::SnapshotHead,
    outgoing: Outgoing,
    taken: Arc<AtomicU64>,
) -> impl Stream<Item = peer::SnapshotRequest> + Send + 'static {
    let part = |part| peer::SnapshotRequest { part: Some(part) };
    let head = part(snapshot_request::Part::Head(head));
    futures_util::stream::unfold((Some(head), Some(outgoing)), move |(head, outgoing)| {
        taken.fetch_add(1, Ordering::Relaxed);
        async move {
            if let Some(head) = head {
                return Some((head, (None, outgoing)));
            }
            match outgoing?.next_message::<R>().await {
                Ok(Some((chunk, rest))) => Some((
                    part(snapshot_request::Part::Chunk(chunk)),
                    (None, Some(rest)),
                )),
                Ok(None) => None,
                Err(error) => {
                    tracing::warn!(%error, "a snapshot could not be read to its end");
                    None
                }
            }
        }
    })
}

impl<R: Runtime> RaftNetworkV2<Types<R>> for Sender<R> {
    type SnapshotData = Content;

    fn stream_append<'s, S>(
        &'s mut self,
        appends: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<Answers<'s, R>, RPCError<Types<R>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types<R>>> + OptionalSend + Unpin + 'static,
    {
        let appends = with_notices_held::<R, _>(appends, self.notice_hold);
        stream_append_sequential(self, appends, option)
    }

    async fn append_entries(
        &mut self,
        append: AppendEntriesRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        let term = append.vote.leader_id.term;
        let sent_entries = !append.entries.is_empty();
        let last = append
            .entries
            .last()
            .map(|entry| entry.log_id)
            .or(append.prev_log_id);
        let limit = option.hard_ttl().max(self.patience);
        let answer = match timeout::<R, _>(limit, self.ask(&append)).await {
            Ok(answer) => answer,
            Err(Elapsed) => Err(Status::deadline_exceeded("no answer in time")),
        };
        let answer = answer.map_err(|status| failed(&status))?;
        if fails!(R, "buggify/append.answer-lost") {
            return Err(failed(&Status::unavailable("the answer was lost")));
        }
        // What a peer said it has *on disk*, which only the answer to entries says: a heartbeat and a vote compare logs
        // in memory, and a crash may rightly take what was never promised.
        let acknowledged = |last: Option<super::types::LogId>| {
            if let Some(last) = last.filter(|_| sent_entries) {
                let last = (term_of(&last), last.index);
                self.log.remember(self.target, Mark { term, last });
            }
        };
        match answer.outcome {
            Some(append_response::Outcome::Success(_)) => {
                acknowledged(last);
                Ok(AppendEntriesResponse::Success)
            }
            Some(append_response::Outcome::Partial(partial)) => {
                let upto = convert::numbered(partial.last.as_ref())
                    .ok()
                    .filter(|upto| *upto <= last)
                    .ok_or_else(|| malformed("more is acknowledged than was sent"))?;
                acknowledged(upto);
                Ok(AppendEntriesResponse::PartialSuccess(upto))
            }
            Some(append_response::Outcome::Conflict(_)) => Ok(AppendEntriesResponse::Conflict),
            Some(append_response::Outcome::HigherVote(vote)) => {
                let vote = convert::required_vote(Some(&vote))
                    .map_err(|error| malformed(&error.to_string()))?;
                Ok(AppendEntriesResponse::HigherVote(vote))
            }
            None => Err(malformed("an answer to an append without an outcome")),
        }
    }

    async fn vote(
        &mut self,
        vote: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        let message = self.vote_message(&vote);
        let answer = self
            .client
            .vote(request(message, option.hard_ttl()))
            .await
            .map_err(|status| failed(&status))?;
        let answer = self.vote_answer(answer.get_ref())?;
        if answer.vote_granted {
            // The vote is on its disk; what it says of its log need not be.
            let term = answer.vote.leader_id.term;
            self.log.remember(self.target, Mark { term, last: (0, 0) });
        }
        Ok(answer)
    }

    async fn pre_vote(
        &mut self,
        vote: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        let message = self.vote_message(&vote);
        let answer = self
            .client
            .pre_vote(request(message, option.hard_ttl()))
            .await
            .map_err(|status| failed(&status))?;
        self.vote_answer(answer.get_ref())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        let holds = snapshot.meta.last_log_id;
        let outgoing = Outgoing::open::<R>(snapshot.snapshot).await;
        let outgoing =
            outgoing.map_err(|error| StreamingError::Unreachable(Unreachable::new(&error)))?;
        if fails!(R, "buggify/snapshot.not-sent") {
            let lost = io::Error::other("the snapshot was lost");
            return Err(StreamingError::Unreachable(Unreachable::new(&lost)));
        }
        stumble!(R, "buggify/snapshot.opened");
        let taken = Arc::new(AtomicU64::new(0));
        let head = self.snapshot_head(&vote, outgoing.applied());
        let parts = snapshot_parts::<R>(head, outgoing, Arc::clone(&taken));
        let sent = self
            .client
            .install_snapshot(request(parts, LONGEST_SNAPSHOT));
        let answer = tokio::select! {
            biased;
            closed = cancel => return Err(closed.into()),
            answer = sent => answer.map_err(|status| StreamingError::Unreachable(Unreachable::new(&status)))?,
            () = stands_still::<R>(&taken, option.hard_ttl()) => {
                let stalled = io::Error::new(io::ErrorKind::TimedOut, "the snapshot stands still");
                return Err(StreamingError::Unreachable(Unreachable::new(&stalled)));
            }
        };
        let answered = convert::required_vote(answer.get_ref().vote.as_ref());
        let answered =
            answered.map_err(|error| StreamingError::Unreachable(Unreachable::new(&error)))?;
        // Unless it was refused for a higher vote, the target has it on its disk, and this leader counts on that from now on.
        if let Some(last) = holds.filter(|_| answered == vote) {
            let last = (term_of(&last), last.index);
            let term = vote.leader_id.term;
            self.log.remember(self.target, Mark { term, last });
        }
        Ok(SnapshotResponse::new(answered))
    }

    async fn transfer_leader(
        &mut self,
        transfer: TransferLeaderRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<R>>, RPCError<Types<R>>> {
        let message = peer::TransferRequest {
            route: Some(self.peers.identity().route(self.target)),
            from_leader: Some(convert::vote_out(transfer.from_leader())),
            to: transfer.to_node_id().0,
            last: transfer.last_log_id().map(convert::log_id_out),
        };
        let answer = self
            .client
            .transfer_leader(request(message, option.hard_ttl()))
            .await;
        let answer = answer.map_err(|status| failed(&status))?.into_inner();
        if answer.accepted {
            return Ok(Ok(()));
        }
        let actual = answer
            .vote
            .as_ref()
            .map_or(*transfer.from_leader(), convert::vote_in);
        Ok(Err(TransferLeaderError::VoteChanged {
            expected: *transfer.from_leader(),
            actual,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tokio::TokioRuntime;

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_does_not_stand_still() {
        let (taken, limit) = (AtomicU64::new(0), Duration::from_secs(600));
        let still = stands_still::<TokioRuntime>(&taken, limit);
        let goes_on = async {
            for _ in 0..100 {
                TokioRuntime::sleep(limit / 2).await;
                taken.fetch_add(1, Ordering::Relaxed);
            }
        };
        tokio::select! {
            biased;
            () = still => panic!("it went on for all the time"),
            () = goes_on => {}
        }
        let waited =
            timeout::<TokioRuntime, _>(limit * 3, stands_still::<TokioRuntime>(&taken, limit));
        assert!(waited.await.is_ok(), "nothing is taken any more");
    }
}
