//! What is applied is on the disks of a majority: an answer that a client has got outlives any minority.

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation};

/// A quorum holds what is applied.
#[derive(Debug, Default)]
pub(super) struct CommittedOnQuorum;

impl Invariant for CommittedOnQuorum {
    fn name(&self) -> &'static str {
        "committed on a quorum"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let (Event::Applied { last: entry, .. }, Some(voters)) = (seen.event, seen.ledger.voters)
        else {
            return Ok(());
        };
        let (holders, needed) = (seen.ledger.holders(*entry), voters / 2 + 1);
        if holders >= needed {
            return Ok(());
        }
        Err(Violation::NotOnQuorum {
            host: seen.host,
            entry: *entry,
            holders,
            needed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;
    use crate::host::HostId;

    #[test]
    fn entry_applied_before_a_majority_has_synced_it_is_seen() {
        let flushed = |host, index| (host, Event::LogFlushed { last: (1, index) });
        let applied = (
            1,
            Event::Applied {
                last: (1, 8),
                revision: 3,
            },
        );
        let good = [flushed(1, 9), flushed(2, 8), applied.clone()];
        assert_eq!(tell(CommittedOnQuorum, 3, &good), Ok(()));
        let early = [flushed(1, 9), flushed(2, 7), flushed(3, 7), applied];
        let broken = Violation::NotOnQuorum {
            host: HostId::new(1),
            entry: (1, 8),
            holders: 1,
            needed: 2,
        };
        assert_eq!(tell(CommittedOnQuorum, 3, &early), Err(broken));
    }
}
