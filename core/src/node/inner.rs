//! What the services and helpers of a node share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::leader::Decider;
use crate::config::NodeConfig;
use crate::directory::{Directory, DirectoryError, Inhabitant};
use crate::ids::{LogIndex, NodeId};
use crate::join::keep::IdentityFiles;
use crate::join::{MemberView, SharedView};
use crate::membership::status::{Availability, Status};
use crate::proto::admin::{AvailabilityCode, StatusReply, StatusRequest};
use crate::proto::peer::ReportResponse;
use crate::raft::peers::Identity;
use crate::raft::replica::{Replica, StartError};
use crate::runtime::{Event, Instant, Runtime, WallTime};
use crate::state::{Reader, Roster, StateError};
use crate::tls::{Authority, Validity};
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;

/// So many clients may have much read at once; the others wait for their turn.
pub const CLIENT_SCANS: usize = 4;

/// What services and helpers share.
pub struct Inner<R: Runtime> {
    config: NodeConfig,
    directory: Directory<R::Disk>,
    files: IdentityFiles<R::Disk>,
    replica: Arc<Replica<R>>,
    /// The cluster's signing key, while it is here.
    authority: Mutex<Option<Authority>>,
    /// Who lives here, as the directory says it.
    inhabitant: Mutex<Inhabitant>,
    /// With what this node fails together: as configured, or as an operator said since.
    failure_domain: Mutex<String>,
    /// Who leads, as a voter said when the leader that is known here did not answer as one; zero when nobody was asked.
    told_leader: AtomicU64,
    /// Held by whoever reads a row of the member table in order to change it.
    row_changes: tokio::sync::Mutex<()>,
    /// Held by whoever makes, opens or removes the stores.
    stores: tokio::sync::Mutex<()>,
    /// The stores were made and never opened: nothing was promised over them.
    stores_are_new: AtomicBool,
    /// As of which log index the members are as they are.
    changed_at: AtomicU64,
    /// The cluster as this node sees it, while it leads.
    status: Mutex<Option<Arc<Status>>>,
    /// Threads on which clients may read much at once: the others are left to the log, to snapshots and to reports.
    scans: Arc<Semaphore>,
    /// What this node would aim at as a leader, in words.
    aims: String,
}

impl<R: Runtime> Inner<R> {
    pub(super) fn new(
        config: NodeConfig,
        directory: Directory<R::Disk>,
        replica: Arc<Replica<R>>,
        inhabitant: Inhabitant,
        authority: Option<Authority>,
    ) -> Self {
        let beat = config.timing.heartbeat().as_millis();
        Self {
            aims: format!("{}, heartbeat {beat} ms", config.policy.aims()),
            files: IdentityFiles::new(directory.disk().clone(), directory.path()),
            directory,
            authority: Mutex::new(authority),
            inhabitant: Mutex::new(inhabitant),
            failure_domain: Mutex::new(config.failure_domain.clone()),
            told_leader: AtomicU64::new(0),
            row_changes: tokio::sync::Mutex::new(()),
            stores: tokio::sync::Mutex::new(()),
            stores_are_new: AtomicBool::new(false),
            // Whoever knows less than what is known here may have an older view.
            changed_at: AtomicU64::new(replica.peers().tls().view().get().index.0),
            status: Mutex::default(),
            scans: Arc::new(Semaphore::new(CLIENT_SCANS)),
            replica,
            config,
        }
    }

