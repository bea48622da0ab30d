//! What must hold at every moment of a run, checked as it happens.
//!
//! Nodes tell the world what they did ([`Event`]): what became durable, what was applied, who leads. A [`Witness`] puts
//! each event before all invariants; whatever is broken is kept with its time, and the run goes on, so that its judge hears
//! what followed from it as well. Invariants need no cluster: each is tested with a story made by hand in which it is broken.
//!
//! | property | where it is from | file |
//! |---|---|---|
//! | one leader a term | Raft, figure 3, Election Safety | `one_leader.rs` |
//! | a vote is given once | Raft, section 5.2 | `monotonic_vote.rs` |
//! | a promise is kept over a crash | Raft, section 5.1: persistent state | `kept_promise.rs` |
//! | what is committed stays and is the same everywhere | Raft, figure 3, State Machine Safety | `committed_stays.rs` |
//! | what is committed is on a quorum | Raft, section 5.3 | `committed_on_quorum.rs` |
//! | a leader has all that is committed | Raft, figure 3, Leader Completeness | `leader_complete.rs` |
//! | a node applies what its own disk has | ours: T41 | `applied_durable.rs` |
//! | a life applies forward only | Raft, section 5.3 | `applied_forward.rs` |
//! | revisions follow from the log and never go back | etcd's revision | `revision_order.rs` |
//! | the log is purged behind the state | ours: T38, T39 | `purged_behind.rs` |
//! | logs match | Raft, figure 3, Log Matching | `log_matching.rs` |
//! | states are equal after the same entries | the state machine is a function of the log | `states_equal.rs` |
//! | configurations follow each other safely | Raft, section 6 | `safe_configuration.rs` |
//! | no joint configuration is left standing | Raft, section 6 | `joint_finished.rs` |
//! | the member table and Raft name the same voters | ours: T2 | `roles_match.rs` |
//! | a token admits as many as it was made for | ours: T4 | `token_once.rs` |
//! | who was removed is not served | ours: T3 | `removed_shunned.rs` |
//! | a lease lives its whole time | etcd's leases | `lease_lives.rs` |
//!
//! That who was cut off while members changed finds its way back (T3) can only be asked of all nodes together: `liveness.rs` has it,
//! with the rest of what a cluster must come to after the heal.
//!
//! `ledger.rs` holds what every node has promised so far, `violation.rs` a variant for each property.

mod applied_durable;
mod applied_forward;
mod committed_on_quorum;
mod committed_stays;
mod joint_finished;
mod kept_promise;
mod leader_complete;
mod lease_lives;
mod ledger;
mod log_matching;
mod monotonic_vote;
mod one_leader;
mod purged_behind;
mod removed_shunned;
mod revision_order;
mod roles_match;
mod safe_configuration;
mod states_equal;
mod token_once;
mod violation;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::runtime::Event;

pub use self::ledger::{Configuration, Ledger, Standing};
pub use self::violation::{EntryId, Violation};

use crate::host::HostId;
use crate::sync::guard;

/// Something that a node did, and what was known before.
#[derive(Debug)]
pub struct Seen<'a> {
    /// How long the world had run.
    pub time: Duration,
    /// Which node.
    pub host: HostId,
    /// What it did.
    pub event: &'a Event,
    /// What all nodes had told before.
    pub ledger: &'a Ledger,
}

/// A property with the memory that it takes to check it.
pub trait Invariant: Send {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Looks at one more event.
    ///
    /// # Errors
    /// With what is broken.
    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation>;

    /// Looks at where all nodes stand, when the cluster has come together after the heal.
    ///
    /// # Errors
    /// With what is broken.
    fn healed(&mut self, ledger: &Ledger) -> Result<(), Violation> {
        let _ = ledger;
        Ok(())
    }
}

/// How many indexes an invariant remembers that compares nodes: more than any of them is behind by.
const REMEMBERED: usize = 20_000;

