//! A node or a cut, to do something to it, so that sentences can go on.

use std::time::Duration;

use super::Cluster;
use crate::disk::CrashMode;
use crate::host::HostId;
use crate::net::RuleId;
use crate::simulator::Simulator;
use crate::world::{Later, Outcome, World};

/// A node, to do something to it. What is done answers the handle again, so that sentences can go on.
pub struct NodeHandle<'cluster, 'world, M: Simulator> {
    pub(super) cluster: &'cluster mut Cluster<'world, M>,
    pub(super) host: HostId,
}

impl<M: Simulator> NodeHandle<'_, '_, M> {
    /// Cuts its power; nothing that was not synced survives.
    pub fn crash(self) -> Self {
        self.crash_with(CrashMode::Nothing)
    }

    /// Cuts its power; of what was not synced so much survives.
    pub fn crash_with(self, mode: CrashMode) -> Self {
        let _ = self.cluster.world.crash(self.host, mode);
        self
    }

    /// Kills its process.
    pub fn kill(self) -> Self {
        let _ = self.cluster.world.kill(self.host);
        self
    }

    /// Stops its process without ending it.
    pub fn pause(self) -> Self {
        let _ = self.cluster.world.pause(self.host);
        self
    }

    /// Lets it go on.
    pub fn resume(self) -> Self {
        let _ = self.cluster.world.resume(self.host);
        self
    }

    /// Starts it.
    pub fn start(self) -> Self {
        let _ = self.cluster.world.start(self.host);
        self
    }

    /// Starts it after so long.
    pub fn start_after(self, delay: Duration) {
        self.cluster.world.later(delay, Later::Start(self.host));
    }

    /// Replaces its disk by an empty one, while it is down.
    pub fn wipe(self) -> Outcome {
        self.cluster.world.wipe(self.host)
    }
}

/// Rules on links that are in force.
pub struct Cut<'cluster, 'world, M: Simulator> {
    pub(super) cluster: &'cluster mut Cluster<'world, M>,
    pub(super) rules: Vec<RuleId>,
}

impl<M: Simulator> Cut<'_, '_, M> {
    /// Takes them back after so long.
    pub fn heal_after(self, delay: Duration) {
        self.cluster.world.later(delay, Later::Mend(self.rules));
    }

    /// The rules, to be taken back by hand.
    #[must_use]
    pub fn rules(self) -> Vec<RuleId> {
        self.rules
    }
}
