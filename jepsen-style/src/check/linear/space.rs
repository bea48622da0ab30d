//! The states that a search has met, each once, under small numbers.
//!
//! Rich states (strings, maps) are compared and hashed when they are first made and never again: the steps between them
//! are remembered by number. Where several objects are searched together a state is a row of numbers, one for each.

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::plan::Entry;
use crate::model::Model;

/// What the memory of steps says where the model said `None`.
const ILLEGAL: u32 = u32::MAX;

pub(super) struct Space<'a, M: Model> {
    model: &'a M,
    calls: &'a IndexSet<M::Call, FxBuildHasher>,
    states: IndexSet<M::State, FxBuildHasher>,
    steps: FxHashMap<u64, u32>,
    /// Rows of states; unused when there is one object, whose state is the row.
    rows: IndexSet<Box<[u32]>, FxBuildHasher>,
    objects: usize,
    /// What the states own beyond their own size.
    owned: usize,
}

impl<'a, M: Model> Space<'a, M> {
    pub(super) fn new(
        model: &'a M,
        calls: &'a IndexSet<M::Call, FxBuildHasher>,
        objects: usize,
    ) -> Self {
        let mut states = IndexSet::default();
        states.insert(model.init());
        let mut rows = IndexSet::default();
        if objects > 1 {
            rows.insert(vec![0; objects].into_boxed_slice());
        }
        Self {
            model,
            calls,
            states,
            steps: FxHashMap::default(),
            rows,
            objects,
            owned: 0,
        }
    }

    /// The state of the object that `entry` is about.
    #[inline]
    pub(super) fn object(&self, state: u32, entry: &Entry) -> u32 {
        if self.objects > 1 {
            self.rows[state as usize][entry.cell as usize]
        } else {
            state
        }
    }

    /// The state after `entry`, if it can have its answer.
    #[inline]
    pub(super) fn step(&mut self, state: u32, entry: &Entry) -> Option<u32> {
        let before = self.object(state, entry);
        let after = self.step_object(before, entry.call)?;
        if self.objects == 1 {
            return Some(after);
        }
        if before == after {
            return Some(state);
        }
        let mut row = self.rows[state as usize].clone();
        row[entry.cell as usize] = after;
        Some(self.rows.insert_full(row).0 as u32)
    }

    #[inline]
    fn step_object(&mut self, state: u32, call: u32) -> Option<u32> {
        let key = u64::from(state) << 32 | u64::from(call);
        if let Some(&known) = self.steps.get(&key) {
            return (known != ILLEGAL).then_some(known);
        }
        let after = self
            .model
            .step(&self.states[state as usize], &self.calls[call as usize]);
        let after = after.map(|after| {
            let owned = self.model.owned(&after);
            let (number, is_new) = self.states.insert_full(after);
            self.owned += if is_new { owned } else { 0 };
            number as u32
        });
        self.steps.insert(key, after.unwrap_or(ILLEGAL));
        after
    }

    /// Whether `goal` can come true from a state of its object without a reset.
    pub(super) fn leads_to(&self, object: u32, goal: u32) -> bool {
        self.model
            .leads_to(&self.states[object as usize], &self.calls[goal as usize])
    }

    pub(super) fn resets(&self, call: u32, goal: u32) -> bool {
        self.model
            .resets(&self.calls[call as usize], &self.calls[goal as usize])
    }

    /// The state of one object for a person to read.
    pub(super) fn describe(&self, object: u32) -> String {
        self.model.describe(&self.states[object as usize])
    }

    /// About how many bytes the states take.
    pub(super) fn bytes(&self) -> u64 {
        let state = size_of::<M::State>() + 24;
        let row = self.objects * 4 + 40;
        (self.owned
            + self.states.len() * state
            + self.steps.capacity() * 17
            + self.rows.len() * row) as u64
    }
}
