//! What the clients were told about each write, and whether the cluster kept its word.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a client knows of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was acknowledged: it must be there for ever.
    Acknowledged,
    /// No answer, or an error: it may be there or not.
    Unknown,
}

/// Every write of every client. A key is written once, with a value that says which write it was.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    outcomes: BTreeMap<String, Outcome>,
    acknowledged: usize,
    /// When a write began and when it was acknowledged, in the order of the second.
    times: Vec<(Instant, Instant)>,
}

/// What became of the writes on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) acknowledged: usize,
    /// Acknowledged and not there, or there with another value.
    pub(super) lost: Vec<String>,
    pub(super) unanswered: usize,
    pub(super) of_these_there: usize,
}

impl Ledger {
    pub(super) fn record(&self, key: String, outcome: Outcome, begun: Instant) {
        let mut book = self.book();
        if outcome == Outcome::Acknowledged {
            book.times.push((begun, Instant::now()));
            book.acknowledged += 1;
        }
        book.outcomes.insert(key, outcome);
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.book().acknowledged
    }

    /// How long after `moment` the first write that began after it was acknowledged. One that was under way then may
    /// still succeed and says nothing.
    pub(super) fn first_success_after(&self, moment: Instant) -> Option<Duration> {
        let book = self.book();
        let recent = book
            .times
            .iter()
            .rev()
            .take_while(|(_, ended)| *ended > moment);
        let begun_after = recent.filter(|(begun, _)| *begun > moment);
        begun_after.map(|(_, ended)| *ended - moment).min()
    }

    /// Compares what the clients were told with what a node has.
    pub(super) fn judge(&self, found: &BTreeMap<String, String>) -> Judgement {
        let book = self.book();
        let mut judgement = Judgement::default();
        for (key, outcome) in &book.outcomes {
            let there = found.get(key).is_some_and(|value| *value == value_of(key));
            match outcome {
                Outcome::Acknowledged => {
                    judgement.acknowledged += 1;
                    if !there {
                        judgement.lost.push(key.clone());
                    }
                }
                Outcome::Unknown => {
                    judgement.unanswered += 1;
                    judgement.of_these_there += usize::from(there);
                }
            }
        }
        judgement
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A writer that panicked fails the demonstration when it is joined; the book itself is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one value that is ever written under a key.
pub(super) fn value_of(key: &str) -> String {
    format!("the value of {key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(keys: &[&str]) -> BTreeMap<String, String> {
        keys.iter()
            .map(|key| ((*key).to_owned(), value_of(key)))
            .collect()
    }

    fn ledger(writes: &[(&str, Outcome)]) -> Ledger {
        let ledger = Ledger::default();
        for (key, outcome) in writes {
            ledger.record((*key).to_owned(), *outcome, Instant::now());
        }
        ledger
    }

    #[test]
    fn an_acknowledged_write_that_is_not_there_is_lost() {
        let ledger = ledger(&[("a", Outcome::Acknowledged), ("b", Outcome::Acknowledged)]);
        assert!(ledger.judge(&found(&["a", "b"])).lost.is_empty());
        assert_eq!(ledger.judge(&found(&["a"])).lost, ["b"]);
    }

    #[test]
    fn another_value_is_a_loss() {
        let ledger = ledger(&[("a", Outcome::Acknowledged)]);
        let wrong = BTreeMap::from([("a".to_owned(), value_of("b"))]);
        assert_eq!(ledger.judge(&wrong).lost, ["a"]);
    }

    #[test]
    fn a_write_without_an_answer_may_be_there_or_not() {
        let ledger = ledger(&[("a", Outcome::Unknown), ("b", Outcome::Unknown)]);
        let judgement = ledger.judge(&found(&["a"]));
        assert!(judgement.lost.is_empty());
        assert_eq!((judgement.unanswered, judgement.of_these_there), (2, 1));
    }

    #[test]
    fn only_a_write_that_began_after_the_kill_ends_the_stall() {
        let ledger = Ledger::default();
        let before = Instant::now();
        let killed = Instant::now();
        ledger.record("under way".into(), Outcome::Acknowledged, before);
        assert_eq!(ledger.first_success_after(killed), None);
        ledger.record("failed".into(), Outcome::Unknown, Instant::now());
        assert_eq!(ledger.first_success_after(killed), None);
        ledger.record("new".into(), Outcome::Acknowledged, Instant::now());
        assert!(ledger.first_success_after(killed).is_some());
    }
}
