//! Micro-operations by key, and the numbers of values within a key.

use rustc_hash::FxHashMap;

use super::transactions::{KeyId, TransactionId, Transactions, ValueId, index_u32};

/// A micro-operation and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) operation: u32,
    pub(super) transaction: u32,
}

/// All micro-operations, sorted by key, within a key by transaction, within a transaction in program order.
pub(super) struct KeyIndex {
    offsets: Vec<u32>,
    entries: Vec<Entry>,
}

impl KeyIndex {
    pub(super) fn new(transactions: &Transactions) -> Self {
        let mut offsets = vec![0_u32; transactions.key_count() + 1];
        for operation in transactions.all_operations() {
            offsets[operation.key.index() + 1] += 1;
        }
        let mut start = 0;
        for offset in &mut offsets {
            start += *offset;
            *offset = start;
        }
        let mut next = offsets.clone();
        let empty = Entry {
            operation: 0,
            transaction: 0,
        };
        let mut entries = vec![empty; transactions.all_operations().len()];
        for transaction in 0..index_u32(transactions.len()) {
            for operation in transactions.operation_range(TransactionId(transaction)) {
                let place = &mut next[transactions.all_operations()[operation].key.index()];
                entries[*place as usize] = Entry {
                    operation: index_u32(operation),
                    transaction,
                };
                *place += 1;
            }
        }
        Self { offsets, entries }
    }

    pub(super) fn of(&self, key: KeyId) -> &[Entry] {
        &self.entries[self.offsets[key.index()] as usize..self.offsets[key.index() + 1] as usize]
    }
}

/// No number.
pub(super) const NONE: u32 = u32::MAX;

/// Numbers the values of one key. Values of one key are usually near each other (1, 2, 3, …): then a plain array serves,
/// otherwise a map. Made once and used for all keys.
#[derive(Default)]
pub(super) struct ValueNumbers {
    base: ValueId,
    dense: Vec<u32>,
    sparse: FxHashMap<ValueId, u32>,
}

impl ValueNumbers {
    /// Forgets all and prepares for these values.
    pub(super) fn prepare(&mut self, values: impl Iterator<Item = ValueId> + Clone) {
        self.dense.clear();
        self.sparse.clear();
        let (mut least, mut greatest, mut count) = (ValueId::MAX, 0, 0_usize);
        for value in values {
            least = least.min(value);
            greatest = greatest.max(value);
            count += 1;
        }
        if count == 0 {
            return;
        }
        self.base = least;
        let width = (greatest - least) as usize + 1;
        if width <= 4 * count + 64 {
            self.dense.resize(width, NONE);
        } else {
            self.sparse.reserve(count);
        }
    }

    /// Gives a value a number; returns the one it had.
    pub(super) fn insert(&mut self, value: ValueId, number: u32) -> Option<u32> {
        if self.dense.is_empty() {
            return self.sparse.insert(value, number);
        }
        let slot = &mut self.dense[(value - self.base) as usize];
        let previous = std::mem::replace(slot, number);
        (previous != NONE).then_some(previous)
    }

    /// The number of a value, [`NONE`] if it has none.
    pub(super) fn get(&self, value: ValueId) -> u32 {
        if self.dense.is_empty() {
            return self.sparse.get(&value).copied().unwrap_or(NONE);
        }
        // A value below the base wraps to a place far behind the end.
        self.dense
            .get(value.wrapping_sub(self.base) as usize)
            .copied()
            .unwrap_or(NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_far_values_are_numbered_alike() {
        for values in [[5, 7, 6], [5, 4_000_000_000, 70_000]] {
            let mut numbers = ValueNumbers::default();
            numbers.prepare(values.into_iter());
            for (number, value) in (0..).zip(values) {
                assert_eq!(numbers.insert(value, number), None);
            }
            assert_eq!(values.map(|value| numbers.get(value)), [0, 1, 2]);
            assert_eq!([4, 8, u32::MAX].map(|value| numbers.get(value)), [NONE; 3]);
            assert_eq!(numbers.insert(5, 9), Some(0), "5 had a number");
        }
    }
}
