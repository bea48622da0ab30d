//! How many bytes the log has, and where it is cut when it has too many.
//!
//! openraft counts entries: it names a snapshot after so many and keeps so many behind it. Small ones are few bytes, but thirty
//! thousand of the largest are tens of gigabytes, on disks that Kubernetes at the edge does not have. So the bytes are bounded
//! too, here (T7). What is cut off is covered by a snapshot, which a node that is further behind gets instead.

use std::collections::VecDeque;

/// A log of more bytes is cut. Thirty thousand entries of a kilobyte, which is more than Kubernetes writes of most objects, stay
/// below it, so that for them only the count matters; and a new node reads as much again at its start within a second.
pub const MOST_BYTES: u64 = 64 << 20;
/// So many of the newest bytes are kept then: a node that was restarted meanwhile gets entries, not the whole state.
const KEPT_BYTES: u64 = MOST_BYTES / 2;
/// The same on a disk that is nearly full, where room for a vote and for what is under way counts more,
const MOST_BYTES_WHEN_SCARCE: u64 = 8 << 20;
/// and with it a snapshot to a node that is behind.
const KEPT_BYTES_WHEN_SCARCE: u64 = MOST_BYTES_WHEN_SCARCE / 2;
/// Entries are counted together up to so many bytes.
const STRETCH_BYTES: u64 = 1 << 20;

/// The room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is enough of it.
    Enough,
    /// The disk is nearly full.
    Scarce,
}

/// Neighbouring entries and the bytes that they take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    first: u64,
    last: u64,
    bytes: u64,
}

impl Stretch {
    /// Entries up to `last`, taken to be of equal size.
    fn up_to(self, last: u64) -> u64 {
        share(
            self.bytes,
            last + 1 - self.first,
            self.last + 1 - self.first,
        )
    }
}

