//! The search for an order that explains every answer.
//!
//! It is Wing and Gong's search with Lowe's memory, bent in five places:
//!
//! 1. **Just in time.** At each level one call has to be placed before its return. It is tried first; other open calls
//!    are placed before it only if it cannot be placed at once or all that follows fails.
//! 2. **Looks are free.** A call that changes no state is placed at the first moment at which its answer is right. Nothing
//!    is lost: it can be taken from wherever it stood in another order and put here.
//! 3. **Doubt is a resource.** A call of unknown outcome may be used or never. A configuration that has used fewer of them
//!    can do all that one which has used more can; so having failed with few, those with more are not tried.
//! 4. **Goals.** An answer still to come can rule out a state long before it is reached: a string that has been read
//!    begins with everything that was there before. See [`Model::leads_to`].
//! 5. **Strangers wait.** Where several objects are searched together, a call on another object is never placed to make
//!    way for this one.

use std::collections::hash_map::Entry;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::bounds::{Bounds, Budget, Exhausted};
use super::doubt::{Doubt, Used};
use super::mask::Mask;
use super::plan::{Plan, SURE};
use super::space::Space;
use crate::model::Model;

/// What a search came to.
pub(super) enum Found {
    /// An order: entries of the plan, first to last.
    Order(Vec<u32>),
    /// No order explains every answer.
    Nothing(Stuck),
    /// A bound was met, or another part of the race ended it.
    GaveUp(Exhausted),
}

/// How far a search came that found nothing.
pub(super) struct Stuck {
    /// The level that was never passed.
    pub(super) level: u32,
    /// An order of all that was placed on the way there.
    pub(super) order: Vec<u32>,
    /// The states (of the object concerned) in which the call of that level was tried.
    pub(super) states: Vec<String>,
}

/// Whether answers to come may rule out states; without, the level at which a search is stuck is the earliest possible.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Foresight {
    Use,
    Ignore,
}

/// How many states a stuck search tells.
const STATES_TOLD: usize = 5;

/// Searches with masks as wide as the plan needs.
pub(super) fn search<M: Model>(
    model: &M,
    plan: &Plan<M::Call>,
    foresight: Foresight,
    bounds: &Bounds,
    started: Instant,
) -> Found {
    match plan.slots {
        0..=64 => Search::<M, 1>::new(model, plan, foresight, bounds, started).run(),
        65..=256 => Search::<M, 4>::new(model, plan, foresight, bounds, started).run(),
        257..=2048 => Search::<M, 32>::new(model, plan, foresight, bounds, started).run(),
        2049..=32768 => Search::<M, 512>::new(model, plan, foresight, bounds, started).run(),
        _ => Found::GaveUp(Exhausted::Open),
    }
}

/// Where the search stands: what has been placed, and the state that left.
#[derive(Clone, Copy)]
struct Place<const W: usize> {
    level: u32,
    state: u32,
    mask: Mask<W>,
    /// The doubtful calls that have been used.
    used: Used,
}

/// A place whose ways on are being tried.
struct Frame<const W: usize> {
    place: Place<W>,
    /// How long the order was here.
    placed: u32,
    /// The next way on: numbers of moves, and from their end on numbers of groups of doubtful calls.
    next: u32,
    /// The objects that all failures beyond this place were about.
    blamed: Blamed,
}

/// A set of objects, by their numbers modulo 64: two that share a bit are blamed together.
type Blamed = u64;

fn blame(object: u32) -> Blamed {
    1 << (object % 64)
}

/// What makes two places the same but for the doubtful calls used.
#[derive(PartialEq, Eq, Hash)]
struct Known<const W: usize> {
    level: u32,
    state: u32,
    mask: Mask<W>,
}

struct Search<'a, M: Model, const W: usize> {
    plan: &'a Plan<M::Call>,
    space: Space<'a, M>,
    foresight: Foresight,
    budget: Budget<'a>,
    frames: Vec<Frame<W>>,
    order: Vec<u32>,
    /// Places that led nowhere, when no outcome is doubtful, and whose fault that was.
    dead: FxHashMap<Known<W>, Blamed>,
    doubt: Doubt,
    /// Places that led nowhere, with the least sets of doubtful calls that had been used there.
    dead_doubtful: FxHashMap<Known<W>, Vec<Used>>,
    /// How many such sets were ever kept: an upper bound of how many there are.
    doubts: u64,
    stuck: Stuck,
    stuck_states: Vec<u32>,
}

