//! Two logs that have an entry of the same term in the same place are the same up to there.
//!
//! Checked entry by entry, with the induction of the proof: the same content, behind an entry of the same term.

use std::collections::BTreeMap;

use quorate::runtime::Event;

use super::{EntryId, Invariant, Seen, Violation};

/// So many entries are remembered, the newest ones: a log that is written again goes back a little, not to its beginning.
const KEPT: usize = 100_000;

/// Logs match.
#[derive(Debug, Default)]
pub(super) struct LogMatching {
    /// By index and term: the term before, and a checksum.
    entries: BTreeMap<(u64, u64), (u64, u32)>,
}

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let Event::LogFlushed {
            last,
            after,
            entries,
        } = seen.event
        else {
            return Ok(());
        };
        let mut before = *after;
        let first = (last.1 + 1).saturating_sub(entries.len() as u64);
        for (index, (term, checksum)) in (first..).zip(entries) {
            self.compare(seen, (*term, index), (before, *checksum))?;
            before = *term;
        }
        Ok(())
    }
}

impl LogMatching {
    fn compare(
        &mut self,
        seen: &Seen<'_>,
        entry: EntryId,
        found: (u64, u32),
    ) -> Result<(), Violation> {
        let (term, index) = entry;
        let first = *self.entries.entry((index, term)).or_insert(found);
        if self.entries.len() > KEPT {
            self.entries.pop_first();
        }
        if first == found {
            return Ok(());
        }
        Err(Violation::LogsDiffer {
            host: seen.host,
            entry,
            first,
            found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;
    use crate::host::HostId;

    fn flushed(last: EntryId, after: u64, entries: &[(u64, u32)]) -> Event {
        Event::LogFlushed {
            last,
            after,
            entries: entries.to_vec(),
        }
    }

    #[test]
    fn other_content_and_another_past_are_seen() {
        let first = (1, flushed((2, 9), 1, &[(2, 70), (2, 80)]));
        let good = [
            first.clone(),
            (2, flushed((2, 8), 1, &[(2, 70)])),
            (2, flushed((2, 9), 2, &[(2, 80)])),
            (3, flushed((1, 9), 1, &[(1, 99)])),
        ];
        assert_eq!(tell(LogMatching::default(), 3, &good), Ok(()));
        let content = [first.clone(), (2, flushed((2, 9), 2, &[(2, 81)]))];
        let broken = Violation::LogsDiffer {
            host: HostId::new(2),
            entry: (2, 9),
            first: (2, 80),
            found: (2, 81),
        };
        assert_eq!(tell(LogMatching::default(), 3, &content), Err(broken));
        let past = [first, (2, flushed((2, 9), 1, &[(2, 80)]))];
        assert!(tell(LogMatching::default(), 3, &past).is_err());
    }
}