    /// Reads for a client, on a thread for what blocks.
    pub(crate) async fn scan<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let turn = Arc::clone(&self.scans).acquire_owned().await;
        R::blocking(move || {
            let answer = read();
            // Not earlier: a client that has gone away ends no read.
            drop(turn);
            answer
        })
        .await
    }

    /// The node's part in Raft.
    #[must_use]
    pub fn replica(&self) -> &Arc<Replica<R>> {
        &self.replica
    }

    /// Takes note of who leads, as a voter says, or that nobody needs to be asked.
    pub(super) fn note_told_leader(&self, leader: Option<NodeId>) {
        let leader = leader.map_or(0, |leader| leader.0);
        self.told_leader.store(leader, Ordering::Relaxed);
    }

    /// Whether `node` leads, by what Raft says here, or by what a voter said when that leader did not answer as one: Raft here
    /// stays with the leader of its last term for as long as nobody else is elected that this node votes for.
    pub(super) fn follows(&self, node: NodeId) -> bool {
        let told = Some(self.told_leader.load(Ordering::Relaxed)).filter(|told| *told != 0);
        self.replica.leader() == Some(node) || told == Some(node.0)
    }

    /// How it was configured.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Where everything is kept.
    #[must_use]
    pub fn directory(&self) -> &Directory<R::Disk> {
        &self.directory
    }

    pub(super) fn files(&self) -> &IdentityFiles<R::Disk> {
        &self.files
    }

    /// Whether this node has a log and a state; a spare has neither.
    #[must_use]
    pub fn holds_log(&self) -> bool {
        self.inhabitant().holds_log
    }

    fn inhabitant(&self) -> MutexGuard<'_, Inhabitant> {
        self.inhabitant
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stores_are_new(&self) -> bool {
        self.stores_are_new.load(Ordering::SeqCst)
    }

    pub(super) fn set_stores_are_new(&self, new: bool) {
        self.stores_are_new.store(new, Ordering::SeqCst);
    }

    /// Waits until nobody else makes, opens or removes the stores.
    pub(super) async fn hold_stores(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.stores.lock().await
    }

    /// Whether this node has a log, or may just be making or removing one. If not, it makes one only as its view asks for from
    /// now on.
    pub(super) fn may_hold_log(&self) -> bool {
        // The directory says that there is none before Raft has ended.
        self.stores.try_lock().is_err() || self.holds_log() || self.replica().raft().is_some()
    }

    /// Writes down whether this node has a log and a state.
    ///
    /// # Errors
    /// When it cannot be written; then what was said before stands.
    pub(super) fn note_holds_log(&self, holds_log: bool) -> Result<(), DirectoryError> {
        self.note(|inhabitant| inhabitant.holds_log = holds_log)
    }

    /// Writes down that this node has a new log, and that it stands for no election before that reaches `index`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn note_new_log(&self, index: LogIndex) -> Result<(), DirectoryError> {
        self.replica.elects_from(index);
        self.note(|inhabitant| {
            inhabitant.holds_log = true;
            inhabitant.elects_from = index;
        })
    }

    fn note(&self, change: impl FnOnce(&mut Inhabitant)) -> Result<(), DirectoryError> {
        let mut inhabitant = self.inhabitant();
        let mut changed = inhabitant.clone();
        change(&mut changed);
        self.directory.settle(&changed)?;
        *inhabitant = changed;
        Ok(())
    }

    /// Compares this node's memory with that of its peers ([`Replica::compare_memory`]). One who remembers may not be there
    /// at the next start, and then too few would be left who do: so what was found out once is written down, and the node does
    /// not start on this directory again.
    ///
    /// # Errors
    /// When a peer remembers more than this node holds.
    pub(super) async fn compare_memory(&self, deadline: Instant) -> Result<(), StartError> {
        let compared = self.replica.compare_memory(deadline).await;
        if compared.is_err() {
            let _refusal = self.note_outdated();
        }
        compared
    }

    /// Writes down that what is here is older than what others count on, and answers how every start is refused from here on.
    /// Where that cannot be written, the next start has to find it out again.
    pub(super) fn note_outdated(&self) -> DirectoryError {
        if let Err(error) = self.note(|inhabitant| inhabitant.outdated = true) {
            tracing::error!(%error, "it cannot be written down that this directory is outdated");
        }
        self.directory.outdated(self.inhabitant().name.clone())
    }

    pub(super) fn failure_domain(&self) -> String {
        self.failure_domain
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn note_failure_domain(&self, failure_domain: String) {
        *self
            .failure_domain
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = failure_domain;
    }

    /// One change of a row at a time: it is read, changed and written as a whole.
    pub(super) async fn row_changes(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.row_changes.lock().await
    }

    /// Who it is.
    #[must_use]
    pub fn who(&self) -> Identity {
        self.replica.peers().identity()
    }

    /// Who leads, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        if self.holds_log() {
            self.replica.leader()
        } else {
            self.view().get().leader
        }
    }

    /// What it knows of all members.
    #[must_use]
    pub fn view(&self) -> &SharedView {
        self.replica.peers().tls().view()
    }

    /// The cluster as this node sees it; none unless it leads.
    #[must_use]
    pub fn own_status(&self) -> Option<Arc<Status>> {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn own_status_reply(&self) -> Option<StatusReply> {
        self.own_status().map(|status| status_reply(&status))
    }

    /// Notes how the cluster is, or that this node does not lead it.
    pub(crate) fn note_status(&self, status: Option<Status>) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status.map(Arc::new);
    }

    /// How the cluster is, as its leader sees it.
    ///
    /// # Errors
    /// When nobody leads, or the leader does not answer.
    pub async fn status(&self) -> Result<StatusReply, tonic::Status> {
        let mut reply = match self.own_status_reply() {
            Some(status) => status,
            None => self.leaders_status().await?,
        };
        reply.text.push_str(&format!(
            "\n  this node's certificate: {}",
            self.certificate_in_words()
        ));
        Ok(reply)
    }

    async fn leaders_status(&self) -> Result<StatusReply, tonic::Status> {
        let trouble = || {
            let expired = self.certificate_validity().not_after < R::wall();
            let expired = expired.then(|| {
                let certificate = self.certificate_in_words();
                format!("; this node's certificate: {certificate}")
            });
            let trouble = self.replica.trouble().map(|why| format!("; {why}"));
            trouble.unwrap_or_default() + &expired.unwrap_or_default()
        };
        let Ok(Decider::There(mut leader)) = self.decider() else {
            return Err(tonic::Status::unavailable(format!(
                "this node knows of no leader{}",
                trouble()
            )));
        };
        let answer = leader.status(self.in_time(StatusRequest {})).await;
        let answer = answer.map_err(|status| {
            let (view, leader) = (self.view().get(), self.leader());
            let row = leader.and_then(|leader| view.members.get(&leader));
            let name = row.map_or("the node", |row| &row.name);
            tonic::Status::unavailable(format!(
                "{name}, which led when it was last heard, does not answer: {}{}",
                status.message(),
                trouble()
            ))
        })?;
        Ok(answer.into_inner())
    }

    fn certificate_validity(&self) -> Validity {
        self.replica.peers().tls().validity()
    }

    /// Until when this node's certificate is good, and what becomes of it.
    fn certificate_in_words(&self) -> String {
        self.certificate_validity().in_words(R::wall())
    }

    /// What this node would aim at as a leader, in words: it should be the same on every node.
    #[must_use]
    pub fn aims(&self) -> &str {
        &self.aims
    }

    /// How this node is.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn report(&self) -> std::io::Result<ReportResponse> {
        let (view, report) = (self.view().get(), self.replica.report().await?);
        let expires = self.certificate_validity().not_after;
        Ok(ReportResponse {
            holds_log: self.may_hold_log(),
            holds_signer: self.authority().is_some(),
            certificate_expires_ms: expires.millis(),
            view_index: view.index.0,
            aims: self.aims().to_owned(),
            leader: match report.leader {
                // A spare has no part in Raft: it knows what it was shown.
                0 => view.leader.map_or(0, |leader| leader.0),
                leader => leader,
            },
            ..report
        })
    }

    /// The cluster's signing key, while it is here.
    #[must_use]
    pub fn authority(&self) -> Option<Authority> {
        self.authority
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Keeps the cluster's signing key, from before this node votes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep_authority(&self, authority: Authority) -> std::io::Result<()> {
        self.files.keep_signer(&authority)?;
        *self
            .authority
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(authority);
        Ok(())
    }

    /// Deletes the signing key: this node does not vote any more (T12).
    pub(super) fn forget_authority(&self) {
        let held = self
            .authority
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if held.is_some() {
            match self.files.forget_signer() {
                Ok(()) => tracing::info!("the cluster's signing key was deleted here"),
                Err(error) => {
                    tracing::error!(%error, "the cluster's signing key cannot be deleted here");
                }
            }
        }
    }

    /// What the state says of the cluster; none before its first command is applied here.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(super) fn roster(&self) -> Result<Option<Roster>, StateError> {
        let Some(readers) = self.replica.committed() else {
            return Ok(None);
        };
        let roster = readers.with(Reader::roster)?;
        Ok(Some(roster).filter(|roster| roster.cluster.is_some()))
    }

    /// As of which log index the members are as they are: who knows them as of an earlier one should be told.
    #[must_use]
    pub(crate) fn members_changed_at(&self) -> u64 {
        self.changed_at.load(Ordering::Relaxed)
    }

    /// The member view as the state has it now; the last known one when it cannot be read, or says nothing yet.
    #[must_use]
    pub fn newest_view(&self) -> Arc<MemberView> {
        let _ = self.learn_members();
        self.view().get()
    }

    /// The same as [`Self::read_members`] for whoever asks again.
    pub(super) fn learn_members(&self) -> Option<WallTime> {
        self.read_members().unwrap_or_default()
    }

    /// Takes members, tombstones and trusted authorities over from the state, for all who judge or dial by them. What is
    /// new is kept on disk, for the next start. Answers the highest wall time that any command carried, if the state tells.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(super) fn read_members(&self) -> Result<Option<WallTime>, StateError> {
        let roster = self
            .roster()
            .inspect_err(|error| tracing::warn!(%error, "the member table cannot be read"))?;
        let Some(roster) = roster else {
            return Ok(None);
        };
        let clock = roster.clock;
        let known = self.view().get();
        if let Some(view) = view_of(roster, &known, self.replica.leader()) {
            self.take_view(view);
        }
        Ok(Some(clock))
    }

    /// Tells whom this node has nothing to do with any more, but for those of a view that it told of before.
    pub(super) fn tell_shunned(&self, told: Option<&MemberView>) {
        for removed in self.view().get().tombstones.keys() {
            if !told.is_some_and(|told| told.tombstones.contains_key(removed)) {
                R::observe(|| Event::Shunned { node: removed.0 });
            }
        }
    }

    /// Judges and dials by `view` from now on, if it is newer than what is known.
    pub(super) fn take_view(&self, view: MemberView) {
        let known = self.view().get();
        let changed = !same_members(&view, &known);
        let index = view.index.0;
        if self.view().offer(view) && changed {
            self.tell_shunned(Some(&known));
            self.changed_at.store(index, Ordering::Relaxed);
            self.replica.peers().forget_removed();
            if let Err(error) = self.files.keep_view(&self.view().get()) {
                tracing::warn!(%error, "the member view cannot be kept");
            }
        }
    }
}