impl<'a, M: Model, const W: usize> Search<'a, M, W> {
    fn new(
        model: &'a M,
        plan: &'a Plan<M::Call>,
        foresight: Foresight,
        bounds: &'a Bounds,
        started: Instant,
    ) -> Self {
        Self {
            plan,
            space: Space::new(model, &plan.calls, plan.goals.len()),
            foresight,
            budget: Budget::new(bounds, started),
            frames: Vec::new(),
            order: Vec::new(),
            dead: FxHashMap::default(),
            doubt: Doubt::over(plan.doubtful.len()),
            dead_doubtful: FxHashMap::default(),
            doubts: 0,
            stuck: Stuck {
                level: 0,
                order: Vec::new(),
                states: Vec::new(),
            },
            stuck_states: Vec::new(),
        }
    }

    fn run(mut self) -> Found {
        let mut start = Place {
            level: 0,
            state: 0,
            mask: Mask::EMPTY,
            used: Used::NONE,
        };
        self.look_around(&mut start, None);
        if start.level == self.plan.levels() {
            return Found::Order(self.order);
        }
        self.enter(start);
        while let Some(frame) = self.frames.last() {
            let (place, next, placed) = (frame.place, frame.next, frame.placed);
            self.take_back(placed);
            if let Err(exhausted) = self.spend() {
                return Found::GaveUp(exhausted);
            }
            let (way, next) = self.way(&place, next);
            if let Some(frame) = self.frames.last_mut() {
                frame.next = next;
            }
            match way {
                Way::None => self.leave(),
                Way::Blocked => {}
                Way::To(entry, state) => {
                    let mut place = place;
                    place.state = state;
                    self.put(&mut place, entry);
                    self.look_around(&mut place, Some(entry));
                    if place.level == self.plan.levels() {
                        return Found::Order(self.order);
                    }
                    if self.is_hopeless(&place, entry) {
                        self.blame_here(blame(self.plan.entries[entry as usize].cell));
                    } else if let Err(blamed) = self.is_new(&place) {
                        self.blame_here(blamed);
                    } else {
                        self.enter(place);
                    }
                }
            }
        }
        self.stuck.states = self
            .stuck_states
            .iter()
            .map(|state| self.space.describe(*state))
            .collect();
        Found::Nothing(self.stuck)
    }

    #[inline]
    fn spend(&mut self) -> Result<(), Exhausted> {
        self.budget.spend()?;
        if self.budget.is_time_to_weigh() && self.bytes() > self.budget.memory() {
            return Err(Exhausted::Memory);
        }
        Ok(())
    }

    /// Places a call that changes something.
    fn put(&mut self, place: &mut Place<W>, number: u32) {
        let entry = &self.plan.entries[number as usize];
        if entry.group == SURE {
            place.mask.set(entry.slot);
        } else {
            place.used = self.doubt.use_one(place.used, entry.group);
        }
        self.order.push(number);
    }

    /// Takes back everything that was placed after the first `placed` calls.
    fn take_back(&mut self, placed: u32) {
        if !self.plan.doubtful.is_empty() {
            for number in &self.order[placed as usize..] {
                let group = self.plan.entries[*number as usize].group;
                if group != SURE {
                    self.doubt.give_back(group);
                }
            }
        }
        self.order.truncate(placed as usize);
    }

    fn enter(&mut self, place: Place<W>) {
        let placed = self.order.len() as u32;
        self.frames.push(Frame {
            place,
            placed,
            next: self.plan.first_move(place.level),
            blamed: 0,
        });
    }

