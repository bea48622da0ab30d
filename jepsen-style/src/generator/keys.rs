//! The same workload on many independent keys.
//!
//! A checker that decides each key by itself decides many short histories instead of one long one, and that is the
//! difference between seconds and for ever. So clients are put in groups, each group works on one key for a while, and
//! then on a new one.

use super::{Context, Generator, Next, sooner};
use crate::history::{Operation, Process, Value};

/// Groups of clients, each on a key.
pub struct PerKey<F> {
    group: u32,
    keys: std::ops::Range<i64>,
    make: F,
    /// For each group, its key and what is asked of it.
    working: Vec<Option<(Value, Box<dyn Generator>)>>,
}

/// Gives every group of `group` clients a key of `keys` and what `make` makes for it; when that is done, the next key.
/// Done when there are no more keys.
pub fn per_key<F>(group: u32, keys: std::ops::Range<i64>, make: F) -> PerKey<F>
where
    F: FnMut(&Value) -> Box<dyn Generator> + Send,
{
    PerKey {
        group: group.max(1),
        keys,
        make,
        working: Vec::new(),
    }
}

impl<F> PerKey<F> {
    fn group_of(&self, process: Process, clients: u32) -> Option<usize> {
        match process {
            Process::Client(number) => Some((number % clients.max(1) / self.group) as usize),
            Process::Nemesis => None,
        }
    }
}

impl<F: FnMut(&Value) -> Box<dyn Generator> + Send> Generator for PerKey<F> {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let groups = context.clients.div_ceil(self.group) as usize;
        self.working.resize_with(groups, || None);
        let mut soonest = Next::Done;
        for group in 0..groups {
            let of_group =
                |process: &&Process| self.group_of(**process, context.clients) == Some(group);
            let free: Vec<Process> = context.free.iter().filter(of_group).copied().collect();
            loop {
                if self.working[group].is_none() {
                    let Some(key) = self.keys.next().map(Value::Integer) else {
                        break;
                    };
                    let generator = (self.make)(&key);
                    self.working[group] = Some((key, generator));
                }
                let Some((key, generator)) = &mut self.working[group] else {
                    break;
                };
                match generator.next(&mut context.among(&free)) {
                    Next::Ask(process, ask) => {
                        let ask = ask.of(key.clone());
                        return Next::Ask(process, ask);
                    }
                    Next::Done => self.working[group] = None,
                    other => {
                        soonest = sooner(soonest, other);
                        break;
                    }
                }
            }
        }
        soonest
    }

    fn completed(&mut self, operation: &Operation) {
        for (key, generator) in self.working.iter_mut().flatten() {
            if *key == operation.key {
                generator.completed(operation);
            }
        }
    }
}
