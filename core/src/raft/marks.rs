//! What a node that starts asks of its peers before it may vote: "what did you last see of me?"
//!
//! A disk that was put back to an older state (a virtual machine rolled back, a stale image restored) forgets votes and
//! entries that others count on; Raft cannot see that, and two leaders in one term or a lost write follow. So each node
//! remembers what each peer acknowledged to it ([`Mark`]), and of a leader, which acknowledges nothing, what it said to have on
//! its disk; and a node whose own log or vote lies behind what any peer remembers of it refuses to take part. It takes no part
//! either before a majority of the voters, itself among them, could be asked, nor, for a while, before all of them: an older image
//! behind a partition would vote away what was acknowledged. (One who remembers may still be among those that did not answer;
//! then two of the majority that acknowledged are lost, one of them by the rollback.)
//!
//! Terms come first in the order: a follower may rightly have a shorter log than it once acknowledged, after another
//! leader truncated it, but then it has that leader's higher term.

use std::collections::BTreeSet;

use super::journal::Mark;
use super::types::{LogId, Vote, term_of};
use crate::ids::NodeId;
use crate::membership::fleet::quorum;

/// Whether a node that holds `vote` and a log up to `last` has forgotten something that a peer `remembers`.
#[must_use]
pub fn has_forgotten(vote: Option<&Vote>, last: Option<&LogId>, remembered: Mark) -> bool {
    let term = vote.map_or(0, |vote| vote.leader_id.term);
    let last = last.map_or((0, 0), |last| (term_of(last), last.index));
    (term, last) < (remembered.term, remembered.last)
}

/// Whether those who `answered` are a majority of `voters`.
#[must_use]
pub fn enough_remember(voters: &BTreeSet<NodeId>, answered: &BTreeSet<NodeId>) -> bool {
    voters.intersection(answered).count() >= quorum(voters.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majority_of_the_voters_has_to_be_heard() {
        let enough = |here: u64, voters: &[u64], answered: &[u64]| {
            let voters = voters.iter().copied().map(NodeId).collect();
            let answered = answered.iter().chain([&here]).copied().map(NodeId);
            enough_remember(&voters, &answered.collect())
        };
        assert!(enough(1, &[1], &[]), "nobody else votes");
        assert!(!enough(1, &[1, 2], &[]));
        assert!(enough(1, &[1, 2], &[2]));
        assert!(!enough(1, &[1, 2, 3], &[7, 8]), "those do not vote");
        assert!(enough(1, &[1, 2, 3], &[3]));
        assert!(!enough(1, &[1, 2, 3, 4, 5], &[3]));
        assert!(enough(1, &[1, 2, 3, 4, 5], &[3, 5]));
        assert!(!enough(9, &[1, 2, 3], &[1]), "it does not vote itself");
        assert!(enough(9, &[1, 2, 3], &[1, 2]));
        assert!(!enough(1, &[], &[]), "no view of anybody is no permission");
    }
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
