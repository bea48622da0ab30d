//! The cycle checkers as [`Checker`]s: a history in, a report out.

use super::anomaly::IsolationLevel;
use super::convert::{Converted, Dialect};
use super::evidence::Findings;
use super::explain::{Names, in_words};
use super::{list_append, rw_register};
use crate::check::{Checker, Report, Verdict};
use crate::history::History;

/// Judges transactions that append to lists and read them.
#[derive(Clone, Copy, Debug)]
pub struct ListAppend {
    /// What the store promises.
    pub level: IsolationLevel,
}

/// Judges transactions that write and read registers.
#[derive(Clone, Copy, Debug)]
pub struct RwRegister {
    /// What the store promises.
    pub level: IsolationLevel,
}

impl Checker for ListAppend {
    fn check(&self, history: &History) -> Report {
        check(history, Dialect::ListAppend, self.level)
    }
}

impl Checker for RwRegister {
    fn check(&self, history: &History) -> Report {
        check(history, Dialect::Register, self.level)
    }
}

fn check(history: &History, dialect: Dialect, level: IsolationLevel) -> Report {
    let converted = match Converted::new(history, dialect) {
        Ok(converted) => converted,
        Err(error) => return Report::unknown(error.to_string()),
    };
    let findings = match dialect {
        Dialect::ListAppend => list_append(&converted.transactions),
        Dialect::Register => rw_register(&converted.transactions),
    };
    match findings {
        Ok(findings) => report(&findings, level, &converted),
        Err(error) => Report::unknown(error.to_string()),
    }
}

/// The report of what was found on a store that promises `level`: the worst anomaly that the level forbids, explained; what
/// else there is, counted; and the verdict on every level, since the next question after "no" is "what then?".
#[must_use]
pub fn report(findings: &Findings, level: IsolationLevel, names: &dyn Names) -> Report {
    let forbidden = findings
        .anomalies()
        .iter()
        .find(|(anomaly, _)| level.forbids(**anomaly));
    let report = match (findings.verdict(level), forbidden) {
        (Verdict::Fail, Some((anomaly, found))) => {
            let words = in_words(*anomaly, &found.examples[0], names);
            Report::fail(format!("not {level}: {anomaly}")).with_witness(words)
        }
        (Verdict::Pass, _) => Report::pass(),
        _ => Report::unknown(format!(
            "not {}; the search ended before it was clear whether that holds for {level}",
            IsolationLevel::SnapshotIsolation
        )),
    };
    let levels: serde_json::Map<_, _> = IsolationLevel::ALL
        .into_iter()
        .map(|level| {
            (
                level.name().to_owned(),
                findings.verdict(level).to_string().into(),
            )
        })
        .collect();
    let anomalies: serde_json::Map<_, _> = findings
        .anomalies()
        .iter()
        .map(|(anomaly, found)| (anomaly.to_string(), found.count.into()))
        .collect();
    report.with("levels", levels).with("anomalies", anomalies)
}
