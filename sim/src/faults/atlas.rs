//! Which faults a cluster has to survive.
//!
//! A cluster of 2f + 1 voters promises to keep what it has acknowledged as long as no more than f of them lose what they
//! have written. So the machines whose data may be damaged are drawn once, at most f of them, and stay the same for the
//! whole run: damage that moves from machine to machine would in the end have hit a majority's copies of one entry.
//! Availability is another promise and another budget: how many may be down or cut off at once while the cluster is
//! asked to make progress. During the safety phase everything that does not destroy may happen to everyone.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;

use crate::host::HostId;
use crate::seed::Seed;

/// What may happen to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Atlas {
    voters: usize,
    damageable: BTreeSet<HostId>,
}

impl Atlas {
    /// The atlas of a cluster in which these vote.
    #[must_use]
    pub fn new(voters: &[HostId], seed: Seed) -> Self {
        let mut drawn = voters.to_vec();
        drawn.shuffle(&mut seed.labelled("atlas").rng());
        drawn.truncate(tolerated(voters.len()));
        Self {
            voters: voters.len(),
            damageable: drawn.into_iter().collect(),
        }
    }

    /// Whether the data of this machine may be damaged: rotten, lost, misdirected, wiped.
    #[must_use]
    pub fn may_damage(&self, host: HostId) -> bool {
        self.damageable.contains(&host)
    }

    /// The machines whose data may be damaged.
    pub fn damageable(&self) -> impl Iterator<Item = HostId> {
        self.damageable.iter().copied()
    }

    /// How many voters may be out of reach while the cluster is expected to serve.
    #[must_use]
    pub fn spare_failures(&self) -> usize {
        tolerated(self.voters)
    }

    /// Whether the cluster has to serve with these voters up and in reach of each other.
    #[must_use]
    pub fn must_serve(&self, reachable: &BTreeSet<HostId>) -> bool {
        reachable.len() * 2 > self.voters
    }
}

/// How many of so many voters may fail.
const fn tolerated(voters: usize) -> usize {
    voters.saturating_sub(1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(count: u16) -> Vec<HostId> {
        (1..=count).map(HostId::new).collect()
    }

    #[test]
    fn damage_never_reaches_a_majority_and_every_voter_is_somebodys_victim() {
        for (voters, most) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)] {
            let mut hit = BTreeSet::new();
            for seed in 0..100 {
                let atlas = Atlas::new(&hosts(voters), Seed::new(seed));
                let damageable: Vec<HostId> = hosts(voters)
                    .into_iter()
                    .filter(|host| atlas.may_damage(*host))
                    .collect();
                assert_eq!(damageable.len(), most);
                assert_eq!(atlas.spare_failures(), most);
                hit.extend(damageable);
            }
            assert!(most == 0 || hit.len() == usize::from(voters));
        }
    }

    #[test]
    fn majority_must_serve_and_half_need_not() {
        let atlas = Atlas::new(&hosts(4), Seed::new(1));
        assert!(atlas.must_serve(&hosts(3).into_iter().collect()));
        assert!(!atlas.must_serve(&hosts(2).into_iter().collect()));
    }
}
