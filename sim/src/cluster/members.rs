//! Members that come and go: what an operator wishes, asks for, and asks for again until it is done.

use std::sync::Arc;
use std::time::Duration;

use quorate::ids::NodeId;
use quorate::node::Inner;
use quorate::proto::admin::RemoveNodeRequest;
use quorate::runtime::Runtime;

use super::process::{Desk, invitation};
use super::{Cluster, RETRY};
use crate::faults::{Damage, Fault, MemberChange};
use crate::host::HostId;
use crate::liveness::{NodeStatus, NotYet, Presence};
use crate::simulation::Answer;
use crate::simulator::Simulator;
use crate::sync::guard;
use crate::trace::Place;
use crate::world::{Outcome, SimulatedTime, World};

/// Nobody is let go when no more than so many would stay that are not about to change: as many as usually vote.
const FEWEST: usize = 3;
/// After so long somebody asks again for a change of the members that has not come about.
const ASKED_AGAIN: Duration = Duration::from_secs(20);

/// A node over a doubtful disk that has not been well for so long, with nothing else wrong any more, is replaced.
const AILING: Duration = Duration::from_secs(10);
/// What a machine is told whose line has been used.
const USED_UP: &str = "used up";
/// What a machine is told if a member has its name: it has been admitted before, and lost that with its disk.
const TAKEN: &str = "is taken";
/// What is counted when a node has found that its disk does not hold what it should.
const FOUND: &str = "damage-found";

/// A change of the members that somebody has asked for.
pub(super) struct Wish {
    pub(super) host: HostId,
    pub(super) what: Wanted,
    /// What was asked of a node and not answered yet.
    asked: Option<Answer<bool>>,
    /// When it is asked again.
    again: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Join,
    /// The member of this id goes in order.
    Leave(u64),
    /// The member of this id, whose machine is dead, is removed.
    Remove(u64),
    /// The member of this id has lost its data: it is removed, and its machine joins anew.
    Replace(u64),
}

