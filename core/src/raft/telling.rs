//! What applying tells a simulator, besides how far it has come. In production nobody listens and none of it is called.
//!
//! Replicas are compared while they run: each digests its whole state after the same entries. Batches end where they
//! happen to end, so that one is cut short at such an entry; and a digest reads everything, so that those entries lie
//! further apart as the log grows.

use std::time::Duration;

use crate::proto::store::{Command, LogId, Membership, command::Body};
use crate::runtime::Event;
use crate::state::{Response, State, SystemResponse};

/// No two digests are taken with fewer entries between them.
const LEAST_STEP: u64 = 64;

/// Whether states are compared as of this entry.
pub(super) fn is_compared(index: u64) -> bool {
    let step = (index / 4).next_power_of_two().max(LEAST_STEP);
    index > 0 && index.is_multiple_of(step)
}

/// What one entry did to the cluster itself, or to a lease.
pub(super) fn of_entry(
    id: LogId,
    command: Option<&Command>,
    membership: Option<&Membership>,
    response: &Response,
) -> Vec<Event> {
    let configured = membership.map(|membership| Event::Configured {
        at: (id.term, id.index),
        voters: membership
            .voters
            .iter()
            .map(|set| set.nodes.clone())
            .collect(),
        standbys: membership.standbys.clone(),
    });
    let body = command.and_then(|command| command.body.as_ref());
    let token = match (body, response) {
        (Some(Body::TokenAdd(add)), Response::System(SystemResponse::Done)) => {
            add.token.as_ref().map(|token| Event::TokenGiven {
                token: beginning(&token.id),
                uses: token.uses_left,
            })
        }
        // Who was admitted before is answered so again, and costs no token.
        (Some(Body::MemberAdmit(admit)), Response::System(SystemResponse::Admitted(member)))
            if member.admitted_index == id.index =>
        {
            Some(Event::TokenUsed {
                token: beginning(&admit.token_id),
                node: member.id,
            })
        }
        _ => None,
    };
    let lease = match (body, response) {
        (Some(Body::LeaseGrant(grant)), Response::LeaseGrant(_)) => Some(Event::LeaseGranted {
            at: id.index,
            lease: grant.id,
            ttl: Duration::from_secs(grant.ttl_seconds.unsigned_abs()),
        }),
        (Some(Body::LeaseRevoke(revoke)), Response::LeaseRevoke(_)) => Some(Event::LeaseRevoked {
            at: id.index,
            lease: revoke.id,
            expired_in: Some(revoke.expired_in_term).filter(|term| *term != 0),
        }),
        _ => None,
    };
    configured.into_iter().chain(token).chain(lease).collect()
}

/// What the state is after a batch, as far as that is told. A state that cannot be read is not compared.
pub(super) fn of_state(state: &State, about_the_cluster: bool) -> Vec<Event> {
    let mut told = Vec::new();
    if about_the_cluster && let Ok((members, removed)) = state.members_and_removed() {
        told.push(Event::Members {
            index: state.applied().log_id.map_or(0, |id| id.index),
            roles: members.iter().map(|row| (row.id, row.role)).collect(),
            removed: removed.iter().map(|row| row.id).collect(),
        });
    }
    let index = state.applied().log_id.map_or(0, |id| id.index);
    if is_compared(index)
        && let Ok(digest) = state.snapshots().digest()
    {
        told.push(Event::Digested {
            index,
            digest: u128::from_be_bytes(digest.hash),
        });
    }
    told
}

fn beginning(id: &[u8]) -> u64 {
    id.iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_compared_ever_more_rarely_and_never_at_the_beginning() {
        let compared: Vec<u64> = (0..1100).filter(|index| is_compared(*index)).collect();
        assert_eq!(compared, [64, 128, 192, 256, 384, 512, 768, 1024]);
    }
}
