//! What a node that starts asks of its peers before it may vote: "what did you last see of me?"
//!
//! A disk that was put back to an older state (a virtual machine rolled back, a stale image restored) forgets votes and
//! entries that others count on; Raft cannot see that, and two leaders in one term or a lost write follow. So each node
//! remembers what each peer acknowledged to it ([`Mark`]), and a node whose own log or vote lies behind what any peer
//! remembers of it refuses to take part.
//!
//! Terms come first in the order: a follower may rightly have a shorter log than it once acknowledged, after another
//! leader truncated it, but then it has that leader's higher term.

use super::journal::Mark;
use super::types::{LogId, Vote, term_of};

/// Whether a node that holds `vote` and a log up to `last` has forgotten something that a peer `remembers`.
#[must_use]
pub fn has_forgotten(vote: Option<&Vote>, last: Option<&LogId>, remembered: Mark) -> bool {
    let term = vote.map_or(0, |vote| vote.leader_id.term);
    let last = last.map_or((0, 0), |last| (term_of(last), last.index));
    (term, last) < (remembered.term, remembered.last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;
    use crate::raft::types::log_id;

    #[test]
    fn a_node_is_believed_unless_it_lies_behind_what_it_said() {
        let remembered = Mark {
            term: 5,
            last: (4, 90),
        };
        let vote = |term| Vote::new(term, NodeId(1));
        assert!(
            !has_forgotten(Some(&vote(5)), Some(&log_id(4, 90)), remembered),
            "just as it was"
        );
        assert!(
            !has_forgotten(Some(&vote(6)), Some(&log_id(3, 10)), remembered),
            "truncated by a later leader"
        );
        assert!(
            !has_forgotten(Some(&vote(5)), Some(&log_id(5, 2)), remembered),
            "a newer entry is worth more than many old"
        );
        assert!(
            has_forgotten(Some(&vote(5)), Some(&log_id(4, 89)), remembered),
            "an entry is gone"
        );
        assert!(
            has_forgotten(Some(&vote(4)), Some(&log_id(4, 95)), remembered),
            "a vote is gone"
        );
        assert!(has_forgotten(None, None, remembered), "everything is gone");
    }
}
