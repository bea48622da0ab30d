//! Several checkers under names.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Checker, Report, Verdict};
use crate::deadline::Passed;
use crate::history::History;

/// Runs `checker`; if it panics the report is *unknown* with what it said, never a pass and never a claim about the
/// system. So it is if the [deadline](crate::deadline) of this thread passes.
pub fn guarded(checker: &dyn Checker, history: &History) -> Report {
    // Nothing of the checker is looked at again after a panic, so a half-changed inside cannot mislead.
    catch_unwind(AssertUnwindSafe(|| checker.check(history))).unwrap_or_else(|panic| {
        if let Some(passed) = panic.downcast_ref::<Passed>() {
            return Report::unknown(passed.to_string());
        }
        Report::unknown(format!(
            "the checker crashed: {}",
            panic_text(panic.as_ref())
        ))
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Checkers by name. Assumptions are judged first: if one does not hold, the rest is not run, because their verdicts
/// would be about another system than the one that was meant.
#[derive(Default)]
pub struct Composition {
    assumptions: BTreeMap<String, Box<dyn Checker>>,
    checkers: BTreeMap<String, Box<dyn Checker>>,
}

impl Composition {
    /// An empty composition.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a checker.
    #[must_use]
    pub fn with(mut self, name: &str, checker: impl Checker + 'static) -> Self {
        self.checkers.insert(name.to_owned(), Box::new(checker));
        self
    }

    /// Adds a checker of what the others take for granted.
    #[must_use]
    pub fn assuming(mut self, name: &str, checker: impl Checker + 'static) -> Self {
        self.assumptions.insert(name.to_owned(), Box::new(checker));
        self
    }
}

impl Checker for Composition {
    fn check(&self, history: &History) -> Report {
        let mut parts = BTreeMap::new();
        for (name, checker) in &self.assumptions {
            parts.insert(name.clone(), guarded(checker.as_ref(), history));
        }
        let broken = parts
            .iter()
            .find(|(_, part)| matches!(part.verdict, Verdict::Fail | Verdict::Unknown))
            .map(|(name, _)| name.clone());
        for (name, checker) in &self.checkers {
            let part = match &broken {
                Some(assumption) => {
                    Report::not_run(format!("the assumption {assumption} does not hold"))
                }
                None => guarded(checker.as_ref(), history),
            };
            parts.insert(name.clone(), part);
        }
        Report::over(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checker_that_crashes_is_unknown_with_its_words() {
        let composition = Composition::new()
            .with("broken", |_: &History| -> Report { panic!("index 7 of 3") })
            .with("good", |_: &History| Report::pass());
        let report = composition.check(&History::default());
        assert_eq!(report.verdict, Verdict::Unknown);
        assert_eq!(
            report.parts["broken"].reason,
            "the checker crashed: index 7 of 3"
        );
        assert_eq!(report.parts["good"].verdict, Verdict::Pass);
    }

    #[test]
    fn nothing_is_claimed_on_a_broken_assumption() {
        let composition = Composition::new()
            .assuming("unique values", |_: &History| {
                Report::fail("1 was written twice")
            })
            .with("good", |_: &History| Report::pass());
        let report = composition.check(&History::default());
        assert_eq!(report.verdict, Verdict::Fail);
        assert_eq!(report.parts["good"].verdict, Verdict::NotRun);
    }
}