fn share(whole: u64, part: u64, of: u64) -> u64 {
    let share = u128::from(whole) * u128::from(part) / u128::from(of.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// The bytes of a log by the index, to within a stretch of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Length {
    stretches: VecDeque<Stretch>,
    bytes: u64,
}

impl Length {
    /// Of a log that was found with these entries and bytes.
    #[must_use]
    pub fn found(first: u64, last: u64, bytes: u64) -> Self {
        let mut length = Self::default();
        if first <= last {
            length.push(Stretch { first, last, bytes });
        }
        length
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn push(&mut self, stretch: Stretch) {
        self.bytes += stretch.bytes;
        self.stretches.push_back(stretch);
    }

    /// An entry is added at the end.
    pub fn add(&mut self, index: u64, bytes: usize) {
        let bytes = bytes as u64;
        match self.stretches.back_mut() {
            Some(last) if last.last + 1 == index && last.bytes + bytes <= STRETCH_BYTES => {
                last.last = index;
                last.bytes += bytes;
                self.bytes += bytes;
            }
            _ => self.push(Stretch {
                first: index,
                last: index,
                bytes,
            }),
        }
    }

    /// Entries from `index` on are gone.
    pub fn truncate_from(&mut self, index: u64) {
        while let Some(mut last) = self.stretches.pop_back() {
            self.bytes -= last.bytes;
            if last.first < index {
                if index <= last.last {
                    last.bytes = last.up_to(index - 1);
                    last.last = index - 1;
                }
                self.push(last);
                return;
            }
        }
    }

    /// Entries up to `index` are gone.
    pub fn purge_to(&mut self, index: u64) {
        while let Some(first) = self.stretches.front_mut() {
            if first.first > index {
                return;
            }
            if first.last > index {
                let gone = first.up_to(index);
                first.bytes -= gone;
                first.first = index + 1;
                self.bytes -= gone;
                return;
            }
            self.bytes -= first.bytes;
            self.stretches.pop_front();
        }
    }

    /// The last entry that may go, if the log is longer than it should be.
    #[must_use]
    pub fn excess(&self, room: Room) -> Option<u64> {
        let (most, kept) = match room {
            Room::Enough => (MOST_BYTES, KEPT_BYTES),
            Room::Scarce => (MOST_BYTES_WHEN_SCARCE, KEPT_BYTES_WHEN_SCARCE),
        };
        if self.bytes <= most {
            return None;
        }
        let mut behind = 0;
        for stretch in self.stretches.iter().rev() {
            let wanted = kept.saturating_sub(behind);
            behind += stretch.bytes;
            if behind >= kept {
                let entries = stretch.last + 1 - stretch.first;
                // Rather an entry too many than one too few.
                let stay = share(entries, wanted, stretch.bytes).saturating_add(1);
                return stretch
                    .last
                    .checked_sub(stay)
                    .filter(|last| self.stretches[0].first <= *last);
            }
        }
        None
    }
}

/// What is to be done about a log that is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// A snapshot is to be named: the last one does not cover all that should go.
    pub snapshot: bool,
    /// Entries up to here are to go.
    pub purge: Option<u64>,
}

/// Decides it: everything up to `excess` should go, as far as it is applied, and goes as far as the last snapshot covers it.
/// `snapshot`, `applied` and `purged` are the last entries that these speak of.
#[must_use]
pub fn cut(
    excess: Option<u64>,
    applied: Option<u64>,
    snapshot: Option<u64>,
    purged: Option<u64>,
) -> Cut {
    let (Some(excess), Some(applied)) = (excess, applied) else {
        return Cut::default();
    };
    let target = excess.min(applied);
    if purged.is_some_and(|purged| target <= purged) {
        return Cut::default();
    }
    let covered = snapshot.map(|snapshot| snapshot.min(target));
    Cut {
        snapshot: covered != Some(target),
        purge: covered.filter(|covered| purged.is_none_or(|purged| *covered > purged)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn of(entries: impl IntoIterator<Item = (u64, usize)>) -> Length {
        let mut length = Length::default();
        for (index, bytes) in entries {
            length.add(index, bytes);
        }
        length
    }

    #[test]
    fn log_of_small_entries_is_left_alone() {
        let length = of((1..30_000).map(|index| (index, 1_100)));
        assert_eq!(length.excess(Room::Enough), None);
        assert_eq!(length.bytes(), 29_999 * 1_100);
        assert_eq!(
            of((1..65).map(|index| (index, MIB))).excess(Room::Enough),
            None
        );
    }

    #[test]
    fn of_a_long_log_the_newest_bytes_are_kept() {
        let mut length = of((1..=100).map(|index| (index, MIB)));
        let upto = length.excess(Room::Enough).unwrap();
        assert!((66..=68).contains(&upto), "{upto}");
        length.purge_to(upto);
        let mib = length.bytes() >> 20;
        assert!((32..=34).contains(&mib), "{mib} MiB");
        assert_eq!(length.excess(Room::Enough), None);
        let upto = length.excess(Room::Scarce).unwrap();
        assert!((94..=96).contains(&upto), "{upto}");
        length.purge_to(upto);
        assert_eq!(length.excess(Room::Scarce), None);
        // The last entry stays, however large.
        let mut length = of([(7, 1), (8, 100 * MIB)]);
        assert_eq!(length.excess(Room::Enough), Some(7));
        length.purge_to(7);
        assert_eq!(length.excess(Room::Enough), None);
    }

    #[test]
    fn what_was_found_at_the_start_goes_evenly() {
        let mut length = Length::found(101, 200, 100 * (MIB as u64));
        let upto = length.excess(Room::Enough).unwrap();
        assert!((166..=168).contains(&upto), "{upto}");
        length.purge_to(150);
        assert_eq!(length.bytes() >> 20, 50);
        length.truncate_from(176);
        assert_eq!(length.bytes() >> 20, 25);
        length.add(176, MIB);
        assert_eq!(length.bytes() >> 20, 26);
        assert_eq!(Length::found(8, 7, 4096), Length::default());
    }

    #[test]
    fn what_is_truncated_or_purged_counts_no_more() {
        let mut length = of((1..=10).map(|index| (index, 100)));
        length.truncate_from(11);
        assert_eq!(length.bytes(), 1_000);
        length.truncate_from(6);
        length.purge_to(2);
        assert_eq!(length.bytes(), 300);
        length.purge_to(100);
        assert_eq!(length, Length::default());
        // Behind an installed snapshot.
        length.add(101, 5);
        length.truncate_from(0);
        assert_eq!(length, Length::default());
    }

    #[test]
    fn nothing_goes_that_no_snapshot_covers() {
        let step = |snapshot, purge| Cut { snapshot, purge };
        let nothing = Cut::default();
        assert_eq!(cut(None, Some(90), Some(80), Some(1)), nothing);
        assert_eq!(cut(Some(50), None, None, None), nothing);
        assert_eq!(cut(Some(50), Some(90), None, None), step(true, None));
        assert_eq!(
            cut(Some(50), Some(90), Some(20), None),
            step(true, Some(20))
        );
        assert_eq!(
            cut(Some(50), Some(90), Some(20), Some(20)),
            step(true, None)
        );
        assert_eq!(
            cut(Some(50), Some(90), Some(80), Some(20)),
            step(false, Some(50))
        );
        assert_eq!(cut(Some(50), Some(90), Some(80), Some(50)), nothing);
        // What is not applied is needed.
        assert_eq!(
            cut(Some(50), Some(30), Some(30), None),
            step(false, Some(30))
        );
    }
}
