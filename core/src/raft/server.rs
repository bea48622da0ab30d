//! The receiving half of what members say to one another.
//!
//! Everything is refused that is not addressed to this node, this cluster and this epoch. While Raft is not running (at
//! start, or after an IO error) only `report` answers.

use std::sync::Arc;

use futures_util::stream::{BoxStream, try_unfold};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use tonic::{Request, Response, Status, Streaming};

use super::answer::answer_out;
use super::barrier::{Barrier, ReadError};
use super::convert;
use super::journal::Mark;
use super::proposer::{ProposeError, Proposer};
use super::replica::Replica;
use super::types::{NodeRaft, Snapshot, SnapshotMeta, Types};
use crate::ids::NodeId;
use crate::node::Inner;
use crate::proto::peer::{
    self, append_response, peer_server, propose_outcome, read_index_response, snapshot_request,
};
use crate::runtime::{Event, Runtime};
use crate::tls::secure::Peer;
use crate::transport::Connection;

/// At most so many commands in one forwarded batch, so that a peer cannot make this node hold more.
const MAX_COMMANDS: usize = 4096;

/// The service, over a replica that may not run at the moment.
pub struct PeerService<R: Runtime> {
    node: Arc<Inner<R>>,
    replica: Arc<Replica<R>>,
}

impl<R: Runtime> Clone for PeerService<R> {
    fn clone(&self) -> Self {
        Self {
            node: Arc::clone(&self.node),
            replica: Arc::clone(&self.replica),
        }
    }
}

impl<R: Runtime> PeerService<R> {
    /// Serves for `node`.
    #[must_use]
    pub fn new(node: Arc<Inner<R>>) -> Self {
        let replica = Arc::clone(node.replica());
        Self { node, replica }
    }

    async fn append_one(
        &self,
        sender: NodeId,
        message: peer::AppendRequest,
    ) -> Result<peer::AppendResponse, Status> {
        let leader = self.check(sender, message.route.as_ref())?;
        let durable = message.durable;
        let vote = convert::required_vote(message.vote.as_ref()).map_err(malformed)?;
        let term = vote.leader_id.term;
        let append = AppendEntriesRequest {
            vote,
            prev_log_id: message.previous.as_ref().map(convert::log_id_in),
            entries: message
                .entries
                .iter()
                .map(convert::entry_in)
                .collect::<Result<_, _>>()
                .map_err(malformed)?,
            leader_commit: message.committed.as_ref().map(convert::log_id_in),
        };
        let raft = self.compared_raft()?;
        let answer = raft.append_entries(append).await.map_err(stopped)?;
        // A leader acknowledges nothing to anybody, and counts its own disk all the same.
        if let (AppendEntriesResponse::Success, Some(last)) = (&answer, durable) {
            let last = (last.term, last.index);
            self.replica.remember(leader, Mark { term, last });
        }
        let outcome = match answer {
            AppendEntriesResponse::Success => append_response::Outcome::Success(peer::Nothing {}),
            AppendEntriesResponse::PartialSuccess(last) => {
                append_response::Outcome::Partial(peer::PartialSuccess {
                    last: last.as_ref().map(convert::log_id_out),
                })
            }
            AppendEntriesResponse::Conflict => append_response::Outcome::Conflict(peer::Nothing {}),
            AppendEntriesResponse::HigherVote(vote) => {
                append_response::Outcome::HigherVote(convert::vote_out(&vote))
            }
        };
        Ok(peer::AppendResponse {
            outcome: Some(outcome),
        })
    }

    fn proposer(&self) -> Result<Proposer<R>, Status> {
        self.replica.proposer().ok_or_else(not_running)
    }

    fn barrier(&self) -> Result<Barrier<R>, Status> {
        self.replica.barrier().ok_or_else(not_running)
    }

    /// Who sent a frame that came by a connection of `sender`: the node of its certificate, for which alone it may speak.
    fn check(&self, sender: NodeId, route: Option<&peer::Route>) -> Result<NodeId, Status> {
        let here = self.replica.peers().identity();
        let from = here.check(route).map_err(Status::failed_precondition)?;
        if from == sender {
            Ok(from)
        } else {
            Err(Status::permission_denied(format!(
                "node {sender} speaks for node {from}"
            )))
        }
    }

    fn raft(&self) -> Result<NodeRaft<R>, Status> {
        self.replica.raft().ok_or_else(not_running)
    }

