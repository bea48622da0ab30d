//! A history of one object (or of several that are searched together), laid out for the search.
//!
//! The search goes by *levels*: at level `l` the first `l` calls in the order of their returns have been placed. What
//! else may have been placed by then is open at that moment, and there are only as many such calls as the system had
//! clients. So each call gets a *slot*, a bit that is free again when it returned, and what the search remembers is small
//! however long the history is. Calls of unknown outcome are open for ever: each has a bit of its own.

use std::hash::Hash;

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use crate::deadline;
use crate::model::{Model, Timed};

/// A call at its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Which of [`Plan::calls`].
    pub(super) call: u32,
    /// Which object.
    pub(super) cell: u32,
    /// The bit that says whether it has been placed.
    pub(super) slot: u32,
    pub(super) invoked: u32,
    pub(super) returned: u32,
    pub(super) operation: u32,
    pub(super) pure: bool,
}

/// Calls of unknown outcome that ask for the same. It does not matter which of them took effect first, so they are used
/// in the order of their invocations.
pub(super) struct Doubtful {
    pub(super) entries: Vec<u32>,
}

pub(super) struct Plan<C> {
    /// Every call that differs from the others.
    pub(super) calls: IndexSet<C, FxBuildHasher>,
    /// All entries, by invocation.
    pub(super) entries: Vec<Entry>,
    /// The entries that returned, in the order of their returns: one level each.
    pub(super) returns: Vec<u32>,
    /// For each object the levels at which a goal returns.
    pub(super) goals: Vec<Vec<u32>>,
    pub(super) doubtful: Vec<Doubtful>,
    /// How many bits are for calls that return; those of unknown outcome come after them.
    pub(super) slots: u32,
    pub(super) bits: u32,
    open: Vec<u32>,
    /// Where in `open` the calls of a level begin, and where its pure ones do.
    open_from: Vec<(u32, u32)>,
}

impl<C: Clone + Eq + Hash> Plan<C> {
    /// Lays out `cells`, each the calls of one object.
    pub(super) fn new<M: Model<Call = C>>(model: &M, cells: &[Vec<Timed<C>>]) -> Self {
        let total = cells.iter().map(Vec::len).sum();
        let mut calls: IndexSet<C, FxBuildHasher> = IndexSet::default();
        let mut entries = Vec::with_capacity(total);
        for (cell, timed) in (0..).zip(cells) {
            for timed in timed {
                deadline::look();
                let call = match calls.get_index_of(&timed.call) {
                    Some(known) => known,
                    None => calls.insert_full(timed.call.clone()).0,
                };
                entries.push(Entry {
                    call: call as u32,
                    cell,
                    slot: 0,
                    invoked: timed.invoked,
                    returned: timed.returned,
                    operation: timed.operation,
                    pure: model.is_pure(&timed.call),
                });
            }
        }
        // A doubtful call that changes nothing cannot help anyone.
        entries.retain(|entry| !(entry.pure && entry.returned == crate::model::OPEN));
        if cells.len() > 1 {
            entries.sort_unstable_by_key(|entry| entry.invoked);
        }
        let returns = returns(&entries);
        let mut plan = Self {
            calls,
            entries,
            returns,
            goals: vec![Vec::new(); cells.len()],
            doubtful: Vec::new(),
            slots: 0,
            bits: 0,
            open: Vec::new(),
            open_from: Vec::new(),
        };
        plan.give_slots();
        plan.give_doubtful();
        plan.find_goals(model);
        plan
    }

    /// How many calls must be placed.
    pub(super) fn levels(&self) -> u32 {
        self.returns.len() as u32
    }

    /// The call that returns at `level`.
    #[inline]
    pub(super) fn returning(&self, level: u32) -> u32 {
        self.returns[level as usize]
    }

    /// The calls that are open when the one of `level` returns and that may change the state, soonest return first.
    #[inline]
    pub(super) fn moves(&self, level: u32) -> &[u32] {
        let (from, pure) = self.open_from[level as usize];
        &self.open[from as usize..pure as usize]
    }

    /// The calls that are open when the one of `level` returns and that change nothing.
    #[inline]
    pub(super) fn looks(&self, level: u32) -> &[u32] {
        let (_, pure) = self.open_from[level as usize];
        let (end, _) = self.open_from[level as usize + 1];
        &self.open[pure as usize..end as usize]
    }

    /// Bytes that the layout takes.
    pub(super) fn bytes(&self) -> u64 {
        (self.entries.len() * size_of::<Entry>() + self.open.len() * 4 + self.open_from.len() * 8)
            as u64
    }

    /// Plays the history once, noting at each return what is open.
    fn give_slots(&mut self) {
        let mut free: Vec<u32> = Vec::new();
        let (mut moves, mut looks): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        let mut next = 0;
        self.open_from.reserve(self.returns.len() + 1);
        for &returning in &self.returns {
            deadline::look();
            let now = self.entries[returning as usize].returned;
            while let Some(entry) = self
                .entries
                .get_mut(next)
                .filter(|entry| entry.invoked < now)
            {
                if entry.returned != crate::model::OPEN {
                    entry.slot = free.pop().unwrap_or_else(|| {
                        self.slots += 1;
                        self.slots - 1
                    });
                    let returned = entry.returned;
                    let open = if entry.pure { &mut looks } else { &mut moves };
                    let place = open
                        .partition_point(|other| self.entries[*other as usize].returned < returned);
                    open.insert(place, next as u32);
                }
                next += 1;
            }
            let from = self.open.len();
            self.open.extend_from_slice(&moves);
            self.open_from.push((from as u32, self.open.len() as u32));
            self.open.extend_from_slice(&looks);
            // It returns first of all that are open, so it is the first in its list.
            let entry = &self.entries[returning as usize];
            let open = if entry.pure { &mut looks } else { &mut moves };
            debug_assert_eq!(open.first(), Some(&returning));
            open.remove(0);
            free.push(entry.slot);
        }
        self.open_from
            .push((self.open.len() as u32, self.open.len() as u32));
    }

    fn give_doubtful(&mut self) {
        let mut doubtful: Vec<u32> = (0..self.entries.len() as u32)
            .filter(|entry| self.entries[*entry as usize].returned == crate::model::OPEN)
            .collect();
        doubtful.sort_by_key(|entry| {
            let entry = &self.entries[*entry as usize];
            (entry.cell, entry.call, entry.invoked)
        });
        self.bits = self.slots;
        let mut last = None;
        for entry in doubtful {
            let this = &mut self.entries[entry as usize];
            this.slot = self.bits;
            self.bits += 1;
            if last != Some((this.cell, this.call)) {
                self.doubtful.push(Doubtful {
                    entries: Vec::new(),
                });
            }
            last = Some((this.cell, this.call));
            self.doubtful
                .last_mut()
                .expect("pushed before")
                .entries
                .push(entry);
        }
    }

    fn find_goals<M: Model<Call = C>>(&mut self, model: &M) {
        let goal: Vec<bool> = self.calls.iter().map(|call| model.is_goal(call)).collect();
        for (level, entry) in (0..).zip(&self.returns) {
            let entry = &self.entries[*entry as usize];
            if goal[entry.call as usize] {
                self.goals[entry.cell as usize].push(level);
            }
        }
    }
}

fn returns(entries: &[Entry]) -> Vec<u32> {
    let mut returns: Vec<u32> = (0..entries.len() as u32)
        .filter(|entry| entries[*entry as usize].returned != crate::model::OPEN)
        .collect();
    returns.sort_unstable_by_key(|entry| entries[*entry as usize].returned);
    returns
}
