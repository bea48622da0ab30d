//! How fast and how long.

use std::time::Duration;

use super::{Context, Generator, Next};
use crate::history::Operation;

/// Pauses between asks.
pub struct Stagger<G> {
    mean: Duration,
    due: Option<Duration>,
    inner: G,
}

/// The asks of `inner`, with pauses between them that are `mean` on average and up to twice that.
///
/// The pause counts from when the ask before it was due, not from when it was made: a system that stalls is asked no less.
pub fn stagger<G: Generator>(mean: Duration, inner: G) -> Stagger<G> {
    Stagger {
        mean,
        due: None,
        inner,
    }
}

impl<G: Generator> Generator for Stagger<G> {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let due = *self.due.get_or_insert(context.now);
        if context.now < due {
            return Next::Wait(due);
        }
        let next = self.inner.next(context);
        if matches!(next, Next::Ask(..)) {
            let twice = u64::try_from(self.mean.as_nanos())
                .unwrap_or(u64::MAX)
                .saturating_mul(2);
            self.due =
                Some(due + Duration::from_nanos(context.random.below(twice.saturating_add(1))));
        }
        next
    }

    fn completed(&mut self, operation: &Operation) {
        self.inner.completed(operation);
    }
}

/// So many asks.
pub struct Limit<G> {
    left: u64,
    inner: G,
}

/// The first `number` asks of `inner`.
pub fn limit<G: Generator>(number: u64, inner: G) -> Limit<G> {
    Limit {
        left: number,
        inner,
    }
}

impl<G: Generator> Generator for Limit<G> {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        if self.left == 0 {
            return Next::Done;
        }
        let next = self.inner.next(context);
        if matches!(next, Next::Ask(..)) {
            self.left -= 1;
        }
        next
    }

    fn completed(&mut self, operation: &Operation) {
        self.inner.completed(operation);
    }
}

/// So long.
pub struct TimeLimit<G> {
    time: Duration,
    end: Option<Duration>,
    inner: G,
}

/// The asks of `inner` for as long as `time`, counted from when it is first asked.
pub fn time_limit<G: Generator>(time: Duration, inner: G) -> TimeLimit<G> {
    TimeLimit {
        time,
        end: None,
        inner,
    }
}

impl<G: Generator> Generator for TimeLimit<G> {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let end = *self.end.get_or_insert(context.now + self.time);
        if context.now >= end {
            return Next::Done;
        }
        match self.inner.next(context) {
            Next::Wait(until) => Next::Wait(until.min(end)),
            // An operation that never completes must not keep the time from ending.
            Next::Blocked => Next::Wait(end),
            next => next,
        }
    }

    fn completed(&mut self, operation: &Operation) {
        self.inner.completed(operation);
    }
}
