//! A joint configuration is finished: once a cluster has come together after the heal, none is left standing.
//!
//! While one stands, two majorities are needed for everything, so that the cluster survives less than it says.

use super::{Invariant, Ledger, Seen, Violation};

/// Nothing is left half changed.
#[derive(Debug, Default)]
pub(super) struct JointFinished;

impl Invariant for JointFinished {
    fn name(&self) -> &'static str {
        "joint configuration finished"
    }

    fn check(&mut self, _: &Seen<'_>) -> Result<(), Violation> {
        Ok(())
    }

    fn healed(&mut self, ledger: &Ledger) -> Result<(), Violation> {
        match ledger.configuration(u64::MAX) {
            Some(newest) if newest.is_joint() => Err(Violation::JointLeft { index: newest.at.1 }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate::runtime::Event;

    use super::*;
    use crate::host::HostId;

    #[test]
    fn joint_configuration_that_is_left_is_seen_and_one_that_is_finished_is_not() {
        let mut ledger = Ledger::of_voters(3);
        let mut tell = |index, voters: Vec<Vec<u64>>| {
            let configured = Event::Configured {
                at: (1, index),
                voters,
                standbys: Vec::new(),
            };
            ledger.note(HostId::new(1), &configured);
            JointFinished.healed(&ledger)
        };
        let joint = tell(5, vec![vec![1, 2, 3], vec![1, 2, 4]]);
        assert_eq!(joint, Err(Violation::JointLeft { index: 5 }));
        assert_eq!(tell(6, vec![vec![1, 2, 4]]), Ok(()));
    }
}
