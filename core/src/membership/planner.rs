//! `(members, health, configuration, now) → one step, or the reason for none`.
//!
//! The planner is asked again after each step, so it never looks two steps ahead. What keeps it from going round in circles is
//! that every step lowers one of these, in this order, and raises none before it: the distance of the number of voters from what
//! is wanted; voters that are lost or leaving; voters without the signing key; how crowded the voters' failure domains are; the
//! same two for standbys; members on their way out. The tests walk random fleets until nothing changes and would meet a circle.
//!
//! [`Planner::plan`] reads top to bottom as the order of precedence. Each duty answers with a step, or notes why it cannot
//! act and lets the next duty speak; the first note is what is reported if no duty acts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::fleet::{Fleet, Seat, quorum};
use super::health::{Contact, Health};
use super::plan::{Plan, Reason, RoleChange, Step, Why};
use super::policy::{Policy, largest_odd};
use super::role::{Duty, MemberFacts, Role, Signer};
use crate::ids::NodeId;
use crate::runtime::Instant;

/// What the planner must know of Raft itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftFacts {
    /// The node that leads, and asks.
    pub leader: NodeId,
    /// Whether Raft's configuration is one set or two.
    pub configuration: Configuration,
    /// Whether this leader has applied an entry of its own term.
    pub own_term: OwnTerm,
}

/// Raft's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configuration {
    /// One set of voters.
    Uniform,
    /// A change is half done: two sets must agree.
    Joint,
}

/// How far a leader's own term has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnTerm {
    /// Nothing of it is applied yet, or not the newest change of Raft's membership: the member table is one of yesterday.
    Pending,
    /// At least one entry is, and with it all that earlier leaders committed.
    Applied,
}

/// The next step for these members, observed like this, at this moment.
#[must_use]
pub fn plan(
    members: &[MemberFacts],
    health: &Health,
    raft: RaftFacts,
    policy: &Policy,
    now: Instant,
) -> Plan {
    plan_fleet(
        &Fleet::assess(members, health, raft.leader, policy, now),
        raft,
        policy,
    )
}

/// The same for a fleet that has been assessed already.
#[must_use]
pub fn plan_fleet(fleet: &Fleet, raft: RaftFacts, policy: &Policy) -> Plan {
    if raft.own_term == OwnTerm::Pending {
        return Plan::Wait(Reason::LeaderIsNew);
    }
    if raft.configuration == Configuration::Joint {
        return Plan::Step(Step::FinishJoint);
    }
    let voters = fleet.voters();
    match fleet.survives(&voters) {
        Some(survives) => Planner::new(fleet, policy, voters, survives).plan(),
        None => Plan::Wait(Reason::NoQuorum {
            alive: fleet.alive(&voters),
            needed: quorum(voters.len()),
        }),
    }
}

struct Planner<'a> {
    fleet: &'a Fleet,
    policy: &'a Policy,
    voters: BTreeSet<NodeId>,
    /// Failures that the present voters survive.
    survives: usize,
    /// Voters that this many members should have, however they are.
    target: usize,
    /// The largest sensible number of voters that can be had from the nodes as they are now, up to `target`.
    reachable: usize,
    /// Standbys that could vote now, the signing key apart.
    candidates: Vec<&'a Seat>,
    notes: Vec<Reason>,
}

impl<'a> Planner<'a> {
    fn new(
        fleet: &'a Fleet,
        policy: &'a Policy,
        voters: BTreeSet<NodeId>,
        survives: usize,
    ) -> Self {
        let members = fleet.seats().filter(|seat| seat.duty == Duty::Any).count();
        let target = policy.voters_wanted(members).max(1);
        let candidates: Vec<&Seat> = fleet
            .with_role(Role::Standby)
            .filter(|seat| seat.may_vote())
            .collect();
        let keepable = fleet
            .with_role(Role::Voter)
            .filter(|seat| !seat.should_be_replaced(policy))
            .count();
        let reachable = target.min(largest_odd(keepable + candidates.len()).max(1));
        Self {
            fleet,
            policy,
            voters,
            survives,
            target,
            reachable,
            candidates,
            notes: Vec::new(),
        }
    }

