//! A cluster of real nodes in a simulated world, to be driven in prose.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use quorate_sim::{cluster::in_cluster, options::Options, seed::Seed, trace::Keep, turmoil::TurmoilWorld};
//! in_cluster::<TurmoilWorld, _>(Seed::new(1), Options::none(3), Keep::Last(100), |cluster| {
//!     let leader = cluster.leader().expect("a cluster that was formed has one");
//!     cluster.put(leader, "key", "before").expect("acknowledged");
//!     cluster.partition(&[leader]).heal_after(Duration::from_secs(5));
//!     cluster.put_through(leader, "key", "after").expect("the others go on");
//!     cluster.converge(Duration::from_secs(30)).expect("the leader that was cut off comes back");
//!     assert_eq!(cluster.get(leader, "key").as_deref(), Some("after"));
//! });
//! ```
//!
//! Nodes are numbered from 1; the first makes the cluster and the others join it, each as production's nodes do.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use quorate::config::{Beginning, ClientAccess, NodeConfig};
use quorate::ids::NodeId;
use quorate::join::JoinLine;
use quorate::membership::Policy;
use quorate::node::{Inner, Invitation, Node, NodeError, Wipe, join};
use quorate::proto::admin::RemoveNodeRequest;
use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate::proto::join::RoleWanted;
use quorate::proto::store::command::Body;
use quorate::raft::config::Timing;
use quorate::raft::replica::Replica;
use quorate::runtime::{Disk, Found, Runtime, WallTime};
use quorate::state::Response;
use quorate::tls::Validity;

use crate::disk::CrashMode;
use crate::faults::{Fault, MemberChange, Schedule};
use crate::host::HostId;
use crate::invariants::Finding;
use crate::liveness::{NodeStatus, NotYet, Presence, converged};
use crate::net::{Effect, Rule, RuleId, groups};
use crate::options::Options;
use crate::runtime::Simulated;
use crate::seed::Seed;
use crate::simulator::Simulator;
use crate::sync::guard;
use crate::trace::{Keep, Place};
use crate::world::{Answer, Later, Outcome, SimulatedTime, Simulation, World, simulate};

/// How long a single request may take before the handle gives up on it; longer than a node's own patience.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a node that did not start waits before it tries again, as a service manager would.
const RETRY: Duration = Duration::from_millis(500);

/// The runtime of the nodes of a world.
type NodeRuntime<M> = Simulated<<M as Simulator>::Substrate>;

/// What the nodes of a cluster show, by machine.
type Registry<R> = Arc<Mutex<BTreeMap<HostId, Shown<R>>>>;

/// What the operator has laid out for the machines.
type Desk = Arc<Mutex<Lines>>;

/// The lines to join with.
#[derive(Default)]
struct Lines {
    /// The one that the first node made for those that the cluster is formed of.
    general: Option<JoinLine>,
    /// Those that were made for one machine.
    own: BTreeMap<HostId, JoinLine>,
    /// Machines that join later, and so wait for a line of their own.
    later: BTreeSet<HostId>,
}

/// The machine whose node makes the cluster.
const FIRST: HostId = HostId::new(1);
/// Nobody is let go when no more than so many would stay that are not about to change: as many as usually vote.
const FEWEST: usize = 3;
/// After so long somebody asks again for a change of the members that has not come about.
const ASKED_AGAIN: Duration = Duration::from_secs(20);
/// Longer than any run.
const LINE_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

enum Shown<R: Runtime> {
    Starting(String),
    Up(Weak<Inner<R>>),
}

/// A request that was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It was not taken, for this reason.
    Refused(String),
    /// It may or may not take effect.
    Unknown,
}

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
    timing: Timing,
}

