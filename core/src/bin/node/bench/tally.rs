//! What one client, or all of them together, saw.

use super::latency::Latency;
use std::time::Duration;

/// Counts by kind of operation. `kinds` names them; a load with one kind has one name.
pub(super) struct Tally {
    kinds: &'static [&'static str],
    latencies: Vec<Latency>,
    /// Compares that did not hold: answered, but nothing was written.
    pub(super) conflicts: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
}

/// How an operation that was answered ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It did what was asked.
    Done,
    /// Its compare did not hold.
    Conflict,
}

impl Tally {
    pub(super) fn new(kinds: &'static [&'static str]) -> Self {
        Self {
            kinds,
            latencies: vec![Latency::new(); kinds.len()],
            conflicts: 0,
            errors: 0,
            first_error: None,
        }
    }

    pub(super) fn answered(&mut self, kind: usize, answer: Answer, latency: Duration) {
        self.latencies[kind].record(latency);
        self.conflicts += u64::from(answer == Answer::Conflict);
    }

    pub(super) fn failed(&mut self, error: &(impl ToString + ?Sized)) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    pub(super) fn merge(&mut self, other: Tally) {
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.merge(theirs);
        }
        self.conflicts += other.conflicts;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    /// Operations of every kind together.
    pub(super) fn all(&self) -> Latency {
        let mut all = Latency::new();
        self.latencies.iter().for_each(|latency| all.merge(latency));
        all
    }

    /// Each kind with its latencies; nothing if there is only one, which [`Tally::all`] shows.
    pub(super) fn by_kind(&self) -> impl Iterator<Item = (&'static str, &Latency)> {
        let several = self.kinds.len() > 1;
        let kinds = self.kinds.iter().copied().zip(&self.latencies);
        kinds.filter(move |_| several)
    }
}