    fn plan(mut self) -> Plan {
        self.note_silent_voter();
        let step = self
            .lead_with_signer()
            .or_else(|| self.shrink())
            .or_else(|| self.replace_voter())
            .or_else(|| self.grow())
            .or_else(|| self.drop_lost())
            .or_else(|| self.share_signer())
            .or_else(|| self.spread_voters())
            .or_else(|| self.retire_standby())
            .or_else(|| self.replace_standby())
            .or_else(|| self.fill_standbys())
            .or_else(|| self.spread_copies())
            .or_else(|| self.remove_leaving());
        match step {
            Some(step) => Plan::Step(step),
            None => Plan::Wait(self.notes.into_iter().next().unwrap_or(Reason::Settled)),
        }
    }

    // ---- the signing key

    /// A leader without the signing key lets nobody in, renews no certificate and promotes nobody: one that holds it leads. A voter
    /// may be without, since who promoted it may have taken it to hold the key that it had just given up.
    fn lead_with_signer(&mut self) -> Option<Step> {
        if self.leader_holds_signer() {
            return None;
        }
        let holder = self
            .fleet
            .with_role(Role::Voter)
            .filter(|seat| seat.signer == Signer::Held && seat.counts())
            .min_by_key(|seat| (seat.flaps, seat.id))?;
        Some(Step::TransferLeadership {
            to: holder.id,
            why: Why::SignerElsewhere,
        })
    }

    /// A voter without the signing key gets it: the others may be lost.
    fn share_signer(&mut self) -> Option<Step> {
        if !self.leader_holds_signer() {
            return None;
        }
        let without = self
            .fleet
            .with_role(Role::Voter)
            .find(|seat| seat.signer == Signer::Missing && seat.counts())?;
        Some(Step::HandOverSigner { to: without.id })
    }

    fn leader_holds_signer(&self) -> bool {
        let leader = self.fleet.seat(self.fleet.leader);
        leader.is_some_and(|seat| seat.signer == Signer::Held)
    }

    // ---- voters

    /// More voters than the size of the cluster asks for: the least useful one gives up its vote, or all but one at once.
    fn shrink(&mut self) -> Option<Step> {
        if self.voters.len() <= self.target {
            return None;
        }
        if self.target == 1 && self.voters.len() <= 3 {
            let keep = self.most_useful_voter()?;
            return self.change_voters(BTreeSet::from([keep]), Why::Shrink);
        }
        let out = self.least_useful_voter();
        self.change_voters(self.voters_without(out), Why::Shrink)
    }

    /// A voter that is lost, hopelessly behind or leaving is swapped for the best standby.
    fn replace_voter(&mut self) -> Option<Step> {
        let voters = self.fleet.with_role(Role::Voter);
        let out = voters
            .filter(|seat| seat.should_be_replaced(self.policy))
            .max_by_key(|seat| self.uselessness(seat))?;
        let mut rest = self.voters_without(out.id);
        let Some(best) = self.best_candidate(&rest) else {
            self.note_why_nobody_can_vote();
            self.notes.push(Reason::NoReplacement { node: out.id });
            return None;
        };
        rest.insert(best.id);
        self.promote(best, rest, Why::Replace(out.id))
    }

    /// Fewer voters than can be had. One becomes three at once, since two survive less than one.
    fn grow(&mut self) -> Option<Step> {
        let missing = if self.voters.len() == 1 { 2 } else { 1 };
        if self.voters.len() < self.reachable && self.candidates.len() >= missing {
            let mut voters = self.voters.clone();
            for _ in 0..missing {
                let best = self.best_candidate(&voters)?;
                if best.signer == Signer::Missing {
                    return Some(Step::HandOverSigner { to: best.id });
                }
                voters.insert(best.id);
            }
            return self.change_voters(voters, Why::Grow);
        }
        if self.voters.len() < self.target {
            self.note_why_nobody_can_vote();
            let (have, want) = (self.voters.len(), self.target);
            self.notes.push(Reason::TooFewNodes {
                role: Role::Voter,
                have,
                want,
            });
        }
        None
    }