/// Forgets the lowest indexes, so that a long run does not fill the memory.
fn forget_oldest<T>(by_index: &mut BTreeMap<u64, T>) {
    while by_index.len() > REMEMBERED {
        by_index.pop_first();
    }
}

/// Every invariant, new.
#[must_use]
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<one_leader::OneLeader>::default(),
        Box::<monotonic_vote::MonotonicVote>::default(),
        Box::<kept_promise::KeptPromise>::default(),
        Box::<committed_stays::CommittedStays>::default(),
        Box::<committed_on_quorum::CommittedOnQuorum>::default(),
        Box::<leader_complete::LeaderComplete>::default(),
        Box::<applied_durable::AppliedDurable>::default(),
        Box::<applied_forward::AppliedForward>::default(),
        Box::<revision_order::RevisionOrder>::default(),
        Box::<purged_behind::PurgedBehind>::default(),
        Box::<log_matching::LogMatching>::default(),
        Box::<states_equal::StatesEqual>::default(),
        Box::<safe_configuration::SafeConfiguration>::default(),
        Box::<joint_finished::JointFinished>::default(),
        Box::<roles_match::RolesMatch>::default(),
        Box::<token_once::TokenOnce>::default(),
        Box::<removed_shunned::RemovedShunned>::default(),
        Box::<lease_lives::LeaseLives>::default(),
    ]
}

/// A violation, and when it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How long the world had run.
    pub time: Duration,
    /// Which node told what broke it.
    pub host: HostId,
    /// What is broken.
    pub violation: Violation,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "at {:.6} on {}: {}",
            self.time.as_secs_f64(),
            self.host,
            self.violation
        )
    }
}

/// Puts what nodes tell before the invariants. Clones are the same witness.
#[derive(Clone)]
pub struct Witness {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    ledger: Ledger,
    invariants: Vec<Box<dyn Invariant>>,
    findings: Vec<Finding>,
    told: BTreeMap<&'static str, u64>,
}

impl Witness {
    /// A witness with every invariant.
    #[must_use]
    pub fn new() -> Self {
        let inner = Inner {
            ledger: Ledger::default(),
            invariants: all(),
            findings: Vec::new(),
            told: BTreeMap::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// A process starts on a machine.
    pub fn begin(&self, host: HostId) {
        guard(&self.inner).ledger.begin(host);
    }

    /// The disk of a machine was replaced: it owes nothing any more.
    pub fn forget(&self, host: HostId) {
        guard(&self.inner).ledger.forget(host);
    }

    /// The disk of a machine may hold anything from here on, until it is replaced: what it promises, others have to keep.
    pub fn excuse(&self, host: HostId) {
        guard(&self.inner).ledger.excuse(host);
    }

    /// A node did something.
    pub fn see(&self, time: Duration, host: HostId, event: &Event) {
        let mut inner = guard(&self.inner);
        let Inner {
            ledger,
            invariants,
            findings,
            told,
        } = &mut *inner;
        *told.entry(kind(event)).or_default() += 1;
        let seen = Seen {
            time,
            host,
            event,
            ledger,
        };
        let broken = invariants
            .iter_mut()
            .filter_map(|invariant| invariant.check(&seen).err());
        findings.extend(broken.map(|violation| Finding {
            time,
            host,
            violation,
        }));
        ledger.note(host, event);
    }

    /// The cluster has come together after the heal; `host` stands for all.
    pub fn healed(&self, time: Duration, host: HostId) {
        let mut inner = guard(&self.inner);
        let Inner {
            ledger,
            invariants,
            findings,
            ..
        } = &mut *inner;
        let broken = invariants
            .iter_mut()
            .filter_map(|invariant| invariant.healed(ledger).err());
        findings.extend(broken.map(|violation| Finding {
            time,
            host,
            violation,
        }));
    }

    /// What was found, first things first.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        guard(&self.inner).findings.clone()
    }

    /// How often each kind of event was told, recovery paths by name.
    #[must_use]
    pub fn told(&self) -> BTreeMap<&'static str, u64> {
        guard(&self.inner).told.clone()
    }

