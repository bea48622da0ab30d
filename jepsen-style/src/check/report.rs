//! What a checker says, and why.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The four words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The checker did not look.
    NotRun,
    /// What was promised held in this history.
    Pass,
    /// The checker could not tell. Never green.
    Unknown,
    /// What was promised did not hold.
    Fail,
}

impl Verdict {
    /// The verdict over two parts: a failure outweighs everything, then doubt; what was not run adds nothing.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotRun => "not-run",
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        })
    }
}

/// A verdict with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The word.
    pub verdict: Verdict,
    /// Why, in one sentence; empty for a pass that needs no words.
    pub reason: String,
    /// What a person should look at first to believe a failure, one line each: operations, edges of a cycle, states.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub witness: Vec<String>,
    /// Counts, latencies, lists: whatever the checker measured, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, serde_json::Value>,
    /// The reports of parts, by name, if this one was composed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, Report>,
}

impl Report {
    /// A report of nothing but a verdict and its reason.
    pub fn new(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            verdict,
            reason: reason.into(),
            witness: Vec::new(),
            details: BTreeMap::new(),
            parts: BTreeMap::new(),
        }
    }

    /// What was promised held.
    pub fn pass() -> Self {
        Self::new(Verdict::Pass, "")
    }

    /// What was promised did not hold, because of `reason`.
    pub fn fail(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, reason)
    }

    /// The checker cannot tell, because of `reason`.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, reason)
    }

    /// The checker did not look, because of `reason`.
    pub fn not_run(reason: impl Into<String>) -> Self {
        Self::new(Verdict::NotRun, reason)
    }

    /// Adds a measurement.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Adds lines of evidence.
    #[must_use]
    pub fn with_witness(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.witness.extend(lines);
        self
    }

    /// The report over `parts`, with the verdict over theirs.
    pub fn over(parts: BTreeMap<String, Self>) -> Self {
        let verdict = parts
            .values()
            .fold(Verdict::NotRun, |verdict, part| verdict.and(part.verdict));
        let blamed: Vec<&str> = parts
            .iter()
            .filter(|(_, part)| part.verdict == verdict)
            .map(|(name, _)| name.as_str())
            .collect();
        let reason = match verdict {
            Verdict::Pass => String::new(),
            Verdict::NotRun => "nothing was checked".to_owned(),
            Verdict::Unknown | Verdict::Fail => format!("{verdict}: {}", blamed.join(", ")),
        };
        Self {
            parts,
            ..Self::new(verdict, reason)
        }
    }
}

/// The verdict and its reason, then the witness, then the parts, indented.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_indented(self, formatter, "")
    }
}

fn write_indented(
    report: &Report,
    formatter: &mut fmt::Formatter<'_>,
    indent: &str,
) -> fmt::Result {
    write!(formatter, "{}", report.verdict)?;
    if !report.reason.is_empty() {
        write!(formatter, ": {}", report.reason)?;
    }
    let deeper = format!("{indent}  ");
    for line in &report.witness {
        write!(formatter, "\n{deeper}{line}")?;
    }
    for (name, part) in &report.parts {
        write!(formatter, "\n{deeper}{name}: ")?;
        write_indented(part, formatter, &deeper)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_outweighs_doubt_and_doubt_outweighs_pass() {
        use Verdict::{Fail, NotRun, Pass, Unknown};
        assert_eq!(Fail.and(Unknown), Fail);
        assert_eq!(Unknown.and(Pass), Unknown);
        assert_eq!(Pass.and(NotRun), Pass);
        assert_eq!(NotRun.and(NotRun), NotRun);
    }

    #[test]
    fn nothing_checked_is_not_green() {
        assert_eq!(Report::over(BTreeMap::new()).verdict, Verdict::NotRun);
    }
}
