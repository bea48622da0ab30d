//! One after the other.

use std::collections::VecDeque;

use super::{Context, Generator, Next};
use crate::history::Operation;

/// Generators in turn.
pub struct Phases {
    phases: VecDeque<Box<dyn Generator>>,
}

/// Each of `phases` in turn. The next begins when the one before is done and nothing is open any more: so a final read
/// comes after everything that it should see.
pub fn phases(phases: Vec<Box<dyn Generator>>) -> Phases {
    Phases {
        phases: phases.into(),
    }
}

impl Generator for Phases {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        while let Some(phase) = self.phases.front_mut() {
            match phase.next(context) {
                Next::Done if context.open > 0 => return Next::Blocked,
                Next::Done => {
                    self.phases.pop_front();
                }
                next => return next,
            }
        }
        Next::Done
    }

    fn completed(&mut self, operation: &Operation) {
        if let Some(phase) = self.phases.front_mut() {
            phase.completed(operation);
        }
    }
}
