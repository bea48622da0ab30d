//! Members and health at one moment, as the planner and the status count them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::health::{Contact, Health};
use super::policy::Policy;
use super::role::{Duty, MemberFacts, Role, Signer};
use crate::ids::NodeId;
use crate::runtime::Instant;

/// One node: what the table says of it and what is observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its id.
    pub id: NodeId,
    /// Its role in the member table.
    pub role: Role,
    /// Its failure domain.
    pub failure_domain: String,
    /// What it may become, the clean-up of long-dead members included.
    pub duty: Duty,
    /// Whether it holds the signing key.
    pub signer: Signer,
    /// Whether it answers.
    pub contact: Contact,
    /// Whether it was level with the log lately.
    pub caught_up: bool,
    /// For how long it was not.
    pub behind_for: Duration,
    /// Log entries behind the leader, when last heard.
    pub lag: Option<u64>,
    /// Until it has been stable for long enough to vote.
    pub may_vote_in: Duration,
    /// Until it has been stable for long enough to receive the log.
    pub may_follow_in: Duration,
    /// Losses it came back from lately.
    pub flaps: u32,
}

impl Seat {
    /// Whether a quorum may count on it: it answers, and has what was committed.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.contact == Contact::Responding && self.caught_up
    }

    /// Whether it is gone for good as far as anybody can tell.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self.contact, Contact::Lost(_))
    }

    /// Whether, being a voter, it should stop being one as soon as somebody can take its place.
    #[must_use]
    pub fn should_be_replaced(&self, policy: &Policy) -> bool {
        self.duty != Duty::Any || self.is_lost() || self.behind_for >= policy.laggard_after
    }

    /// Whether it could be made a voter now, the signing key apart.
    #[must_use]
    pub fn may_vote(&self) -> bool {
        self.role == Role::Standby
            && self.duty == Duty::Any
            && self.counts()
            && self.may_vote_in.is_zero()
    }

    /// Whether it could be made a standby now.
    #[must_use]
    pub fn may_follow(&self) -> bool {
        self.role == Role::Spare
            && self.duty == Duty::Any
            && self.contact == Contact::Responding
            && self.may_follow_in.is_zero()
    }
}

/// All nodes at one moment.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The node that leads, and plans.
    pub leader: NodeId,
    seats: BTreeMap<NodeId, Seat>,
}

impl Fleet {
    /// Joins what the member table says with what is observed.
    #[must_use]
    pub fn assess(
        members: &[MemberFacts],
        health: &Health,
        leader: NodeId,
        policy: &Policy,
        now: Instant,
    ) -> Self {
        let seats = members
            .iter()
            .map(|member| (member.id, seat(member, health, leader, policy, now)))
            .collect();
        let mut fleet = Self { leader, seats };
        fleet.retire_the_long_dead(policy);
        fleet
    }

    /// Treats members that were lost for longer than the grace time as leaving, longest lost first, down to the minimum.
    fn retire_the_long_dead(&mut self, policy: &Policy) {
        let Some(grace) = policy.clean_up.grace else {
            return;
        };
        let mut dead: Vec<(Duration, NodeId)> = self
            .seats
            .values()
            .filter(|seat| {
                seat.duty != Duty::Leaving && (policy.clean_up.voters || !seat.role.votes())
            })
            .filter_map(|seat| match seat.contact {
                Contact::Lost(silent) if silent >= grace => Some((silent, seat.id)),
                _ => None,
            })
            .collect();
        dead.sort_unstable_by(|one, other| other.cmp(one));
        let staying = self
            .seats
            .values()
            .filter(|seat| seat.duty != Duty::Leaving)
            .count();
        for (_, node) in dead
            .into_iter()
            .take(staying.saturating_sub(policy.clean_up.minimum_members))
        {
            self.seats
                .get_mut(&node)
                .expect("taken from the same map")
                .duty = Duty::Leaving;
        }
    }

    /// Every node, by id.
    pub fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.seats.values()
    }

    /// One node.
    #[must_use]
    pub fn seat(&self, node: NodeId) -> Option<&Seat> {
        self.seats.get(&node)
    }

    /// The nodes that have `role`, by id.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Seat> {
        self.seats.values().filter(move |seat| seat.role == role)
    }

    /// The voters.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.with_role(Role::Voter).map(|seat| seat.id).collect()
    }

    /// How many of `nodes` a quorum may count on.
    #[must_use]
    pub fn alive(&self, nodes: &BTreeSet<NodeId>) -> usize {
        nodes
            .iter()
            .filter(|node| self.seats.get(node).is_some_and(Seat::counts))
            .count()
    }

    /// How many more failures a set of voters survives, or `None` if it has no quorum even now.
    #[must_use]
    pub fn survives(&self, voters: &BTreeSet<NodeId>) -> Option<usize> {
        self.alive(voters).checked_sub(quorum(voters.len()))
    }

    /// How unevenly a set of nodes lies over the failure domains: the sum of the squares of the nodes in each. Moving a node to
    /// a less crowded domain always lowers it, so that spreading comes to an end.
    #[must_use]
    pub fn crowding<'a>(&'a self, nodes: impl IntoIterator<Item = &'a NodeId>) -> usize {
        self.by_domain(nodes)
            .values()
            .map(|count| count * count)
            .sum()
    }

    /// How many of `nodes` each failure domain holds.
    #[must_use]
    pub fn by_domain<'a>(
        &'a self,
        nodes: impl IntoIterator<Item = &'a NodeId>,
    ) -> BTreeMap<&'a str, usize> {
        let mut domains = BTreeMap::new();
        for seat in nodes.into_iter().filter_map(|node| self.seats.get(node)) {
            *domains.entry(seat.failure_domain.as_str()).or_default() += 1;
        }
        domains
    }
}

/// How many of `voters` must agree. No voters have no quorum to speak of: nothing can be decided, so one is needed.
#[must_use]
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// How long it is at least until a spare has given up the log that it had.
const A_MOMENT: Duration = Duration::from_millis(100);

fn seat(
    member: &MemberFacts,
    health: &Health,
    leader: NodeId,
    policy: &Policy,
    now: Instant,
) -> Seat {
    let mut seat = Seat {
        id: member.id,
        role: member.role,
        failure_domain: member.failure_domain.clone(),
        duty: member.duty,
        signer: member.signer,
        // Not observed at all: silent since just now, until the driver says more.
        contact: Contact::Silent(Duration::ZERO),
        caught_up: false,
        behind_for: Duration::ZERO,
        lag: None,
        may_vote_in: policy.stabilisation,
        may_follow_in: policy.standby_after,
        flaps: 0,
    };
    if member.id == leader {
        seat.contact = Contact::Responding;
        seat.caught_up = true;
        seat.lag = Some(0);
        seat.may_vote_in = Duration::ZERO;
        seat.may_follow_in = Duration::ZERO;
    } else if let Some(observed) = health.node(member.id) {
        seat.contact = observed.contact(policy, now);
        seat.caught_up = observed.caught_up(policy, now);
        seat.behind_for = observed.behind_for(now);
        seat.lag = observed.lag();
        seat.may_vote_in = observed.stable_in(policy.stabilisation, policy, now);
        seat.may_follow_in = if member.role == Role::Spare && observed.keeps_log() {
            policy.standby_after.max(A_MOMENT)
        } else {
            observed.stable_in(policy.standby_after, policy, now)
        };
        seat.flaps = observed.flaps_remembered(policy, now);
    }
    seat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_more_than_half() {
        let quorums: Vec<usize> = (0..=6).map(quorum).collect();
        assert_eq!(quorums, [1, 1, 2, 2, 3, 3, 4]);
    }
}
