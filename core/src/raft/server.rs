//! The receiving half of what members say to one another.
//!
//! Everything is refused that is not addressed to this node, this cluster and this epoch. While Raft is not running (at
//! start, or after an IO error) only `report` answers.

use std::io;
use std::sync::Arc;

use futures_util::stream::{BoxStream, try_unfold};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use tonic::{Request, Response, Status, Streaming};

use super::answer::answer_out;
use super::barrier::{Barrier, ReadError};
use super::convert::{self, LAST_NUMBER};
use super::journal::Mark;
use super::machine::check_known;
use super::proposer::{ProposeError, Proposer};
use super::replica::Replica;
use super::types::{Entry, LogId, NodeRaft, Snapshot, SnapshotMeta, Types, term_of};
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
        let append = append_in::<R>(leader, &message).map_err(malformed)?;
        let term = append.vote.leader_id.term;
        drop(message);
        let raft = self.compared_raft()?;
        if let Some(error) = append.entries.iter().find_map(|e| check_known(e).err()) {
            let refused = Status::failed_precondition(error.to_string());
            self.replica.note_unknown(error);
            return Err(refused);
        }
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

/// From the wire.
///
/// # Errors
/// When something is missing, a number is larger than the log can store, or entries do not follow one another.
fn append_in<R: Runtime>(
    leader: NodeId,
    message: &peer::AppendRequest,
) -> io::Result<AppendEntriesRequest<Types<R>>> {
    let entries = message.entries.iter().map(convert::entry_in);
    let append = AppendEntriesRequest::<Types<R>> {
        vote: convert::leaders_vote(message.vote.as_ref(), leader)?,
        prev_log_id: message.previous.as_ref().map(convert::log_id_in),
        entries: entries.collect::<Result<_, _>>()?,
        leader_commit: message.committed.as_ref().map(convert::log_id_in),
    };
    // This is written beside the log, as a mark of the leader.
    convert::numbered(message.durable.as_ref())?;
    let term = append.vote.leader_id.term;
    check_led(term, append.leader_commit)?;
    check_follow(term, append.prev_log_id, &append.entries)?;
    Ok(append)
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Whether the leader of a term can have what it sends: nothing is of a later one. openraft would end over it.
///
/// # Errors
/// When it cannot.
fn check_led(term: u64, id: Option<LogId>) -> io::Result<()> {
    match id {
        Some(id) if term_of(&id) > term => Err(invalid(format!(
            "an entry of term {} is not the leader's of term {term}",
            term_of(&id)
        ))),
        _ => Ok(()),
    }
}

/// Whether a snapshot goes beyond what is committed here, or is covered by that.
///
/// # Errors
/// When it names another entry in the place of one that is committed here.
fn check_beyond(committed: Option<LogId>, snapshot: Option<LogId>) -> io::Result<()> {
    match (committed, snapshot) {
        (Some(committed), Some(snapshot))
            if snapshot > committed && snapshot.index <= committed.index =>
        {
            Err(invalid(format!(
                "a snapshot up to {snapshot} contradicts what is committed here up to {committed}"
            )))
        }
        _ => Ok(()),
    }
}

/// Whether entries that the leader of a term sends follow one another behind `previous`: openraft takes it for granted, and
/// a log with a hole, or with an index beyond SQLite's, could not be read again.
///
/// # Errors
/// What is wrong with the first that does not follow.
fn check_follow(term: u64, previous: Option<LogId>, entries: &[Entry]) -> io::Result<()> {
    let place = |id: &LogId| (term_of(id), id.index);
    // The log begins with entry 0.
    let mut before = previous.as_ref().map(place);
    let refuse = |what: String| Err(invalid(what));
    if let Some((last_term, index)) = before
        && (index > LAST_NUMBER || last_term > term)
    {
        return refuse(format!("no entry is behind {index} of term {last_term}"));
    }
    for entry in entries {
        let (its_term, index) = place(&entry.log_id);
        let (least_term, expected) = before.map_or((0, 0), |(term, index)| (term, index + 1));
        if index != expected || index > LAST_NUMBER {
            return refuse(format!("entry {index} came where {expected} was expected"));
        }
        if its_term < least_term || its_term > term {
            return refuse(format!(
                "entry {index} is of term {its_term}, behind one of {least_term}, in term {term}"
            ));
        }
        before = Some((its_term, index));
    }
    Ok(())
}

fn vote_in<R: Runtime>(message: &peer::VoteRequest) -> Result<VoteRequest<Types<R>>, Status> {
    let vote = convert::required_vote(message.vote.as_ref()).map_err(malformed)?;
    let last_log_id = convert::numbered(message.last.as_ref()).map_err(malformed)?;
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
fn malformed(error: io::Error) -> Status {
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
        let leader = self.check(sender, head.route.as_ref())?;
        let raft = self.compared_raft()?;
        let vote = convert::leaders_vote(head.vote.as_ref(), leader).map_err(malformed)?;
        let last_log_id = convert::numbered(head.last.as_ref()).map_err(malformed)?;
        check_led(vote.leader_id.term, last_log_id).map_err(malformed)?;
        check_beyond(self.replica.known_committed(), last_log_id).map_err(malformed)?;
        convert::numbered(head.membership_id.as_ref()).map_err(malformed)?;
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
            last_log_id,
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
        let last = convert::numbered(message.last.as_ref()).map_err(malformed)?;
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
        if let Some(memory) = &request.get_ref().memory {
            let told = convert::mark_in(memory.term, memory.last);
            self.replica.note_told(from, told);
        }
        let acknowledged = self.replica.acknowledged(from);
        let answer = peer::RecallResponse {
            term: mark.term,
            last: Some(convert::last_of(mark)),
            acknowledged: acknowledged.as_ref().map(convert::log_id_out),
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use proptest::test_runner::Config;
    use prost::Message as _;

    use super::*;
    use crate::proto::store;
    use crate::raft::types;
    use crate::runtime::tokio::TokioRuntime;

    /// Whether entries of these terms and indexes are taken behind `previous` from the leader of term 5.
    fn are_taken(previous: Option<(u64, u64)>, entries: &[(u64, u64)]) -> bool {
        let id = |(term, index)| store::LogId { term, index };
        let message = peer::AppendRequest {
            vote: Some(store::Vote {
                term: 5,
                node: 1,
                committed: true,
            }),
            previous: previous.map(id),
            entries: entries
                .iter()
                .map(|at| store::Entry {
                    id: Some(id(*at)),
                    ..store::Entry::default()
                })
                .collect(),
            ..peer::AppendRequest::default()
        };
        match append_in::<TokioRuntime>(NodeId(1), &message).map_err(malformed) {
            Ok(append) => {
                assert_eq!(append.entries.len(), entries.len());
                true
            }
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::InvalidArgument);
                false
            }
        }
    }

    #[test]
    fn entries_that_do_not_follow_one_another_are_refused() {
        let end = LAST_NUMBER;
        assert!(are_taken(None, &[]));
        assert!(are_taken(None, &[(0, 0), (1, 1), (5, 2)]));
        assert!(are_taken(Some((3, 7)), &[]));
        assert!(are_taken(Some((3, 7)), &[(3, 8), (5, 9)]));
        assert!(are_taken(Some((5, end - 1)), &[(5, end)]));
        assert!(are_taken(Some((5, end)), &[]));
        let refused: [(_, &[(u64, u64)]); 12] = [
            // Holes, and what is there already.
            (None, &[(1, 1)]),
            (Some((3, 7)), &[(3, 9)]),
            (Some((3, 7)), &[(3, 7)]),
            (Some((3, 7)), &[(3, 8), (3, 10)]),
            (Some((3, 7)), &[(3, 8), (3, 8)]),
            // Terms that fall, or have not begun.
            (Some((3, 7)), &[(2, 8)]),
            (Some((3, 7)), &[(4, 8), (3, 9)]),
            (Some((3, 7)), &[(6, 8)]),
            (Some((6, 7)), &[]),
            // Numbers under which nothing can be stored.
            (Some((5, end)), &[(5, end + 1)]),
            (Some((5, u64::MAX)), &[(5, 0)]),
            (Some((5, u64::MAX)), &[]),
        ];
        for (previous, entries) in refused {
            assert!(!are_taken(previous, entries), "{previous:?} {entries:?}");
        }
    }

    #[test]
    fn what_no_leader_of_that_term_can_have_is_refused() {
        let id = |term, index| Some(types::log_id(term, index));
        assert!(check_led(5, None).is_ok() && check_led(5, id(5, 9)).is_ok());
        assert!(check_led(5, id(6, 9)).is_err());
        let beyond = |committed, snapshot| check_beyond(committed, snapshot).is_ok();
        assert!(beyond(None, id(1, 1)) && beyond(id(3, 8), id(3, 9)) && beyond(id(3, 8), id(4, 9)));
        assert!(
            beyond(id(3, 8), id(3, 7)),
            "it is covered by what is here, and nothing is done with it"
        );
        assert!(!beyond(id(3, 8), id(4, 8)) && !beyond(id(3, 8), id(4, 7)));
        let vote = |term, node, committed| store::Vote {
            term,
            node,
            committed,
        };
        let leads = |vote: store::Vote| convert::leaders_vote(Some(&vote), NodeId(1)).is_ok();
        assert!(leads(vote(5, 1, true)));
        assert!(!leads(vote(5, 2, true)) && !leads(vote(5, 1, false)));
        assert!(convert::leaders_vote(None, NodeId(1)).is_err());
    }

    #[test]
    fn what_the_log_cannot_number_is_refused() {
        let taken = |term, durable: (u64, u64)| {
            let message = peer::AppendRequest {
                vote: Some(store::Vote {
                    term,
                    node: 1,
                    committed: true,
                }),
                durable: Some(store::LogId {
                    term: durable.0,
                    index: durable.1,
                }),
                ..peer::AppendRequest::default()
            };
            append_in::<TokioRuntime>(NodeId(1), &message).is_ok()
        };
        assert!(taken(5, (5, LAST_NUMBER)) && taken(LAST_NUMBER, (5, 7)));
        assert!(!taken(LAST_NUMBER + 1, (5, 7)));
        assert!(!taken(5, (LAST_NUMBER + 1, 7)));
        assert!(!taken(5, (5, LAST_NUMBER + 1)));

        let asked = |term, last: (u64, u64)| {
            let message = peer::VoteRequest {
                vote: Some(store::Vote {
                    term,
                    node: 1,
                    committed: false,
                }),
                last: Some(store::LogId {
                    term: last.0,
                    index: last.1,
                }),
                ..peer::VoteRequest::default()
            };
            vote_in::<TokioRuntime>(&message).is_ok()
        };
        assert!(asked(LAST_NUMBER, (5, LAST_NUMBER)));
        assert!(!asked(LAST_NUMBER + 1, (5, 7)));
        assert!(!asked(6, (5, LAST_NUMBER + 1)));
    }

    fn number() -> impl Strategy<Value = u64> {
        let ends = vec![LAST_NUMBER - 1, LAST_NUMBER, LAST_NUMBER + 1, u64::MAX];
        prop_oneof![6 => 0..9_u64, 1 => select(ends)]
    }

    fn id() -> impl Strategy<Value = store::LogId> {
        (number(), number()).prop_map(|(term, index)| store::LogId { term, index })
    }

    /// A message that is nearly one of a leader: entries mostly follow one another.
    fn append() -> impl Strategy<Value = peer::AppendRequest> {
        let vote = (number(), 0..3_u64, any::<bool>());
        let vote = vote.prop_map(|(term, node, committed)| store::Vote {
            term,
            node,
            committed,
        });
        let sets = vec(vec(number(), 0..4), 0..3);
        let membership =
            (sets, vec(number(), 0..3)).prop_map(|(sets, standbys)| store::Membership {
                voters: sets
                    .into_iter()
                    .map(|nodes| store::NodeSet { nodes })
                    .collect(),
                standbys,
            });
        let follows = prop_oneof![8 => Just(None), 1 => id().prop_map(Some)];
        let entry = (
            follows,
            option::of(vec(any::<u8>(), 0..9)),
            option::of(membership),
        );
        let marks = (option::of(id()), option::of(id()), option::of(id()));
        (option::of(vote), marks, vec(entry, 0..5)).prop_map(|(vote, marks, entries)| {
            let (previous, committed, durable) = marks;
            let first = previous.map_or(0, |id| id.index.wrapping_add(1));
            let term = previous.map_or(0, |id| id.term);
            let entry =
                |(number, (id, command, membership)): (u64, (Option<_>, Option<Vec<u8>>, _))| {
                    let next = store::LogId {
                        term,
                        index: first.wrapping_add(number),
                    };
                    store::Entry {
                        id: Some(id.unwrap_or(next)),
                        command: command.map(Into::into),
                        membership,
                    }
                };
            peer::AppendRequest {
                route: None,
                vote,
                previous,
                entries: (0..).zip(entries).map(entry).collect(),
                committed,
                durable,
            }
        })
    }

    proptest! {
        #![proptest_config(Config { cases: 4000, failure_persistence: None, ..Config::default() })]

        #[test]
        fn whatever_a_peer_sends_is_refused_or_makes_sense(
            message in append(),
            changes in vec((any::<Index>(), any::<u8>()), 0..3),
        ) {
            let mut bytes = message.encode_to_vec();
            for (place, value) in changes {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = value;
                }
            }
            let Ok(message) = peer::AppendRequest::decode(bytes.as_slice()) else {
                return Ok(());
            };
            if let Ok(append) = append_in::<TokioRuntime>(NodeId(1), &message) {
                let term = append.vote.leader_id.term;
                prop_assert!(term <= LAST_NUMBER && append.vote.leader_id.voted_for == NodeId(1));
                let mut before = append.prev_log_id;
                for entry in &append.entries {
                    let id = entry.log_id;
                    prop_assert!(before.is_none_or(|before| before.index + 1 == id.index));
                    prop_assert!(before.is_some() || id.index == 0);
                    prop_assert!(id.index <= LAST_NUMBER && term_of(&id) <= term);
                    prop_assert!(before.is_none_or(|before| term_of(&before) <= term_of(&id)));
                    before = Some(id);
                }
            }
            // The same numbers, as others would send them.
            let vote = peer::VoteRequest { route: None, vote: message.vote, last: message.previous, leadership_transfer: false };
            if let Ok(vote) = vote_in::<TokioRuntime>(&vote) {
                prop_assert!(vote.last_log_id.is_none_or(|last| last.index <= LAST_NUMBER));
            }
            let stored = message.previous.zip(message.entries.into_iter().find_map(|entry| entry.membership));
            let _ = convert::stored_membership_in(stored.as_ref());
        }
    }
}
