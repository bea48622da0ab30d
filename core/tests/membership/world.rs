//! A cluster as the planner's tests see it: nodes that answer or not, a log that new copies catch up with, a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate::ids::NodeId;
use quorate::membership::{
    Arrival, Configuration, Duty, Health, MemberFacts, OwnTerm, Plan, Policy, RaftFacts, Role,
    RoleChange, SaidOfLog, Signer, Step, plan,
};
use quorate::runtime::Instant;

/// How often nodes are heard and the planner is asked.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// Entries that a node behind copies in each tick.
const COPIED_PER_TICK: u64 = 250;
/// Entries that a node without a log has to copy.
const WHOLE_LOG: u64 = 2_000;

/// What a spare says here, which knows at once that it is one.
const NO_LOG: SaidOfLog = SaidOfLog {
    as_of: 0,
    holds_log: false,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    On,
    Off,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) facts: MemberFacts,
    pub(crate) power: Power,
    pub(crate) lag: u64,
    pub(crate) stuck: bool,
    pub(crate) admitted: Instant,
    pub(crate) last_heard: Option<Instant>,
    pub(crate) last_level: Option<Instant>,
    /// Since when it was heard without a loss; none for one that was there before this leader.
    pub(crate) steady_since: Option<Instant>,
    /// Losses from which it came back, less those that are forgiven.
    pub(crate) returns: u32,
    /// How long a silence is a loss, by how it was heard last.
    loss: Duration,
}

pub(crate) struct World {
    pub(crate) policy: Policy,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) now: Instant,
    pub(crate) leader: Option<NodeId>,
    pub(crate) raft: RaftFacts,
    pub(crate) health: Health,
    pub(crate) removed: Vec<NodeId>,
    pub(crate) manual_signers: bool,
    /// Whether a new leader has to commit an entry of its term first, as a real one has; scripts leave that out.
    pub(crate) terms: bool,
    led_since: Instant,
}

impl Node {
    /// Notes whether being heard now ends a loss, or begins a newcomer's time.
    fn note_return(&mut self, policy: &Policy, led_since: Instant, now: Instant) {
        let silent = now.since(self.last_heard.unwrap_or(led_since.max(self.admitted)));
        let newcomer = led_since.since(self.admitted) <= policy.stabilisation;
        match self.last_heard {
            Some(_) if silent >= self.loss => {
                self.returns = self.remembered(policy, now) + 1;
                self.steady_since = Some(now);
            }
            None if silent >= self.loss || newcomer => self.steady_since = Some(now),
            _ => {}
        }
    }

    fn remembered(&self, policy: &Policy, now: Instant) -> u32 {
        let quiet = self
            .steady_since
            .map_or(Duration::ZERO, |since| now.since(since));
        let forgiven = quiet.as_millis() / policy.flap_memory.as_millis();
        self.returns
            .saturating_sub(u32::try_from(forgiven).unwrap())
    }