    /// Lost voters that nobody replaces still raise the quorum: with two of five lost, three voters survive a failure and five
    /// do not. An odd set is left alone unless that helps; an even one is always one too many.
    fn drop_lost(&mut self) -> Option<Step> {
        if self.voters.len() <= self.reachable {
            return None;
        }
        let lost = self
            .fleet
            .with_role(Role::Voter)
            .filter(|seat| seat.is_lost())
            .max_by_key(|seat| self.uselessness(seat));
        let even = self.voters.len().is_multiple_of(2);
        let helps = (self.reachable - 1) / 2 > self.survives;
        let (out, why) = match lost {
            Some(seat) if helps || even => (seat.id, Why::DropLost(seat.id)),
            None if even => (self.least_useful_voter(), Why::Shrink),
            _ => return None,
        };
        self.change_voters(self.voters_without(out), why)
    }

    /// A voter in a crowded failure domain changes places with a standby in an emptier one.
    fn spread_voters(&mut self) -> Option<Step> {
        let crowding = self.fleet.crowding(&self.voters);
        let mut swaps = Vec::new();
        for out in self
            .fleet
            .with_role(Role::Voter)
            .filter(|seat| seat.id != self.fleet.leader)
        {
            for candidate in &self.candidates {
                let mut voters = self.voters_without(out.id);
                voters.insert(candidate.id);
                let after = self.fleet.crowding(&voters);
                if after < crowding {
                    swaps.push((
                        after,
                        candidate.flaps,
                        candidate.id,
                        Reverse(out.id),
                        voters,
                    ));
                }
            }
        }
        let (_, _, candidate, _, voters) = swaps.into_iter().min()?;
        self.promote(self.fleet.seat(candidate)?, voters, Why::SpreadVoters)
    }

    // ---- standbys

    /// A standby that should hold no data, that is gone while there are enough others, or that is one too many, becomes a spare.
    fn retire_standby(&mut self) -> Option<Step> {
        let standbys: Vec<&Seat> = self.fleet.with_role(Role::Standby).collect();
        let unwanted = standbys.iter().find(|seat| seat.duty != Duty::Any).copied();
        let surplus = || {
            let copies = self.copies();
            let domains = self.fleet.by_domain(&copies);
            let crowded = |seat: &Seat| domains.get(seat.failure_domain.as_str()).copied();
            (standbys.len() > self.policy.standbys)
                .then(|| {
                    standbys.iter().max_by_key(|seat| {
                        (self.is_gone(seat), !seat.counts(), crowded(seat), seat.id)
                    })
                })
                .flatten()
                .copied()
        };
        // While the voters are too few, a standby too many is the next voter.
        let settled = self.wanted_voters() == 0;
        let out = unwanted.or_else(|| settled.then(surplus).flatten())?;
        self.change_standbys([(out.id, Role::Spare)], Why::RetireStandby(out.id))
    }

    /// A standby that has been gone for long changes places with a spare.
    fn replace_standby(&mut self) -> Option<Step> {
        let out = self
            .fleet
            .with_role(Role::Standby)
            .find(|seat| self.is_gone(seat))?;
        let spare = self.best_spare()?;
        self.change_standbys(
            [(out.id, Role::Spare), (spare.id, Role::Standby)],
            Why::ReplaceStandby(out.id),
        )
    }

    /// Fewer standbys than wanted: the best spare begins to receive the log. Voters that are still missing, or that are to be
    /// replaced, come out of the standbys, so they count too.
    fn fill_standbys(&mut self) -> Option<Step> {
        let have = self.fleet.with_role(Role::Standby).count();
        let want = self.policy.standbys.max(self.wanted_voters());
        if have >= want {
            return None;
        }
        if let Some(spare) = self.best_spare() {
            return self.change_standbys([(spare.id, Role::Standby)], Why::FillStandbys);
        }
        let waiting = self
            .fleet
            .with_role(Role::Spare)
            .filter(|seat| seat.duty == Duty::Any && !seat.is_lost());
        if let Some(seat) = waiting.min_by_key(|seat| (seat.may_follow_in, seat.id)) {
            self.notes.push(Reason::Stabilising {
                node: seat.id,
                remaining: seat.may_follow_in,
                flaps: seat.flaps,
            });
        }
        None
    }

