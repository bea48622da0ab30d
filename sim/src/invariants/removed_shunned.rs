//! Once a node knows that a member was removed, no call of that member goes in there any more.

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation};

/// Removed members are not served.
#[derive(Debug, Default)]
pub(super) struct RemovedShunned;

impl Invariant for RemovedShunned {
    fn name(&self) -> &'static str {
        "removed not served"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        match *seen.event {
            Event::LetIn { node } if seen.ledger.shuns(seen.host, node) => {
                Err(Violation::RemovedServed {
                    host: seen.host,
                    node,
                })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;
    use crate::host::HostId;

    #[test]
    fn call_of_a_removed_member_is_seen_where_the_removal_was_known() {
        let let_in = |host, node| (host, Event::LetIn { node });
        let shunned = (1, Event::Shunned { node: 9 });
        let good = [let_in(1, 9), shunned.clone(), let_in(1, 8), let_in(2, 9)];
        assert_eq!(tell(RemovedShunned, 3, &good), Ok(()));
        let broken = Violation::RemovedServed {
            host: HostId::new(1),
            node: 9,
        };
        assert_eq!(
            tell(RemovedShunned, 3, &[shunned, let_in(1, 9)]),
            Err(broken)
        );
    }
}
