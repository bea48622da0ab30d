//! A node gives its vote once a term, and never goes back to an earlier one.

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation};

/// Votes only go forward.
#[derive(Debug, Default)]
pub(super) struct MonotonicVote;

impl Invariant for MonotonicVote {
    fn name(&self) -> &'static str {
        "monotonic vote"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let &Event::VoteSaved {
            term,
            node,
            committed,
        } = seen.event
        else {
            return Ok(());
        };
        let after = (term, node, committed);
        match seen.ledger.standing(seen.host).vote {
            Some(before) if !may_follow(before, after) => Err(Violation::VoteWentBack {
                host: seen.host,
                before,
                after,
            }),
            _ => Ok(()),
        }
    }
}

/// Another node may be named in a term only once a quorum has chosen it: a follower that voted for the loser learns so.
fn may_follow(before: (u64, u64, bool), after: (u64, u64, bool)) -> bool {
    let (term, node, committed) = after;
    (term, committed) > (before.0, before.2) || (term, node, committed) == before
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;
    use crate::host::HostId;

    fn saved(term: u64, node: u64, committed: bool) -> Event {
        Event::VoteSaved {
            term,
            node,
            committed,
        }
    }

    #[test]
    fn second_vote_of_a_term_and_an_earlier_term_are_seen() {
        let good = [
            (1, saved(1, 1, false)),
            (1, saved(1, 2, true)),
            (1, saved(2, 3, false)),
            (1, saved(2, 3, true)),
        ];
        assert_eq!(tell(MonotonicVote, 3, &good), Ok(()));
        let host = HostId::new(1);
        let twice = [(1, saved(4, 1, false)), (1, saved(4, 2, false))];
        let broken = Violation::VoteWentBack {
            host,
            before: (4, 1, false),
            after: (4, 2, false),
        };
        assert_eq!(tell(MonotonicVote, 3, &twice), Err(broken));
        let back = [
            (1, saved(4, 1, true)),
            (2, saved(3, 1, false)),
            (1, saved(3, 1, true)),
        ];
        assert!(tell(MonotonicVote, 3, &back).is_err());
    }
}
