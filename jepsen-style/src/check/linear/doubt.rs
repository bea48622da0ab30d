//! Which calls of unknown outcome have been used.
//!
//! There may be thousands of them, and the search remembers a set of those it has used for every place that led nowhere. Sets
//! grow by one call at a time, so they share their tails: a set is its last call and the set before. On the way from the
//! start to where the search stands it is enough to know how many of each group have been used, because those of one group
//! are used in the order of their invocations.

use rustc_hash::FxHashMap;

/// A set of used calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used(u32);

impl Used {
    /// The empty set.
    pub(super) const NONE: Self = Self(u32::MAX);
}

/// A call that was used, and the set of those before it.
struct Link {
    before: Used,
    group: u32,
    /// How many of its group had been used before.
    number: u32,
    /// How many calls are in the set.
    size: u32,
}

/// The sets that a search has met.
pub(super) struct Doubt {
    links: Vec<Link>,
    /// How many calls of each group have been used where the search stands.
    counts: Vec<u32>,
}

impl Doubt {
    /// Nothing has been used of so many groups.
    pub(super) fn over(groups: usize) -> Self {
        Self {
            links: Vec::new(),
            counts: vec![0; groups],
        }
    }

    /// How many calls of a group have been used.
    #[inline]
    pub(super) fn used(&self, group: u32) -> u32 {
        self.counts[group as usize]
    }

    /// Uses the next call of a group after those of `before`, which are the ones in use.
    pub(super) fn use_one(&mut self, before: Used, group: u32) -> Used {
        let number = self.counts[group as usize];
        self.counts[group as usize] += 1;
        self.links.push(Link {
            before,
            group,
            number,
            size: self.size(before) + 1,
        });
        Used(self.links.len() as u32 - 1)
    }

    /// Gives the last call of a group back.
    pub(super) fn give_back(&mut self, group: u32) {
        self.counts[group as usize] -= 1;
    }

    /// Whether all of a set are in use.
    pub(super) fn is_within_used(&self, set: Used) -> bool {
        self.calls(set)
            .all(|link| link.number < self.used(link.group))
    }

    /// Whether all of one set are in another.
    pub(super) fn is_within(&self, set: Used, other: Used) -> bool {
        if self.size(set) > self.size(other) {
            return false;
        }
        let mut counts: FxHashMap<u32, u32> = FxHashMap::default();
        for link in self.calls(other) {
            *counts.entry(link.group).or_default() += 1;
        }
        self.calls(set).all(|link| {
            counts
                .get(&link.group)
                .is_some_and(|count| link.number < *count)
        })
    }

    /// Bytes that the sets take.
    pub(super) fn bytes(&self) -> u64 {
        (self.links.capacity() * size_of::<Link>() + self.counts.len() * size_of::<u32>()) as u64
    }

    fn link(&self, set: Used) -> Option<&Link> {
        self.links.get(set.0 as usize)
    }

    fn size(&self, set: Used) -> u32 {
        self.link(set).map_or(0, |link| link.size)
    }

    /// The calls of a set, last first.
    fn calls(&self, set: Used) -> impl Iterator<Item = &Link> {
        std::iter::successors(self.link(set), |link| self.link(link.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_within_another_whatever_the_order_in_which_they_grew() {
        let mut doubt = Doubt::over(3);
        let a = doubt.use_one(Used::NONE, 0);
        let ab = doubt.use_one(a, 1);
        assert!(doubt.is_within_used(ab) && doubt.is_within(a, ab));
        doubt.give_back(1);
        assert!(doubt.is_within_used(a) && !doubt.is_within_used(ab));
        doubt.give_back(0);
        let b = doubt.use_one(Used::NONE, 1);
        let ba = doubt.use_one(b, 0);
        assert!(doubt.is_within(ab, ba) && doubt.is_within(ba, ab) && doubt.is_within_used(ab));
        let baa = doubt.use_one(ba, 0);
        assert!(doubt.is_within(ab, baa) && !doubt.is_within(baa, ab));
        assert!(doubt.is_within(Used::NONE, a) && !doubt.is_within(a, Used::NONE));
        assert!(!doubt.is_within(a, b) && !doubt.is_within(b, a));
        // Two of one group are not within one of it and one of another.
        doubt.give_back(1);
        doubt.give_back(0);
        let aa = doubt.use_one(a, 0);
        assert!(!doubt.is_within(aa, ab) && !doubt.is_within(ab, aa));
    }

    #[test]
    fn sets_share_what_they_have_in_common() {
        let mut doubt = Doubt::over(1000);
        let mut set = Used::NONE;
        for group in 0..1000 {
            set = doubt.use_one(set, group);
        }
        assert!(doubt.bytes() < 1000 * 64, "{}", doubt.bytes());
    }
}
