//! When a run ends: after a number of operations or at a deadline, whichever comes first.

use super::settings::Settings;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the clients of a run draw their operations from.
pub(super) struct Budget {
    next: AtomicU64,
    total: u64,
    deadline: Instant,
}

impl Budget {
    pub(super) fn new(total: u64, duration: Duration) -> Self {
        let deadline = Instant::now() + duration;
        Self {
            next: AtomicU64::new(0),
            total,
            deadline,
        }
    }

    pub(super) fn of(settings: &Settings) -> Self {
        Self::new(settings.total, settings.duration)
    }

    /// The number of the next operation, or `None` when the run is over.
    pub(super) fn take(&self) -> Option<u64> {
        if Instant::now() >= self.deadline {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.total).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_given_once_and_then_none() {
        let budget = Budget::new(3, Duration::from_secs(3600));
        let given: Vec<_> = std::iter::from_fn(|| budget.take()).collect();
        assert_eq!(given, [0, 1, 2]);
        assert_eq!(budget.take(), None);
    }

    #[test]
    fn nothing_is_given_after_the_deadline() {
        assert_eq!(Budget::new(3, Duration::ZERO).take(), None);
    }
}
