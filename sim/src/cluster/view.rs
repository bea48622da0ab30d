//! What the nodes show, and whether they have come together.

use std::sync::Arc;
use std::time::Duration;

use quorate::node::Inner;
use quorate::raft::replica::Replica;
use quorate::runtime::WallTime;

use super::process::{BEGINS, Shown};
use super::{Cluster, FIRST, NodeRuntime};
use crate::host::HostId;
use crate::invariants::Finding;
use crate::liveness::{NodeStatus, NotYet, Presence, converged, states_equal};
use crate::simulator::Simulator;
use crate::sync::guard;
use crate::world::{SimulatedTime, World};

impl<M: Simulator> Cluster<'_, M> {
    /// Who takes itself for the leader, and of several the one of the latest term: the other has not heard of it yet.
    #[must_use]
    pub fn leader(&self) -> Option<u16> {
        let leads = |host: &HostId| {
            let replica = self.replica(*host)?;
            (replica.leader() == Some(replica.peers().identity().node))
                .then(|| (replica.metrics().map(|m| m.current_term), host.number()))
        };
        self.nodes
            .iter()
            .filter_map(leads)
            .max()
            .map(|(_, number)| number)
    }

    pub(super) fn inner(&self, host: HostId) -> Option<Arc<Inner<NodeRuntime<M>>>> {
        if !self.world.is_running(host) {
            return None;
        }
        match guard(&self.registry).get(&host) {
            Some(Shown::Up(inner)) => inner.upgrade(),
            Some(Shown::Starting(_)) | None => None,
        }
    }

    pub(super) fn replica(&self, host: HostId) -> Option<Arc<Replica<NodeRuntime<M>>>> {
        self.inner(host).map(|inner| Arc::clone(inner.replica()))
    }

    /// Until when the certificate that a node shows is good; none while it is not up.
    #[must_use]
    pub fn certificate_expires(&self, number: u16) -> Option<WallTime> {
        let inner = self.inner(HostId::new(number))?;
        Some(inner.replica().peers().tls().validity().not_after)
    }

    /// Whether a node is up.
    #[must_use]
    pub fn is_up(&self, number: u16) -> bool {
        self.inner(HostId::new(number)).is_some()
    }

    /// Whether a node is up and has heard from enough of its peers that it has forgotten nothing.
    #[must_use]
    pub fn may_vote(&self, number: u16) -> bool {
        let replica = self.replica(HostId::new(number));
        replica.is_some_and(|replica| replica.may_vote())
    }

    /// Whether a node votes, as it believes itself.
    #[must_use]
    pub fn votes(&self, number: u16) -> bool {
        let replica = self.replica(HostId::new(number));
        let metrics = replica.as_ref().and_then(|replica| replica.metrics());
        let me = replica.map(|replica| replica.peers().identity().node);
        metrics.zip(me).is_some_and(|(metrics, me)| {
            let membership = metrics.membership_config.membership();
            membership.voter_ids().any(|voter| voter == me)
        })
    }

    /// What the nodes show, a line each, with what their planners wait for: for the report of a failure.
    #[must_use]
    pub fn describe(&self) -> String {
        let describe = |host: &HostId| {
            let waiting = self
                .inner(*host)
                .and_then(|inner| inner.own_status())
                .map_or_else(
                    || "its leader".to_owned(),
                    |status| status.planner_says.clone(),
                );
            format!("{:?} waits for: {waiting}", self.status_of(*host))
        };
        self.nodes
            .iter()
            .map(describe)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// What the nodes show without being asked.
    #[must_use]
    pub fn status(&self) -> Vec<NodeStatus> {
        self.nodes
            .iter()
            .map(|host| self.status_of(*host))
            .collect()
    }

    /// Why the node of a machine does not start, if it has said so.
    pub(super) fn refusal(&self, host: HostId) -> Option<String> {
        match self.status_of(host).presence {
            Presence::Starting(why) if why != BEGINS => Some(why),
            _ => None,
        }
    }

    pub(super) fn status_of(&self, host: HostId) -> NodeStatus {
        let presence = match guard(&self.registry).get(&host) {
            _ if !self.world.is_running(host) => Presence::Down,
            Some(Shown::Up(_)) => Presence::Up,
            Some(Shown::Starting(why)) => Presence::Starting(why.clone()),
            None => Presence::Starting(String::new()),
        };
        let inner = self.inner(host);
        let replica = self.replica(host);
        let metrics = replica.as_ref().and_then(|replica| replica.metrics());
        let metrics = metrics.as_ref();
        NodeStatus {
            host,
            presence,
            keeps_log: inner.as_ref().is_none_or(|inner| inner.holds_log()),
            term: metrics.map_or(0, |metrics| metrics.current_term),
            members: inner.as_ref().map_or_else(Vec::new, |inner| {
                let view = inner.view().get();
                let rows = view.members.values();
                rows.map(|member| (member.id, member.role)).collect()
            }),
            leader: inner
                .and_then(|inner| inner.leader())
                .map(|leader| leader.0),
            applied: metrics
                .and_then(|metrics| metrics.last_applied.as_ref())
                .map_or(0, |id| id.index),
            voters: metrics.map_or(0, |metrics| {
                metrics.membership_config.membership().voter_ids().count()
            }),
            joint: metrics.is_some_and(|metrics| {
                metrics
                    .membership_config
                    .membership()
                    .get_joint_config()
                    .len()
                    > 1
            }),
            trouble: replica.and_then(|replica| replica.trouble().or_else(|| replica.ended())),
            digest: None,
        }
    }

    /// The same, with the digests of their states and what they cover.
    pub fn status_with_digests(&mut self) -> Vec<NodeStatus> {
        let mut nodes = self.status();
        for node in nodes.iter_mut().filter(|node| node.keeps_log) {
            let digest = self.on(node.host.number(), |replica| async move {
                replica.digest().await
            });
            node.digest = digest.ok().and_then(Result::ok).map(|digest| {
                let covered = digest.log_id.map_or(0, |id| id.index);
                (covered, digest.to_string())
            });
        }
        nodes
    }

    /// Waits until the cluster has converged and a fresh write succeeds on every node.
    ///
    /// # Errors
    /// With the first reason why it has not within `bound`.
    pub fn converge(&mut self, bound: Duration) -> Result<(), NotYet> {
        let deadline = self.world.now() + bound;
        loop {
            match self.converged_now() {
                Ok(()) => {
                    self.world.witness().healed(self.world.now(), FIRST);
                    return Ok(());
                }
                Err(reason) if self.world.now() >= deadline => return Err(reason),
                Err(_) => self.world.advance(self.timing.heartbeat() * 4),
            }
        }
    }

    fn converged_now(&mut self) -> Result<(), NotYet> {
        self.settled()?;
        let wanted = self.world.witness().highest_applied();
        converged(&self.status(), wanted)?;
        for NodeStatus {
            host, keeps_log, ..
        } in self.status()
        {
            let number = host.number();
            let value = number.to_string();
            let fresh = if keeps_log {
                self.put(number, "converged", &value).map(drop)
            } else {
                self.put_as_client(number, "converged", &value)
            };
            fresh.map_err(|failure| NotYet::WriteFails(format!("through {host}: {failure:?}")))?;
        }
        let wanted = self.world.witness().highest_applied();
        let level = |world: &Self| converged(&world.status(), wanted).is_ok().then_some(());
        for _ in 0..20 {
            if level(self).is_some() {
                break;
            }
            self.world.advance(self.timing.heartbeat());
        }
        let nodes = self.status_with_digests();
        self.see_to_unreadable(&nodes);
        converged(&nodes, wanted)?;
        states_equal(&nodes)
    }

    /// What the invariants found, and panics of nodes as text.
    #[must_use]
    pub fn findings(&self) -> (Vec<Finding>, Vec<(HostId, String)>) {
        (self.world.witness().findings(), self.world.panics())
    }

    /// Fails with everything that was found, and how the run ended.
    ///
    /// # Panics
    /// When anything was found.
    pub fn assert_sound(&self) {
        let (findings, panics) = self.findings();
        let findings: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert!(
            findings.is_empty() && panics.is_empty(),
            "{} seed={} {}\n{findings:#?}\n{panics:#?}\n{}",
            M::NAME,
            self.world.seed(),
            self.options,
            self.world.trace().lines().join("\n")
        );
    }
}
