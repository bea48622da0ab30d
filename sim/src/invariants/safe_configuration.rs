//! No two configurations that follow each other in the log can decide without one another, and all nodes apply the same
//! ones. Nobody who was removed is in them.

use std::collections::BTreeSet;

use quorate::runtime::Event;

use super::ledger::Configuration;
use super::{Invariant, Seen, Violation};

/// Configurations follow each other safely.
#[derive(Debug, Default)]
pub(super) struct SafeConfiguration;

impl Invariant for SafeConfiguration {
    fn name(&self) -> &'static str {
        "safe configuration"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        match seen.event {
            Event::Configured {
                at,
                voters,
                standbys,
            } => follows(seen, &Configuration::told(*at, voters, standbys)),
            Event::Members { index, removed, .. } => {
                let configuration = seen.ledger.configuration(*index);
                let Some(configuration) = configuration else {
                    return Ok(());
                };
                nobody_of(removed, configuration, *index)
            }
            _ => Ok(()),
        }
    }
}

fn follows(seen: &Seen<'_>, new: &Configuration) -> Result<(), Violation> {
    let index = new.at.1;
    let known = seen.ledger.configuration(index);
    if let Some(known) = known.filter(|known| known.at.1 == index) {
        return if known == new {
            Ok(())
        } else {
            Err(Violation::ConfigurationsDiffer {
                host: seen.host,
                index,
            })
        };
    }
    let senseless = |why| Err(Violation::Senseless { index, why });
    if new.voters.is_empty() || new.voters.iter().any(BTreeSet::is_empty) {
        return senseless("nobody votes");
    }
    if new.standbys.iter().any(|node| new.votes(*node)) {
        return senseless("a voter stands by");
    }
    nobody_of(seen.ledger.removed(), new, index)?;
    if known.is_none_or(|known| meet(&known.voters, &new.voters)) {
        return Ok(());
    }
    Err(Violation::QuorumsApart {
        before: known.map(|known| known.voters.clone()).unwrap_or_default(),
        after: new.voters.clone(),
    })
}

/// Whether every quorum of one configuration meets every quorum of the other. A quorum holds a majority of each set, so
/// that one pair of sets whose majorities must meet is enough.
fn meet(before: &[BTreeSet<u64>], after: &[BTreeSet<u64>]) -> bool {
    let majorities_meet = |one: &BTreeSet<u64>, other: &BTreeSet<u64>| {
        let needed = one.len() / 2 + 1 + other.len() / 2 + 1;
        needed > one.union(other).count()
    };
    before
        .iter()
        .any(|one| after.iter().any(|other| majorities_meet(one, other)))
}

fn nobody_of<'a>(
    removed: impl IntoIterator<Item = &'a u64>,
    configuration: &Configuration,
    index: u64,
) -> Result<(), Violation> {
    let takes_part =
        |node: &&u64| configuration.votes(**node) || configuration.standbys.contains(*node);
    match removed.into_iter().find(takes_part) {
        Some(node) => Err(Violation::RemovedTakesPart { node: *node, index }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;

    fn configured(index: u64, voters: &[&[u64]], standbys: &[u64]) -> (u16, Event) {
        let event = Event::Configured {
            at: (1, index),
            voters: voters.iter().map(|set| set.to_vec()).collect(),
            standbys: standbys.to_vec(),
        };
        (1, event)
    }

    fn judge(story: &[(u16, Event)]) -> Result<(), Violation> {
        tell(SafeConfiguration, 3, story)
    }

    #[test]
    fn joint_steps_are_safe_and_a_jump_to_other_voters_is_seen() {
        let good = [
            configured(4, &[&[1, 2, 3], &[1, 4, 5]], &[]),
            configured(5, &[&[1, 4, 5]], &[2, 3]),
            configured(5, &[&[1, 4, 5]], &[2, 3]),
            configured(7, &[&[1, 4, 5, 6]], &[2, 3]),
        ];
        assert_eq!(judge(&good), Ok(()));
        let jump = judge(&[configured(4, &[&[1, 4, 5]], &[])]);
        assert!(
            matches!(jump, Err(Violation::QuorumsApart { .. })),
            "{jump:?}"
        );
    }

    #[test]
    fn another_configuration_at_an_index_is_seen() {
        let story = [
            configured(4, &[&[1, 2, 3, 4]], &[]),
            configured(4, &[&[1, 2, 3]], &[]),
        ];
        assert!(matches!(
            judge(&story),
            Err(Violation::ConfigurationsDiffer { .. })
        ));
    }

    #[test]
    fn senseless_ones_are_seen() {
        for senseless in [
            configured(4, &[], &[1]),
            configured(4, &[&[1, 2, 3], &[]], &[]),
            configured(4, &[&[1, 2, 3]], &[3]),
        ] {
            assert!(matches!(
                judge(&[senseless]),
                Err(Violation::Senseless { .. })
            ));
        }
    }

    #[test]
    fn removed_member_with_a_part_is_seen_whichever_comes_first() {
        let members = |index, removed: &[u64]| {
            let event = Event::Members {
                index,
                roles: Vec::new(),
                removed: removed.to_vec(),
            };
            (1, event)
        };
        assert_eq!(judge(&[members(4, &[9])]), Ok(()));
        let removed_first = [members(4, &[9]), configured(5, &[&[1, 2, 3]], &[9])];
        let removed_later = [members(4, &[3])];
        for story in [&removed_first[..], &removed_later[..]] {
            assert!(matches!(
                judge(story),
                Err(Violation::RemovedTakesPart { .. })
            ));
        }
    }
}
