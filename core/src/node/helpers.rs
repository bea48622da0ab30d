//! What runs beside the services for as long as the node does. Each helper is one loop with one duty.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::NodeError;
use super::inner::Inner;
use crate::ids::NodeId;
use crate::join::driver::was_removed;
use crate::proto::store::{self, command::Body};
use crate::raft::length::Room;
use crate::raft::replica::{StartError, Stores};
use crate::runtime::{Event, Runtime};

/// How often a node looks whether its certificate is due for renewal.
const RENEWAL_ROUND: Duration = Duration::from_secs(600);

/// How often a node looks whether anybody still counts it in.
const DOUBT_ROUND: Duration = Duration::from_secs(10);

/// Why Raft is started again on a disk that has become slow.
const TOO_SLOW: &str =
    "no leader for long, and this disk syncs too slowly for an election: its times are made longer";

/// Starts all of them but [`Inner::keep_running`], whose end is the node's.
pub(super) fn start<R: Runtime>(inner: &Arc<Inner<R>>) -> Vec<R::Task<()>> {
    let node = || Arc::clone(inner);
    let (members, space) = (node(), node());
    let (founder, sweeper, renewer) = (node(), node(), node());
    let (role, view, announcer) = (node(), node(), node());
    let doubter = node();
    vec![
        R::spawn(async move { members.follow_members().await }),
        R::spawn(async move { space.guard_space().await }),
        R::spawn(async move { founder.write_down_cluster().await }),
        R::spawn(async move { sweeper.sweep_compacted().await }),
        R::spawn(async move { renewer.renew_certificate().await }),
        R::spawn(role.follow_role()),
        R::spawn(async move { doubter.ask_whether_removed().await }),
        R::spawn(async move { announcer.announce().await }),
        R::spawn(async move { view.follow_view().await }),
    ]
}

impl<R: Runtime> Inner<R> {
    async fn follow_members(&self) {
        loop {
            // Each instance of Raft has a channel of its own, which closes with it.
            if let Some(mut progress) = self.replica().progress() {
                self.learn_change().await;
                while progress.cluster_changes.changed().await.is_ok() {
                    self.learn_change().await;
                }
            }
            R::sleep(self.replica().timing().heartbeat()).await;
        }
    }

    /// Nobody says twice that the members have changed: a disk that could not be read just then is read again.
    async fn learn_change(&self) {
        while self.read_members().is_err() {
            R::sleep(self.replica().timing().heartbeat() * 10).await;
        }
    }

    /// What follows from a newer view, besides whom to trust: a node that does not vote any more gives the signing key up,
    /// and what spares once acknowledged is forgotten.
    async fn follow_view(&self) {
        let mut views = self.view().subscribe();
        let mut voted = self.votes();
        while views.changed().await.is_ok() {
            let votes = self.votes();
            if voted && !votes {
                self.forget_authority();
            }
            voted = votes;
            let view = self.view().get();
            let spare = i32::from(store::Role::Spare);
            for row in view.members.values().filter(|row| row.role == spare) {
                self.replica().forget(NodeId(row.id));
            }
        }
    }

    fn votes(&self) -> bool {
        self.view().get().voters().contains(&self.who().node)
    }

