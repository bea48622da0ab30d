//! The node behind the etcd services.

use crate::etcd::{Backend, BarrierError, EtcdError, Identity, NodeStatus, ProposeError};
use crate::ids::{NodeId, Revision, Term};
use crate::node::Inner;
use crate::proto::etcdserverpb::{AlarmMember, AlarmType, Member, RangeRequest, RangeResponse};
use crate::proto::store::{self, command::Body};
use crate::raft::barrier::ReadError as BarrierFailure;
use crate::raft::proposer;
use crate::runtime::Runtime;
use crate::state::{KeyspaceHash, ReadError, Reader, Response, StateError};

fn closed() -> ReadError {
    ReadError::State(StateError::Closed)
}

impl<R: Runtime> Backend for Inner<R> {
    async fn propose(&self, body: Body) -> Result<Response, ProposeError> {
        self.replica()
            .command(body)
            .await
            .map_err(|error| match error {
                proposer::ProposeError::Overloaded => ProposeError::Overloaded,
                proposer::ProposeError::NoLeader | proposer::ProposeError::NotLeader(_) => {
                    ProposeError::NoLeader
                }
                proposer::ProposeError::NoSpace => ProposeError::NoSpace,
                proposer::ProposeError::Refused(_) => ProposeError::Stopped,
                proposer::ProposeError::Unknown => ProposeError::Unknown,
            })
    }

    async fn read_barrier(&self) -> Result<(), BarrierError> {
        let Some(barrier) = self.replica().barrier() else {
            return Err(BarrierError::Stopped);
        };
        barrier.pass().await.map_err(|error| match error {
            BarrierFailure::NoLeader => BarrierError::NoLeader,
            BarrierFailure::NotLeader(_) => BarrierError::LeaderChanged,
            BarrierFailure::NoQuorum => BarrierError::NoQuorum,
            BarrierFailure::Late => BarrierError::Behind,
        })
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, ReadError> {
        let readers = self.replica().serving_readers().await?;
        let readers = readers.ok_or_else(closed)?;
        let answer = if request.range_end.is_empty() {
            // A few microseconds: less than what it costs to hand it to another thread.
            readers.with(|reader| reader.range(&request))
        } else {
            self.scan(move || readers.with(|reader| reader.range(&request)))
                .await
        };
        answer.inspect_err(|error| note_damage(self, error))
    }

    fn identity(&self) -> Identity {
        let identity = self.who();
        Identity {
            cluster: identity.cluster,
            member: identity.node,
        }
    }

    fn term(&self) -> Term {
        Term(self.replica().term())
    }

    fn revision(&self) -> Revision {
        if let Some(revision) = self.replica().revision() {
            return revision;
        }
        let readers = self.replica().committed();
        let revisions = readers.and_then(|readers| readers.with(Reader::revisions).ok());
        revisions.map_or(Revision(1), |revisions| revisions.current)
    }

    fn leader(&self) -> Option<NodeId> {
        self.replica().leader()
    }

    async fn members(&self) -> Result<Vec<Member>, EtcdError> {
        let members = self.replica().members().await;
        let members = members.map_err(|_| EtcdError::Stopped)?;
        Ok(members.into_iter().map(as_etcd).collect())
    }

    async fn status(&self) -> Result<NodeStatus, EtcdError> {
        let report = self
            .replica()
            .report()
            .await
            .map_err(|_| EtcdError::Stopped)?;
        let mut troubles = Vec::new();
        if !report.trouble.is_empty() {
            troubles.push(report.trouble);
        }
        let node = self.who().node;
        let membership = self.replica().membership();
        let votes = membership
            .is_some_and(|stored| stored.membership().voter_ids().any(|voter| voter == node));
        Ok(NodeStatus {
            database_bytes: report.database_bytes,
            database_bytes_in_use: report.database_bytes_in_use,
            database_bytes_quota: 0,
            last_index: report.last.map_or(0, |id| id.index),
            applied_index: report.applied.map_or(0, |id| id.index),
            learner: !votes,
            troubles,
        })
    }

    fn alarms(&self) -> Vec<AlarmMember> {
        let replica = self.replica();
        let raised = [
            (replica.is_full(), AlarmType::Nospace),
            (replica.damage().is_some(), AlarmType::Corrupt),
        ];
        let member_id = self.who().node.0;
        let raised = raised.into_iter().filter(|(is_raised, _)| *is_raised);
        raised
            .map(|(_, alarm)| AlarmMember {
                member_id,
                alarm: alarm.into(),
            })
            .collect()
    }

    async fn swept(&self, _revision: Revision) -> Result<(), EtcdError> {
        self.replica().sweep().await.map_err(|_| EtcdError::Stopped)
    }

    async fn hash(&self, revision: Revision) -> Result<KeyspaceHash, ReadError> {
        let snapshots = self.replica().snapshots().await?.ok_or_else(closed)?;
        let hash = self.scan(move || snapshots.hash_kv(revision)).await;
        hash.inspect_err(|error| note_damage(self, error))
    }

    async fn move_leader(&self, to: NodeId) -> Result<(), EtcdError> {
        self.replica().move_leader(to).await
    }
}

fn note_damage<R: Runtime>(node: &Inner<R>, error: &ReadError) {
    if let ReadError::State(error) = error
        && error.is_damage()
    {
        node.replica().note_damage(error);
    }
}

fn as_etcd(member: store::Member) -> Member {
    // etcd's clients want URLs; an operator may have configured either.
    let url = |address: String| {
        if address.contains("://") {
            address
        } else {
            format!("http://{address}")
        }
    };
    let urls = |addresses: Vec<String>| addresses.into_iter().map(url).collect();
    Member {
        id: member.id,
        name: member.name,
        peer_ur_ls: urls(member.peer_addresses),
        client_ur_ls: urls(member.client_addresses),
        is_learner: member.role != i32::from(store::Role::Voter),
    }
}
