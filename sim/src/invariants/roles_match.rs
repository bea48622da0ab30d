//! The member table and Raft's configuration name the same voters (T2), and no voter gives up the log that others count on.
//!
//! While a configuration is joint the table still says what was before: it changes with the entry that ends it.

use std::collections::BTreeSet;

use quorate::proto::store::Role;
use quorate::runtime::Event;

use super::{Invariant, Seen, Violation};

/// Roles are what they are in Raft.
#[derive(Debug, Default)]
pub(super) struct RolesMatch;

impl Invariant for RolesMatch {
    fn name(&self) -> &'static str {
        "roles and configuration"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        match seen.event {
            Event::Members { index, roles, .. } => table_matches(seen, *index, roles),
            Event::LogGivenUp => nobody_counts_on(seen),
            _ => Ok(()),
        }
    }
}

fn table_matches(seen: &Seen<'_>, index: u64, roles: &[(u64, i32)]) -> Result<(), Violation> {
    let configuration = seen.ledger.configuration(index);
    let Some(configuration) = configuration.filter(|found| !found.is_joint()) else {
        return Ok(());
    };
    let voters = roles
        .iter()
        .filter(|(_, role)| *role == i32::from(Role::Voter));
    let table: BTreeSet<u64> = voters.map(|(node, _)| *node).collect();
    let voting = configuration.voters.first();
    // Before the cluster's first command the table says nothing.
    if roles.is_empty() || voting == Some(&table) {
        return Ok(());
    }
    Err(Violation::RolesDiffer {
        index,
        table,
        configuration: voting.cloned().unwrap_or_default(),
    })
}

fn nobody_counts_on(seen: &Seen<'_>) -> Result<(), Violation> {
    let standing = seen.ledger.standing(seen.host);
    let configuration = seen.ledger.configuration(u64::MAX);
    let (Some(node), Some(configuration)) = (standing.node, configuration) else {
        return Ok(());
    };
    if standing.last == (0, 0) || !configuration.votes(node) {
        return Ok(());
    }
    Err(Violation::VoterWithoutLog {
        host: seen.host,
        index: configuration.at.1,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{flushed, tell};
    use super::*;
    use crate::host::HostId;

    fn members(index: u64, voters: &[u64]) -> (u16, Event) {
        let event = Event::Members {
            index,
            roles: voters
                .iter()
                .map(|node| (*node, Role::Voter.into()))
                .chain([(90, Role::Spare.into())])
                .collect(),
            removed: Vec::new(),
        };
        (1, event)
    }

    #[test]
    fn table_that_names_other_voters_is_seen_unless_a_change_is_under_way() {
        let joint = Event::Configured {
            at: (1, 5),
            voters: vec![vec![1, 2, 3], vec![1, 2]],
            standbys: Vec::new(),
        };
        let good = [members(4, &[1, 2, 3]), (1, joint), members(6, &[1, 2, 3])];
        assert_eq!(tell(RolesMatch, 3, &good), Ok(()));
        let broken = Violation::RolesDiffer {
            index: 4,
            table: [1, 2].into(),
            configuration: [1, 2, 3].into(),
        };
        assert_eq!(tell(RolesMatch, 3, &[members(4, &[1, 2])]), Err(broken));
    }

    #[test]
    fn voter_that_gives_its_log_up_is_seen_and_one_that_votes_no_more_may() {
        let demoted = Event::Configured {
            at: (1, 5),
            voters: vec![vec![1, 2]],
            standbys: vec![3],
        };
        let story = |demoted: Event| [(3, flushed((1, 9))), (1, demoted), (3, Event::LogGivenUp)];
        assert_eq!(tell(RolesMatch, 3, &story(demoted)), Ok(()));
        let broken = Violation::VoterWithoutLog {
            host: HostId::new(3),
            index: 0,
        };
        assert_eq!(
            tell(RolesMatch, 3, &story(Event::Led { term: 1 })),
            Err(broken)
        );
    }
}
