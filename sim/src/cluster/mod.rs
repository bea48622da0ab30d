//! A cluster of real nodes in a simulated world, to be driven in prose.
//!
//! The README shows a first test.
//!
//! Nodes are numbered from 1; the first makes the cluster and the others join it, each as production's nodes do.
//!
//! `process` is what runs on a machine; `members` are those that come and go; `requests` are asked of one node; `view` is what
//! all of them show; `handles` let sentences go on. `made` saves tests the time to build nodes.

mod handles;
#[cfg(all(debug_assertions, not(test)))]
pub mod made;
mod members;
mod process;
mod requests;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate::raft::config::Timing;

pub use self::handles::{Cut, NodeHandle};
pub use self::requests::{Failure, client_channel};

use self::members::{Wanted, Wish};
use self::process::{Desk, Registry, live};
use crate::faults::{Fault, Schedule};
use crate::host::HostId;
use crate::liveness::{NodeStatus, NotYet, converged};
use crate::net::{Effect, Rule, groups};
use crate::options::Options;
use crate::runtime::Simulated;
use crate::seed::Seed;
use crate::simulation::{Simulation, simulate};
use crate::simulator::Simulator;
use crate::sync::guard;
use crate::trace::Keep;
use crate::world::{SimulatedTime, World};

/// Where each node serves clients, at its machine's address.
const CLIENT_PORT: u16 = 7000;

/// How long a node that did not start waits before it tries again, as a service manager would.
const RETRY: Duration = Duration::from_millis(500);

/// Where nothing has struck yet, a pause between two faults is no longer than this part of the time that there is.
const HURRIED: u32 = 30;

/// The runtime of the nodes of a world.
type NodeRuntime<M> = Simulated<<M as Simulator>::Substrate>;

/// The machine whose node makes the cluster.
const FIRST: HostId = HostId::new(1);

/// A cluster of nodes in a world.
pub struct Cluster<'world, M: Simulator> {
    world: &'world mut Simulation<M>,
    options: Options,
    /// Whose machines are members, or shall be.
    nodes: Vec<HostId>,
    registry: Registry<NodeRuntime<M>>,
    desk: Desk,
    /// Changes of the members that are not done yet.
    changes: Vec<Wish>,
    /// Since when nodes over doubtful disks are not well, once everything else is: whoever stays so is replaced.
    ailing: Option<BTreeMap<HostId, Duration>>,
    timing: Timing,
}

