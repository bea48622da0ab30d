//! What the leader has observed of each node, reduced to what decisions need.
//!
//! Nothing here probes: Raft's acknowledgements (voters, standbys) and answers to the leader's questions (spares) are the
//! observations, handed in with the moment they were made. Who is only asked is asked seldom, and silent for longer before it counts as lost. A leader starts with a clean sheet: nodes that were members already are taken as
//! *established* (they had proven themselves to the leader before), so that the successor of a dead leader replaces it
//! without waiting for everybody's stabilisation again; the flaps it never saw are forgotten, which is the price.

use std::collections::BTreeMap;
use std::time::Duration;

use super::policy::Policy;
use crate::ids::NodeId;
use crate::runtime::Instant;

/// How a node came under observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was a member for longer than the stabilisation time when this leader began to look.
    Established,
    /// It was admitted lately, or under this leader.
    Newcomer,
}

/// Whether a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// Heard just now.
    Responding,
    /// Not heard for the given time: not counted upon, not given up.
    Silent(Duration),
    /// Not heard for so long (given) that it counts as gone.
    Lost(Duration),
}

/// How a node is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// With every heartbeat.
    Heartbeats,
    /// When it is asked, every few seconds.
    Questions,
}

/// The longest span by which a flapping node's stabilisation is multiplied, as a power of two.
const FLAP_DOUBLINGS: u32 = 6;

/// What is known of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeHealth {
    arrival: Arrival,
    pace: Pace,
    watched_since: Instant,
    last_heard: Option<Instant>,
    /// The first time it was heard since its last loss; an established node that was never lost has none.
    stable_since: Option<Instant>,
    lag: Option<u64>,
    last_level: Option<Instant>,
    flaps: u32,
    last_flap: Instant,
    /// Since which log index it is known to be a spare; none for one that receives the log.
    spare_since: Option<u64>,
    /// Whether it may have a log.
    keeps_log: bool,
}

impl NodeHealth {
    fn new(arrival: Arrival, now: Instant) -> Self {
        Self {
            arrival,
            pace: Pace::Heartbeats,
            watched_since: now,
            last_heard: None,
            stable_since: None,
            lag: None,
            last_level: None,
            flaps: 0,
            last_flap: now,
            spare_since: None,
            keeps_log: true,
        }
    }

    fn heard(&mut self, lag: Option<u64>, policy: &Policy, now: Instant) {
        match (self.contact(policy, now), self.last_heard) {
            (Contact::Lost(_), Some(_)) => {
                self.flaps = self.flaps_remembered(policy, now).saturating_add(1);
                self.last_flap = now;
                self.stable_since = Some(now);
            }
            // Lost before it was ever heard: whoever it was to earlier leaders, it has to prove itself again.
            (Contact::Lost(_), None) => self.stable_since = Some(now),
            (_, None) if self.arrival == Arrival::Newcomer => self.stable_since = Some(now),
            _ => {}
        }
        self.last_heard = Some(now);
        self.lag = lag;
        if lag.is_some_and(|entries| entries <= policy.lag_limit) {
            self.last_level = Some(now);
        }
    }

    /// Whether it answers. One missed answer is nothing; only `policy.loss` of silence is a loss, or `policy.spare_loss`.
    #[must_use]
    pub fn contact(&self, policy: &Policy, now: Instant) -> Contact {
        let (silence, loss) = match self.pace {
            Pace::Heartbeats => (policy.silence, policy.loss),
            Pace::Questions => (policy.spare_silence, policy.spare_loss),
        };
        let silent = now.since(self.last_heard.unwrap_or(self.watched_since));
        match self.last_heard {
            Some(_) if silent <= silence => Contact::Responding,
            _ if silent < loss => Contact::Silent(silent),
            _ => Contact::Lost(silent),
        }
    }

    /// Whether it was level with the log lately. Not "at this instant": under a load of tens of thousands of writes a second,
    /// what is in flight exceeds any sensible limit now and then.
    #[must_use]
    pub fn caught_up(&self, policy: &Policy, now: Instant) -> bool {
        self.last_level
            .is_some_and(|level| now.since(level) < policy.loss)
    }

    /// For how long it has not been level with the log.
    #[must_use]
    pub fn behind_for(&self, now: Instant) -> Duration {
        now.since(self.last_level.unwrap_or(self.watched_since))
    }