    /// Raft, once this node's memory was compared with that of its peers. Until then it takes nothing from a leader either: one
    /// that has forgotten what it acknowledged would be caught lying, which openraft's leader does not survive in a debug build
    /// and has no answer to in another.
    fn compared_raft(&self) -> Result<NodeRaft<R>, Status> {
        if !self.replica.may_vote() {
            return Err(Status::unavailable(
                "this node has yet to learn whether its log is what its peers remember",
            ));
        }
        self.raft()
    }
}

/// The node whose certificate the connection of a request showed.
///
/// # Errors
/// When nobody showed one: the doors let no such request through to this service.
pub fn sender<T>(request: &Request<T>) -> Result<NodeId, Status> {
    let connection = request.extensions().get::<Arc<Connection<Peer>>>();
    match connection.map(|connection| &connection.peer) {
        Some(Peer::Node { identity, .. }) => Ok(identity.node),
        Some(Peer::Stranger { .. }) | None => {
            Err(Status::unauthenticated("only members may call this"))
        }
    }
}

fn vote_in<R: Runtime>(message: &peer::VoteRequest) -> Result<VoteRequest<Types<R>>, Status> {
    let vote = convert::required_vote(message.vote.as_ref()).map_err(malformed)?;
    let last_log_id = message.last.as_ref().map(convert::log_id_in);
    Ok(VoteRequest {
        vote,
        last_log_id,
        leadership_transfer: message.leadership_transfer,
    })
}

