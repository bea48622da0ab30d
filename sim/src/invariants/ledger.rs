//! What every node has promised and done so far, in one place for all invariants.

use std::collections::BTreeMap;

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
}

/// Where all nodes stand.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    standings: BTreeMap<HostId, Standing>,
    highest_applied: EntryId,
    /// How many voters there are, once that is fixed.
    pub voters: Option<usize>,
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

    /// How many nodes hold an entry durably.
    #[must_use]
    pub fn holders(&self, entry: EntryId) -> usize {
        // A log whose end is of the same term or a later one and no shorter has the entry, or it was not committed.
        self.standings
            .values()
            .filter(|standing| standing.last >= entry && standing.last.1 >= entry.1)
            .count()
    }

    /// An empty ledger over so many voters.
    #[cfg(test)]
    pub(super) fn of_voters(voters: usize) -> Self {
        Self {
            voters: Some(voters),
            ..Self::default()
        }
    }

    pub(super) fn forget(&mut self, host: HostId) {
        self.standings.remove(&host);
    }

    /// Notes what a node did.
    pub(super) fn note(&mut self, host: HostId, event: &Event) {
        let standing = self.standings.entry(host).or_default();
        match event {
            Event::LogOpened { vote, last } => {
                standing.vote = *vote;
                standing.last = last.unwrap_or_default();
                // A new life may apply again what its state had not yet made durable.
                standing.applied = (0, 0);
            }
            Event::VoteSaved {
                term,
                node,
                committed,
            } => standing.vote = Some((*term, *node, *committed)),
            Event::LogFlushed { last } => standing.last = *last,
            Event::LogTruncated { from } if standing.last.1 >= *from => {
                // The term of what is left is not told; the lowest is the most that may be held against the node.
                standing.last = (0, from.saturating_sub(1));
            }
            Event::LogPurged { to } => standing.last = standing.last.max(*to),
            Event::Applied { last, .. } | Event::Installed { last } => {
                standing.applied = *last;
                self.highest_applied = self.highest_applied.max(*last);
            }
            Event::LogTruncated { .. } | Event::Led { .. } | Event::Recovered { .. } => {}
        }
    }
}