    /// A failure domain without any copy of the data gets one, from a domain that has several.
    fn spread_copies(&mut self) -> Option<Step> {
        let copies = self.copies();
        let domains = self.fleet.by_domain(&copies);
        let uncovered = |seat: &&Seat| !domains.contains_key(seat.failure_domain.as_str());
        let spare = self
            .fleet
            .with_role(Role::Spare)
            .filter(|seat| seat.may_follow())
            .find(uncovered)?;
        let doubled = |seat: &&Seat| {
            domains
                .get(seat.failure_domain.as_str())
                .is_some_and(|count| *count > 1)
        };
        let out = self
            .fleet
            .with_role(Role::Standby)
            .filter(doubled)
            .max_by_key(|seat| {
                (
                    domains.get(seat.failure_domain.as_str()).copied(),
                    !seat.counts(),
                    seat.id,
                )
            })?;
        self.change_standbys(
            [(out.id, Role::Spare), (spare.id, Role::Standby)],
            Why::SpreadCopies,
        )
    }

    /// Leaving members that have nothing left to give up are removed together.
    fn remove_leaving(&mut self) -> Option<Step> {
        let leaving = self
            .fleet
            .with_role(Role::Spare)
            .filter(|seat| seat.duty == Duty::Leaving);
        let nodes: Vec<NodeId> = leaving
            .map(|seat| seat.id)
            .filter(|node| *node != self.fleet.leader)
            .collect();
        (!nodes.is_empty()).then_some(Step::Remove { nodes })
    }

    // ---- what a step must satisfy

    /// Makes `candidate` a voter as part of `voters`, giving it the signing key first.
    fn promote(&mut self, candidate: &Seat, voters: BTreeSet<NodeId>, why: Why) -> Option<Step> {
        if candidate.signer == Signer::Missing {
            return Some(Step::HandOverSigner { to: candidate.id });
        }
        self.change_voters(voters, why)
    }

    /// The change to `voters`, if it is safe (the rules are in the folder's essay) and the leader need not step aside first.
    fn change_voters(&mut self, voters: BTreeSet<NodeId>, why: Why) -> Option<Step> {
        let everyone_counts = self.fleet.alive(&self.voters) == self.voters.len();
        let bound = if everyone_counts {
            self.survives.min((self.target - 1) / 2)
        } else {
            self.survives
        };
        let then = self.fleet.survives(&voters);
        if then.is_none_or(|then| then < bound) {
            self.notes.push(Reason::WouldWeaken {
                now: self.survives,
                then: then.unwrap_or(0),
            });
            return None;
        }
        if !voters.contains(&self.fleet.leader) && self.voters.len() > 1 {
            let Some(to) = self.next_leader(&voters) else {
                self.notes.push(Reason::NobodyToLead);
                return None;
            };
            return Some(Step::TransferLeadership { to, why });
        }
        let promoted = voters
            .difference(&self.voters)
            .map(|node| (*node, Role::Voter));
        let demoted = self
            .voters
            .difference(&voters)
            .map(|node| (*node, Role::Standby));
        let roles: BTreeMap<NodeId, Role> = promoted.chain(demoted).collect();
        Some(Step::ChangeRoles(RoleChange { roles, voters, why }))
    }

    fn change_standbys<const N: usize>(
        &self,
        roles: [(NodeId, Role); N],
        why: Why,
    ) -> Option<Step> {
        Some(Step::ChangeRoles(RoleChange {
            roles: BTreeMap::from(roles),
            voters: self.voters.clone(),
            why,
        }))
    }

    // ---- preferences

    /// How many voters have yet to be made of standbys: those that there are too few, and those that are to be replaced.
    fn wanted_voters(&self) -> usize {
        let voters = self.fleet.with_role(Role::Voter);
        let staying = voters.filter(|seat| !seat.should_be_replaced(self.policy));
        self.target.saturating_sub(staying.count())
    }

    fn voters_without(&self, node: NodeId) -> BTreeSet<NodeId> {
        self.voters
            .iter()
            .copied()
            .filter(|voter| *voter != node)
            .collect()
    }

