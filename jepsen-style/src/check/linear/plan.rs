//! A history of one object (or of several that are searched together), laid out for the search.
//!
//! The search goes by *levels*: at level `l` the first `l` calls in the order of their returns have been placed. What
//! else may have been placed by then is open at that moment, and there are only as many such calls as the system had
//! clients. So each call gets a *slot*, a bit that is free again when it returned, and what the search remembers is small
//! however long the history is. Calls of unknown outcome are open for ever, and have no bit: those that ask for the same form
//! a group, and the search remembers how many of each group it has used.
//!
//! What is open at a level is not written down, since that would take levels times open calls. It is found: of the calls in
//! the order of their returns, from the level on, those that were invoked before the return at that level.

use std::hash::Hash;

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use super::below::Below;
use crate::deadline;
use crate::model::{Model, Timed};

/// A call at its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Which of [`Plan::calls`].
    pub(super) call: u32,
    /// Which object.
    pub(super) cell: u32,
    /// The bit that says whether it has been placed; its number within the group if its outcome is unknown.
    pub(super) slot: u32,
    /// Which of [`Plan::doubtful`]; [`SURE`] if it returned.
    pub(super) group: u32,
    pub(super) invoked: u32,
    pub(super) returned: u32,
    pub(super) operation: u32,
    pub(super) pure: bool,
}

/// The group of a call whose outcome is known.
pub(super) const SURE: u32 = u32::MAX;

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
    /// How many bits a set of open calls takes.
    pub(super) slots: u32,
    /// The calls that return and may change the state.
    moves: Returning,
    /// The calls that return and change nothing.
    looks: Returning,
    /// For each level how many entries had been invoked by then.
    entered: Vec<u32>,
}

/// Some of the calls that return, in the order of their returns.
struct Returning {
    entries: Vec<u32>,
    /// When they were invoked.
    invoked: Below,
    /// For each level how many of them had returned before.
    before: Vec<u32>,
}

impl Returning {
    /// Those of `returns` that are wanted.
    fn of(entries: &[Entry], returns: &[u32], wanted: impl Fn(&Entry) -> bool) -> Self {
        let mut chosen = Vec::new();
        let mut before = Vec::with_capacity(returns.len());
        for &number in returns {
            before.push(chosen.len() as u32);
            if wanted(&entries[number as usize]) {
                chosen.push(number);
            }
        }
        chosen.shrink_to_fit();
        let invoked = chosen
            .iter()
            .map(|number| entries[*number as usize].invoked);
        Self {
            invoked: Below::new(invoked.collect()),
            entries: chosen,
            before,
        }
    }

    fn bytes(&self) -> usize {
        (self.entries.len() + self.before.len()) * size_of::<u32>() + self.invoked.bytes()
    }
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
                    group: SURE,
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
            moves: Returning::of(&entries, &returns, |entry| !entry.pure),
            looks: Returning::of(&entries, &returns, |entry| entry.pure),
            entered: Vec::new(),
            calls,
            entries,
            returns,
            goals: vec![Vec::new(); cells.len()],
            doubtful: Vec::new(),
            slots: 0,
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

    /// When the call of `level` returns.
    #[inline]
    fn end(&self, level: u32) -> u32 {
        self.entries[self.returning(level) as usize].returned
    }

    /// How many calls return and may change the state: the end of their numbers.
    pub(super) fn moves(&self) -> u32 {
        self.moves.entries.len() as u32
    }

    /// The number of the first move that may be open at `level`.
    #[inline]
    pub(super) fn first_move(&self, level: u32) -> u32 {
        self.moves.before[level as usize]
    }

    /// The number and the entry of the next call, by return, that is open when the one of `level` returns and that may change
    /// the state.
    #[inline]
    pub(super) fn next_move(&self, from: u32, level: u32) -> Option<(u32, u32)> {
        let number = self.moves.invoked.next(from as usize, self.end(level))?;
        Some((number as u32, self.moves.entries[number]))
    }

    /// All such calls.
    pub(super) fn open_moves(&self, level: u32) -> impl Iterator<Item = u32> {
        Self::open(&self.moves, level, self.end(level))
    }

    /// The calls that are open when the one of `level` returns and that change nothing.
    pub(super) fn open_looks(&self, level: u32) -> impl Iterator<Item = u32> {
        Self::open(&self.looks, level, self.end(level))
    }