/// Makes a world and a cluster in it, forms the cluster and gives it to `body`.
///
/// # Panics
/// When the cluster does not form within a minute of simulated time, or with what `body` panicked with.
pub fn in_cluster<M: Simulator, T: Send>(
    seed: Seed,
    options: Options,
    keep: Keep,
    body: impl FnOnce(&mut Cluster<'_, M>) -> T + Send,
) -> T {
    simulate::<M, T>(seed, keep, |world| {
        let mut cluster = Cluster::plug(world, options);
        if let Err(reason) = cluster.form(Duration::from_secs(60)) {
            let (trace, options) = (cluster.world.trace().lines().join("\n"), &cluster.options);
            panic!(
                "{} seed={seed} {options}\nthe cluster does not form: {reason}\n{}\n{trace}",
                M::NAME,
                cluster.describe()
            );
        }
        body(&mut cluster)
    })
}

impl<'world, M: Simulator> Cluster<'world, M> {
    /// Plugs the machines of a cluster in, without starting them.
    pub fn plug(world: &'world mut Simulation<M>, options: Options) -> Self {
        let nodes: Vec<HostId> = (1..=options.nodes).map(HostId::new).collect();
        let registry: Registry<NodeRuntime<M>> = Arc::default();
        let desk: Desk = Arc::default();
        let timing = Timing::new(options.heartbeat).trimmed(options.trimming);
        let standbys = options.standbys;
        let machines = (1..=options.nodes + options.reserve).map(HostId::new);
        // A machine in reserve is like one of the others.
        let mut clocks = options.clocks.iter().cycle();
        for (host, speed) in machines.zip(options.disks.iter().cycle()) {
            let (shown, lines) = (Arc::clone(&registry), Arc::clone(&desk));
            world.plug(
                host,
                Arc::new(move || {
                    let (shown, lines) = (Arc::clone(&shown), Arc::clone(&lines));
                    Box::pin(live::<NodeRuntime<M>>(host, timing, standbys, shown, lines))
                }),
            );
            world.machine(host).disk().set_speed(*speed);
            if let Some(error) = clocks.next() {
                world.machine(host).clock().build(*error);
            }
            if host.number() > options.nodes {
                guard(&desk).later.insert(host);
            }
        }
        let delay = Effect::Delay {
            least: options.delay_least,
            most: options.delay_most,
        };
        world.network().add_speed(Rule::everywhere(delay));
        if let Some((one, other, longer)) = options.long_link {
            let delay = Effect::Delay {
                least: longer,
                most: longer,
            };
            let (one, other) = (HostId::new(one), HostId::new(other));
            for rule in Rule::between(one, other, delay) {
                world.network().add_speed(rule);
            }
        }
        Self {
            world,
            options,
            nodes,
            registry,
            desk,
            changes: Vec::new(),
            ailing: None,
            timing,
        }
    }

    /// Starts every node and waits until all of them vote, as many as are wanted.
    ///
    /// # Errors
    /// With the first reason why the cluster has not come together within `bound`.
    pub fn form(&mut self, bound: Duration) -> Result<(), NotYet> {
        for host in self.nodes.clone() {
            let _ = self.world.start(host);
        }
        let wanted = match self.nodes.len() {
            0..3 => 1,
            3..5 => 3,
            _ => 5,
        };
        let formed = |cluster: &Self| {
            let nodes = cluster.status();
            let settled = |node: &NodeStatus| !node.keeps_log || node.voters == wanted;
            converged(&nodes, 0).is_ok() && nodes.iter().all(settled)
        };
        let deadline = self.world.now() + bound;
        while !formed(self) {
            if self.world.now() >= deadline {
                let status = self.status();
                return converged(&status, 0).and(Err(NotYet::WriteFails(format!("{status:?}"))));
            }
            self.world.advance(self.timing.heartbeat());
        }
        Ok(())
    }

    /// The world that the cluster is in.
    pub fn world(&mut self) -> &mut Simulation<M> {
        self.world
    }

    /// What the run varies.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// A node, to do something to it.
    pub fn node(&mut self, number: u16) -> NodeHandle<'_, 'world, M> {
        NodeHandle {
            cluster: self,
            host: HostId::new(number),
        }
    }

    /// Cuts these nodes off from all the others, until the cut is healed.
    pub fn partition(&mut self, numbers: &[u16]) -> Cut<'_, 'world, M> {
        let apart: Vec<HostId> = numbers.iter().map(|number| HostId::new(*number)).collect();
        let others = self
            .nodes
            .iter()
            .copied()
            .filter(|host| !apart.contains(host))
            .collect();
        self.cut(groups(&[apart, others]))
    }

    /// Lets nothing come from these nodes to those; the way back is open.
    pub fn one_way(&mut self, from: &[u16], to: &[u16]) -> Cut<'_, 'world, M> {
        let hosts = |numbers: &[u16]| {
            numbers
                .iter()
                .map(|number| HostId::new(*number))
                .collect::<Vec<_>>()
        };
        self.cut(vec![Rule::one_way(&hosts(from), &hosts(to))])
    }

    /// Puts rules on links.
    pub fn cut(&mut self, rules: Vec<Rule>) -> Cut<'_, 'world, M> {
        let (_, rules) = self.world.cut(rules);
        Cut {
            cluster: self,
            rules,
        }
    }

    /// Lets the cluster run.
    pub fn advance(&mut self, duration: Duration) {
        self.world.advance(duration);
    }

    /// Lets the faults of a plan happen for so long. Faults that are not over then end on their own, or with a heal.
    ///
    /// A fault that is drawn may strike nothing: a ring of three cuts no link, a link is mended before a message comes, a
    /// connection that is to be reset is not there. If nothing has struck in two thirds of the time, no long pauses are made
    /// between faults any more until something has.
    pub fn suffer(&mut self, plan: &mut Schedule, duration: Duration) {
        let begun = self.world.now();
        let deadline = begun + duration;
        self.world.set_buggify(self.options.buggify);
        for planned in plan {
            let mut due = self.world.now() + planned.after;
            let fired = self.world.fired();
            if !self.options.strikes().any(|name| fired.contains_key(name)) {
                let hurried = self.world.now() + duration / HURRIED;
                due = due.min(hurried.max(begun + duration * 2 / 3));
            }
            if due >= deadline {
                break;
            }
            self.wait_until(due);
            match planned.fault {
                Fault::Member(change) => drop(self.change(&change)),
                Fault::Damage(damage) => drop(self.damage(damage, planned.lasts)),
                fault => drop(fault.inject(self.world, planned.lasts)),
            }
        }
        self.wait_until(deadline);
    }

    /// Lets the cluster run until `condition` answers something, for at most `bound`, and sees to the changes of its members.
    pub fn until<T>(
        &mut self,
        bound: Duration,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let deadline = self.world.now() + bound;
        loop {
            self.see_to_changes();
            let left = deadline.saturating_sub(self.world.now());
            let while_unchanged = if self.changes.is_empty() {
                left
            } else {
                left.min(RETRY)
            };
            let answer = self.world.until(while_unchanged, |_| condition());
            if answer.is_some() || self.world.now() >= deadline {
                return answer;
            }
        }
    }

    /// Lets the cluster run, and sees to the changes of its members.
    fn wait_until(&mut self, deadline: Duration) {
        while self.world.now() < deadline {
            let left = deadline.saturating_sub(self.world.now());
            if self.changes.is_empty() {
                self.world.advance(left);
                return;
            }
            self.see_to_changes();
            self.world.advance(left.min(RETRY));
        }
    }

    /// Ends every fault and starts what is down. A machine with a doubtful disk is started again, so that its node has nothing
    /// but that disk to go by; if the node is then refused, or is not well, an operator [replaces](Self::replace) it.
    pub fn heal(&mut self) {
        let _ = self.world.heal();
        self.ailing = Some(BTreeMap::new());
        for host in self.world.doubted().clone() {
            match self.refusal(host) {
                Some(why) => self.condemn(host, why),
                None => drop(self.world.reboot(host)),
            }
        }
        let dead = |host: &HostId| {
            let removed = |wish: &Wish| matches!(wish.what, Wanted::Remove(_));
            let mut wishes = self.changes.iter();
            wishes.any(|wish| wish.host == *host && removed(wish))
        };
        let alive: Vec<HostId> = self
            .nodes
            .iter()
            .copied()
            .filter(|host| !dead(host))
            .collect();
        for host in alive {
            let _ = self.world.start(host);
        }
    }
}
