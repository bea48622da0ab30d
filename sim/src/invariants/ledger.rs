//! What every node has promised and done so far, in one place for all invariants.

use std::collections::{BTreeMap, BTreeSet};

use quorate::runtime::Event;

use super::EntryId;
use crate::host::HostId;

/// Where one node stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The durable vote: term, node, whether a quorum granted it.
    pub vote: Option<(u64, u64, bool)>,
    /// The end of the durable log.
    pub last: EntryId,
    /// What this life has applied.
    pub applied: EntryId,
    /// Which member it is, once it has told.
    pub node: Option<u64>,
    /// Of the durable log, the first index of each run of entries of one term, as far as that was told.
    terms: BTreeMap<u64, u64>,
    /// It keeps no log any more: what its writer still had in hand when it gave it up promises nothing.
    pub given_up: bool,
}

impl Standing {
    /// The term of the durable entry at an index; 0 where it was not told.
    #[must_use]
    pub fn term_at(&self, index: u64) -> u64 {
        let run = self.terms.range(..=index).next_back();
        run.map_or(0, |(_, term)| *term)
    }

    /// An entry is durable, whatever was behind it before.
    fn ends_with(&mut self, (term, index): EntryId) {
        let _behind = self.terms.split_off(&(index + 1));
        if self.term_at(index) != term {
            self.terms.insert(index, term);
        }
        self.last = (term, index);
    }

    fn flushed(&mut self, last: EntryId, after: u64, entries: &[(u64, u32)]) {
        let first = (last.1 + 1).saturating_sub(entries.len() as u64);
        if !entries.is_empty() && after > 0 {
            self.ends_with((after, first - 1));
        }
        for (index, (term, _)) in (first..).zip(entries) {
            self.ends_with((*term, index));
        }
        self.ends_with(last);
    }

    fn truncated(&mut self, from: u64) {
        let left = from.saturating_sub(1);
        let _gone = self.terms.split_off(&from);
        // Where the term of what is left was never told, the lowest is the most that may be held against the node.
        self.last = (self.term_at(left), left);
    }

    fn purged(&mut self, to: EntryId) {
        if self.last < to {
            self.ends_with(to);
        }
        self.terms = self.terms.split_off(&(to.1 + 1));
        self.terms.insert(to.1, to.0);
    }
}

/// Who votes and who stands by, from one entry on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The entry that brought it.
    pub at: EntryId,
    /// One set of voters, or two while it is joint.
    pub voters: Vec<BTreeSet<u64>>,
    /// Who receives the log besides.
    pub standbys: BTreeSet<u64>,
}

impl Configuration {
    /// As a node told it.
    pub(super) fn told(at: EntryId, voters: &[Vec<u64>], standbys: &[u64]) -> Self {
        let voters = voters.iter().map(|set| set.iter().copied().collect());
        Self {
            at,
            voters: voters.collect(),
            standbys: standbys.iter().copied().collect(),
        }
    }

    /// Whether two sets of voters decide together.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.voters.len() > 1
    }

    /// Whether this node votes, in whichever set.
    #[must_use]
    pub fn votes(&self, node: u64) -> bool {
        self.voters.iter().any(|set| set.contains(&node))
    }
}

/// Where all nodes stand.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    standings: BTreeMap<HostId, Standing>,
    highest_applied: EntryId,
    configurations: BTreeMap<u64, Configuration>,
    removed: BTreeSet<u64>,
    shunned: BTreeSet<(HostId, u64)>,
    /// Machines whose disks keep no promise.
    excused: BTreeSet<HostId>,
    /// What members held until their disks were damaged.
    destroyed: BTreeMap<u64, EntryId>,
}

impl Ledger {
    /// Where a node stands.
    #[must_use]
    pub fn standing(&self, host: HostId) -> Standing {
        self.standings.get(&host).cloned().unwrap_or_default()
    }

    /// The highest entry that anyone has applied, and which therefore is committed.
    #[must_use]
    pub fn highest_applied(&self) -> EntryId {
        self.highest_applied
    }

    /// How many of these members hold an entry durably, or did until the copy was destroyed: that is damage which a cluster
    /// is to survive, and cannot foresee.
    #[must_use]
    pub fn holders(&self, entry: EntryId, members: &BTreeSet<u64>) -> usize {
        // A log whose end is of the same term or a later one and no shorter has the entry, or it was not committed.
        let reaches = |last: EntryId| last >= entry && last.1 >= entry.1;
        let standing = |member: u64| {
            let mut standings = self.standings.values();
            standings.any(|standing| standing.node == Some(member) && reaches(standing.last))
        };
        let destroyed = |member| self.destroyed.get(member).copied().is_some_and(reaches);
        members
            .iter()
            .filter(|member| standing(**member) || destroyed(member))
            .count()
    }

