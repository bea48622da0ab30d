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

use super::fleet::Fleet;
use super::health::{Arrival, Health, SaidOfLog};
use super::plan::{Plan, RoleChange, Step};
use super::planner::{Configuration, OwnTerm, RaftFacts, plan_fleet};
use super::policy::Policy;
use super::role::{MemberFacts, Role, Signer};
use super::status::{NodeReport, Status};
use crate::ids::NodeId;
use crate::node::Inner;
use crate::proto::{peer, store};
use crate::raft::replica::Replica;
use crate::raft::types::{Metrics, StoredMembership, term_of};
use crate::runtime::buggify::stumble;
use crate::runtime::{Instant, Runtime, WallTime, timeout};
use crate::state::{StateError, command};
use crate::tls::validity::NODE_LIFE;

/// Between two rounds.
const ROUND: Duration = Duration::from_millis(250);
/// Between two questions to a member that holds data, and to a spare that has something to learn.
const ASK: Duration = Duration::from_secs(1);
/// Between two questions to a spare that knows what there is to know: there may be a hundred of them.
const ASK_SPARE: Duration = Duration::from_secs(5);

/// Runs the planner for as long as the node lives; what it waits for is left with the node, for `status`.
pub async fn run<R: Runtime>(node: Arc<Inner<R>>, policy: Policy) {
    let mut driver = Driver {
        replica: Arc::clone(node.replica()),
        node,
        policy,
        watch: None,
    };
    loop {
        R::sleep(ROUND).await;
        driver.round().await;
    }
}

struct Driver<R: Runtime> {
    node: Arc<Inner<R>>,
    replica: Arc<Replica<R>>,
    policy: Policy,
    /// What this leader has observed since it leads.
    watch: Option<Watch>,
}

/// What a leader has observed.
struct Watch {
    /// The term in which it leads: another one begins anew.
    term: u64,
    /// How often the cluster's tables had changed when the members were read; none before.
    read_at: Option<u64>,
    members: Arc<[store::Member]>,
    health: Health,
    /// Members that said that they hold the signing key.
    signers: BTreeSet<NodeId>,
    /// What members said of themselves.
    reports: BTreeMap<NodeId, NodeReport>,
    /// When each was asked last, and what it knew then.
    asked: BTreeMap<NodeId, Asked>,
}

impl Watch {
    fn new(term: u64) -> Self {
        Self {
            term,
            read_at: None,
            members: Arc::new([]),
            health: Health::new(),
            signers: BTreeSet::new(),
            reports: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }
}

/// A question to a member.
#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    /// As of which log index a spare that answered knows the members; none for anybody else.
    informed: Option<u64>,
}