    fn open(among: &Returning, level: u32, end: u32) -> impl Iterator<Item = u32> {
        let mut from = among.before[level as usize] as usize;
        std::iter::from_fn(move || {
            let number = among.invoked.next(from, end)?;
            from = number + 1;
            Some(among.entries[number])
        })
    }

    /// What was invoked between the return before that of `level`, and that.
    #[inline]
    pub(super) fn newcomers(&self, level: u32) -> std::ops::Range<u32> {
        let before = level
            .checked_sub(1)
            .map_or(0, |before| self.entered[before as usize]);
        before..self.entered[level as usize]
    }

    /// The operations of entries.
    pub(super) fn operations(&self, entries: &[u32]) -> Vec<u32> {
        let operation = |entry: &u32| self.entries[*entry as usize].operation;
        entries.iter().map(operation).collect()
    }

    /// Bytes that the layout takes.
    pub(super) fn bytes(&self) -> u64 {
        let numbers = self.returns.len() + self.entered.len();
        (self.entries.len() * size_of::<Entry>()
            + numbers * size_of::<u32>()
            + self.moves.bytes()
            + self.looks.bytes()) as u64
    }

    /// Plays the history once: who comes gets a free slot, who returns gives it back.
    fn give_slots(&mut self) {
        let mut free: Vec<u32> = Vec::new();
        let mut next = 0;
        self.entered.reserve_exact(self.returns.len());
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
                }
                next += 1;
            }
            self.entered.push(next as u32);
            free.push(self.entries[returning as usize].slot);
        }
    }

    fn give_doubtful(&mut self) {
        let mut doubtful: Vec<u32> = (0..self.entries.len() as u32)
            .filter(|entry| self.entries[*entry as usize].returned == crate::model::OPEN)
            .collect();
        doubtful.sort_by_key(|entry| {
            let entry = &self.entries[*entry as usize];
            (entry.cell, entry.call, entry.invoked)
        });
        let mut last = None;
        for number in doubtful {
            let entry = &mut self.entries[number as usize];
            if last != Some((entry.cell, entry.call)) {
                self.doubtful.push(Doubtful {
                    entries: Vec::new(),
                });
            }
            last = Some((entry.cell, entry.call));
            entry.group = self.doubtful.len() as u32 - 1;
            let group = self.doubtful.last_mut().expect("pushed before");
            entry.slot = group.entries.len() as u32;
            group.entries.push(number);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Value;
    use crate::model::OPEN;
    use crate::model::register::{Call, CasRegister};

    fn timed(number: u32, call: Call, invoked: u32, returned: u32) -> Timed<Call> {
        Timed {
            call,
            invoked,
            returned,
            operation: number,
        }
    }

    fn write(value: u32) -> Call {
        Call::Write(Value::Integer(i64::from(value)))
    }

    /// So many writes and reads that are all open at one moment, beside as many of unknown outcome.
    fn crowd(size: u32) -> Plan<Call> {
        let mut calls = Vec::new();
        for number in 0..size {
            calls.push(timed(number, write(number), number, 3 * size + number));
        }
        for number in size..2 * size {
            let read = Call::Read(Value::Nil);
            calls.push(timed(number, read, number, 3 * size + number));
        }
        for number in 2 * size..3 * size {
            calls.push(timed(number, write(number), number, OPEN));
        }
        Plan::new(&CasRegister::default(), &[calls])
    }

    #[test]
    fn what_a_plan_takes_grows_with_the_calls_and_not_with_how_many_are_open() {
        let (small, large) = (crowd(500), crowd(8000));
        assert_eq!((small.slots, large.slots), (1000, 16_000));
        assert!(large.bytes() <= small.bytes() * 17, "{}", large.bytes());
        assert!(large.bytes() < 24_000 * 80, "{}", large.bytes());
    }

    #[test]
    fn what_is_open_at_a_level_is_what_was_invoked_before_its_return_and_has_not_returned() {
        let plan = crowd(20);
        for level in 0..plan.levels() {
            let end = plan.end(level);
            let is_open = |entry: &&u32| {
                let entry = &plan.entries[**entry as usize];
                entry.invoked < end && entry.returned >= end
            };
            let open: Vec<u32> = plan.returns.iter().filter(is_open).copied().collect();
            let (looks, moves): (Vec<u32>, Vec<u32>) = open
                .into_iter()
                .partition(|entry| plan.entries[*entry as usize].pure);
            assert_eq!(plan.open_moves(level).collect::<Vec<_>>(), moves);
            assert_eq!(plan.open_looks(level).collect::<Vec<_>>(), looks);
        }
    }
}