impl<M: Simulator> Cluster<'_, M> {
    /// Begins a change of the members, unless that is impossible now. It is done some time later, while the cluster suffers or
    /// converges.
    pub fn change(&mut self, change: &MemberChange) -> Outcome {
        match *change {
            MemberChange::Join => self.join_one(),
            MemberChange::Leave(host) => self.go(host, Wanted::Leave),
            MemberChange::Restart(host) => self.restart(host),
            MemberChange::Lead(host) => self.ask_to_lead(host),
            MemberChange::Remove(host) => {
                let outcome = self.go(host, Wanted::Remove);
                if outcome == Outcome::Installed {
                    let _ = self.world.kill(host);
                }
                outcome
            }
        }
    }

    /// Destroys what the atlas allows to be destroyed. Who loses everything at once is replaced.
    pub(super) fn damage(&mut self, damage: Damage, lasts: Duration) -> Outcome {
        let host = damage.host();
        if self.inner(host).is_none() || self.changes.iter().any(|wish| wish.host == host) {
            return Outcome::Skipped("is not up, or about to change");
        }
        let member = self.member(host);
        let outcome = Fault::Damage(damage).inject(self.world, lasts);
        if let (Damage::Wiped(_), Outcome::Installed, Some(id)) = (damage, &outcome, member) {
            self.wish_replaced(host, id);
        }
        outcome
    }

    /// Does what the message of a node says that is refused: has its member removed, gives its machine an empty disk, and lets
    /// it join anew. It is done some time later, as other changes are.
    pub fn replace(&mut self, number: u16) {
        let host = HostId::new(number);
        let member = self.member(host);
        let _ = self.world.kill(host);
        let _ = self.world.wipe(host);
        if let Some(id) = member {
            self.wish_replaced(host, id);
        }
        let _ = self.world.start(host);
    }

    /// Which member lives on a machine, or did last. A spare has never opened a log.
    fn member(&self, host: HostId) -> Option<u64> {
        let here = self.inner(host).map(|inner| inner.who().node.0);
        here.or_else(|| self.world.witness().member(host))
    }

    /// Replaces a node that says of itself that something is wrong with its disk.
    pub(super) fn condemn(&mut self, host: HostId, why: String) {
        self.world.count(Place::Host(host), FOUND, why);
        self.replace(host.number());
    }

    /// Replaces nodes over doubtful disks that are not well though nothing else is wrong any more.
    fn see_to_ailing(&mut self) {
        let Some(mut ailing) = self.ailing.take() else {
            return;
        };
        let now = self.world.now();
        for host in self.world.doubted().clone() {
            let Some(why) = self.complaint(host) else {
                ailing.remove(&host);
                continue;
            };
            if now - *ailing.entry(host).or_insert(now) >= AILING {
                self.condemn(host, why);
            }
        }
        self.ailing = Some(ailing);
    }

    /// What an operator sees to be wrong with a node.
    fn complaint(&self, host: HostId) -> Option<String> {
        let status = self.status_of(host);
        match status.presence {
            Presence::Starting(why) => Some(why),
            Presence::Down => None,
            Presence::Up if status.trouble.is_some() => status.trouble,
            Presence::Up => (status.leader.is_none()).then(|| "it hears of no leader".to_owned()),
        }
    }

    /// Replaces nodes over doubtful disks that cannot say what their state comes to.
    pub(super) fn see_to_unreadable(&mut self, nodes: &[NodeStatus]) {
        let unreadable = |node: &&NodeStatus| {
            let up = node.keeps_log && node.presence == Presence::Up;
            up && node.digest.is_none() && self.world.doubted().contains(&node.host)
        };
        let hosts: Vec<HostId> = nodes
            .iter()
            .filter(unreadable)
            .map(|node| node.host)
            .collect();
        for host in hosts {
            self.condemn(host, "its state cannot be read".to_owned());
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

    pub(super) fn settled(&mut self) -> Result<(), NotYet> {
        self.see_to_ailing();
        self.see_to_changes();
        let Some(wish) = self.changes.first() else {
            return Ok(());
        };
        let what = match wish.what {
            Wanted::Join => "joined",
            Wanted::Leave(_) => "left",
            Wanted::Remove(_) => "been removed",
            Wanted::Replace(_) => "been replaced",
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

    /// Tells a node to stop in order; its service starts it again.
    fn restart(&mut self, host: HostId) -> Outcome {
        if self.inner(host).is_none() || !guard(&self.desk).stop(host) {
            return Outcome::Skipped("is not up");
        }
        self.world
            .count(Place::Host(host), "restarted", String::new());
        Outcome::Installed
    }

    /// Asks the leader to hand over, and waits for no answer.
    fn ask_to_lead(&mut self, heir: HostId) -> Outcome {
        let leader = self.leader().map(HostId::new);
        let Some((leader, replica)) = leader.and_then(|host| Some((host, self.replica(host)?)))
        else {
            return Outcome::Skipped("nobody leads");
        };
        let Some(inner) = self.inner(heir).filter(|_| heir != leader) else {
            return Outcome::Skipped("is not up, or leads");
        };
        let node = inner.who().node;
        let _not_awaited = self
            .world
            .spawn(leader, async move { replica.move_leader(node).await });
        self.world
            .count(Place::Host(heir), "asked-to-lead", String::new());
        Outcome::Installed
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
        // Two that die at once may be most of the voters.
        let is_death = |wish: &Wish| matches!(wish.what, Wanted::Remove(_) | Wanted::Replace(_));
        if matches!(how(0), Wanted::Remove(_)) && self.changes.iter().any(is_death) {
            return Outcome::Skipped("another one is dead already");
        }
        let Some(inner) = self.inner(host) else {
            return Outcome::Skipped("is not up");
        };
        self.wish(host, how(inner.who().node.0));
        Outcome::Installed
    }

    /// The line that the cluster was formed with names no more than its first member, which may be the one that is lost.
    fn wish_replaced(&mut self, host: HostId, member: u64) {
        let mut desk = guard(&self.desk);
        desk.own.remove(&host);
        desk.later.insert(host);
        drop(desk);
        self.wish(host, Wanted::Replace(member));
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
    pub(super) fn see_to_changes(&mut self) {
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

    /// Whether a change has come about: joined is who is up, gone is whose id some member that is up knows to be removed, and
    /// replaced is both.
    fn is_done(&self, wish: &Wish) -> bool {
        let joined = || self.inner(wish.host).is_some();
        match wish.what {
            Wanted::Join => joined(),
            Wanted::Leave(id) | Wanted::Remove(id) => self.is_gone(id, wish.host),
            Wanted::Replace(id) => self.is_gone(id, wish.host) && joined(),
        }
    }

    fn is_gone(&self, id: u64, machine: HostId) -> bool {
        let knows = |host: &HostId| {
            let view = self.inner(*host).map(|inner| inner.view().get());
            view.is_some_and(|view| view.tombstones.contains_key(&NodeId(id)))
        };
        let mut others = self.nodes.iter().filter(|host| **host != machine);
        others.any(knows)
    }

    fn finish(&mut self, wish: &Wish) {
        let done = match wish.what {
            Wanted::Join => "member-joined",
            Wanted::Leave(_) => "member-left",
            Wanted::Remove(_) => "member-removed",
            Wanted::Replace(_) => "member-replaced",
        };
        self.world
            .count(Place::Host(wish.host), done, String::new());
        if matches!(wish.what, Wanted::Leave(_) | Wanted::Remove(_)) {
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
        // A spare may change nothing.
        let holds_log = |host: &HostId| self.inner(*host).is_some_and(|inner| inner.holds_log());
        let able = |host: &&HostId| **host != wish.host && !going(host) && holds_log(host);
        let at = match wish.what {
            Wanted::Leave(_) => wish.host,
            Wanted::Join | Wanted::Remove(_) | Wanted::Replace(_) => {
                *self.nodes.iter().find(able)?
            }
        };
        let inner = self.inner(at)?;
        let (host, desk) = (wish.host, Arc::clone(&self.desk));
        let what = wish.what;
        // Admitted, it lost its power before it had written that down: it needs another line.
        let refused = |with| self.refusal(host).is_some_and(|why| why.contains(with));
        if refused(USED_UP) {
            guard(&self.desk).own.remove(&host);
        }
        let namesake = refused(TAKEN).then(|| host.to_string());
        let asking = async move {
            match what {
                Wanted::Join => lay_out_line(&inner, host, &desk).await,
                Wanted::Leave(_) => inner.leave().await.is_ok(),
                Wanted::Remove(id) => remove(&inner, id).await,
                Wanted::Replace(id) => {
                    let removed = remove(&inner, id).await;
                    if let Some(name) = namesake {
                        remove_named(&inner, &name).await;
                    }
                    let has_line = guard(&desk).own.contains_key(&host);
                    removed && (has_line || lay_out_line(&inner, host, &desk).await)
                }
            }
        };
        Some(self.world.spawn(at, asking))
    }
}

/// Makes a line to join with for one machine.
async fn lay_out_line<R: Runtime>(inner: &Inner<R>, host: HostId, desk: &Desk) -> bool {
    let made = inner.invite(invitation(1, host.to_string())).await;
    made.map(|(line, _)| guard(desk).own.insert(host, line))
        .is_ok()
}

/// Removes a member that is dead.
async fn remove<R: Runtime>(inner: &Inner<R>, id: u64) -> bool {
    let request = RemoveNodeRequest {
        node: NodeId(id).to_string(),
        force: true,
    };
    inner.remove(request).await.is_ok()
}

/// Removes what was admitted under a name and is gone.
async fn remove_named<R: Runtime>(inner: &Inner<R>, name: &str) {
    let view = inner.view().get();
    for row in view.members.values().filter(|row| row.name == name) {
        let _asked_again = remove(inner, row.id).await;
    }
}
