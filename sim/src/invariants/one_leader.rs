//! In one term at most one node leads. A vote that a quorum has granted names the leader, on whichever node it is saved.

use std::collections::BTreeMap;

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation};

/// At most one leader a term.
#[derive(Debug, Default)]
pub(super) struct OneLeader {
    leaders: BTreeMap<u64, u64>,
}

impl Invariant for OneLeader {
    fn name(&self) -> &'static str {
        "one leader"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let &Event::VoteSaved {
            term,
            node,
            committed: true,
        } = seen.event
        else {
            return Ok(());
        };
        let first = *self.leaders.entry(term).or_insert(node);
        if first == node {
            Ok(())
        } else {
            Err(Violation::TwoLeaders {
                term,
                first,
                second: node,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;

    fn led(term: u64, node: u64) -> Event {
        Event::VoteSaved {
            term,
            node,
            committed: true,
        }
    }

    #[test]
    fn second_leader_of_a_term_is_seen_wherever_it_is_told() {
        let peaceful = [(1, led(1, 10)), (2, led(1, 10)), (2, led(2, 20))];
        assert_eq!(tell(OneLeader::default(), 3, &peaceful), Ok(()));
        let split = [(1, led(3, 10)), (2, led(4, 20)), (3, led(3, 30))];
        let broken = Violation::TwoLeaders {
            term: 3,
            first: 10,
            second: 30,
        };
        assert_eq!(tell(OneLeader::default(), 3, &split), Err(broken));
    }
}