impl Asked {
    /// Whether the member is to be asked again, now that the members are as they are since `changed_at`.
    fn is_over(self, changed_at: u64, now: Instant) -> bool {
        let pace = match self.informed {
            Some(index) if index >= changed_at => ASK_SPARE,
            _ => ASK,
        };
        now.since(self.at) >= pace
    }
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
            self.node.note_status(None);
            return;
        };
        let members = match self.members(sight.term).await {
            Ok(members) => members,
            Err(error) => {
                tracing::warn!(%error, "the member table cannot be read");
                return;
            }
        };
        self.observe(&members, &sight);
        self.ask(&members, &sight).await;
        let Some(watch) = &self.watch else {
            return;
        };
        let facts: Vec<_> = members
            .iter()
            .filter_map(|member| {
                let node = NodeId(member.id);
                // Of itself the leader knows it at once.
                let holds = if node == sight.facts.leader {
                    self.node.authority().is_some()
                } else {
                    watch.signers.contains(&node)
                };
                let signer = if holds { Signer::Held } else { Signer::Missing };
                MemberFacts::from_stored(member, signer)
            })
            .collect();
        let leader = sight.facts.leader;
        let fleet = Fleet::assess(&facts, &watch.health, leader, &self.policy, R::now());
        let planned = plan_fleet(&fleet, sight.facts, &self.policy);
        let view = self.node.view().get();
        let status = Status::compute(
            view.cluster,
            view.epoch,
            &members,
            &watch.reports,
            &fleet,
            &planned,
        );
        self.node.note_status(Some(status));
        let repaired = match sight.facts.own_term {
            OwnTerm::Applied => repair(&members, &sight.membership),
            OwnTerm::Pending => None,
        };
        let step = match (repaired, planned) {
            (Some(change), _) => Step::ChangeRoles(change),
            (None, Plan::Wait(_)) => return,
            (None, Plan::Step(step)) => {
                tracing::info!(%step, "membership changes");
                step
            }
        };
        let demoted: Vec<NodeId> = match &step {
            Step::ChangeRoles(change) => {
                let roles = change.roles.iter();
                let demoted = roles.filter(|(_, role)| **role != Role::Voter);
                demoted.map(|(node, _)| *node).collect()
            }
            _ => Vec::new(),
        };
        // Without a quorum a step would be waited for without end, and the status stay what it was.
        let limit = self.replica.timing().request_timeout();
        let carried_out = timeout::<R, _>(limit, self.carry_out(step, &members, &sight)).await;
        let outcome = carried_out.unwrap_or_else(|_| Err("it takes too long".to_owned()));
        if let Some(watch) = &mut self.watch {
            // Each of them deletes the key now, whatever it said before.
            for node in demoted {
                watch.signers.remove(&node);
            }
        }
        if let Err(error) = outcome {
            tracing::warn!(%error, "the step did not succeed; the next round looks again");
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
        // The member table is as of what is applied. Before that, it would be compared with a membership which the entries in
        // between led to, and who was removed in one of them be taken for somebody whom Raft has lost.
        let applied = metrics.last_applied.as_ref();
        let own_term = match applied {
            Some(id)
                if term_of(id) == metrics.current_term
                    && metrics.membership_config.log_id().as_ref() <= applied =>
            {
                OwnTerm::Applied
            }
            _ => OwnTerm::Pending,
        };
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
                own_term,
            },
            membership: metrics.membership_config.as_ref().clone(),
            heard,
        })
    }

    /// What the member table says, read again when it has changed; who leads in another term observes anew.
    async fn members(&mut self, term: u64) -> Result<Arc<[store::Member]>, StateError> {
        // Looked at first: what changes meanwhile is read again.
        let changes = self.replica.cluster_changes();
        let is_read =
            |watch: &&Watch| watch.term == term && changes.is_some() && watch.read_at == changes;
        if let Some(watch) = self.watch.as_ref().filter(is_read) {
            return Ok(Arc::clone(&watch.members));
        }
        let members: Arc<[_]> = self.replica.members().await?.into();
        let watch = self.watch.take().filter(|watch| watch.term == term);
        self.watch = Some(Watch {
            read_at: changes,
            members: Arc::clone(&members),
            ..watch.unwrap_or_else(|| Watch::new(term))
        });
        Ok(members)
    }

    /// Takes over what Raft's heartbeats tell.
    fn observe(&mut self, members: &[store::Member], sight: &Sight) {
        let now = R::now();
        let Some(watch) = self.watch.as_mut() else {
            return;
        };
        for member in members {
            let settled = WallTime::from_millis(member.admitted_at_ms) + self.policy.stabilisation;
            let arrival = if settled <= R::wall() {
                Arrival::Established
            } else {
                Arrival::Newcomer
            };
            watch.health.watch(NodeId(member.id), arrival, now);
        }
        let is_member = |node: NodeId| members.iter().any(|member| member.id == node.0);
        watch.health.retain(is_member);
        watch.signers.retain(|node| is_member(*node));
        watch.reports.retain(|node, _| is_member(*node));
        watch.asked.retain(|node, _| is_member(*node));
        for (node, lag) in &sight.heard {
            watch.health.heard(*node, *lag, &self.policy, now);
        }
        let mut newest = None;
        for member in members {
            let node = NodeId(member.id);
            if Role::from_stored(member.role).is_none_or(Role::receives_log) {
                watch.health.note_receiver(node);
            } else if watch.health.spare_since(node).is_none() {
                let view = newest.get_or_insert_with(|| self.node.newest_view());
                let row = view.members.get(&node);
                if row.is_some_and(|row| row.role == member.role) {
                    watch.health.note_spare(node, view.index.0);
                }
            }
        }
    }

    /// Asks every member how it is, when its time has come. Heartbeats tell nothing of spares, which Raft does not know, and of nobody whether it
    /// holds the signing key, what its clock says, and what troubles it.
    async fn ask(&mut self, members: &[store::Member], sight: &Sight) {
        let Some(watch) = self.watch.as_mut() else {
            return;
        };
        let (now, changed_at) = (R::now(), self.node.members_changed_at());
        let is_over = |asked: &Asked| asked.is_over(changed_at, now);
        let due: Vec<NodeId> = members
            .iter()
            .map(|member| NodeId(member.id))
            .filter(|node| watch.asked.get(node).is_none_or(is_over))
            .collect();
        for node in &due {
            let asked = Asked {
                at: now,
                informed: None,
            };
            watch.asked.insert(*node, asked);
        }
        let peers = self.replica.peers();
        let here = peers.identity();
        let others = due.iter().copied().filter(|node| *node != here.node);
        let asked = others.map(|node| async move {
            let report = peers.report(node, ROUND).await?;
            Some((node, report))
        });
        let mut answers: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        if due.contains(&here.node) {
            answers.extend(self.node.report().await.ok().map(|own| (here.node, own)));
        }
        let receives_log = |node: NodeId| {
            let mut in_raft = sight.membership.membership().nodes();
            in_raft.any(|(known, _)| *known == node)
        };
        for (node, report) in answers {
            let mut informed = (report.leader == here.node.0).then_some(report.view_index);
            // Who receives the log learns of everything there, but for a standby that has yet to begin, a member that was made a
            // spare by an entry which it does not receive any more, and one that waits for voters of yesterday, who are gone,
            // to say what they remember of it.
            let uninformed = !receives_log(node) || report.last.is_none() || report.compares_memory;
            let news_of = self
                .node
                .members_changed_at()
                .max(watch.health.spare_since(node).unwrap_or(0));
            let mut said_of_log = SaidOfLog {
                as_of: report.view_index,
                holds_log: report.holds_log,
            };
            if node != here.node && uninformed && informed.is_none_or(|index| index < news_of) {
                match self.node.show_view(node).await {
                    Ok(said) => {
                        informed = Some(said.as_of);
                        said_of_log = said;
                    }
                    Err(error) => {
                        tracing::debug!(%node, error, "a spare could not be shown the members");
                    }
                }
            }
            if !receives_log(node) {
                watch.health.answered(node, &self.policy, R::now());
                if let Some(asked) = watch.asked.get_mut(&node) {
                    asked.informed = informed;
                }
            }
            watch.health.said_of_log(node, said_of_log);
            if report.holds_signer {
                watch.signers.insert(node);
            } else {
                watch.signers.remove(&node);
            }
            let told = told(report, self.node.aims(), R::wall());
            watch.reports.insert(node, told);
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
                stumble!(R, "buggify/roles.decided");
                self.replica
                    .change_membership(change.voters, standbys, Some(&command), &sight.membership)
                    .await
            }
            Step::TransferLeadership { to, .. } => {
                stumble!(R, "buggify/leadership.planned");
                let limit = self.replica.timing().election().1;
                let moved = self.replica.hand_over_to(|node| node == to, limit).await;
                moved
                    .map(drop)
                    .ok_or_else(|| format!("{to} is not level with the log"))
            }
            Step::HandOverSigner { to } => self.node.hand_over_signer(to).await,
            Step::Remove { nodes } => {
                for node in nodes {
                    // A connection of before the removal: afterwards nobody talks to it any more.
                    let farewell = self.replica.peers().membership(node);
                    let now = R::wall();
                    let remove = store::MemberRemove {
                        id: node.0,
                        at_ms: now.millis(),
                        // Its certificates may have been renewed a moment ago.
                        keep_until_ms: (now + NODE_LIFE).millis(),
                    };
                    self.replica
                        .command(store::command::Body::MemberRemove(remove))
                        .await
                        .map_err(|error| error.to_string())?;
                    self.node.say_farewell(farewell).await;
                }
                Ok(())
            }
        }
    }
}

/// What a member said, as the status shows it; `aims` are the leader's own.
fn told(report: peer::ReportResponse, aims: &str, now: WallTime) -> NodeReport {
    let millis = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    NodeReport {
        version: Some(report.version),
        trouble: (!report.trouble.is_empty()).then_some(report.trouble),
        disk_full: Some(report.disk_full),
        // Zero is what a node says that has synced nothing yet.
        sync_ms: Some(report.last_sync_micros)
            .filter(|micros| *micros > 0)
            .map(|micros| Duration::from_micros(micros).as_secs_f64() * 1e3),
        clock_ahead_ms: Some(millis(report.wall_ms) - millis(now.millis())),
        // Zero is what a node says that cannot read its own.
        certificate_expires_ms: Some(report.certificate_expires_ms).filter(|at| *at > 0),
        other_aims: Some(report.aims).filter(|said| !said.is_empty() && said != aims),
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