    /// Entries between the leader's log and this node's, when it was last heard; `None` for one without a log.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        self.lag
    }

    /// How long it must still behave before the time `required` without a loss is full; zero when it is.
    #[must_use]
    pub fn stable_in(&self, required: Duration, policy: &Policy, now: Instant) -> Duration {
        // The first return is an ordinary reboot; from the second on it is a habit.
        let doublings = self
            .flaps_remembered(policy, now)
            .saturating_sub(1)
            .min(FLAP_DOUBLINGS);
        let required = required.saturating_mul(1 << doublings);
        match (self.last_heard, self.stable_since) {
            (None, _) => required,
            (Some(_), None) => Duration::ZERO,
            (Some(_), Some(since)) => required.saturating_sub(now.since(since)),
        }
    }

    /// Whether it may have a log, though its role asks for none: it has yet to hear of that, or to say so. It must not be sent
    /// another one before it has given this one up, or it gives up what it was sent.
    #[must_use]
    pub fn keeps_log(&self) -> bool {
        self.keeps_log
    }

    fn said_of_log(&mut self, said: SaidOfLog) {
        let informed = self.spare_since.is_some_and(|since| since <= said.as_of);
        self.keeps_log = said.holds_log || !informed;
    }

    /// Losses it came back from, less those that are long enough ago.
    #[must_use]
    pub fn flaps_remembered(&self, policy: &Policy, now: Instant) -> u32 {
        let memory = policy.flap_memory.as_millis().max(1);
        let forgotten = now.since(self.last_flap).as_millis() / memory;
        self.flaps
            .saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

/// What a node said of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaidOfLog {
    /// The log index as of which it knew the members when it said so.
    pub as_of: u64,
    /// Whether it has a log.
    pub holds_log: bool,
}

/// What one leader has observed of all nodes but itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    nodes: BTreeMap<NodeId, NodeHealth>,
}

impl Health {
    /// A clean sheet, as a new leader has.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins to observe a node; nothing happens if it is observed already.
    pub fn watch(&mut self, node: NodeId, arrival: Arrival, now: Instant) {
        self.nodes
            .entry(node)
            .or_insert_with(|| NodeHealth::new(arrival, now));
    }

    /// Keeps only the nodes for which `is_member` holds: a removed node leaves no record.
    pub fn retain(&mut self, mut is_member: impl FnMut(NodeId) -> bool) {
        self.nodes.retain(|node, _| is_member(*node));
    }

    /// Notes that `node` acknowledged a heartbeat, with its distance to the leader's log if that is known.
    pub fn heard(&mut self, node: NodeId, lag: Option<u64>, policy: &Policy, now: Instant) {
        self.note(node, lag, Pace::Heartbeats, policy, now);
    }

    /// Notes that `node`, to which no heartbeats go, answered when it was asked.
    pub fn answered(&mut self, node: NodeId, policy: &Policy, now: Instant) {
        self.note(node, None, Pace::Questions, policy, now);
    }

    /// Notes that `node` receives the log.
    pub fn note_receiver(&mut self, node: NodeId) {
        if let Some(health) = self.nodes.get_mut(&node) {
            health.spare_since = None;
            health.keeps_log = true;
        }
    }

    /// Notes that `node` is a spare as of the log index `at`, or has been for longer.
    pub fn note_spare(&mut self, node: NodeId, at: u64) {
        if let Some(health) = self.nodes.get_mut(&node) {
            health.spare_since.get_or_insert(at);
        }
    }

    /// Since which log index `node` is known to be a spare.
    #[must_use]
    pub fn spare_since(&self, node: NodeId) -> Option<u64> {
        self.node(node)?.spare_since
    }

    /// Notes what `node` said of its log. That it has none counts only when it knows that it is a spare: before, it may be just about
    /// to make one.
    pub fn said_of_log(&mut self, node: NodeId, said: SaidOfLog) {
        if let Some(health) = self.nodes.get_mut(&node) {
            health.said_of_log(said);
        }
    }

    fn note(&mut self, node: NodeId, lag: Option<u64>, pace: Pace, policy: &Policy, now: Instant) {
        self.watch(node, Arrival::Newcomer, now);
        let health = self
            .nodes
            .get_mut(&node)
            .expect("watch has just put it there");
        health.heard(lag, policy, now);
        health.pace = pace;
    }

