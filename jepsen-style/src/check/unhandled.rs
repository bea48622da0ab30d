//! Unhandled errors: what a client was told and does not know.
//!
//! A client must sort every error into failed or unknown; an error that nobody thought of was sorted by chance. That says
//! something of the client and nothing of the system, so the verdict is *unknown*, with each such error, how often it came and
//! where first.

use std::collections::BTreeMap;

use super::{Checker, Report};
use crate::history::{History, Operation};

/// Looks for errors that are not in the list.
#[derive(Clone, Debug, Default)]
pub struct UnhandledErrors {
    /// The beginnings of the error texts that the client knows how to sort.
    pub handled: Vec<String>,
}

impl Checker for UnhandledErrors {
    fn check(&self, history: &History) -> Report {
        let mut errors: BTreeMap<String, (u64, &Operation)> = BTreeMap::new();
        for operation in history
            .clients()
            .filter(|operation| !operation.error().is_nil())
        {
            let error = operation.error();
            let text = error
                .as_text()
                .map_or_else(|| error.to_string(), str::to_owned);
            if !self.handled.iter().any(|start| text.starts_with(start)) {
                errors.entry(text).or_insert((0, operation)).0 += 1;
            }
        }
        if errors.is_empty() {
            return Report::pass();
        }
        let lines = errors.iter().map(|(text, (count, first))| {
            format!(
                "{count} times, first at {}: {text}: {first}",
                first.invoked.order
            )
        });
        Report::unknown(format!("{} errors were not expected", errors.len()))
            .with_witness(lines.take(12))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::testing::{failed, history};
    use super::*;
    use crate::history::{Details, Value};

    fn with_error(error: &str) -> Operation {
        let details = Details {
            error: error.into(),
            ..Details::default()
        };
        Operation {
            details: Some(Box::new(details)),
            ..failed(0, (0, 1), "read", Value::Nil)
        }
    }

    #[test]
    fn only_errors_outside_the_list_leave_doubt() {
        let checker = UnhandledErrors {
            handled: vec!["timed out".to_owned()],
        };
        assert_eq!(
            checker
                .check(&history([with_error("timed out after 3 s")]))
                .verdict,
            Verdict::Pass
        );
        let report = checker.check(&history([
            with_error("index 7 of 3"),
            with_error("index 7 of 3"),
        ]));
        assert_eq!(report.verdict, Verdict::Unknown);
        assert!(
            report.witness[0].starts_with("2 times, first at 0: index 7 of 3"),
            "{report}"
        );
    }
}
