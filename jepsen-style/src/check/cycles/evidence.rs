//! What was found, as data: enough to say it in words, and to draw it.

use std::collections::BTreeMap;

use super::anomaly::{Anomaly, IsolationLevel};
use super::transactions::{KeyId, TransactionId, ValueId};
use crate::check::Verdict;

/// Why one transaction comes before another, with what was read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The second wrote `after` over `before`, which the first wrote.
    Overwrote {
        /// Where.
        key: KeyId,
        /// What the first wrote.
        before: ValueId,
        /// What the second wrote.
        after: ValueId,
        /// How it is known.
        known: KnownFrom,
    },
    /// The second read what the first wrote.
    Read {
        /// Where.
        key: KeyId,
        /// What.
        value: ValueId,
    },
    /// The first did not see what the second wrote.
    Missed {
        /// Where.
        key: KeyId,
        /// The newest value that the first saw; none if it saw the initial state.
        seen: Option<ValueId>,
        /// What the second wrote.
        missed: ValueId,
        /// How it is known that `missed` is newer than `seen`.
        known: KnownFrom,
    },
    /// One process ran both.
    SameProcess {
        /// Which.
        process: u32,
    },
    /// The first had completed before the second was invoked.
    CompletedBefore {
        /// When the first had completed.
        completed: u64,
        /// When the second was invoked.
        invoked: u64,
    },
}

/// How the order of two versions of a key is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownFrom {
    /// A read shows both in this order.
    Observation,
    /// No read shows the later one, so it comes after all that reads show.
    NeverSeen,
    /// The writer of the later one had read the earlier one.
    ReadBeforeWrite,
    /// The earlier one was there before the later one was last begun to be written or read.
    RealTime,
}

/// One transaction of a cycle, and why it comes before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The transaction.
    pub transaction: TransactionId,
    /// Why it comes before the transaction of the next step (the last one: before the first).
    pub reason: Reason,
}

/// One occurrence of an anomaly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// `reader` read `value`, which nobody wrote.
    Garbage {
        /// Who read.
        reader: TransactionId,
        /// Where.
        key: KeyId,
        /// What.
        value: ValueId,
    },
    /// `reader` read a list in which `value` stands twice.
    Duplicate {
        /// Who read.
        reader: TransactionId,
        /// Where.
        key: KeyId,
        /// What.
        value: ValueId,
    },
    /// The lists that `first` and `second` read differ at `position`.
    Incompatible {
        /// Who read one list.
        first: TransactionId,
        /// Who read the other.
        second: TransactionId,
        /// Where.
        key: KeyId,
        /// The first position at which the lists differ.
        position: usize,
    },
    /// `reader` read a list that shows `value` without what `writer` had appended before it.
    Reordered {
        /// Who read.
        reader: TransactionId,
        /// Who appended.
        writer: TransactionId,
        /// Where.
        key: KeyId,
        /// What.
        value: ValueId,
    },
    /// `reader` read what `writer`, which failed or went on to change it, had written.
    Premature {
        /// Who read.
        reader: TransactionId,
        /// Who wrote.
        writer: TransactionId,
        /// Where.
        key: KeyId,
        /// What.
        value: ValueId,
    },
    /// The transaction contradicts itself at `key`.
    Contradiction {
        /// Which transaction.
        transaction: TransactionId,
        /// Where.
        key: KeyId,
    },
    /// `first` and `second` both read `seen` and wrote over it.
    Lost {
        /// One of the two.
        first: TransactionId,
        /// The other.
        second: TransactionId,
        /// Where.
        key: KeyId,
        /// The version that both read; none for the initial state.
        seen: Option<ValueId>,
    },
    /// Each transaction comes before the next, and the last before the first.
    Cycle(Vec<Step>),
}

/// The occurrences of one anomaly.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// How many there are (of cycles: how many tangles of transactions hold one).
    pub count: u64,
    /// The first few; of cycles the shortest.
    pub examples: Vec<Evidence>,
}

/// How many occurrences of one anomaly are kept.
const EXAMPLES: usize = 4;

/// Everything that was found in a history.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    anomalies: BTreeMap<Anomaly, Found>,
    /// Whether a G-single may stand beside each G-nonadjacent that was found.
    pub(super) undecided: bool,
}

impl Findings {
    /// What was found, the worst first within each group.
    #[must_use]
    pub const fn anomalies(&self) -> &BTreeMap<Anomaly, Found> {
        &self.anomalies
    }

    /// Whether the history can have come from a store of that level, as far as was asked.
    #[must_use]
    pub fn verdict(&self, level: IsolationLevel) -> Verdict {
        if self.anomalies.keys().any(|anomaly| level.forbids(*anomaly)) {
            return Verdict::Fail;
        }
        if self.undecided && level == IsolationLevel::ConsistentView {
            return Verdict::Unknown;
        }
        Verdict::Pass
    }

    pub(super) fn add(&mut self, anomaly: Anomaly, evidence: Evidence) {
        let found = self.anomalies.entry(anomaly).or_default();
        found.count += 1;
        found.examples.push(evidence);
        if found.examples.len() > EXAMPLES {
            // Stable: of equals the first found stay. Only cycles differ in size.
            found.examples.sort_by_key(Evidence::size);
            found.examples.truncate(EXAMPLES);
        }
    }
}

impl Evidence {
    fn size(&self) -> usize {
        match self {
            Self::Cycle(steps) => steps.len(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::anomaly::{CycleKind, Layer};
    use super::*;

    #[test]
    fn what_was_not_searched_to_its_end_is_unknown_where_it_matters() {
        let mut findings = Findings::default();
        let anomaly = Anomaly::Cycle(CycleKind::GNonadjacent, Layer::Value);
        findings.add(anomaly, Evidence::Cycle(Vec::new()));
        let verdicts = |findings: &Findings| {
            let levels = [
                IsolationLevel::ReadCommitted,
                IsolationLevel::ConsistentView,
                IsolationLevel::SnapshotIsolation,
            ];
            levels.map(|level| findings.verdict(level))
        };
        assert_eq!(
            verdicts(&findings),
            [Verdict::Pass, Verdict::Pass, Verdict::Fail]
        );
        findings.undecided = true;
        assert_eq!(
            verdicts(&findings),
            [Verdict::Pass, Verdict::Unknown, Verdict::Fail]
        );
    }
}
