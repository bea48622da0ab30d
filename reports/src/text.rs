//! A run as a page for people.

use std::collections::BTreeMap;

use quorate_jepsen_style::check::Verdict;

use crate::run::{Counts, RunReport};

/// What came of the run. The last line of anything but a pass is the command that repeats it.
#[must_use]
pub fn page(report: &RunReport) -> String {
    let Counts {
        ok,
        failed,
        unknown,
    } = report.operations;
    let mut lines = vec![
        format!("operations: {ok} ok, {failed} failed, {unknown} unknown"),
        format!("faults fired: {}", list(&report.faults)),
        format!("nodes told: {}", list(&report.recoveries)),
        format!(
            "trace: {} over {} events, {:.3} simulated seconds, {:.3} CPU seconds",
            report.trace_digest, report.trace_events, report.simulated_seconds, report.cpu_seconds
        ),
    ];
    lines.extend(report.evidence.iter().map(|line| format!("  {line}")));
    let mut verdict = format!("verdict: {}", report.verdict);
    if !report.reason.is_empty() {
        verdict = format!("{verdict}: {}", report.reason);
    }
    lines.push(verdict);
    if report.verdict != Verdict::Pass {
        lines.push(format!("again: {}", report.repeat));
    }
    lines.join("\n")
}

fn list(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let counted: Vec<String> = counts
        .iter()
        .map(|(name, times)| format!("{name} {times}"))
        .collect();
    counted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn failure_ends_with_the_command_that_repeats_it() {
        insta::assert_snapshot!(page(&example()));
    }

    #[test]
    fn pass_needs_no_command() {
        let report = RunReport {
            verdict: Verdict::Pass,
            reason: String::new(),
            evidence: Vec::new(),
            ..example()
        };
        assert_eq!(page(&report).lines().last(), Some("verdict: pass"));
    }
}
