//! What a node has said to be durable is there when it opens its log again: the oracle at the store.
//!
//! Seen end to end, an unsynced vote takes many runs to do harm; here it shows at the first crash that hits it.

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation};

/// Durable means durable.
#[derive(Debug, Default)]
pub(super) struct KeptPromise;

impl Invariant for KeptPromise {
    fn name(&self) -> &'static str {
        "kept promise"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let Event::LogOpened { vote, last, .. } = seen.event else {
            return Ok(());
        };
        if seen.ledger.is_excused(seen.host) {
            return Ok(());
        }
        let standing = seen.ledger.standing(seen.host);
        let rank =
            |vote: Option<(u64, u64, bool)>| vote.map(|(term, _, committed)| (term, committed));
        if let Some(promised) = standing.vote {
            let same = *vote == Some(promised);
            if !same && rank(*vote) <= rank(Some(promised)) {
                return Err(Violation::VoteLost {
                    host: seen.host,
                    promised,
                    found: *vote,
                });
            }
        }
        // More than was promised may be there: what was in flight when the power went. A later term makes up for no missing
        // entry: what is truncated is told before it goes.
        let found = last.unwrap_or_default();
        if found < standing.last || found.1 < standing.last.1 {
            return Err(Violation::EntriesLost {
                host: seen.host,
                promised: standing.last,
                found: *last,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;
    use crate::host::HostId;

    const HOST: HostId = HostId::new(1);

    fn story(opened: Event) -> Vec<(u16, Event)> {
        vec![
            (1, super::super::flushed((2, 50))),
            (1, Event::LogTruncated { from: 41 }),
            (1, super::super::flushed((3, 42))),
            (
                1,
                Event::VoteSaved {
                    term: 3,
                    node: 7,
                    committed: false,
                },
            ),
            (1, opened),
        ]
    }

    fn opened(vote: Option<(u64, u64, bool)>, last: Option<(u64, u64)>) -> Event {
        Event::LogOpened {
            node: 1,
            vote,
            last,
        }
    }

    #[test]
    fn what_is_there_again_or_more_is_well() {
        for (vote, last) in [
            ((3, 7, false), (3, 42)),
            ((3, 7, true), (3, 44)),
            ((4, 9, false), (4, 43)),
        ] {
            assert_eq!(
                tell(KeptPromise, 3, &story(opened(Some(vote), Some(last)))),
                Ok(())
            );
        }
    }

    #[test]
    fn missing_entry_and_missing_vote_are_seen() {
        let vote = Some((3, 7, false));
        let lost = Violation::EntriesLost {
            host: HOST,
            promised: (3, 42),
            found: Some((3, 41)),
        };
        assert_eq!(
            tell(KeptPromise, 3, &story(opened(vote, Some((3, 41))))),
            Err(lost)
        );
        let lost = Violation::VoteLost {
            host: HOST,
            promised: (3, 7, false),
            found: None,
        };
        assert_eq!(
            tell(KeptPromise, 3, &story(opened(None, Some((3, 42))))),
            Err(lost)
        );
        let other = Some((3, 8, false));
        assert!(
            tell(KeptPromise, 3, &story(opened(other, Some((3, 42))))).is_err(),
            "a vote for somebody else"
        );
    }

    #[test]
    fn truncated_entries_need_not_be_there() {
        let story = [
            (1, super::super::flushed((2, 50))),
            (1, Event::LogTruncated { from: 41 }),
            (1, opened(None, Some((2, 40)))),
        ];
        assert_eq!(tell(KeptPromise, 3, &story), Ok(()));
    }

    #[test]
    fn what_is_left_by_a_truncation_keeps_its_terms() {
        let flushed = Event::LogFlushed {
            last: (4, 5),
            after: 0,
            entries: vec![(1, 0), (1, 0), (3, 0), (3, 0), (4, 0)],
        };
        let story = |last| {
            [
                (1, flushed.clone()),
                (1, Event::LogTruncated { from: 5 }),
                (1, opened(None, Some(last))),
            ]
        };
        assert_eq!(tell(KeptPromise, 3, &story((3, 4))), Ok(()));
        assert_eq!(
            tell(KeptPromise, 3, &story((4, 5))),
            Ok(()),
            "it was not truncated yet"
        );
        for found in [(1, 4), (3, 3), (4, 3)] {
            let lost = Violation::EntriesLost {
                host: HOST,
                promised: (3, 4),
                found: Some(found),
            };
            assert_eq!(tell(KeptPromise, 3, &story(found)), Err(lost));
        }
    }

    #[test]
    fn log_that_was_given_up_owes_nothing_not_even_what_was_still_being_written() {
        let mut story = vec![
            (1, super::super::flushed((2, 50))),
            (1, Event::LogGivenUp),
            (1, super::super::flushed((2, 51))),
            (1, opened(None, None)),
        ];
        assert_eq!(tell(KeptPromise, 3, &story), Ok(()));
        story.remove(1);
        assert!(tell(KeptPromise, 3, &story).is_err());
    }
}
