//! After the same entries all nodes have the same state, compared while they run and not only in the end.

use std::collections::BTreeMap;

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation, forget_oldest};
use crate::host::HostId;

/// One state an index.
#[derive(Debug, Default)]
pub(super) struct StatesEqual {
    digests: BTreeMap<u64, (HostId, u128)>,
}

impl Invariant for StatesEqual {
    fn name(&self) -> &'static str {
        "states equal"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let &Event::Digested { index, digest } = seen.event else {
            return Ok(());
        };
        let (first, told) = *self.digests.entry(index).or_insert((seen.host, digest));
        forget_oldest(&mut self.digests);
        if told == digest {
            return Ok(());
        }
        Err(Violation::StatesDiffer {
            index,
            first,
            second: seen.host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;

    #[test]
    fn another_state_after_the_same_entries_is_seen() {
        let digested = |host, index, digest| (host, Event::Digested { index, digest });
        let good = [
            digested(1, 64, 7),
            digested(2, 64, 7),
            digested(1, 128, 9),
            digested(1, 64, 7),
        ];
        assert_eq!(tell(StatesEqual::default(), 3, &good), Ok(()));
        let broken = Violation::StatesDiffer {
            index: 64,
            first: HostId::new(1),
            second: HostId::new(3),
        };
        let differs = [digested(1, 64, 7), digested(3, 64, 8)];
        assert_eq!(tell(StatesEqual::default(), 3, &differs), Err(broken));
    }
}