    /// Which member's log was last opened on a machine, whatever has become of its disk since.
    #[must_use]
    pub fn member(&self, host: HostId) -> Option<u64> {
        guard(&self.inner).ledger.standing(host).node
    }

    /// The highest index that any node has applied.
    #[must_use]
    pub fn highest_applied(&self) -> u64 {
        guard(&self.inner).ledger.highest_applied().1
    }
}

impl Default for Witness {
    fn default() -> Self {
        Self::new()
    }
}

/// The name of an event in traces and counts.
pub(crate) fn kind(event: &Event) -> &'static str {
    match event {
        Event::LogOpened { .. } => "log-opened",
        Event::VoteSaved { .. } => "vote-saved",
        Event::LogFlushed { .. } => "log-flushed",
        Event::LogTruncated { .. } => "log-truncated",
        Event::LogPurged { .. } => "log-purged",
        Event::Applied { .. } => "applied",
        Event::Installed { .. } => "installed",
        Event::Led { .. } => "led",
        Event::LogGivenUp => "log-given-up",
        Event::Configured { .. } => "configured",
        Event::Members { .. } => "members",
        Event::TokenGiven { .. } => "token-given",
        Event::TokenUsed { .. } => "token-used",
        Event::LeaseGranted { .. } => "lease-granted",
        Event::LeaseRevoked { .. } => "lease-revoked",
        Event::Digested { .. } => "digested",
        Event::Shunned { .. } => "shunned",
        Event::LetIn { .. } => "let-in",
        Event::Recovered { path } => path,
    }
}

/// For tests: the log is durable up to an entry, whatever is in it.
#[cfg(test)]
pub(super) fn flushed(last: EntryId) -> Event {
    Event::LogFlushed {
        last,
        after: 0,
        entries: Vec::new(),
    }
}

/// For tests: tells a story to one invariant, an event a second, and answers its first complaint.
#[cfg(test)]
pub(super) fn tell(
    mut invariant: impl Invariant,
    voters: u16,
    story: &[(u16, Event)],
) -> Result<(), Violation> {
    let mut ledger = Ledger::of_voters(voters);
    for (second, (host, event)) in (0..).zip(story) {
        let host = HostId::new(*host);
        invariant.check(&Seen {
            time: Duration::from_secs(second),
            host,
            event,
            ledger: &ledger,
        })?;
        ledger.note(host, event);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn witness_keeps_what_is_broken_with_its_time_and_counts_what_it_is_told() {
        let witness = Witness::new();
        let host = HostId::new(1);
        let time = Duration::from_secs(3);
        witness.see(time, host, &flushed((1, 5)));
        witness.see(
            time,
            host,
            &Event::Applied {
                last: (1, 5),
                revision: 4,
            },
        );
        assert_eq!(witness.findings(), []);
        witness.see(
            time,
            host,
            &Event::Applied {
                last: (1, 4),
                revision: 4,
            },
        );
        let findings = witness.findings();
        assert_eq!(
            findings.len(),
            1,
            "one broken property, one finding: {findings:?}"
        );
        assert!(
            findings[0]
                .to_string()
                .starts_with("at 3.000000 on n1: applied in order"),
            "{}",
            findings[0]
        );
        assert_eq!(witness.told()["applied"], 2);
        assert_eq!(witness.highest_applied(), 5);
    }

    #[test]
    fn long_run_is_forgotten_from_its_beginning() {
        let mut by_index: BTreeMap<u64, ()> = (0..50_000).map(|index| (index, ())).collect();
        forget_oldest(&mut by_index);
        assert_eq!(by_index.len(), REMEMBERED);
        assert_eq!(by_index.first_key_value(), Some((&30_000, &())));
    }

    #[test]
    fn names_are_distinct() {
        let names: std::collections::BTreeSet<_> =
            all().iter().map(|invariant| invariant.name()).collect();
        assert_eq!(names.len(), all().len());
    }
}
