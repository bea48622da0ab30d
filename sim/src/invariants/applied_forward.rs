//! Within one life, what is applied only grows; a snapshot does not take the state back either.

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation};

/// Applied goes forward.
#[derive(Debug, Default)]
pub(super) struct AppliedForward;

impl Invariant for AppliedForward {
    fn name(&self) -> &'static str {
        "applied in order"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let before = seen.ledger.standing(seen.host).applied;
        let (after, forward) = match seen.event {
            Event::Applied { last, .. } => (*last, last.1 > before.1 && last.0 >= before.0),
            Event::Installed { last } => (*last, *last >= before),
            _ => return Ok(()),
        };
        if forward {
            Ok(())
        } else {
            Err(Violation::AppliedWentBack {
                host: seen.host,
                before,
                after,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;

    fn applied(index: u64) -> (u16, Event) {
        (
            1,
            Event::Applied {
                last: (1, index),
                revision: 0,
            },
        )
    }

    #[test]
    fn applying_twice_is_seen_and_a_new_life_may_apply_again() {
        let opened = (
            1,
            Event::LogOpened {
                node: 1,
                vote: None,
                last: Some((1, 9)),
            },
        );
        assert_eq!(
            tell(
                AppliedForward,
                3,
                &[applied(4), applied(9), opened, applied(6)]
            ),
            Ok(())
        );
        assert!(tell(AppliedForward, 3, &[applied(4), applied(4)]).is_err());
        let installed = (1, Event::Installed { last: (1, 3) });
        assert!(tell(AppliedForward, 3, &[applied(4), installed]).is_err());
    }
}