fn vote_out<R: Runtime>(answer: &VoteResponse<Types<R>>) -> Response<peer::VoteResponse> {
    Response::new(peer::VoteResponse {
        vote: Some(convert::vote_out(&answer.vote)),
        granted: answer.vote_granted,
        last: answer.last_log_id.as_ref().map(convert::log_id_out),
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn malformed(error: std::io::Error) -> Status {
    Status::invalid_argument(error.to_string())
}

fn not_running() -> Status {
    Status::unavailable("this node does not take part in Raft at the moment")
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("raft: {error}"))
}

#[tonic::async_trait]
impl<R: Runtime> peer_server::Peer for PeerService<R> {
    type AppendStream = BoxStream<'static, Result<peer::AppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<peer::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let sender = sender(&request)?;
        let view = self.replica.peers().tls().view().clone();
        let at_first = view.get();
        let service = self.clone();
        let answers = try_unfold(request.into_inner(), move |mut appends| {
            let (service, view) = (service.clone(), view.clone());
            let at_first = Arc::clone(&at_first);
            async move {
                let Some(message) = appends.message().await? else {
                    return Ok(None);
                };
                if !Arc::ptr_eq(&view.get(), &at_first) {
                    return Err(Status::aborted("the members have changed: ask anew"));
                }
                R::observe(|| Event::LetIn { node: sender.0 });
                let answer = service.append_one(sender, message).await?;
                Ok(Some((answer, appends)))
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn vote(
        &self,
        request: Request<peer::VoteRequest>,
    ) -> Result<Response<peer::VoteResponse>, Status> {
        self.check(sender(&request)?, request.get_ref().route.as_ref())?;
        let answer = self
            .compared_raft()?
            .vote(vote_in(request.get_ref())?)
            .await
            .map_err(stopped)?;
        Ok(vote_out(&answer))
    }

    async fn pre_vote(
        &self,
        request: Request<peer::VoteRequest>,
    ) -> Result<Response<peer::VoteResponse>, Status> {
        self.check(sender(&request)?, request.get_ref().route.as_ref())?;
        let answer = self
            .compared_raft()?
            .pre_vote(vote_in(request.get_ref())?)
            .await
            .map_err(stopped)?;
        Ok(vote_out(&answer))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<peer::SnapshotRequest>>,
    ) -> Result<Response<peer::SnapshotResponse>, Status> {
        let sender = sender(&request)?;
        let mut parts = request.into_inner();
        let first = parts.message().await?.and_then(|message| message.part);
        let Some(snapshot_request::Part::Head(head)) = first else {
            return Err(Status::invalid_argument("a snapshot begins with its head"));
        };
        self.check(sender, head.route.as_ref())?;
        let raft = self.compared_raft()?;
        let vote = convert::required_vote(head.vote.as_ref()).map_err(malformed)?;
        let mut incoming = self.replica.receive_snapshot().map_err(stopped)?;
        while let Some(message) = parts.message().await? {
            let Some(snapshot_request::Part::Chunk(chunk)) = message.part else {
                return Err(Status::invalid_argument("a snapshot has one head"));
            };
            incoming.write(chunk).await.map_err(stopped)?;
        }
        let content = incoming.finish().map_err(stopped)?;
        let membership = head.membership.unwrap_or_default();
        let stored = head.membership_id.map(|id| (id, membership));
        let meta = SnapshotMeta {
            last_log_id: head.last.as_ref().map(convert::log_id_in),
            last_membership: convert::stored_membership_in(stored.as_ref()),
        };
        let snapshot = Snapshot {
            meta,
            snapshot: content,
        };
        let answer = raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(stopped)?;
        Ok(Response::new(peer::SnapshotResponse {
            vote: Some(convert::vote_out(&answer.vote)),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<peer::TransferRequest>,
    ) -> Result<Response<peer::TransferResponse>, Status> {
        let sender = sender(&request)?;
        let message = request.into_inner();
        self.check(sender, message.route.as_ref())?;
        let from = convert::required_vote(message.from_leader.as_ref()).map_err(malformed)?;
        let last = message.last.as_ref().map(convert::log_id_in);
        let transfer = TransferLeaderRequest::new(from, NodeId(message.to), last);
        let outcome = self
            .compared_raft()?
            .handle_transfer_leader(transfer)
            .await
            .map_err(stopped)?;
        let vote = self.replica.vote().as_ref().map(convert::vote_out);
        Ok(Response::new(peer::TransferResponse {
            accepted: outcome.is_ok(),
            vote,
        }))
    }

    async fn recall(
        &self,
        request: Request<peer::RecallRequest>,
    ) -> Result<Response<peer::RecallResponse>, Status> {
        let from = self.check(sender(&request)?, request.get_ref().route.as_ref())?;
        let mark = self.replica.recall(from).ok_or_else(not_running)?;
        let answer = peer::RecallResponse {
            term: mark.term,
            last: Some(crate::proto::store::LogId {
                term: mark.last.0,
                index: mark.last.1,
            }),
        };
        Ok(Response::new(answer))
    }

    async fn propose(
        &self,
        request: Request<peer::ProposeRequest>,
    ) -> Result<Response<peer::ProposeResponse>, Status> {
        let sender = sender(&request)?;
        let message = request.into_inner();
        self.check(sender, message.route.as_ref())?;
        if message.commands.len() > MAX_COMMANDS {
            return Err(Status::invalid_argument("too many commands in one batch"));
        }
        let commands = message.commands.iter().map(convert::command_in).collect();
        let answers = self.proposer()?.propose_here(commands).await;
        let outcomes = answers.into_iter().map(|answer| peer::ProposeOutcome {
            outcome: Some(outcome_out(answer)),
        });
        Ok(Response::new(peer::ProposeResponse {
            outcomes: outcomes.collect(),
        }))
    }

    async fn read_index(
        &self,
        request: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexResponse>, Status> {
        self.check(sender(&request)?, request.get_ref().route.as_ref())?;
        let outcome = match self.barrier()?.index_here().await {
            Ok(index) => read_index_response::Outcome::Index(index),
            Err(ReadError::NotLeader(leader)) => {
                read_index_response::Outcome::NotLeader(leader.map_or(0, |leader| leader.0))
            }
            Err(ReadError::NoLeader | ReadError::NoQuorum | ReadError::Late) => {
                read_index_response::Outcome::NoQuorum(peer::Nothing {})
            }
        };
        Ok(Response::new(peer::ReadIndexResponse {
            outcome: Some(outcome),
        }))
    }

    async fn report(
        &self,
        request: Request<peer::ReportRequest>,
    ) -> Result<Response<peer::ReportResponse>, Status> {
        self.check(sender(&request)?, request.get_ref().route.as_ref())?;
        self.node.report().await.map(Response::new).map_err(stopped)
    }
}

fn outcome_out(answer: Result<crate::state::Response, ProposeError>) -> propose_outcome::Outcome {
    match answer {
        Ok(response) => propose_outcome::Outcome::Answer(answer_out(response)),
        Err(ProposeError::NotLeader(leader)) => {
            propose_outcome::Outcome::NotLeader(leader.map_or(0, |leader| leader.0))
        }
        Err(ProposeError::NoLeader) => propose_outcome::Outcome::NotLeader(0),
        Err(ProposeError::Overloaded) => propose_outcome::Outcome::Overloaded(peer::Nothing {}),
        Err(ProposeError::NoSpace) => propose_outcome::Outcome::NoSpace(peer::Nothing {}),
        Err(ProposeError::Refused(why)) => propose_outcome::Outcome::Refused(why),
        Err(ProposeError::Unknown) => propose_outcome::Outcome::Unknown(peer::Nothing {}),
    }
}
