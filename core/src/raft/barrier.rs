//! Linearizable reads: the index up to which this node must have applied before it answers.
//!
//! The leader confirms with a quorum that it still leads and names its commit index (ReadIndex; Ongaro's thesis, section
//! 6.4). A read on any node asks for that index and waits until its own state has it. Leases are not used: in this
//! openraft a restarted follower forgets the lease it gave, and a suspended machine's clock stands still.
//!
//! Confirming costs a round of messages, so reads share it: those that arrive while a round is on its way wait for the
//! *next* one, which begins after they came, and all of them take its answer.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::oneshot;
use tonic::Request;

use super::peers::Peers;
use super::types::NodeRaft;
use crate::ids::NodeId;
use crate::proto::peer::{self, read_index_response};
use crate::runtime::buggify::{fails, stumble};
use crate::runtime::{Runtime, timeout, watch};

/// Why no index could be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nobody leads at the moment.
    #[error("no leader")]
    NoLeader,
    /// This node does not lead; perhaps that one does.
    #[error("not the leader")]
    NotLeader(Option<NodeId>),
    /// The leader could not reach a quorum.
    #[error("no quorum")]
    NoQuorum,
    /// The index is known, but the state did not reach it in time.
    #[error("applying took too long")]
    Late,
}

/// Gives read indexes, many readers to a round.
pub struct Barrier<R: Runtime> {
    shared: Arc<Shared<R>>,
}

impl<R: Runtime> Clone for Barrier<R> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

struct Shared<R: Runtime> {
    raft: NodeRaft<R>,
    peers: Arc<Peers<R>>,
    applied: watch::Receiver<u64>,
    /// How long a read may wait in all.
    patience: Duration,
    /// Between two attempts while nobody leads.
    pause: Duration,
    rounds: Mutex<Rounds>,
}

type Reader = oneshot::Sender<Result<u64, ReadError>>;

/// Who waits for the next round, and whether one is on its way.
#[derive(Default)]
struct Rounds {
    waiting: Vec<Reader>,
    running: bool,
}

impl<R: Runtime> Barrier<R> {
    /// For a running Raft. `applied` is the index up to which this node's state has come.
    #[must_use]
    pub fn new(
        raft: NodeRaft<R>,
        peers: Arc<Peers<R>>,
        applied: watch::Receiver<u64>,
        patience: Duration,
        pause: Duration,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                raft,
                peers,
                applied,
                patience,
                pause,
                rounds: Mutex::default(),
            }),
        }
    }

    /// Returns when this node's state holds everything that was acknowledged before the call.
    ///
    /// # Errors
    /// When no leader with a quorum was found in time, or applying took too long.
    pub async fn pass(&self) -> Result<(), ReadError> {
        let deadline = R::now() + self.shared.patience;
        let index = self.index(deadline - R::now()).await?;
        if *self.shared.applied.borrow() >= index {
            return Ok(());
        }
        let mut applied = self.shared.applied.clone();
        let reached = timeout::<R, _>(
            deadline - R::now(),
            applied.wait_for(|applied| *applied >= index),
        )
        .await;
        match reached {
            Ok(Ok(())) => Ok(()),
            Ok(Err(watch::Closed)) | Err(_) => Err(ReadError::Late),
        }
    }

    async fn index(&self, limit: Duration) -> Result<u64, ReadError> {
        let (reader, answer) = oneshot::channel();
        let start = {
            let mut rounds = self.shared.rounds();
            rounds.waiting.push(reader);
            !std::mem::replace(&mut rounds.running, true)
        };
        if start {
            drop(R::spawn(Arc::clone(&self.shared).run_rounds()));
        }
        match timeout::<R, _>(limit, answer).await {
            Ok(Ok(index)) => index,
            // The task that ran the rounds ended with its node.
            Ok(Err(_)) | Err(_) => Err(ReadError::NoLeader),
        }
    }

    /// The index from this node as the leader, without asking anyone else to lead.
    ///
    /// # Errors
    /// When this node does not lead or cannot confirm that it does.
    pub async fn index_here(&self) -> Result<u64, ReadError> {
        self.shared.index_here().await
    }
}

impl<R: Runtime> Shared<R> {
    fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Round after round until nobody waits.
    async fn run_rounds(self: Arc<Self>) {
        loop {
            let readers = {
                let mut rounds = self.rounds();
                if rounds.waiting.is_empty() {
                    rounds.running = false;
                    return;
                }
                take(&mut rounds.waiting)
            };
            let answer = self.find_index(&readers).await;
            for reader in readers {
                // Who has given up does not listen any more.
                let _ = reader.send(answer.clone());
            }
        }
    }

    /// Asks whoever leads until there is an answer, the time is over, or nobody waits any more.
    async fn find_index(&self, readers: &[Reader]) -> Result<u64, ReadError> {
        let deadline = R::now() + self.patience;
        loop {
            let answer = match self.raft.current_leader().await {
                Some(leader) if leader == self.peers.identity().node => self.index_here().await,
                Some(leader) => self.index_from(leader).await,
                None => Err(ReadError::NoLeader),
            };
            let over =
                R::now() + self.pause >= deadline || readers.iter().all(oneshot::Sender::is_closed);
            match answer {
                Ok(index) => return Ok(index),
                Err(error) if over => return Err(error),
                Err(_) => R::sleep(self.pause).await,
            }
        }
    }

    async fn index_here(&self) -> Result<u64, ReadError> {
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
        stumble!(R, "buggify/read.index-named");
        if fails!(R, "buggify/read.unsure") {
            return Err(ReadError::NoQuorum);
        }
        match linearizer {
            Ok(linearizer) => Ok(linearizer.read_log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(ReadError::NotLeader(forward.leader_id))
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(ReadError::NoQuorum)
            }
            Err(RaftError::Fatal(_)) => Err(ReadError::NoLeader),
        }
    }

    async fn index_from(&self, leader: NodeId) -> Result<u64, ReadError> {
        let route = Some(self.peers.identity().route(leader));
        let mut request = Request::new(peer::ReadIndexRequest { route });
        // Short: a leader that is cut off must not use up the reader's whole time.
        request.set_timeout(self.patience / 8);
        let answer = self
            .peers
            .client(leader)
            .read_index(request)
            .await
            .map_err(|_| ReadError::NoLeader)?;
        match answer.into_inner().outcome {
            Some(read_index_response::Outcome::Index(index)) => Ok(index),
            Some(read_index_response::Outcome::NotLeader(node)) => Err(ReadError::NotLeader(
                Some(NodeId(node)).filter(|node| node.0 != 0),
            )),
            Some(read_index_response::Outcome::NoQuorum(_)) | None => Err(ReadError::NoQuorum),
        }
    }
}