fn status_reply(status: &Status) -> StatusReply {
    StatusReply {
        json: serde_json::to_string_pretty(status).expect("keys are strings"),
        text: status.to_string(),
        availability: match status.availability {
            Availability::HighlyAvailable => AvailabilityCode::HighlyAvailable,
            Availability::Available => AvailabilityCode::Available,
            Availability::ReadOnly => AvailabilityCode::ReadOnly,
            Availability::Unavailable => AvailabilityCode::Unavailable,
        }
        .into(),
    }
}

/// The view that a roster is, for a node that knew `known`; none before the cluster's first command.
pub(super) fn view_of(
    roster: Roster,
    known: &MemberView,
    leader: Option<NodeId>,
) -> Option<MemberView> {
    let cluster = roster.cluster?;
    let trusted: Vec<_> = roster
        .trusted
        .iter()
        .map(|der| CertificateDer::from(der.to_vec()))
        .collect();
    let members = roster.members.into_iter();
    let tombstones = roster.tombstones.into_iter();
    Some(MemberView {
        epoch: crate::ids::Epoch(cluster.epoch),
        index: roster.applied,
        leader,
        members: members.map(|row| (NodeId(row.id), row)).collect(),
        tombstones: tombstones
            .map(|row| (NodeId(row.id), row))
            .collect::<BTreeMap<_, _>>(),
        // A view that trusts nobody could not even be left again.
        trusted: if trusted.is_empty() {
            known.trusted.clone()
        } else {
            trusted
        },
        cluster: known.cluster,
    })
}

fn same_members(one: &MemberView, other: &MemberView) -> bool {
    one.epoch == other.epoch
        && one.members == other.members
        && one.tombstones == other.tombstones
        && one.trusted == other.trusted
}
