//! Carries the planner's steps out, one at a time, on the node that leads.
//!
//! Each round looks anew: at the member table, at Raft's membership, at who was heard. So nothing that an earlier leader
//! left half done is remembered anywhere but in the log, and the first duties of a new leader are to end what is joint and
//! to repair what differs between table and membership (T2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use openraft::ServerState;
use tonic::Request;

use super::health::{Arrival, Health};
use super::plan::{Plan, RoleChange, Step};
use super::planner::{Configuration, OwnTerm, RaftFacts, plan};
use super::policy::Policy;
use super::role::{MemberFacts, Role, Signer};
use crate::ids::NodeId;
use crate::proto::{peer, store};
use crate::raft::replica::Replica;
use crate::raft::types::{Metrics, StoredMembership, term_of};
use crate::runtime::{Runtime, WallTime};
use crate::state::command;

/// Between two rounds.
const ROUND: Duration = Duration::from_millis(250);

/// Runs the planner for as long as the node lives; what it waits for is left in `waiting`, for `status`.
pub async fn run<R: Runtime>(
    replica: Arc<Replica<R>>,
    policy: Policy,
    waiting: Arc<std::sync::Mutex<String>>,
) {
    let mut driver = Driver {
        replica,
        policy,
        watch: None,
        waiting,
    };
    loop {
        R::sleep(ROUND).await;
        driver.round().await;
    }
}

struct Driver<R: Runtime> {
    replica: Arc<Replica<R>>,
    policy: Policy,
    /// What this leader has observed, and in which term it leads.
    watch: Option<(u64, Health)>,
    waiting: Arc<std::sync::Mutex<String>>,
}

/// What a round sees of Raft.
struct Sight {
    term: u64,
    facts: RaftFacts,
    membership: StoredMembership,
    /// Log entries behind, for each node that acknowledged lately.
    heard: BTreeMap<NodeId, Option<u64>>,
}

