//! The next number of a row that is below a bound.

/// How many numbers a block holds: a cache line of them.
const BLOCK: usize = 16;

/// A row of numbers, with the least of every block, of every block of blocks, and so on: a sixteenth more memory than the
/// row itself, and every question answered in a few looks.
pub(super) struct Below {
    /// The row, and above it rows of least numbers, the last no longer than a block.
    rows: Vec<Vec<u32>>,
}

impl Below {
    pub(super) fn new(row: Vec<u32>) -> Self {
        let mut rows = vec![row];
        while let Some(last) = rows.last().filter(|last| last.len() > BLOCK) {
            let least = last
                .chunks(BLOCK)
                .map(|block| block.iter().copied().min().unwrap_or(u32::MAX))
                .collect();
            rows.push(least);
        }
        Self { rows }
    }

    /// The first place from `from` on whose number is below `bound`.
    #[inline]
    pub(super) fn next(&self, from: usize, bound: u32) -> Option<usize> {
        let (mut at, mut height) = (from, 0);
        loop {
            let row = self.rows.get(height)?;
            let end = row.len().min((at / BLOCK + 1) * BLOCK);
            let rest = row.get(at..end)?;
            match rest.iter().position(|number| *number < bound) {
                Some(offset) if height == 0 => return Some(at + offset),
                // In that block below there is one: down, to its beginning.
                Some(offset) => {
                    at = (at + offset) * BLOCK;
                    height -= 1;
                }
                // Not in this block: up, to the one after it.
                None => {
                    at = at / BLOCK + 1;
                    height += 1;
                }
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.rows
            .iter()
            .map(|row| row.len() * size_of::<u32>())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn it_finds_what_looking_at_every_number_finds() {
        let mut random = Random::new(3);
        for length in [0, 1, 15, 16, 17, 255, 256, 257, 5000] {
            let row: Vec<u32> = (0..length).map(|_| random.below(1000) as u32).collect();
            let below = Below::new(row.clone());
            for _ in 0..500 {
                let from = random.below(length + 3) as usize;
                let bound = [0, 1, 3, 30, 500, 1001][random.below(6) as usize];
                let plain = (from..row.len()).find(|place| row[*place] < bound);
                assert_eq!(below.next(from, bound), plain, "{length} {from} {bound}");
            }
        }
    }
}
