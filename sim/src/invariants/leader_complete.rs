//! A leader's log holds everything that was committed before: what it lacks would be overwritten everywhere.

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation};

/// Leaders lack nothing.
#[derive(Debug, Default)]
pub(super) struct LeaderComplete;

impl Invariant for LeaderComplete {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let &Event::Led { term } = seen.event else {
            return Ok(());
        };
        let (last, committed) = (
            seen.ledger.standing(seen.host).last,
            seen.ledger.highest_applied(),
        );
        // A leader that finds out late that it led may meet what its successor has committed.
        if committed.0 >= term {
            return Ok(());
        }
        // A later term does not make up for a log that is shorter than what is committed.
        if last >= committed && last.1 >= committed.1 {
            return Ok(());
        }
        Err(Violation::LeaderIncomplete {
            host: seen.host,
            term,
            last,
            committed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;
    use crate::host::HostId;

    #[test]
    fn leader_without_a_committed_entry_is_seen() {
        let applied = (
            1,
            Event::Applied {
                last: (2, 8),
                revision: 3,
            },
        );
        let flushed = |index| (3, super::super::flushed((2, index)));
        let led = |term| (3, Event::Led { term });
        assert_eq!(
            tell(LeaderComplete, 3, &[applied.clone(), flushed(8), led(3)]),
            Ok(())
        );
        assert_eq!(
            tell(LeaderComplete, 3, &[applied.clone(), flushed(7), led(2)]),
            Ok(()),
            "told late"
        );
        let broken = Violation::LeaderIncomplete {
            host: HostId::new(3),
            term: 3,
            last: (2, 7),
            committed: (2, 8),
        };
        assert_eq!(
            tell(LeaderComplete, 3, &[applied.clone(), flushed(7), led(3)]),
            Err(broken)
        );
        let short = (3, super::super::flushed((3, 7)));
        let broken = Violation::LeaderIncomplete {
            host: HostId::new(3),
            term: 4,
            last: (3, 7),
            committed: (2, 8),
        };
        assert_eq!(
            tell(LeaderComplete, 3, &[applied, short, led(4)]),
            Err(broken),
            "a later term and a shorter log"
        );
    }
}