    /// What is known of `node`.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeHealth> {
        self.nodes.get(&node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(7);

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    fn watched(arrival: Arrival) -> (Health, Policy) {
        let mut health = Health::new();
        health.watch(NODE, arrival, at(0));
        (health, Policy::production())
    }

    fn contact(health: &Health, policy: &Policy, millis: u64) -> Contact {
        health.node(NODE).unwrap().contact(policy, at(millis))
    }

    #[test]
    fn that_it_has_no_log_counts_when_it_knows_that_it_is_a_spare() {
        let keeps_log = |health: &Health| health.node(NODE).unwrap().keeps_log();
        let said = |as_of, holds_log| SaidOfLog { as_of, holds_log };
        let (mut health, _) = watched(Arrival::Established);
        assert!(keeps_log(&health), "it has not been asked");
        health.note_receiver(NODE);
        health.said_of_log(NODE, said(100, false));
        assert!(keeps_log(&health), "it is about to make one");
        health.note_spare(NODE, 65);
        health.note_spare(NODE, 71);
        health.said_of_log(NODE, said(64, false));
        assert!(keeps_log(&health), "it takes itself for a standby");
        health.said_of_log(NODE, said(65, true));
        assert!(keeps_log(&health));
        health.said_of_log(NODE, said(65, false));
        assert!(!keeps_log(&health));
        health.note_receiver(NODE);
        assert!(keeps_log(&health));
        assert_eq!(health.spare_since(NODE), None);
    }

    #[test]
    fn silence_is_not_loss_until_it_has_lasted() {
        let (mut health, policy) = watched(Arrival::Established);
        health.heard(NODE, Some(0), &policy, at(100));
        assert_eq!(contact(&health, &policy, 1100), Contact::Responding);
        assert_eq!(
            contact(&health, &policy, 1101),
            Contact::Silent(Duration::from_millis(1001))
        );
        assert_eq!(
            contact(&health, &policy, 4099),
            Contact::Silent(Duration::from_millis(3999))
        );
        assert_eq!(
            contact(&health, &policy, 4100),
            Contact::Lost(Duration::from_millis(4000))
        );
    }

    #[test]
    fn a_spare_is_asked_seldom_and_given_more_time() {
        let (mut health, policy) = watched(Arrival::Established);
        health.answered(NODE, &policy, at(100));
        assert_eq!(contact(&health, &policy, 12_100), Contact::Responding);
        assert!(matches!(
            contact(&health, &policy, 20_099),
            Contact::Silent(_)
        ));
        assert!(matches!(
            contact(&health, &policy, 20_100),
            Contact::Lost(_)
        ));
        // It has become a standby: heartbeats reach it, and it has to acknowledge them.
        health.heard(NODE, Some(0), &policy, at(1_000));
        assert!(matches!(contact(&health, &policy, 5_000), Contact::Lost(_)));
    }

    #[test]
    fn a_node_never_heard_is_silent_first_and_then_lost() {
        let (health, policy) = watched(Arrival::Established);
        assert_eq!(
            contact(&health, &policy, 0),
            Contact::Silent(Duration::ZERO)
        );
        assert_eq!(
            contact(&health, &policy, 4000),
            Contact::Lost(Duration::from_secs(4))
        );
    }

    #[test]
    fn an_established_node_is_stable_when_first_heard_and_a_newcomer_is_not() {
        for (arrival, remaining) in [(Arrival::Established, 0), (Arrival::Newcomer, 10)] {
            let (mut health, policy) = watched(arrival);
            health.heard(NODE, Some(0), &policy, at(500));
            let node = health.node(NODE).unwrap();
            assert_eq!(
                node.stable_in(policy.stabilisation, &policy, at(500)),
                Duration::from_secs(remaining)
            );
        }
    }

    #[test]
    fn each_further_return_from_a_loss_doubles_the_wait_and_time_forgives() {
        let (mut health, policy) = watched(Arrival::Established);
        let mut waits = Vec::new();
        for round in 0..4 {
            health.heard(NODE, Some(0), &policy, at(round * 5_000));
            let wait = health.node(NODE).unwrap().stable_in(
                policy.stabilisation,
                &policy,
                at(round * 5_000),
            );
            waits.push(wait.as_secs());
        }
        assert_eq!(waits, [0, 10, 20, 40]);
        let later = at(15_000) + policy.flap_memory * 2;
        assert_eq!(
            health.node(NODE).unwrap().flaps_remembered(&policy, later),
            1
        );
    }

    #[test]
    fn a_short_gap_is_no_flap() {
        let (mut health, policy) = watched(Arrival::Established);
        for moment in [0, 3_900, 7_800] {
            health.heard(NODE, Some(0), &policy, at(moment));
        }
        assert_eq!(
            health
                .node(NODE)
                .unwrap()
                .flaps_remembered(&policy, at(7_800)),
            0
        );
    }

    #[test]
    fn a_burst_beyond_the_limit_does_not_make_a_level_node_behind() {
        let (mut health, policy) = watched(Arrival::Established);
        health.heard(NODE, Some(10), &policy, at(0));
        health.heard(NODE, Some(50_000), &policy, at(1_000));
        assert!(health.node(NODE).unwrap().caught_up(&policy, at(1_000)));
        health.heard(NODE, Some(50_000), &policy, at(4_000));
        assert!(!health.node(NODE).unwrap().caught_up(&policy, at(4_000)));
    }

    #[test]
    fn a_node_without_a_log_is_never_caught_up() {
        let (mut health, policy) = watched(Arrival::Established);
        health.heard(NODE, None, &policy, at(0));
        assert!(!health.node(NODE).unwrap().caught_up(&policy, at(0)));
    }
}
