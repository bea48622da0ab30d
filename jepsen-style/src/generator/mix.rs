//! Several generators as one.

use super::{Context, Generator, Next, sooner};
use crate::history::{Operation, Process};

/// Chooses by weight.
pub struct Mix {
    parts: Vec<(u32, Box<dyn Generator>)>,
    chosen: Option<usize>,
}

/// Before every ask one of `parts` is chosen by weight; a part that is done is no longer chosen.
pub fn mix(parts: Vec<(u32, Box<dyn Generator>)>) -> Mix {
    Mix {
        parts,
        chosen: None,
    }
}

impl Mix {
    fn choose(&mut self, context: &mut Context<'_>) -> Option<usize> {
        if self.chosen.is_none() {
            let total: u64 = self
                .parts
                .iter()
                .map(|(weight, _)| u64::from(*weight))
                .sum();
            let mut drawn = context.random.below(total);
            self.chosen = self.parts.iter().position(|(weight, _)| {
                let here = drawn < u64::from(*weight);
                drawn = drawn.saturating_sub(u64::from(*weight));
                here
            });
        }
        self.chosen
    }
}

impl Generator for Mix {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        // The choice stands until it could be carried out, or a slow part would be asked less than its weight says.
        while let Some(chosen) = self.choose(context) {
            match self.parts[chosen].1.next(context) {
                Next::Done => {
                    self.parts.remove(chosen);
                    self.chosen = None;
                }
                Next::Ask(process, ask) => {
                    self.chosen = None;
                    return Next::Ask(process, ask);
                }
                wait => return wait,
            }
        }
        Next::Done
    }

    fn completed(&mut self, operation: &Operation) {
        self.parts
            .iter_mut()
            .for_each(|(_, part)| part.completed(operation));
    }
}

/// Whichever is ready.
pub struct Any {
    parts: Vec<Box<dyn Generator>>,
}

/// Asks of the first of `parts` that is ready: clients beside a nemesis, say. Done when all are.
pub fn any(parts: Vec<Box<dyn Generator>>) -> Any {
    Any { parts }
}

impl Generator for Any {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let mut soonest = Next::Done;
        for part in &mut self.parts {
            match part.next(context) {
                Next::Ask(process, ask) => return Next::Ask(process, ask),
                other => soonest = sooner(soonest, other),
            }
        }
        soonest
    }

    fn completed(&mut self, operation: &Operation) {
        self.parts
            .iter_mut()
            .for_each(|part| part.completed(operation));
    }
}

/// Each its own clients.
pub struct Reserve {
    parts: Vec<(u32, Box<dyn Generator>)>,
    rest: Box<dyn Generator>,
}

/// The first clients are reserved for the first of `parts`, as many as it says, the next for the next; the others and the
/// nemesis are left to `rest`. Done when all are.
pub fn reserve(parts: Vec<(u32, Box<dyn Generator>)>, rest: Box<dyn Generator>) -> Reserve {
    Reserve { parts, rest }
}

impl Generator for Reserve {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let thread = |process: &Process| match process {
            Process::Client(number) => number % context.clients.max(1),
            Process::Nemesis => u32::MAX,
        };
        let mut threads: Vec<(u32, Process)> = context
            .free
            .iter()
            .map(|process| (thread(process), *process))
            .collect();
        threads.sort_unstable();
        let mut soonest = Next::Done;
        let mut first = 0;
        let rest = (u32::MAX, &mut self.rest);
        for (count, part) in self
            .parts
            .iter_mut()
            .map(|(count, part)| (*count, part))
            .chain([rest])
        {
            let end = first + count.min(u32::MAX - first);
            let is_last = count == u32::MAX;
            let mine = |thread: u32| thread >= first && (thread < end || is_last);
            let free: Vec<Process> = threads
                .iter()
                .filter(|(thread, _)| mine(*thread))
                .map(|(_, process)| *process)
                .collect();
            first = end;
            match part.next(&mut context.among(&free)) {
                Next::Ask(process, ask) => return Next::Ask(process, ask),
                other => soonest = sooner(soonest, other),
            }
        }
        soonest
    }

    fn completed(&mut self, operation: &Operation) {
        self.parts
            .iter_mut()
            .for_each(|(_, part)| part.completed(operation));
        self.rest.completed(operation);
    }
}
