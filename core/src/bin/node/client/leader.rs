//! Which of several endpoints is the leader.

use super::{Channel, Endpoint};
use crate::exit::{Exit, Failure};
use quorate::proto::etcdserverpb::StatusRequest;

/// The position of the endpoint that says it is the leader.
pub(crate) async fn leader(endpoints: &[Endpoint]) -> Result<usize, Failure> {
    for (position, endpoint) in endpoints.iter().enumerate() {
        let Ok(channel) = Channel::connect(endpoint).await else {
            continue;
        };
        let Ok(status) = channel.maintenance().status(StatusRequest {}).await else {
            continue;
        };
        let status = status.into_inner();
        if status
            .header
            .is_some_and(|header| header.member_id == status.leader)
        {
            return Ok(position);
        }
    }
    Err(Failure::new(
        Exit::Unreachable,
        "no endpoint says it is the leader",
    ))
}
