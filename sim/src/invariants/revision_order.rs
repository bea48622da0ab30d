//! The revision follows from the log alone: the same on every node at the same index, and never lower at a higher one.

use std::collections::BTreeMap;

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation, forget_oldest};

/// One revision an index, in order.
#[derive(Debug, Default)]
pub(super) struct RevisionOrder {
    revisions: BTreeMap<u64, i64>,
}

impl Invariant for RevisionOrder {
    fn name(&self) -> &'static str {
        "revision order"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let &Event::Applied {
            last: (_, index),
            revision: found,
        } = seen.event
        else {
            return Ok(());
        };
        let told = *self.revisions.entry(index).or_insert(found);
        forget_oldest(&mut self.revisions);
        let below = self
            .revisions
            .range(..index)
            .next_back()
            .map_or(found, |(_, revision)| *revision);
        let above = self
            .revisions
            .range(index + 1..)
            .next()
            .map_or(found, |(_, revision)| *revision);
        let expected = if told == found {
            found.clamp(below.min(above), above.max(below))
        } else {
            told
        };
        if expected == found && below <= above {
            return Ok(());
        }
        Err(Violation::Revision {
            host: seen.host,
            index,
            expected,
            found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;
    use crate::host::HostId;

    fn applied(host: u16, index: u64, revision: i64) -> (u16, Event) {
        (
            host,
            Event::Applied {
                last: (1, index),
                revision,
            },
        )
    }

    #[test]
    fn revision_that_differs_or_falls_is_seen() {
        let good = [
            applied(1, 5, 3),
            applied(2, 4, 2),
            applied(2, 5, 3),
            applied(1, 9, 3),
            applied(2, 7, 3),
        ];
        assert_eq!(tell(RevisionOrder::default(), 3, &good), Ok(()));
        let differs = Violation::Revision {
            host: HostId::new(2),
            index: 5,
            expected: 3,
            found: 4,
        };
        assert_eq!(
            tell(
                RevisionOrder::default(),
                3,
                &[applied(1, 5, 3), applied(2, 5, 4)]
            ),
            Err(differs)
        );
        assert!(
            tell(
                RevisionOrder::default(),
                3,
                &[applied(1, 5, 3), applied(1, 6, 2)]
            )
            .is_err()
        );
        assert!(
            tell(
                RevisionOrder::default(),
                3,
                &[applied(1, 5, 3), applied(2, 4, 9)]
            )
            .is_err()
        );
    }
}
