//! What the operator wants of the planner, and how patient it is.

use std::time::Duration;

/// The planner's configuration: pure data, the same on every node that may lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Voters wanted for 1, 2, 3 … members; the last one stands for every larger cluster. Each is odd.
    pub voters_by_members: Vec<usize>,
    /// Standbys wanted beside the voters.
    pub standbys: usize,
    /// A spare is given the log after it has been heard for this long: short, since nothing is at stake yet.
    pub standby_after: Duration,
    /// A newcomer, or a node that came back, votes only after being heard without a loss for this long.
    pub stabilisation: Duration,
    /// A node that was not heard for this long is not counted upon, though not given up either.
    pub silence: Duration,
    /// A voter that was not heard for this long is lost, and is replaced.
    pub loss: Duration,
    /// The same as `silence` for a spare, which is asked every few seconds: nothing is lost with it.
    pub spare_silence: Duration,
    /// The same as `loss` for a spare.
    pub spare_loss: Duration,
    /// A standby that was not heard for this long is replaced by a spare. Longer than `loss`: the replacement has to copy
    /// everything, and a rebooting standby is not worth that.
    pub standby_loss: Duration,
    /// A node this many log entries behind, or fewer, is level with the log.
    pub lag_limit: u64,
    /// A voter that was never level for this long is replaced as if it were lost.
    pub laggard_after: Duration,
    /// Each loss after the first from which a node returned doubles the stabilisation it needs; one is forgotten per this long.
    pub flap_memory: Duration,
    /// Removal of members that have been gone for very long.
    pub clean_up: CleanUp,
}

/// When dead members are removed by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanUp {
    /// How long a member must have been lost; `None` turns the clean-up off.
    pub grace: Option<Duration>,
    /// Whether voters may be removed too. Off by default: a voter's absence can be half of a partition.
    pub voters: bool,
    /// The clean-up never leaves fewer members than this.
    pub minimum_members: usize,
}

impl Policy {
    /// What a production cluster starts with.
    #[must_use]
    pub fn production() -> Self {
        Self {
            voters_by_members: vec![1, 1, 3, 3, 5],
            standbys: 3,
            standby_after: Duration::from_secs(1),
            stabilisation: Duration::from_secs(10),
            silence: Duration::from_secs(1),
            loss: Duration::from_secs(4),
            spare_silence: Duration::from_secs(12),
            spare_loss: Duration::from_secs(20),
            standby_loss: Duration::from_secs(60),
            lag_limit: 1_000,
            laggard_after: Duration::from_secs(60),
            flap_memory: Duration::from_secs(600),
            clean_up: CleanUp {
                grace: Some(Duration::from_secs(7 * 24 * 3600)),
                voters: false,
                minimum_members: 3,
            },
        }
    }

    /// How many voters a cluster of this many members should have; 0 members want none.
    #[must_use]
    pub fn voters_wanted(&self, members: usize) -> usize {
        let Some(position) = members.checked_sub(1) else {
            return 0;
        };
        let wanted = self
            .voters_by_members
            .get(position)
            .or(self.voters_by_members.last());
        wanted.copied().unwrap_or(1).min(largest_odd(members))
    }

    /// What of it an operator sets, in words: nodes that say the same aim at the same.
    #[must_use]
    pub fn aims(&self) -> String {
        let mut voters: Vec<usize> = (1..=9).map(|members| self.voters_wanted(members)).collect();
        // However the list was written, what follows from it counts.
        while voters.len() > 1 && voters[voters.len() - 1] == voters[voters.len() - 2] {
            voters.pop();
        }
        let voters: Vec<String> = voters.iter().map(ToString::to_string).collect();
        let clean_up = match self.clean_up.grace {
            None => "no clean-up".to_owned(),
            Some(grace) => {
                let voters_too = if self.clean_up.voters {
                    ", voters too"
                } else {
                    ""
                };
                format!("clean-up after {} h{voters_too}", grace.as_secs() / 3_600)
            }
        };
        format!(
            "voters {}, standbys {}, {clean_up}",
            voters.join("/"),
            self.standbys
        )
    }

    /// All that is wrong with it, in words for the operator; empty when it can be used.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.voters_by_members.is_empty()
            || self.voters_by_members.iter().any(|wanted| wanted % 2 == 0)
        {
            problems.push("voter targets must be given and odd: an even set survives no more failures than the odd one below it".to_owned());
        }
        if !self.voters_by_members.is_sorted() {
            problems.push("voter targets must not fall as members are added".to_owned());
        }
        if self.silence >= self.loss || self.spare_silence >= self.spare_loss {
            problems.push(
                "a node must be silent before it is lost: silence must be shorter than loss"
                    .to_owned(),
            );
        }
        problems
    }
}

/// The largest odd number up to `count`; 0 for 0.
#[must_use]
pub fn largest_odd(count: usize) -> usize {
    if count.is_multiple_of(2) {
        count.saturating_sub(1)
    } else {
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voter_targets_follow_the_size_of_the_cluster() {
        let policy = Policy::production();
        let wanted: Vec<usize> = (0..=8)
            .map(|members| policy.voters_wanted(members))
            .collect();
        assert_eq!(wanted, [0, 1, 1, 3, 3, 5, 5, 5, 5]);
        assert!(policy.problems().is_empty());
    }

    #[test]
    fn a_target_is_never_more_than_the_members_that_exist() {
        let policy = Policy {
            voters_by_members: vec![7],
            ..Policy::production()
        };
        let wanted: Vec<usize> = (1..=8)
            .map(|members| policy.voters_wanted(members))
            .collect();
        assert_eq!(wanted, [1, 1, 3, 3, 5, 5, 7, 7]);
    }

    #[test]
    fn nodes_that_aim_at_the_same_say_the_same() {
        let production = Policy::production();
        assert_eq!(
            production.aims(),
            "voters 1/1/3/3/5, standbys 3, clean-up after 168 h"
        );
        let longer = Policy {
            voters_by_members: vec![1, 1, 3, 3, 5, 5, 5],
            ..Policy::production()
        };
        assert_eq!(longer.aims(), production.aims());
        let other = Policy {
            voters_by_members: vec![1, 1, 3],
            standbys: 0,
            clean_up: CleanUp {
                voters: true,
                ..production.clean_up
            },
            ..production
        };
        assert_eq!(
            other.aims(),
            "voters 1/1/3, standbys 0, clean-up after 168 h, voters too"
        );
    }

    #[test]
    fn senseless_policies_are_named() {
        let even = Policy {
            voters_by_members: vec![1, 2],
            ..Policy::production()
        };
        let falling = Policy {
            voters_by_members: vec![3, 1],
            ..Policy::production()
        };
        let hasty = Policy {
            loss: Duration::from_millis(100),
            ..Policy::production()
        };
        for policy in [even, falling, hasty] {
            assert_eq!(policy.problems().len(), 1, "{policy:?}");
        }
    }
}
