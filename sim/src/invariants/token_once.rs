//! A token admits as many nodes as it was made for, whatever is lost and asked again on the way.

use std::collections::{BTreeMap, BTreeSet};

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation};

/// Tokens are used up.
#[derive(Debug, Default)]
pub(super) struct TokenOnce {
    uses: BTreeMap<u64, usize>,
    admitted: BTreeMap<u64, BTreeSet<u64>>,
}

impl Invariant for TokenOnce {
    fn name(&self) -> &'static str {
        "token once"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        match *seen.event {
            Event::TokenGiven { token, uses } => {
                // Given again it is still the same token.
                self.uses.entry(token).or_insert(uses as usize);
                Ok(())
            }
            Event::TokenUsed { token, node } => {
                let admitted = self.admitted.entry(token).or_default();
                admitted.insert(node);
                let (admitted, uses) = (admitted.len(), self.uses.get(&token));
                match uses {
                    Some(uses) if admitted > *uses => Err(Violation::TokenUsedAgain {
                        token,
                        uses: *uses,
                        admitted,
                    }),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;

    #[test]
    fn node_too_many_is_seen_and_one_admission_told_by_all_is_one() {
        let given = (1, Event::TokenGiven { token: 7, uses: 1 });
        let used = |host, node| (host, Event::TokenUsed { token: 7, node });
        let good = [given.clone(), used(1, 40), used(2, 40)];
        assert_eq!(tell(TokenOnce::default(), 3, &good), Ok(()));
        let again = [given.clone(), used(1, 40), given, used(2, 41)];
        let broken = Violation::TokenUsedAgain {
            token: 7,
            uses: 1,
            admitted: 2,
        };
        assert_eq!(tell(TokenOnce::default(), 3, &again), Err(broken));
    }
}