    /// Starts Raft again after an error of the disk, once the disk can be written; and lets the node vote as soon as enough
    /// peers have said what they remember of it. Ends when one of them remembers more than the node holds, and when the log
    /// holds what this version does not know.
    pub(super) async fn keep_running(&self) -> StartError {
        match self.keep_trying().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn keep_trying(&self) -> Result<Infallible, StartError> {
        let replica = self.replica();
        let round = replica.timing().heartbeat() * 4;
        let mut leaderless = None;
        loop {
            R::sleep(round).await;
            if let Some(unknown) = replica.take_unknown() {
                return Err(unknown);
            }
            if !self.holds_log() {
                leaderless = None;
                continue;
            }
            if let Some(reason) = replica.ended() {
                self.run_again(reason).await?;
            } else if replica.leader().is_some() {
                leaderless = None;
            } else if R::now() - *leaderless.get_or_insert_with(R::now)
                >= replica.patience_without_leader()
                && replica.refit_timing()
            {
                leaderless = None;
                self.run_again(TOO_SLOW.to_owned()).await?;
            }
            let deadline = R::now() + replica.memory_patience() * 2;
            self.compare_memory(deadline).await?;
            replica.let_elect();
        }
    }

    async fn run_again(&self, reason: String) -> Result<(), StartError> {
        let replica = self.replica();
        tracing::error!(%reason, "raft ended; reads go on from what is there, and it is started again when the disk works");
        replica.set_trouble(Some(reason.clone()));
        let mut told = reason;
        replica.stop().await;
        while let Err(error) = self.restart().await {
            match error {
                NodeError::Start(error) if error.is_final() => return Err(error),
                error => told = error.to_string(),
            }
            replica.set_trouble(Some(told.clone()));
            R::sleep(Duration::from_secs(1)).await;
        }
        // What else is said is of a role that the node was given meanwhile.
        replica.clear_trouble(&told);
        Ok(())
    }

    /// Nothing remains to be done when the node's role has changed meanwhile, which took the log from it and may have given
    /// it another one.
    async fn restart(&self) -> Result<(), NodeError> {
        // Opening the stores ends the reads that go on meanwhile, so not before there is hope.
        let directory = self.directory().clone();
        R::blocking(move || directory.probe()).await?;
        let _stores = self.hold_stores().await;
        if !self.holds_log() || self.stores_are_new() || self.replica().raft().is_some() {
            return Ok(());
        }
        self.replica().start(Stores::Existing).await?;
        R::observe(|| Event::Recovered {
            path: "raft started again",
        });
        tracing::info!("raft runs again");
        Ok(())
    }

    /// Stops taking writes before the disk is full, and takes them again when there is room; and keeps the log from growing
    /// beyond its bound.
    async fn guard_space(&self) {
        let (directory, replica, config) = (self.directory(), self.replica(), self.config());
        let mut reserved = !replica.is_full() && directory.reserve(config.reserve_bytes).is_ok();
        loop {
            R::sleep(Duration::from_secs(1)).await;
            let room = if replica.is_full() {
                Room::Scarce
            } else {
                Room::Enough
            };
            replica.shorten_log(room).await;
            let Ok(free) = directory.free_bytes() else {
                continue;
            };
            let full = replica.is_full();
            if !full && free < config.min_free_bytes {
                tracing::error!(
                    free,
                    "the disk is nearly full: no writes are taken until there is room"
                );
                replica.set_full(true);
                R::observe(|| Event::Recovered {
                    path: "writes refused by a full disk",
                });
                if reserved && directory.release_reserve().is_ok() {
                    reserved = false;
                }
            } else if full && free >= config.min_free_bytes + config.reserve_bytes {
                tracing::info!(free, "there is room again: writes are taken");
                reserved = directory.reserve(config.reserve_bytes).is_ok();
                replica.set_full(false);
                R::observe(|| Event::Recovered {
                    path: "writes taken again after a full disk",
                });
            }
            if replica.is_full() && replica.leads() {
                self.let_one_with_room_lead().await;
            }
        }
    }

    /// A leader that takes no writes keeps the whole cluster from writing. Tried again for as long as it leads: it may be
    /// elected with a full disk, and a voter that could take over may come later.
    async fn let_one_with_room_lead(&self) {
        let replica = self.replica();
        let limit = replica.timing().election().1;
        let asked = replica.heirs().into_iter().map(|node| async move {
            let report = replica.peers().report(node, limit).await?;
            (!report.disk_full).then_some(node)
        });
        let with_room: Vec<NodeId> = join_all(asked).await.into_iter().flatten().collect();
        let heir = replica
            .hand_over_to(|node| with_room.contains(&node), limit)
            .await;
        if let Some(heir) = heir {
            tracing::info!(%heir, "leadership handed over to a node with room on its disk");
        }
    }

    /// Deletes what compaction left, a moment after it was compacted. Costs nothing while there is none.
    async fn sweep_compacted(&self) {
        loop {
            R::sleep(Duration::from_secs(1)).await;
            if let Err(error) = self.replica().sweep().await {
                tracing::debug!(%error, "compacted history was not swept");
            }
        }
    }

    /// The first command of a cluster says who it is. Proposed by its first node until it is there: a crash between
    /// Raft's own first entry and this one leaves nothing undone. What it says was kept on disk before the first start.
    async fn write_down_cluster(&self) {
        while self.holds_log() && matches!(self.roster(), Ok(None)) {
            let me = self.who();
            let membership = self.replica().membership();
            let voters = membership.map(|stored| {
                let voters = stored.membership().voter_ids();
                voters.collect::<Vec<_>>()
            });
            let view = self.view().get();
            if voters == Some(vec![me.node])
                && self.replica().leads()
                && let Some(first) = view.members.get(&me.node)
            {
                let trusted = view.trusted.iter().map(|ca| ca.to_vec().into());
                let init = store::ClusterInit {
                    cluster_id: me.cluster.0,
                    epoch: me.epoch.0,
                    first: Some(first.clone()),
                    trusted_cas: trusted.collect(),
                    at_ms: R::wall().millis(),
                };
                if let Err(error) = self.replica().command(Body::ClusterInit(init)).await {
                    tracing::warn!(%error, "the cluster's first command was not answered; it is tried again");
                }
            }
            R::sleep(self.replica().timing().heartbeat()).await;
        }
    }

    /// A node that hears of no leader for long may have been removed while it was away. Nobody but a stranger's door would tell:
    /// it asks there, so that `status` and the log can say it. It does not act on the answer, which any member could give.
    async fn ask_whether_removed(&self) {
        let mut told = false;
        while !told {
            R::sleep(DOUBT_ROUND).await;
            // Whom it takes for the leader may be somebody who has long ceased to answer it.
            if self.status().await.is_ok() {
                self.note_told_leader(None);
                continue;
            }
            self.ask_who_leads().await;
            let view = self.view().get();
            let me = self.who().node;
            told = view.members.len() > 1 && was_removed::<R>(&view, me).await;
        }
        let why = "this node was removed from its cluster while it was away; to come back it has to join anew, with --wipe";
        tracing::error!("{why}");
        self.replica().set_trouble(Some(why.to_owned()));
    }

    /// Asks the other voters, as they are known here, whom they follow. The leader may be a spare by an old view, from which nothing
    /// is taken, so that the view stays old (T3).
    async fn ask_who_leads(&self) {
        let peers = self.replica().peers();
        let others = self.view().get().voters();
        for voter in others.into_iter().filter(|node| *node != self.who().node) {
            let report = peers
                .report(voter, self.replica().timing().election().1)
                .await;
            if let Some(leader) = report.map(|report| NodeId(report.leader))
                && leader != NodeId(0)
            {
                self.note_told_leader(Some(leader));
                return;
            }
        }
    }

    /// Asks for a new certificate when a third of the old one's life is left (R28).
    async fn renew_certificate(&self) {
        loop {
            if let Err(error) = self.renew_if_due().await {
                tracing::warn!(
                    error,
                    "the node's certificate could not be renewed; it is tried again"
                );
            }
            R::sleep(RENEWAL_ROUND).await;
        }
    }
}
