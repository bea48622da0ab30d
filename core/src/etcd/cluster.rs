//! Cluster: who is in it. Members join and leave by `quorate join` and `quorate remove-node`, which prove who they are; etcd's
//! calls for it, which trust whoever asks, are not offered.

use tonic::Status;

use super::EtcdError;
use super::backend::Backend;
use super::convert::header;
use crate::ids::Revision;
use crate::proto::etcdserverpb::{MemberListRequest, MemberListResponse};

pub(super) async fn member_list<B: Backend>(
    backend: &B,
    request: MemberListRequest,
) -> Result<MemberListResponse, Status> {
    if request.linearizable {
        backend.read_barrier().await.map_err(EtcdError::from)?;
    }
    Ok(MemberListResponse {
        members: backend.members().await?,
        // etcd gives no revision here.
        header: header(backend, Revision(0)),
    })
}