    fn copies(&self) -> BTreeSet<NodeId> {
        self.fleet
            .seats()
            .filter(|seat| seat.role.holds_data())
            .map(|seat| seat.id)
            .collect()
    }

    fn is_gone(&self, seat: &Seat) -> bool {
        matches!(seat.contact, Contact::Lost(silent) if silent >= self.policy.standby_loss)
    }

    /// Orders voters by how little the cluster would miss them; the leader is missed most of those that are well.
    fn uselessness(&self, seat: &Seat) -> impl Ord + use<> {
        let crowding = Reverse(self.fleet.crowding(&self.voters_without(seat.id)));
        let replaced = seat.should_be_replaced(self.policy);
        (
            seat.is_lost(),
            replaced,
            !seat.counts(),
            seat.id != self.fleet.leader,
            crowding,
            seat.id,
        )
    }

    fn least_useful_voter(&self) -> NodeId {
        let voters = self.fleet.with_role(Role::Voter);
        voters
            .max_by_key(|seat| self.uselessness(seat))
            .expect("a cluster with a quorum has voters")
            .id
    }

    fn most_useful_voter(&self) -> Option<NodeId> {
        self.fleet
            .with_role(Role::Voter)
            .min_by_key(|seat| self.uselessness(seat))
            .map(|seat| seat.id)
    }

    /// The standby that fits best beside `voters`: the emptiest failure domain first.
    fn best_candidate(&self, voters: &BTreeSet<NodeId>) -> Option<&'a Seat> {
        let candidates = self
            .candidates
            .iter()
            .filter(|seat| !voters.contains(&seat.id));
        candidates.copied().min_by_key(|seat| {
            (
                self.fleet.crowding(voters.iter().chain([&seat.id])),
                seat.flaps,
                seat.id,
            )
        })
    }

    /// The spare that fits best beside all copies of the data.
    fn best_spare(&self) -> Option<&'a Seat> {
        let copies = self.copies();
        let spares = self
            .fleet
            .with_role(Role::Spare)
            .filter(|seat| seat.may_follow());
        spares.min_by_key(|seat| {
            (
                self.fleet.crowding(copies.iter().chain([&seat.id])),
                seat.flaps,
                seat.id,
            )
        })
    }

    /// The voter that should lead next: one that stays, answers, and is nearest to the end of the log.
    fn next_leader(&self, staying: &BTreeSet<NodeId>) -> Option<NodeId> {
        let voters = self
            .fleet
            .with_role(Role::Voter)
            .filter(|seat| staying.contains(&seat.id) && seat.counts());
        voters
            .min_by_key(|seat| (seat.lag.unwrap_or(u64::MAX), seat.flaps, seat.id))
            .map(|seat| seat.id)
    }

    /// Notes a voter whose loss is not confirmed yet: whatever else is reported, that is what an operator wants to know.
    fn note_silent_voter(&mut self) {
        let silent = self
            .fleet
            .with_role(Role::Voter)
            .find_map(|seat| match seat.contact {
                Contact::Silent(span) => Some((seat.id, span)),
                Contact::Responding | Contact::Lost(_) => None,
            });
        if let Some((node, span)) = silent {
            let remaining = self.policy.loss.saturating_sub(span);
            self.notes.push(Reason::ConfirmingLoss { node, remaining });
        }
    }

    /// Notes what the standby that is nearest to voting is still missing.
    fn note_why_nobody_can_vote(&mut self) {
        let standbys = self.fleet.with_role(Role::Standby).filter(|seat| {
            seat.duty == Duty::Any && seat.contact == Contact::Responding && !seat.may_vote()
        });
        let Some(seat) = standbys.min_by_key(|seat| (seat.may_vote_in, !seat.caught_up, seat.id))
        else {
            return;
        };
        self.notes.push(if seat.may_vote_in.is_zero() {
            Reason::CatchingUp {
                node: seat.id,
                lag: seat.lag,
            }
        } else {
            Reason::Stabilising {
                node: seat.id,
                remaining: seat.may_vote_in,
                flaps: seat.flaps,
            }
        });
    }
}