    /// Whether it has behaved for long enough to vote: the wait doubles with each return after the first.
    pub(crate) fn may_vote(&self, policy: &Policy, now: Instant) -> bool {
        let doublings = self.remembered(policy, now).saturating_sub(1).min(6);
        let wait = policy.stabilisation * (1 << doublings);
        self.steady_since
            .is_none_or(|since| now.since(since) >= wait)
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            policy: Policy::production(),
            nodes: BTreeMap::new(),
            now: Instant::from_start(Duration::from_secs(100)),
            leader: None,
            raft: RaftFacts {
                leader: NodeId(0),
                configuration: Configuration::Uniform,
                own_term: OwnTerm::Applied,
            },
            health: Health::new(),
            removed: Vec::new(),
            manual_signers: false,
            terms: false,
            led_since: Instant::default(),
        }
    }

    /// Adds a node; one that is more than a spare was there all along.
    pub(crate) fn add(&mut self, id: NodeId, role: Role, failure_domain: &str) {
        let established = role != Role::Spare;
        let facts = MemberFacts {
            id,
            role,
            failure_domain: failure_domain.to_owned(),
            duty: Duty::Any,
            signer: if role == Role::Voter {
                Signer::Held
            } else {
                Signer::Missing
            },
        };
        let admitted = if established {
            self.now - Duration::from_secs(60)
        } else {
            self.now
        };
        let lag = if established { 0 } else { WHOLE_LOG };
        let node = Node {
            facts,
            power: Power::On,
            lag,
            stuck: false,
            admitted,
            last_heard: None,
            last_level: None,
            steady_since: None,
            returns: 0,
            loss: self.policy.loss,
        };
        self.nodes.insert(id, node);
        if self.leader.is_none() && role == Role::Voter {
            self.lead(id);
        }
        if self.leader.is_some() {
            self.watch_everyone();
        }
    }

    pub(crate) fn members(&self) -> Vec<MemberFacts> {
        self.nodes.values().map(|node| node.facts.clone()).collect()
    }

    pub(crate) fn with_role(&self, role: Role) -> BTreeSet<NodeId> {
        self.nodes
            .values()
            .filter(|node| node.facts.role == role)
            .map(|node| node.facts.id)
            .collect()
    }

    pub(crate) fn plan(&self) -> Option<Plan> {
        self.leader.map(|leader| {
            plan(
                &self.members(),
                &self.health,
                RaftFacts {
                    leader,
                    ..self.raft
                },
                &self.policy,
                self.now,
            )
        })
    }

    /// A node leads from now on, with a clean sheet.
    fn lead(&mut self, id: NodeId) {
        self.leader = Some(id);
        self.health = Health::new();
        if self.terms {
            self.raft.own_term = OwnTerm::Pending;
        }
        self.led_since = self.now;
        for node in self.nodes.values_mut() {
            node.last_heard = None;
            node.last_level = None;
            node.steady_since = None;
            node.returns = 0;
            node.loss = self.policy.loss;
        }
        self.watch_everyone();
    }

    fn watch_everyone(&mut self) {
        for node in self.nodes.values() {
            let established = self.now.since(node.admitted) > self.policy.stabilisation;
            let arrival = if established {
                Arrival::Established
            } else {
                Arrival::Newcomer
            };
            self.health.watch(node.facts.id, arrival, self.now);
        }
    }

    /// One tick: copying, elections, answers.
    pub(crate) fn tick(&mut self) {
        self.now += TICK;
        for node in self
            .nodes
            .values_mut()
            .filter(|node| node.power == Power::On && node.facts.role.receives_log() && !node.stuck)
        {
            node.lag = node.lag.saturating_sub(COPIED_PER_TICK);
        }
        self.elect();
        let Some(leader) = self.leader else { return };
        if self.terms && self.led_since < self.now {
            // By the tick after its election, its first entry is applied.
            self.raft.own_term = OwnTerm::Applied;
        }
        self.watch_everyone();
        for (id, node) in &mut self.nodes {
            if node.power == Power::Off || *id == leader {
                continue;
            }
            let lag = node.facts.role.receives_log().then_some(node.lag);
            match lag {
                Some(_) => {
                    self.health.heard(*id, lag, &self.policy, self.now);
                    self.health.note_receiver(*id);
                }
                None => {
                    self.health.answered(*id, &self.policy, self.now);
                    self.health.note_spare(*id, 0);
                    self.health.said_of_log(*id, NO_LOG);
                }
            }
            node.note_return(&self.policy, self.led_since, self.now);
            node.last_heard = Some(self.now);
            node.loss = match lag {
                Some(_) => self.policy.loss,
                None => self.policy.spare_loss,
            };
            if lag.is_some_and(|lag| lag <= self.policy.lag_limit) {
                node.last_level = Some(self.now);
            }
        }
        self.health.retain(|id| self.nodes.contains_key(&id));
    }

    fn elect(&mut self) {
        let voters = self.with_role(Role::Voter);
        let alive: Vec<NodeId> = voters
            .iter()
            .copied()
            .filter(|id| self.nodes[id].power == Power::On && self.nodes[id].lag == 0)
            .collect();
        let answering = voters
            .iter()
            .filter(|id| self.nodes[id].power == Power::On)
            .count();
        if answering <= voters.len() / 2 {
            self.leader = None;
        } else if self.leader.is_none_or(|leader| !alive.contains(&leader)) {
            match alive.first() {
                Some(first) => self.lead(*first),
                None => self.leader = None,
            }
        }
    }

    /// Carries a step out, as the driver would.
    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::FinishJoint => self.raft.configuration = Configuration::Uniform,
            Step::TransferLeadership { to, .. } => {
                if self.nodes[to].power == Power::On {
                    self.lead(*to);
                }
            }
            Step::HandOverSigner { to } => {
                if !self.manual_signers {
                    self.nodes.get_mut(to).unwrap().facts.signer = Signer::Held;
                }
            }
            Step::ChangeRoles(change) => self.change_roles(change),
            Step::Remove { nodes } => {
                for id in nodes {
                    self.nodes.remove(id);
                    self.removed.push(*id);
                }
            }
        }
    }

    /// The change commits only if a quorum of both sets really answers; otherwise it is asked for again later.
    fn change_roles(&mut self, change: &RoleChange) {
        let answers = |voters: &BTreeSet<NodeId>| {
            2 * voters
                .iter()
                .filter(|id| self.nodes[id].power == Power::On)
                .count()
                > voters.len()
        };
        if !answers(&self.with_role(Role::Voter)) || !answers(&change.voters) {
            return;
        }
        for (id, role) in &change.roles {
            let node = self.nodes.get_mut(id).unwrap();
            if *role == Role::Spare {
                node.lag = WHOLE_LOG;
            }
            if *role != Role::Voter {
                node.facts.signer = Signer::Missing;
            }
            node.facts.role = *role;
        }
        if let Some(leader) = self.leader
            && !change.voters.contains(&leader)
        {
            let next = *change.voters.first().unwrap();
            self.lead(next);
        }
    }
}
