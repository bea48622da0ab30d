//! A node applies nothing that its own log could still lose: a quorum may hold an entry durably before this node does.

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation};

/// Applied stays behind durable.
#[derive(Debug, Default)]
pub(super) struct AppliedDurable;

impl Invariant for AppliedDurable {
    fn name(&self) -> &'static str {
        "applied behind durable"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let &Event::Applied { last: applied, .. } = seen.event else {
            return Ok(());
        };
        let standing = seen.ledger.standing(seen.host);
        if standing.given_up || standing.last.1 >= applied.1 || seen.ledger.is_excused(seen.host) {
            return Ok(());
        }
        Err(Violation::AppliedTooEarly {
            host: seen.host,
            applied,
            durable: standing.last,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{flushed, tell};
    use super::*;
    use crate::host::HostId;

    #[test]
    fn entry_that_is_applied_before_its_own_disk_has_it_is_seen() {
        let applied = |index| {
            let last = (1, index);
            (1, Event::Applied { last, revision: 3 })
        };
        let durable = |host, index| (host, flushed((1, index)));
        let good = [
            durable(1, 7),
            applied(6),
            applied(7),
            durable(1, 9),
            applied(9),
        ];
        assert_eq!(tell(AppliedDurable, 3, &good), Ok(()));
        let early = [durable(1, 7), durable(2, 8), durable(3, 8), applied(8)];
        let broken = Violation::AppliedTooEarly {
            host: HostId::new(1),
            applied: (1, 8),
            durable: (1, 7),
        };
        assert_eq!(tell(AppliedDurable, 3, &early), Err(broken));
    }
}