/// A change of the members that somebody has asked for.
struct Wish {
    host: HostId,
    what: Wanted,
    /// What was asked of a node and not answered yet.
    asked: Option<Answer<bool>>,
    /// When it is asked again.
    again: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Join,
    /// The member of this id goes in order.
    Leave(u64),
    /// The member of this id, whose machine is dead, is removed.
    Remove(u64),
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
        let timing = Timing::default();
        let machines = (1..=options.nodes + options.reserve).map(HostId::new);
        // A machine in reserve is like one of the others.
        for (host, speed) in machines.zip(options.disks.iter().cycle()) {
            let (shown, lines) = (Arc::clone(&registry), Arc::clone(&desk));
            world.plug(
                host,
                Arc::new(move || {
                    let (shown, lines) = (Arc::clone(&shown), Arc::clone(&lines));
                    Box::pin(live::<NodeRuntime<M>>(host, timing, shown, lines))
                }),
            );
            world.machine(host).disk().set_speed(*speed);
            if host.number() > options.nodes {
                guard(&desk).later.insert(host);
            }
        }
        let delay = Effect::Delay {
            least: options.delay_least,
            most: options.delay_most,
        };
        world.network().add_speed(Rule::everywhere(delay));
        Self {
            world,
            options,
            nodes,
            registry,
            desk,
            changes: Vec::new(),
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

    /// How many nodes there are.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.options.nodes
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
    pub fn suffer(&mut self, plan: &mut Schedule, duration: Duration) {
        let deadline = self.world.now() + duration;
        self.world.set_buggify(self.options.buggify);
        for planned in plan {
            let due = self.world.now() + planned.after;
            if due >= deadline {
                break;
            }
            self.wait_until(due);
            match planned.fault {
                Fault::Member(change) => drop(self.change(&change)),
                fault => drop(fault.inject(self.world, planned.lasts)),
            }
        }
        self.wait_until(deadline);
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

    /// Begins a change of the members, unless that is impossible now. It is done some time later, while the cluster suffers or
    /// converges.
    pub fn change(&mut self, change: &MemberChange) -> Outcome {
        match *change {
            MemberChange::Join => self.join_one(),
            MemberChange::Leave(host) => self.go(host, Wanted::Leave),
            MemberChange::Remove(host) => {
                let outcome = self.go(host, Wanted::Remove);
                if outcome == Outcome::Installed {
                    let _ = self.world.kill(host);
                }
                outcome
            }
        }
    }

    /// Waits until every change of the members that was begun is done.
    ///
    /// # Errors
    /// With the first that is not within `bound`.
    pub fn settle(&mut self, bound: Duration) -> Result<(), NotYet> {
        let deadline = self.world.now() + bound;
        loop {
            match self.settled() {
                Err(reason) if self.world.now() >= deadline => return Err(reason),
                Err(_) => self.world.advance(RETRY),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn settled(&mut self) -> Result<(), NotYet> {
        self.see_to_changes();
        let Some(wish) = self.changes.first() else {
            return Ok(());
        };
        let what = match wish.what {
            Wanted::Join => "joined",
            Wanted::Leave(_) => "left",
            Wanted::Remove(_) => "been removed",
        };
        Err(NotYet::Unchanged(wish.host, what))
    }

    /// The first machine that has no part in the cluster is started, to join it.
    fn join_one(&mut self) -> Outcome {
        let mut machines = (1..=self.options.nodes + self.options.reserve).map(HostId::new);
        let Some(host) = machines.find(|host| !self.nodes.contains(host)) else {
            return Outcome::Skipped("all machines are members");
        };
        self.nodes.push(host);
        guard(&self.desk).later.insert(host);
        self.wish(host, Wanted::Join);
        self.world.start(host)
    }

    /// A member is to go, as long as enough stay that do not.
    fn go(&mut self, host: HostId, how: fn(u64) -> Wanted) -> Outcome {
        let staying = self.nodes.len() - self.changes.len();
        if !self.nodes.contains(&host) || self.changes.iter().any(|wish| wish.host == host) {
            return Outcome::Skipped("is no member, or about to change");
        }
        if staying <= FEWEST {
            return Outcome::Skipped("too few would stay");
        }
        let Some(inner) = self.inner(host) else {
            return Outcome::Skipped("is not up");
        };
        self.wish(host, how(inner.who().node.0));
        Outcome::Installed
    }

    fn wish(&mut self, host: HostId, what: Wanted) {
        self.changes.push(Wish {
            host,
            what,
            asked: None,
            again: self.world.now(),
        });
    }

    /// Looks which changes are done, and asks for the others again.
    fn see_to_changes(&mut self) {
        for mut wish in std::mem::take(&mut self.changes) {
            if self.is_done(&wish) {
                self.finish(&wish);
                continue;
            }
            let answered = wish.asked.as_ref().and_then(Answer::take);
            if answered.is_some() {
                wish.asked = None;
            }
            if wish.asked.is_none() || self.world.now() >= wish.again {
                wish.asked = self.ask(&wish);
                wish.again = self.world.now() + ASKED_AGAIN;
            }
            self.changes.push(wish);
        }
    }

    /// Whether a change has come about: joined is who is up, gone is whose id some member that is up knows to be removed.
    fn is_done(&self, wish: &Wish) -> bool {
        let (Wanted::Leave(id) | Wanted::Remove(id)) = wish.what else {
            return self.inner(wish.host).is_some();
        };
        let knows = |host: &HostId| {
            let view = self.inner(*host).map(|inner| inner.view().get());
            view.is_some_and(|view| view.tombstones.contains_key(&NodeId(id)))
        };
        let mut others = self.nodes.iter().filter(|host| **host != wish.host);
        others.any(knows)
    }

    fn finish(&mut self, wish: &Wish) {
        let done = match wish.what {
            Wanted::Join => "member-joined",
            Wanted::Leave(_) => "member-left",
            Wanted::Remove(_) => "member-removed",
        };
        self.world
            .count(Place::Host(wish.host), done, String::new());
        if wish.what != Wanted::Join {
            // What is left of it is of no use. The machine can join again, as another member.
            let _ = self.world.kill(wish.host);
            let _ = self.world.wipe(wish.host);
            self.nodes.retain(|host| *host != wish.host);
            let mut desk = guard(&self.desk);
            desk.own.remove(&wish.host);
            desk.later.insert(wish.host);
        }
    }

    /// Asks a node for what is wished: for a line, or for a removal, one of those that stay; to leave, the one that goes.
    fn ask(&mut self, wish: &Wish) -> Option<Answer<bool>> {
        let going = |host: &HostId| self.changes.iter().any(|other| other.host == *host);
        let able =
            |host: &&HostId| **host != wish.host && !going(host) && self.inner(**host).is_some();
        let at = match wish.what {
            Wanted::Leave(_) => wish.host,
            Wanted::Join | Wanted::Remove(_) => *self.nodes.iter().find(able)?,
        };
        let inner = self.inner(at)?;
        let (host, desk) = (wish.host, Arc::clone(&self.desk));
        let what = wish.what;
        let asking = async move {
            match what {
                Wanted::Join => {
                    let made = inner.invite(invitation(1, host.to_string())).await;
                    made.map(|(line, _)| guard(&desk).own.insert(host, line))
                        .is_ok()
                }
                Wanted::Leave(_) => inner.leave().await.is_ok(),
                Wanted::Remove(id) => {
                    let request = RemoveNodeRequest {
                        node: NodeId(id).to_string(),
                        force: true,
                    };
                    inner.remove(request).await.is_ok()
                }
            }
        };
        Some(self.world.spawn(at, asking))
    }

    /// Ends every fault and starts what is down.
    pub fn heal(&mut self) {
        let _ = self.world.heal();
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

    /// Who leads, if the nodes that are up and know a leader agree.
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

    fn inner(&self, host: HostId) -> Option<Arc<Inner<NodeRuntime<M>>>> {
        if !self.world.is_running(host) {
            return None;
        }
        match guard(&self.registry).get(&host) {
            Some(Shown::Up(inner)) => inner.upgrade(),
            Some(Shown::Starting(_)) | None => None,
        }
    }

    fn replica(&self, host: HostId) -> Option<Arc<Replica<NodeRuntime<M>>>> {
        self.inner(host).map(|inner| Arc::clone(inner.replica()))
    }

    /// Until when the certificate that a node shows is good; none while it is not up.
    #[must_use]
    pub fn certificate_expires(&self, number: u16) -> Option<WallTime> {
        let inner = self.inner(HostId::new(number))?;
        let certificate = inner.replica().peers().tls().certificate();
        Some(Validity::of(&certificate).ok()?.not_after)
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

    /// Hands leadership from one node to another.
    ///
    /// # Errors
    /// When the first does not lead, or the other may not.
    pub fn hand_over(&mut self, from: u16, to: u16) -> Result<(), Failure> {
        let heir = self.inner(HostId::new(to)).map(|inner| inner.who().node);
        let heir = heir.ok_or_else(|| Failure::Refused(format!("n{to} is not up")))?;
        let moved = self.on(
            from,
            |replica| async move { replica.move_leader(heir).await },
        )?;
        moved.map_err(|error| Failure::Refused(format!("{error:?}")))
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

    /// Runs something on a node's replica to its end.
    fn on<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &mut self,
        number: u16,
        ask: impl FnOnce(Arc<Replica<NodeRuntime<M>>>) -> F,
    ) -> Result<T, Failure> {
        let host = HostId::new(number);
        let replica = self
            .replica(host)
            .ok_or_else(|| Failure::Refused(format!("{host} is not up")))?;
        self.world
            .run(host, PATIENCE, ask(replica))
            .ok_or(Failure::Unknown)
    }

    /// Brings a command into the log through a node.
    ///
    /// # Errors
    /// When it was not acknowledged.
    pub fn command(&mut self, number: u16, body: Body) -> Result<Response, Failure> {
        let answer = self.on(number, |replica| async move { replica.command(body).await })?;
        answer.map_err(|error| match error {
            quorate::raft::proposer::ProposeError::Unknown => Failure::Unknown,
            refused => Failure::Refused(refused.to_string()),
        })
    }

    /// Writes through a node.
    ///
    /// # Errors
    /// When it was not acknowledged.
    pub fn put(&mut self, number: u16, key: &str, value: &str) -> Result<Response, Failure> {
        let (key, value) = (key.to_owned().into(), value.to_owned().into());
        self.command(
            number,
            Body::Put(PutRequest {
                key,
                value,
                ..PutRequest::default()
            }),
        )
    }

    /// Writes so many values through a node at once, each under a key of its own; answers how many were acknowledged.
    pub fn put_many(&mut self, number: u16, count: u32) -> u32 {
        let answered = self.on(number, |replica| async move {
            let put = |index: u32| {
                let key = format!("many{index}").into();
                let body = Body::Put(PutRequest {
                    key,
                    value: "value".into(),
                    ..PutRequest::default()
                });
                let replica = Arc::clone(&replica);
                NodeRuntime::<M>::spawn(async move { replica.command(body).await.is_ok() })
            };
            let mut acknowledged = 0;
            for task in (0..count).map(put).collect::<Vec<_>>() {
                acknowledged += u32::from(task.await == Ok(true));
            }
            acknowledged
        });
        answered.unwrap_or(0)
    }

    /// Writes through whichever node but `avoided` acknowledges it first. An attempt whose outcome is unknown is repeated: that
    /// a value may be put twice is this caller's business, as it would never be the node's.
    ///
    /// # Errors
    /// When none does within a minute.
    pub fn put_through(
        &mut self,
        avoided: u16,
        key: &str,
        value: &str,
    ) -> Result<Response, Failure> {
        let numbers: Vec<u16> = self
            .nodes
            .iter()
            .map(|host| host.number())
            .filter(|number| *number != avoided)
            .collect();
        let deadline = self.world.now() + Duration::from_secs(60);
        loop {
            for number in &numbers {
                match self.put(*number, key, value) {
                    Ok(answer) => return Ok(answer),
                    Err(failure) if self.world.now() >= deadline => return Err(failure),
                    Err(_) => self.world.advance(self.timing.heartbeat()),
                }
            }
        }
    }

    /// A linearizable read through a node; nothing when the key is not there or the read was not answered.
    pub fn get(&mut self, number: u16, key: &str) -> Option<String> {
        let request = RangeRequest {
            key: key.to_owned().into(),
            ..RangeRequest::default()
        };
        let read = self.on(number, |replica| async move {
            replica.barrier()?.pass().await.ok()?;
            let response = replica
                .readers()
                .await
                .ok()??
                .with(|reader| reader.range(&request))
                .ok()?;
            response
                .kvs
                .first()
                .map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
        });
        read.ok().flatten()
    }

    /// What the nodes show without being asked.
    #[must_use]
    pub fn status(&self) -> Vec<NodeStatus> {
        self.nodes
            .iter()
            .map(|host| self.status_of(*host))
            .collect()
    }

    fn status_of(&self, host: HostId) -> NodeStatus {
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

    /// The same, with the digests of their states.
    pub fn status_with_digests(&mut self) -> Vec<NodeStatus> {
        let mut nodes = self.status();
        for node in nodes.iter_mut().filter(|node| node.keeps_log) {
            let digest = self.on(node.host.number(), |replica| async move {
                replica.digest().await
            });
            node.digest = digest
                .ok()
                .and_then(Result::ok)
                .map(|digest| digest.to_string());
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
                Ok(()) => return Ok(()),
                Err(reason) if self.world.now() >= deadline => return Err(reason),
                Err(_) => self.world.advance(self.timing.heartbeat() * 4),
            }
        }
    }

    fn converged_now(&mut self) -> Result<(), NotYet> {
        self.settled()?;
        let wanted = self.world.witness().highest_applied();
        converged(&self.status(), wanted).or_else(|reason| match reason {
            // Digests were not asked for yet.
            NotYet::StatesDiffer(..) => Ok(()),
            reason => Err(reason),
        })?;
        let writers = self.status();
        let writers = writers.iter().filter(|node| node.keeps_log);
        for number in writers.map(|node| node.host.number()) {
            let fresh = self.put(number, "converged", &number.to_string());
            fresh
                .map_err(|failure| NotYet::WriteFails(format!("through n{number}: {failure:?}")))?;
        }
        let wanted = self.world.witness().highest_applied();
        let level = |world: &Self| converged(&world.status(), wanted).is_ok().then_some(());
        for _ in 0..20 {
            if level(self).is_some() {
                break;
            }
            self.world.advance(self.timing.heartbeat());
        }
        converged(&self.status_with_digests(), wanted)
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

/// A node, to do something to it. What is done answers the handle again, so that sentences can go on.
pub struct NodeHandle<'cluster, 'world, M: Simulator> {
    cluster: &'cluster mut Cluster<'world, M>,
    host: HostId,
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

    /// Lets it go on after so long.
    pub fn resume_after(self, delay: Duration) {
        self.cluster.world.later(delay, Later::Resume(self.host));
    }

    /// Replaces its disk by an empty one, while it is down.
    pub fn wipe(self) -> Outcome {
        self.cluster.world.wipe(self.host)
    }
}

/// Rules on links that are in force.
pub struct Cut<'cluster, 'world, M: Simulator> {
    cluster: &'cluster mut Cluster<'world, M>,
    rules: Vec<RuleId>,
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

/// What a machine's process does: starts its node, and again when it does not start.
async fn live<R: Runtime>(host: HostId, timing: Timing, registry: Registry<R>, desk: Desk) {
    guard(&registry).insert(host, Shown::Starting("begins".to_owned()));
    loop {
        match begin::<R>(host, timing, &desk).await {
            Ok(node) => {
                guard(&registry).insert(host, Shown::Up(Arc::downgrade(&node.handle())));
                if host == FIRST {
                    invite::<R>(&node, &desk).await;
                }
                std::future::pending::<()>().await;
            }
            Err(error) => {
                guard(&registry).insert(host, Shown::Starting(error.to_string()));
                R::sleep(RETRY).await;
            }
        }
    }
}

/// The first node makes the cluster, the others join it, and all of them go on with what they find.
async fn begin<R: Runtime>(
    host: HostId,
    timing: Timing,
    desk: &Desk,
) -> Result<Node<R>, NodeError> {
    let config = config(host, timing);
    let later = guard(desk).later.contains(&host);
    if host == FIRST && !later {
        return Node::start(config, Beginning::Usual).await;
    }
    let identity = R::disk().find(&config.data_dir.join("identity.json"));
    if !matches!(identity, Ok(Found::File)) {
        let line = loop {
            let found = {
                let desk = guard(desk);
                let general = desk.general.as_ref().filter(|_| !later);
                desk.own.get(&host).or(general).cloned()
            };
            if let Some(line) = found {
                break line;
            }
            R::sleep(RETRY).await;
        };
        join::<R>(&config, line, RoleWanted::Any, Wipe::Refuse, PATIENCE).await?;
    }
    Node::start(config, Beginning::Existing).await
}

/// The operator: has the first node make one line, which all the others join with.
async fn invite<R: Runtime>(node: &Node<R>, desk: &Desk) {
    while guard(desk).general.is_none() {
        match node.handle().invite(invitation(1_000, String::new())).await {
            Ok((made, _)) => guard(desk).general = Some(made),
            Err(_) => R::sleep(RETRY).await,
        }
    }
}

fn invitation(uses: u32, name: String) -> Invitation {
    Invitation {
        ttl: LINE_LIFE,
        uses,
        role: RoleWanted::Any,
        name,
    }
}

fn peer_address(host: HostId) -> String {
    format!("{}:7001", host.ip())
}

fn config(host: HostId, timing: Timing) -> NodeConfig {
    NodeConfig {
        data_dir: PathBuf::from("/data"),
        name: host.to_string(),
        listen_client: format!("{}:7000", host.ip()),
        listen_peer: peer_address(host),
        advertise_peer: vec![peer_address(host)],
        advertise_client: vec![format!("http://{}:7000", host.ip())],
        failure_domain: String::new(),
        timing,
        client_access: ClientAccess::Anyone,
        policy: Policy::production(),
        max_client_connections: 64,
        min_free_bytes: 64 * 1024,
        reserve_bytes: 16 * 1024,
        drain: Duration::from_secs(1),
    }
}
