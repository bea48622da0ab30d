//! Where a version of a key stands in history.

use crate::ids::Revision;

/// How many versions one revision can hold: 4,194,304. A transaction modifies at most a few hundred keys by name, but
/// one delete can cover a whole keyspace.
const SUB_BITS: u32 = 22;

/// A version's place in history: its revision, then its place within that revision. One number, so that history is a
/// table clustered by it and "everything up to revision R" is a range of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(pub i64);

impl Position {
    /// Before all history: what the first version of a key points back to.
    pub(super) const NONE: Self = Self(0);
    /// Changes that one revision can hold.
    pub(super) const CHANGES: i64 = 1 << SUB_BITS;
    /// The last revision that fits; at ten thousand writes a second it is seven years away.
    pub(super) const LAST_REVISION: i64 = (i64::MAX >> SUB_BITS) - 1;

    /// Of the change numbered `sub` within `revision`.
    pub(super) fn new(revision: i64, sub: i64) -> Self {
        assert!(
            (0..Self::CHANGES).contains(&sub),
            "{sub} changes do not fit in one revision"
        );
        assert!(
            (0..=Self::LAST_REVISION).contains(&revision),
            "revision {revision} is out of range"
        );
        Self((revision << SUB_BITS) | sub)
    }

    /// The first position that does not belong to `revision` or one before it.
    pub(super) fn after(revision: i64) -> Self {
        Self::new(revision.max(0) + 1, 0)
    }

    pub(super) fn revision(self) -> Revision {
        Revision(self.0 >> SUB_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_order_by_revision_then_by_change() {
        let ordered = [
            Position::NONE,
            Position::new(2, 0),
            Position::new(2, 1),
            Position::after(2),
            Position::new(3, 5),
            Position::new(Position::LAST_REVISION, 0),
        ];
        assert!(ordered.is_sorted());
        assert_eq!(Position::new(2, 7).revision(), Revision(2));
        assert_eq!(Position::after(-1), Position::new(1, 0));
    }
}
