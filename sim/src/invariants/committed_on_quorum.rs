//! What is applied is on the disks of a majority: an answer that a client has got outlives any minority. A copy that damage has
//! destroyed counts nevertheless: that minority is then used up.
//!
//! It is checked when an entry is applied for the first time: who applies it later may find that those who voted then are long
//! gone. Of which voters, when they change: of the last set of the configuration as of that entry. The one that follows in the
//! log is joint with it, or is that set alone, so that a majority of it was needed whichever was in force.

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
        let Event::Applied { last: entry, .. } = seen.event else {
            return Ok(());
        };
        if *entry <= seen.ledger.highest_applied() {
            return Ok(());
        }
        let configuration = seen.ledger.configuration(entry.1);
        let Some(voters) = configuration.and_then(|found| found.voters.last()) else {
            return Ok(());
        };
        let (holders, needed) = (seen.ledger.holders(*entry, voters), voters.len() / 2 + 1);
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
    use std::time::Duration;

    use super::*;
    use crate::host::HostId;

    #[test]
    fn entry_applied_before_a_majority_has_synced_it_is_seen() {
        let flushed = |host, index| (host, super::super::flushed((1, index)));
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

    #[test]
    fn newcomer_may_apply_what_former_voters_held() {
        let flushed = |host, index| (host, super::super::flushed((1, index)));
        let applied = |host| {
            let last = (1, 8);
            (host, Event::Applied { last, revision: 3 })
        };
        let gone = (1, Event::LogGivenUp);
        let story = [flushed(1, 9), flushed(2, 8), applied(1), gone, applied(2)];
        assert_eq!(tell(CommittedOnQuorum, 3, &story), Ok(()));
    }

    #[test]
    fn copy_that_damage_destroyed_counts_for_what_it_had_and_for_nothing_later() {
        let mut ledger = super::super::Ledger::of_voters(3);
        ledger.note(HostId::new(1), &super::super::flushed((1, 8)));
        ledger.note(HostId::new(2), &super::super::flushed((1, 9)));
        ledger.forget(HostId::new(1));
        let applied = |index| {
            CommittedOnQuorum.check(&Seen {
                time: Duration::ZERO,
                host: HostId::new(2),
                event: &Event::Applied {
                    last: (1, index),
                    revision: 3,
                },
                ledger: &ledger,
            })
        };
        assert_eq!(applied(8), Ok(()));
        assert!(applied(9).is_err());
    }

    #[test]
    fn standby_that_holds_an_entry_is_no_voter_that_holds_it() {
        let flushed = |host, index| (host, super::super::flushed((1, index)));
        let applied = Event::Applied {
            last: (1, 8),
            revision: 3,
        };
        let configured = Event::Configured {
            at: (1, 5),
            voters: vec![vec![1, 2]],
            standbys: vec![3],
        };
        let story = [
            (1, configured),
            flushed(1, 8),
            flushed(3, 8),
            (1, applied.clone()),
        ];
        assert!(tell(CommittedOnQuorum, 3, &story).is_err());
        assert_eq!(tell(CommittedOnQuorum, 3, &story[1..]), Ok(()));
    }
}
