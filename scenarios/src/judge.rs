//! The verdict over a run: what was recorded, what nodes broke, and what never happened.
//!
//! Four judges, each by name, and the worst of them is heard: `invariants` and `liveness` watched the cluster, `history`
//! watched its clients, and `coverage` asks whether there was anything to see at all.

use std::collections::BTreeMap;

use quorate_jepsen_style::check::linear::{Bounds, Linearizability};
use quorate_jepsen_style::check::{Checker, Report, Verdict};
use quorate_jepsen_style::history::{History, Outcome};
use quorate_jepsen_style::model::etcd::Etcd;
use quorate_reports::Counts;

use crate::scenario::Scenario;
use crate::workload::FUNCTIONS;

/// What a search may remember, where revisions alone do not decide. What does not fit is unknown, and never green.
const MEMORY: u64 = 32 << 20;

/// What a run left to be judged.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What clients asked and were told.
    pub history: History,
    /// What nodes broke, in words.
    pub findings: Vec<String>,
    /// What nodes panicked with.
    pub panics: Vec<String>,
    /// Why the cluster did not come together, if it did not.
    pub stuck: Option<String>,
    /// What the nodes show then, a line each.
    pub standing: String,
    /// How often each fault fired.
    pub fired: BTreeMap<String, u64>,
}

/// How many operations of clients ended how.
#[must_use]
pub fn counts(history: &History) -> Counts {
    let with = |outcome| {
        history
            .clients()
            .filter(|operation| operation.outcome == outcome)
            .count() as u64
    };
    Counts {
        ok: with(Outcome::Ok),
        failed: with(Outcome::Failed),
        unknown: with(Outcome::Unknown),
    }
}

/// The verdict, with the reports of all judges.
#[must_use]
pub fn judge(scenario: &Scenario, evidence: &Evidence) -> Report {
    let parts = [
        ("invariants", invariants(evidence)),
        ("liveness", liveness(evidence)),
        (
            "history",
            Linearizability::of(Etcd::default())
                .within(Bounds::generous().remembering(MEMORY))
                .check(&evidence.history),
        ),
        ("coverage", coverage(scenario, evidence)),
    ];
    Report::over(parts.map(|(name, part)| (name.to_owned(), part)).into())
}

/// The first reason of the worst verdict, and all its evidence, in lines.
#[must_use]
pub fn words(report: &Report) -> (String, Vec<String>) {
    let blamed: Vec<(&String, &Report)> = report
        .parts
        .iter()
        .filter(|(_, part)| part.verdict == report.verdict && part.verdict != Verdict::Pass)
        .collect();
    let reasons: Vec<String> = blamed
        .iter()
        .map(|(name, part)| format!("{name}: {}", part.reason))
        .collect();
    let lines = blamed
        .iter()
        .flat_map(|(_, part)| part.witness.iter().cloned());
    (reasons.join("; "), lines.collect())
}

fn invariants(evidence: &Evidence) -> Report {
    let lines: Vec<String> = evidence
        .findings
        .iter()
        .chain(&evidence.panics)
        .cloned()
        .collect();
    match lines.first() {
        None => Report::pass(),
        // What follows the first is often only its consequence.
        Some(first) => Report::fail(first.clone()).with_witness(lines),
    }
}

fn liveness(evidence: &Evidence) -> Report {
    match &evidence.stuck {
        None => Report::pass(),
        Some(reason) => Report::fail(format!("not together after the heal: {reason}"))
            .with_witness(evidence.standing.lines().map(str::to_owned)),
    }
}

fn coverage(scenario: &Scenario, evidence: &Evidence) -> Report {
    let answered = |function: &str| {
        evidence
            .history
            .clients()
            .any(|operation| operation.is_ok() && operation.function.as_str() == function)
    };
    if let Some(function) = FUNCTIONS.iter().find(|function| !answered(function)) {
        return Report::unknown(format!("no {function} was ever answered"));
    }
    if !scenario.is_shown_by(|mark| evidence.fired.get(mark).copied().unwrap_or(0)) {
        return Report::unknown("none of the faults that this is about has fired");
    }
    Report::pass()
}

#[cfg(test)]
mod tests {
    use quorate_jepsen_style::history::read::read;

