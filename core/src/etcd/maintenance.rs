//! Maintenance: how this node is, and who leads.

use tonic::Status;

use super::backend::Backend;
use super::convert::{header, read_failed};
use super::{ETCD_STORAGE_VERSION, ETCD_VERSION, EtcdError};
use crate::ids::{NodeId, Revision};
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, AlarmType, HashKvRequest, HashKvResponse, HashRequest,
    HashResponse, MoveLeaderRequest, MoveLeaderResponse, StatusRequest, StatusResponse,
};

/// Answered by this node alone, whatever state the cluster is in: it is what one looks at when nothing else works.
pub(super) async fn status<B: Backend>(
    backend: &B,
    _: StatusRequest,
) -> Result<StatusResponse, Status> {
    let node = backend.status().await?;
    let leader = backend.leader();
    let mut errors = node.troubles;
    if leader.is_none() {
        errors.push(EtcdError::NoLeader.text().to_owned());
    }
    Ok(StatusResponse {
        header: header(backend, backend.revision()),
        version: ETCD_VERSION.to_owned(),
        storage_version: ETCD_STORAGE_VERSION.to_owned(),
        db_size: signed(node.database_bytes),
        db_size_in_use: signed(node.database_bytes_in_use),
        db_size_quota: signed(node.database_bytes_quota),
        leader: leader.map_or(0, |leader| leader.0),
        raft_index: node.last_index,
        raft_applied_index: node.applied_index,
        raft_term: backend.term().0,
        is_learner: node.learner,
        errors,
        downgrade_info: None,
    })
}

/// Alarms can be looked at. They follow what is the case, so there is nothing to raise or to clear by hand.
pub(super) async fn alarm<B: Backend>(
    backend: &B,
    request: AlarmRequest,
) -> Result<AlarmResponse, Status> {
    if request.action() != AlarmAction::Get {
        return Err(Status::unimplemented(
            "etcdserver: alarms end by themselves when their cause does",
        ));
    }
    let wanted = request.alarm();
    let mut alarms = backend.alarms();
    alarms.retain(|alarm| wanted == AlarmType::None || alarm.alarm() == wanted);
    Ok(AlarmResponse {
        header: header(backend, backend.revision()),
        alarms,
    })
}

/// A digest of the keyspace up to a revision: nodes that applied the same have the same.
pub(super) async fn hash_kv<B: Backend>(
    backend: &B,
    request: HashKvRequest,
) -> Result<HashKvResponse, Status> {
    let hash = backend
        .hash(Revision(request.revision))
        .await
        .map_err(read_failed)?;
    Ok(HashKvResponse {
        header: header(backend, hash.current),
        hash: hash.hash,
        compact_revision: hash.compacted.0,
        hash_revision: hash.revision.0,
    })
}

/// The same of everything that there is.
pub(super) async fn hash<B: Backend>(backend: &B, _: HashRequest) -> Result<HashResponse, Status> {
    let hash = backend.hash(Revision(0)).await.map_err(read_failed)?;
    Ok(HashResponse {
        header: header(backend, hash.current),
        hash: hash.hash,
    })
}

/// Only the leader can hand over, so only it takes this call; `etcdctl move-leader` knows to ask it.
pub(super) async fn move_leader<B: Backend>(
    backend: &B,
    request: MoveLeaderRequest,
) -> Result<MoveLeaderResponse, Status> {
    if backend.leader() != Some(backend.identity().member) {
        return Err(EtcdError::NotLeader.into());
    }
    backend.move_leader(NodeId(request.target_id)).await?;
    Ok(MoveLeaderResponse {
        header: header(backend, backend.revision()),
    })
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