impl<R: Runtime> Driver<R> {
    async fn round(&mut self) {
        let Some(sight) = self
            .replica
            .metrics()
            .and_then(|metrics| self.look(&metrics))
        else {
            self.watch = None;
            self.say("this node does not lead");
            return;
        };
        let members = match self.replica.members().await {
            Ok(members) => members,
            Err(error) => {
                tracing::warn!(%error, "the member table cannot be read");
                return;
            }
        };
        let spares = self.hear_spares(&members, &sight).await;
        self.observe(&members, &sight, &spares);
        let Some((_, health)) = &self.watch else {
            return;
        };
        let facts: Vec<_> = members
            .iter()
            .filter_map(|member| MemberFacts::from_stored(member, Signer::Held))
            .collect();
        let outcome = match repair(&members, &sight.membership) {
            Some(change) => {
                self.carry_out(Step::ChangeRoles(change), &members, &sight)
                    .await
            }
            None => match plan(&facts, health, sight.facts, &self.policy, R::now()) {
                Plan::Wait(reason) => {
                    self.say(&reason.to_string());
                    return;
                }
                Plan::Step(step) => {
                    self.say(&step.to_string());
                    tracing::info!(%step, "membership changes");
                    self.carry_out(step, &members, &sight).await
                }
            },
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "the step did not succeed; the next round looks again");
        }
    }

    fn say(&self, what: &str) {
        let mut waiting = self
            .waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if *waiting != what {
            what.clone_into(&mut waiting);
        }
    }

    /// What Raft shows, while this node leads.
    fn look(&self, metrics: &Metrics<R>) -> Option<Sight> {
        let me = self.replica.peers().identity().node;
        if metrics.state != ServerState::Leader || metrics.current_leader != Some(me) {
            return None;
        }
        let last = metrics.last_log_index.unwrap_or(0);
        let now = <crate::raft::runtime::RaftInstant<R> as openraft_rt::Instant>::now();
        let recent = self.replica.timing().heartbeat() * 4;
        let mut heard = BTreeMap::from([(me, Some(0))]);
        for (node, acked) in metrics.heartbeat.iter().flatten() {
            if acked.as_ref().is_some_and(|acked| now - **acked <= recent) {
                let matched = metrics
                    .replication
                    .as_ref()
                    .and_then(|all| all.get(node).copied().flatten());
                heard.insert(*node, matched.map(|id| last.saturating_sub(id.index)));
            }
        }
        let committed = metrics.cluster_committed.as_ref().map(term_of);
        Some(Sight {
            term: metrics.current_term,
            facts: RaftFacts {
                leader: me,
                configuration: match metrics
                    .membership_config
                    .membership()
                    .get_joint_config()
                    .len()
                {
                    0 | 1 => Configuration::Uniform,
                    _ => Configuration::Joint,
                },
                own_term: if committed == Some(metrics.current_term) {
                    OwnTerm::Committed
                } else {
                    OwnTerm::Pending
                },
            },
            membership: metrics.membership_config.as_ref().clone(),
            heard,
        })
    }

    /// Members outside Raft's membership are asked how they are: nothing else would tell.
    async fn hear_spares(&self, members: &[store::Member], sight: &Sight) -> Vec<NodeId> {
        let in_raft: BTreeSet<NodeId> = sight
            .membership
            .membership()
            .nodes()
            .map(|(node, _)| *node)
            .collect();
        let outside = members
            .iter()
            .map(|member| NodeId(member.id))
            .filter(|node| !in_raft.contains(node));
        let asked = outside.map(|node| async move {
            let mut request = Request::new(peer::ReportRequest {
                route: Some(self.replica.peers().identity().route(node)),
            });
            request.set_timeout(ROUND);
            self.replica
                .peers()
                .client(node)
                .report(request)
                .await
                .ok()
                .map(|_| node)
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    fn observe(&mut self, members: &[store::Member], sight: &Sight, spares: &[NodeId]) {
        let now = R::now();
        let (term, health) = self
            .watch
            .get_or_insert_with(|| (sight.term, Health::new()));
        if *term != sight.term {
            (*term, *health) = (sight.term, Health::new());
        }
        for member in members {
            let settled = WallTime::from_millis(member.admitted_at_ms) + self.policy.stabilisation;
            let arrival = if settled <= R::wall() {
                Arrival::Established
            } else {
                Arrival::Newcomer
            };
            health.watch(NodeId(member.id), arrival, now);
        }
        health.retain(|node| members.iter().any(|member| member.id == node.0));
        for (node, lag) in &sight.heard {
            health.heard(*node, *lag, &self.policy, now);
        }
        for node in spares {
            health.heard(*node, None, &self.policy, now);
        }
    }

    async fn carry_out(
        &self,
        step: Step,
        members: &[store::Member],
        sight: &Sight,
    ) -> Result<(), String> {
        match step {
            Step::FinishJoint => {
                let voters = sight
                    .membership
                    .membership()
                    .get_joint_config()
                    .last()
                    .cloned()
                    .unwrap_or_default();
                let command = command(store::command::Body::RoleChange(roles_after(
                    members,
                    &sight.membership,
                    &voters,
                )));
                self.replica.finish_joint(&command, &sight.membership).await
            }
            Step::ChangeRoles(change) => {
                let command = command(store::command::Body::RoleChange(role_message(
                    &change.roles,
                )));
                let standbys = standbys_after(members, &change);
                self.replica
                    .change_membership(change.voters, standbys, Some(&command), &sight.membership)
                    .await
            }
            Step::TransferLeadership { to, .. } => {
                let raft = self.replica.raft().ok_or("raft does not run")?;
                raft.trigger()
                    .transfer_leader(to)
                    .await
                    .map_err(|error| error.to_string())
            }
            // Every voter holds it already while peers are not told apart by certificates.
            Step::HandOverSigner { .. } => Ok(()),
            Step::Remove { nodes } => {
                for node in nodes {
                    let at_ms = R::wall().millis();
                    let remove = store::MemberRemove {
                        id: node.0,
                        at_ms,
                        keep_until_ms: 0,
                    };
                    self.replica
                        .command(store::command::Body::MemberRemove(remove))
                        .await
                        .map_err(|error| error.to_string())?;
                }
                Ok(())
            }
        }
    }
}

/// Roles in the table that Raft's membership does not show: a step was cut off between being planned and being one entry,
/// or the very first node has just been written down. The membership is moved to what the table says.
fn repair(members: &[store::Member], membership: &StoredMembership) -> Option<RoleChange> {
    // Only standbys that receive nothing: voters change in the entry that changes the table, so they never differ.
    let in_raft: BTreeSet<NodeId> = membership
        .membership()
        .nodes()
        .map(|(node, _)| *node)
        .collect();
    let voters: BTreeSet<NodeId> = membership.membership().voter_ids().collect();
    let missing = members.iter().find(|member| {
        member.role == i32::from(store::Role::Standby) && !in_raft.contains(&NodeId(member.id))
    })?;
    let roles = BTreeMap::from([(NodeId(missing.id), Role::Standby)]);
    Some(RoleChange {
        roles,
        voters,
        why: super::plan::Why::FillStandbys,
    })
}

fn role_message(roles: &BTreeMap<NodeId, Role>) -> store::RoleChange {
    let role = |(node, role): (&NodeId, &Role)| store::MemberRole {
        id: node.0,
        role: role.to_stored().into(),
    };
    store::RoleChange {
        roles: roles.iter().map(role).collect(),
    }
}

/// The standbys that Raft shall have once `change` is done.
fn standbys_after(members: &[store::Member], change: &RoleChange) -> BTreeSet<NodeId> {
    let role_of = |member: &store::Member| {
        let node = NodeId(member.id);
        change
            .roles
            .get(&node)
            .copied()
            .or_else(|| Role::from_stored(member.role))
            .map(|role| (node, role))
    };
    let standbys = members
        .iter()
        .filter_map(role_of)
        .filter(|(_, role)| *role == Role::Standby);
    standbys.map(|(node, _)| node).collect()
}

/// The roles that a joint configuration leads to: its last set votes, whoever else receives the log stands by.
fn roles_after(
    members: &[store::Member],
    membership: &StoredMembership,
    voters: &BTreeSet<NodeId>,
) -> store::RoleChange {
    let in_raft: BTreeSet<NodeId> = membership
        .membership()
        .nodes()
        .map(|(node, _)| *node)
        .collect();
    let role = |node: &NodeId| {
        if voters.contains(node) {
            Role::Voter
        } else {
            Role::Standby
        }
    };
    let known = in_raft
        .into_iter()
        .filter(|node| members.iter().any(|member| member.id == node.0));
    role_message(&known.map(|node| (node, role(&node))).collect())
}
