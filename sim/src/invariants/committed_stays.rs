//! What one node has applied at an index, every node applies there: nothing committed is ever replaced.
//!
//! Nodes tell the last entry of what they apply at once, so that not every index is told by every node; over a run enough
//! of them coincide, and the digests of the states are compared besides.

use std::collections::BTreeMap;

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation, forget_oldest};

/// One entry an index.
#[derive(Debug, Default)]
pub(super) struct CommittedStays {
    terms: BTreeMap<u64, u64>,
}

impl Invariant for CommittedStays {
    fn name(&self) -> &'static str {
        "committed stays"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let (Event::Applied { last, .. } | Event::Installed { last }) = seen.event else {
            return Ok(());
        };
        let (term, index) = *last;
        let told = *self.terms.entry(index).or_insert(term);
        forget_oldest(&mut self.terms);
        if told == term && !self.falls(index, term) {
            return Ok(());
        }
        let first = self.expected(index, term);
        Err(Violation::CommittedChanged {
            index,
            host: seen.host,
            first,
            second: term,
        })
    }
}

impl CommittedStays {
    /// Terms never fall along the log, so that neighbours tell even where the index itself was not told.
    fn falls(&self, index: u64, term: u64) -> bool {
        let higher_below = self
            .terms
            .range(..index)
            .next_back()
            .is_some_and(|(_, below)| *below > term);
        let lower_above = self
            .terms
            .range(index + 1..)
            .next()
            .is_some_and(|(_, above)| *above < term);
        higher_below || lower_above
    }

    /// The term that the index, or its nearest neighbour, was told to have.
    fn expected(&self, index: u64, term: u64) -> u64 {
        let told = self.terms.get(&index).copied().filter(|told| *told != term);
        let neighbour = || {
            self.terms
                .range(index + 1..)
                .next()
                .or_else(|| self.terms.range(..index).next_back())
        };
        told.or_else(|| neighbour().map(|(_, term)| *term))
            .unwrap_or(term)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;
    use crate::host::HostId;

    fn applied(term: u64, index: u64) -> Event {
        Event::Applied {
            last: (term, index),
            revision: 0,
        }
    }

    #[test]
    fn another_entry_at_an_index_is_seen() {
        let good = [
            (1, applied(1, 5)),
            (2, applied(1, 5)),
            (1, applied(3, 9)),
            (2, applied(2, 7)),
            (2, applied(3, 9)),
        ];
        assert_eq!(tell(CommittedStays::default(), 3, &good), Ok(()));
        let replaced = [(1, applied(1, 5)), (2, applied(2, 5))];
        let broken = Violation::CommittedChanged {
            index: 5,
            host: HostId::new(2),
            first: 1,
            second: 2,
        };
        assert_eq!(tell(CommittedStays::default(), 3, &replaced), Err(broken));
    }

    #[test]
    fn term_that_falls_along_the_log_is_seen_without_a_common_index() {
        assert!(
            tell(
                CommittedStays::default(),
                3,
                &[(1, applied(3, 9)), (2, applied(2, 11))]
            )
            .is_err()
        );
        assert!(
            tell(
                CommittedStays::default(),
                3,
                &[(1, applied(2, 9)), (2, applied(3, 7))]
            )
            .is_err()
        );
    }
}