    /// The configuration as of an index, as far as committed ones are known.
    #[must_use]
    pub fn configuration(&self, index: u64) -> Option<&Configuration> {
        let (_, configuration) = self.configurations.range(..=index).next_back()?;
        Some(configuration)
    }

    /// Who was ever removed.
    #[must_use]
    pub fn removed(&self) -> &BTreeSet<u64> {
        &self.removed
    }

    /// Whether a node has said that it has nothing to do with this member any more.
    #[must_use]
    pub fn shuns(&self, host: HostId, node: u64) -> bool {
        self.shunned.contains(&(host, node))
    }

    /// A ledger over machines on each of which a voter of the same number lives.
    #[cfg(test)]
    pub(super) fn of_voters(voters: u16) -> Self {
        let mut ledger = Self::default();
        for number in 1..=voters {
            let standing = ledger.standings.entry(HostId::new(number)).or_default();
            standing.node = Some(number.into());
        }
        let configuration = Configuration {
            at: (0, 0),
            voters: vec![(1..=voters.into()).collect()],
            standbys: BTreeSet::new(),
        };
        ledger.configurations.insert(0, configuration);
        ledger
    }

    /// The disk of a machine was replaced: it owes nothing any more. Which member it was stays known until another log is opened
    /// there, because somebody has to remove that one.
    pub(super) fn forget(&mut self, host: HostId) {
        let standing = self.standing(host);
        self.destroy(&standing);
        let nothing = Standing {
            node: standing.node,
            ..Standing::default()
        };
        self.standings.insert(host, nothing);
        self.excused.remove(&host);
    }

    /// What a member held is gone.
    fn destroy(&mut self, held: &Standing) {
        if let Some(node) = held.node {
            let destroyed = self.destroyed.entry(node).or_default();
            *destroyed = held.last.max(*destroyed);
        }
    }

    /// The disk of a machine may hold anything from here on.
    pub(super) fn excuse(&mut self, host: HostId) {
        self.excused.insert(host);
    }

    /// Whether the disk of a machine need not hold what it promised.
    #[must_use]
    pub fn is_excused(&self, host: HostId) -> bool {
        self.excused.contains(&host)
    }

    /// A process starts on a machine: what the one before had in memory is gone.
    pub(super) fn begin(&mut self, host: HostId) {
        self.shunned.retain(|(shunning, _)| *shunning != host);
    }

    /// Notes what a node did.
    pub(super) fn note(&mut self, host: HostId, event: &Event) {
        if matches!(event, Event::LogOpened { .. }) && self.is_excused(host) {
            self.destroy(&self.standing(host));
        }
        let standing = self.standings.entry(host).or_default();
        match event {
            Event::LogOpened { node, vote, last } => {
                standing.node = Some(*node);
                standing.given_up = false;
                standing.vote = *vote;
                standing.ends_with(last.unwrap_or_default());
                // A new life may apply again what its state had not yet made durable.
                standing.applied = (0, 0);
            }
            Event::LogGivenUp => {
                *standing = Standing {
                    node: standing.node,
                    given_up: true,
                    ..Standing::default()
                };
            }
            Event::VoteSaved {
                term,
                node,
                committed,
            } if !standing.given_up => standing.vote = Some((*term, *node, *committed)),
            Event::LogFlushed {
                last,
                after,
                entries,
            } if !standing.given_up => standing.flushed(*last, *after, entries),
            Event::LogTruncated { from } if standing.last.1 >= *from => standing.truncated(*from),
            Event::LogPurged { to } if !standing.given_up => standing.purged(*to),
            Event::Applied { last, .. } | Event::Installed { last } => {
                standing.applied = *last;
                self.highest_applied = self.highest_applied.max(*last);
            }
            Event::Configured {
                at,
                voters,
                standbys,
            } => {
                let configuration = Configuration::told(*at, voters, standbys);
                self.configurations.entry(at.1).or_insert(configuration);
            }
            Event::Members { removed, .. } => self.removed.extend(removed),
            Event::Shunned { node } => {
                self.shunned.insert((host, *node));
            }
            _ => {}
        }
    }
}