    /// Gives a place up: all ways on have failed.
    ///
    /// The ways on from a place differ only in what they do to one object. If a failure beyond one of them was not about
    /// that object, it will be the same beyond all others, and they need not be tried.
    fn leave(&mut self) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        let blamed = frame.blamed | blame(self.object_at(frame.place.level));
        self.note_stuck(&frame.place);
        self.bury(&frame.place, blamed);
        while let Some(before) = self.frames.last_mut() {
            before.blamed |= blamed;
            let place = before.place;
            if blamed & blame(self.object_at(place.level)) != 0 {
                return;
            }
            self.frames.pop();
            self.bury(&place, blamed);
        }
    }

    /// Notes whose fault it was that a place led nowhere.
    fn bury(&mut self, place: &Place<W>, blamed: Blamed) {
        if self.plan.doubtful.is_empty() {
            self.dead.insert(self.known(place), blamed);
        }
    }

    fn known(&self, place: &Place<W>) -> Known<W> {
        Known {
            level: place.level,
            state: place.state,
            mask: place.mask,
        }
    }

    fn blame_here(&mut self, blamed: Blamed) {
        if let Some(frame) = self.frames.last_mut() {
            frame.blamed |= blamed;
        }
    }

    /// The object that the call of `level` is about.
    fn object_at(&self, level: u32) -> u32 {
        self.plan.entries[self.plan.returning(level) as usize].cell
    }

    /// Remembers how far it went. Only here, where a place is given up: most places lead on, and an order is long.
    fn note_stuck(&mut self, place: &Place<W>) {
        if place.level > self.stuck.level || self.stuck_states.is_empty() {
            self.stuck.level = place.level;
            self.stuck.order.clone_from(&self.order);
            self.stuck_states.clear();
        }
        if place.level == self.stuck.level && self.stuck_states.len() < STATES_TOLD {
            let entry = &self.plan.entries[self.plan.returning(place.level) as usize];
            let object = self.space.object(place.state, entry);
            if !self.stuck_states.contains(&object) {
                self.stuck_states.push(object);
            }
        }
    }

    /// The next way on from a place, and what comes after it.
    fn way(&mut self, place: &Place<W>, next: u32) -> (Way, u32) {
        let moves = self.plan.moves();
        if next < moves
            && let Some((number, entry)) = self.plan.next_move(next, place.level)
        {
            return (self.try_entry(place, entry), number + 1);
        }
        let group = next.saturating_sub(moves);
        (self.doubtful_way(place, group), moves + group + 1)
    }

    /// The way on by the next unused call of a group.
    fn doubtful_way(&mut self, place: &Place<W>, group: u32) -> Way {
        let plan = self.plan;
        let Some(doubtful) = plan.doubtful.get(group as usize) else {
            return Way::None;
        };
        let Some(&entry) = doubtful.entries.get(self.doubt.used(group) as usize) else {
            return Way::Blocked;
        };
        let returning = &plan.entries[plan.returning(place.level) as usize];
        if plan.entries[entry as usize].invoked > returning.returned {
            return Way::Blocked;
        }
        match self.try_entry(place, entry) {
            // A doubtful call that changes nothing here is better kept.
            Way::To(_, state) if state == place.state => Way::Blocked,
            way => way,
        }
    }

    #[inline]
    fn try_entry(&mut self, place: &Place<W>, number: u32) -> Way {
        let entry = &self.plan.entries[number as usize];
        let returning = &self.plan.entries[self.plan.returning(place.level) as usize];
        let is_placed = entry.group == SURE && place.mask.has(entry.slot);
        if entry.cell != returning.cell || is_placed {
            return Way::Blocked;
        }
        self.space
            .step(place.state, entry)
            .map_or(Way::Blocked, |state| Way::To(number, state))
    }

    /// Places every look that fits the state, and rises to the next level for as long as its call has been placed.
    /// `changed` is the call that made the state: looks at other objects have been tried before.
    fn look_around(&mut self, place: &mut Place<W>, changed: Option<u32>) {
        let plan = self.plan;
        let cell = changed.map(|entry| plan.entries[entry as usize].cell);
        if place.level < plan.levels() {
            for number in plan.open_looks(place.level) {
                if cell.is_none_or(|cell| cell == plan.entries[number as usize].cell) {
                    self.look(place, number);
                }
            }
        }
        while place.level < plan.levels() {
            let returning = &plan.entries[plan.returning(place.level) as usize];
            if !place.mask.has(returning.slot) {
                return;
            }
            place.mask.clear(returning.slot);
            place.level += 1;
            if place.level < plan.levels() {
                // All who were open at the level before have been tried in this state.
                for number in plan.newcomers(place.level) {
                    let entry = &plan.entries[number as usize];
                    if entry.pure {
                        self.look(place, number);
                    }
                }
            }
        }
    }

    /// Places a look if it fits the state.
    #[inline]
    fn look(&mut self, place: &mut Place<W>, number: u32) {
        let entry = &self.plan.entries[number as usize];
        if !place.mask.has(entry.slot) && self.space.step(place.state, entry).is_some() {
            place.mask.set(entry.slot);
            self.order.push(number);
        }
    }

    /// Whether the next answer to come about the object of `entry` can no longer come true.
    fn is_hopeless(&self, place: &Place<W>, entry: u32) -> bool {
        if self.foresight == Foresight::Ignore {
            return false;
        }
        let plan = self.plan;
        let entry = &plan.entries[entry as usize];
        let goals = &plan.goals[entry.cell as usize];
        let first = goals.partition_point(|level| *level < place.level);
        let Some(level) = goals[first..]
            .iter()
            .find(|level| !self.is_placed(place, plan.returning(**level)))
        else {
            return false;
        };
        let goal = &plan.entries[plan.returning(*level) as usize];
        let object = self.space.object(place.state, entry);
        !self.space.leads_to(object, goal.call) && !self.may_be_reset(place, *level)
    }

    /// Whether a call that is still to be placed can make way for the goal of `level`.
    fn may_be_reset(&self, place: &Place<W>, level: u32) -> bool {
        let plan = self.plan;
        let goal = &plan.entries[plan.returning(level) as usize];
        let resets = |number: u32| {
            let entry = &plan.entries[number as usize];
            entry.cell == goal.cell
                && entry.invoked < goal.returned
                && !entry.pure
                && !self.is_placed(place, number)
                && self.space.resets(entry.call, goal.call)
        };
        let returning_before = &plan.returns[place.level as usize..level as usize];
        returning_before.iter().copied().any(resets)
            || plan.open_moves(level).any(resets)
            || plan
                .doubtful
                .iter()
                .flat_map(|doubtful| doubtful.entries.iter().copied())
                .any(resets)
    }

    /// Whether a call that returns at this level or later has been placed already. A bit belongs to it only once it is open.
    fn is_placed(&self, place: &Place<W>, number: u32) -> bool {
        let entry = &self.plan.entries[number as usize];
        if entry.group != SURE {
            return entry.slot < self.doubt.used(entry.group);
        }
        let returning = &self.plan.entries[self.plan.returning(place.level) as usize];
        entry.invoked < returning.returned && place.mask.has(entry.slot)
    }

    /// Remembers a place; an error if one that could do as much has led nowhere, with whose fault that was.
    fn is_new(&mut self, place: &Place<W>) -> Result<(), Blamed> {
        let known = self.known(place);
        if self.plan.doubtful.is_empty() {
            return match self.dead.entry(known) {
                Entry::Occupied(dead) => Err(*dead.get()),
                Entry::Vacant(vacant) => {
                    vacant.insert(Blamed::MAX);
                    Ok(())
                }
            };
        }
        let least = self.dead_doubtful.entry(known).or_default();
        if least.iter().any(|other| self.doubt.is_within_used(*other)) {
            return Err(Blamed::MAX);
        }
        least.retain(|other| !self.doubt.is_within(place.used, *other));
        least.push(place.used);
        self.doubts += 1;
        Ok(())
    }

    /// About how many bytes the search holds.
    fn bytes(&self) -> u64 {
        let known = size_of::<Known<W>>() as u64;
        self.plan.bytes()
            + self.space.bytes()
            + self.doubt.bytes()
            + self.dead.capacity() as u64 * (known + 9)
            + self.dead_doubtful.capacity() as u64 * (known + 25)
            // Most lists hold one set, in a piece of four.
            + self.doubts * 4 * size_of::<Used>() as u64
            + self.frames.capacity() as u64 * size_of::<Frame<W>>() as u64
            + self.order.capacity() as u64 * size_of::<u32>() as u64
    }
}

/// A way on from a place.
enum Way {
    /// There are no more.
    None,
    /// Not this one.
    Blocked,
    /// By placing this entry, to this state.
    To(u32, u32),
}