    use super::*;
    use crate::catalog::find;

    const GOOD: &str = r#"{"process":0,"type":"invoke","f":"put","key":"a","value":1}
{"process":0,"type":"ok","f":"put","key":"a","value":{"revision":2}}
{"process":1,"type":"invoke","f":"get","key":"a"}
{"process":1,"type":"ok","f":"get","key":"a","value":{"revision":2,"kvs":[{"key":"a","value":"1","mod":2}]}}
{"process":2,"type":"invoke","f":"txn","value":{"compare":[{"key":"a","target":"value","result":"=","operand":1}],"then":[{"f":"put","key":"a","value":2},{"f":"put","key":"b","value":3}],"else":[{"f":"get","key":"a"},{"f":"get","key":"b"}]}}
{"process":2,"type":"ok","f":"txn","value":{"revision":3,"succeeded":true,"responses":[{},{}]}}
{"process":1,"type":"invoke","f":"get","value":{"key":"a","end":"c"}}
{"process":1,"type":"ok","f":"get","value":{"revision":3,"kvs":[{"key":"a","value":"2","mod":3},{"key":"b","value":"3","mod":3}]}}
"#;

    fn evidence(history: &str) -> Evidence {
        Evidence {
            history: read(history.as_bytes(), None).unwrap(),
            fired: [("power-lost".to_owned(), 1)].into(),
            ..Evidence::default()
        }
    }

    fn verdict(name: &str, evidence: &Evidence) -> Verdict {
        judge(find(name).unwrap(), evidence).verdict
    }

    #[test]
    fn sound_run_passes() {
        assert_eq!(verdict("crash", &evidence(GOOD)), Verdict::Pass);
    }

    #[test]
    fn run_whose_faults_never_fired_is_unknown() {
        assert_eq!(verdict("partitions", &evidence(GOOD)), Verdict::Unknown);
        assert_eq!(verdict("smoke", &evidence(GOOD)), Verdict::Pass);
    }

    #[test]
    fn run_in_which_nobody_was_answered_is_unknown() {
        let nothing = Evidence {
            history: History::default(),
            ..evidence(GOOD)
        };
        assert_eq!(verdict("crash", &nothing), Verdict::Unknown);
    }

    #[test]
    fn stale_torn_and_invented_answers_fail_with_their_reason() {
        let whole = r#""kvs":[{"key":"a","value":"2","mod":3},{"key":"b","value":"3","mod":3}]"#;
        let wrong = [
            // Of the revision before the transaction that had been answered.
            r#""kvs":[{"key":"a","value":"1","mod":2}]"#,
            // Half of the transaction.
            r#""kvs":[{"key":"a","value":"2","mod":3}]"#,
            // What nobody wrote.
            r#""kvs":[{"key":"a","value":"9","mod":3},{"key":"b","value":"3","mod":3}]"#,
        ];
        let mut histories = wrong.map(|wrong| GOOD.replace(whole, wrong)).to_vec();
        histories.push(GOOD.replace(
            &format!(r#""revision":3,{whole}"#),
            r#""revision":2,"kvs":[{"key":"a","value":"1","mod":2}]"#,
        ));
        histories.push(GOOD.replace(r#""succeeded":true"#, r#""succeeded":false"#));
        for wrong in histories {
            assert_ne!(wrong, GOOD);
            let report = judge(find("crash").unwrap(), &evidence(&wrong));
            assert_eq!(report.verdict, Verdict::Fail, "{wrong}");
            let (reason, lines) = words(&report);
            assert!(reason.starts_with("history: "), "{reason}");
            assert!(!lines.is_empty());
        }
    }

    #[test]
    fn broken_invariant_panic_and_standstill_each_fail() {
        let findings = vec!["one leader".to_owned()];
        let panics = findings.clone();
        let stuck = Some("n1 knows no leader".to_owned());
        for broken in [
            Evidence {
                findings,
                ..evidence(GOOD)
            },
            Evidence {
                panics,
                ..evidence(GOOD)
            },
            Evidence {
                stuck,
                ..evidence(GOOD)
            },
        ] {
            assert_eq!(verdict("crash", &broken), Verdict::Fail);
        }
    }
}
