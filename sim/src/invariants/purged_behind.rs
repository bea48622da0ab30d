//! Nothing leaves the log before the state holds what it did.

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation};

/// Purged stays behind applied.
#[derive(Debug, Default)]
pub(super) struct PurgedBehind;

impl Invariant for PurgedBehind {
    fn name(&self) -> &'static str {
        "purged behind applied"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let &Event::LogPurged { to: purged } = seen.event else {
            return Ok(());
        };
        let applied = seen.ledger.standing(seen.host).applied;
        // A life that has not applied anything yet may finish a purge that its state allowed before.
        if applied == (0, 0) || purged.1 <= applied.1 {
            return Ok(());
        }
        Err(Violation::PurgedTooFar {
            host: seen.host,
            purged,
            applied,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;
    use crate::host::HostId;

    #[test]
    fn purge_beyond_what_is_applied_is_seen() {
        let applied = (
            1,
            Event::Applied {
                last: (1, 20),
                revision: 3,
            },
        );
        let purged = |index| (1, Event::LogPurged { to: (1, index) });
        assert_eq!(
            tell(PurgedBehind, 3, &[applied.clone(), purged(20)]),
            Ok(())
        );
        let broken = Violation::PurgedTooFar {
            host: HostId::new(1),
            purged: (1, 21),
            applied: (1, 20),
        };
        assert_eq!(tell(PurgedBehind, 3, &[applied, purged(21)]), Err(broken));
    }
}
