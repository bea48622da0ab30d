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
use quorate_sim::seed::Seed;

use crate::scenario::{Faults, Scenario};
use crate::workload::FUNCTIONS;

/// What a search may remember, where revisions alone do not decide. What does not fit is unknown, and never green.
const MEMORY: u64 = 1 << 30;

/// What a run left to be judged.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// What clients asked and were told, or why nobody knows.
    pub history: Result<History, String>,
    /// What nodes broke, in words.
    pub findings: Vec<String>,
    /// What nodes panicked with.
    pub panics: Vec<String>,
    /// When the cluster did not come together, and why.
    pub stuck: Option<String>,
    /// Whether it had a right not to: what was done to it is more than it promises to survive.
    pub had_a_right: bool,
    /// Whether a client was answered after most nodes had forgotten what they promised.
    pub answered_from_yesterday: bool,
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

/// The verdict, with the reports of all judges. What was broken is heard whatever else is missing: without a history a run
/// fails if anything else was found, and otherwise was not run.
#[must_use]
pub fn judge(scenario: &Scenario, seed: Seed, evidence: &Evidence) -> Report {
    let mut parts = vec![
        ("invariants", invariants(evidence)),
        ("liveness", liveness(scenario, evidence)),
    ];
    let missing = match &evidence.history {
        Ok(history) => {
            parts.push(("history", linearizable(history)));
            parts.push((
                "coverage",
                coverage(scenario, seed, history, &evidence.fired),
            ));
            None
        }
        Err(reason) => Some(reason),
    };
    let parts = parts.into_iter();
    let report = Report::over(parts.map(|(name, part)| (name.to_owned(), part)).collect());
    match missing {
        Some(reason) if report.verdict != Verdict::Fail => Report::not_run(reason.clone()),
        _ => report,
    }
}

fn linearizable(history: &History) -> Report {
    Linearizability::of(Etcd::default())
        .within(Bounds::generous().remembering(MEMORY))
        .check(history)
}

/// The first reason of the worst verdict, and all its evidence, in lines.
#[must_use]
pub fn words(report: &Report) -> (String, Vec<String>) {
    if report.verdict == Verdict::NotRun {
        return (report.reason.clone(), Vec::new());
    }
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

fn liveness(scenario: &Scenario, evidence: &Evidence) -> Report {
    let must_refuse = scenario.faults == Faults::Amnesia;
    match &evidence.stuck {
        _ if evidence.answered_from_yesterday => {
            Report::fail("a client was answered, though most had forgotten what they promised")
        }
        None if must_refuse => {
            Report::fail("it served, though most had forgotten what they promised")
        }
        None => Report::pass(),
        Some(_) if evidence.had_a_right && must_refuse => Report::pass(),
        Some(reason) if evidence.had_a_right => {
            Report::unknown(format!("too few could come together {reason}"))
        }
        Some(reason) => Report::fail(format!("not together {reason}"))
            .with_witness(evidence.standing.lines().map(str::to_owned)),
    }
}

fn coverage(
    scenario: &Scenario,
    seed: Seed,
    history: &History,
    fired: &BTreeMap<String, u64>,
) -> Report {
    let answered = |function: &str| {
        history
            .clients()
            .any(|operation| operation.is_ok() && operation.function.as_str() == function)
    };
    if let Some(function) = FUNCTIONS.iter().find(|function| !answered(function)) {
        return Report::unknown(format!("no {function} was ever answered"));
    }
    if !scenario.is_shown_by(seed, fired) {
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
            history: Ok(read(history.as_bytes(), None).unwrap()),
            findings: Vec::new(),
            panics: Vec::new(),
            stuck: None,
            had_a_right: false,
            answered_from_yesterday: false,
            standing: String::new(),
            fired: [("crash".to_owned(), 1)].into(),
        }
    }

    const SEED: Seed = Seed::new(1);

    fn verdict(name: &str, evidence: &Evidence) -> Verdict {
        judge(find(name).unwrap(), SEED, evidence).verdict
    }

    #[test]
    fn sound_run_passes() {
        assert_eq!(verdict("crash", &evidence(GOOD)), Verdict::Pass);
    }

    #[test]
    fn run_whose_faults_never_fired_is_unknown() {
        assert_eq!(verdict("partitions", &evidence(GOOD)), Verdict::Unknown);
        assert_eq!(verdict("smoke", &evidence(GOOD)), Verdict::Pass);
        let silent = Evidence {
            fired: BTreeMap::new(),
            ..evidence(GOOD)
        };
        assert!(!find("swarm").unwrap().options(SEED).faults.is_empty());
        assert_eq!(verdict("swarm", &silent), Verdict::Unknown);
        assert_eq!(verdict("swarm", &evidence(GOOD)), Verdict::Pass);
    }

    #[test]
    fn cluster_that_does_not_form_is_a_bug_and_not_a_run_that_was_not_made() {
        let never = Evidence {
            history: Err("nobody asked anything".to_owned()),
            stuck: Some("in the beginning: n2 knows no leader".to_owned()),
            ..evidence(GOOD)
        };
        let report = judge(find("crash").unwrap(), SEED, &never);
        assert_eq!(report.verdict, Verdict::Fail);
        assert!(words(&report).0.contains("n2 knows no leader"));
        assert_eq!(verdict("amnesia", &never), Verdict::Fail);
    }

    #[test]
    fn what_was_broken_is_heard_though_the_clients_never_came_back() {
        let lost = Evidence {
            history: Err("the clients did not come back".to_owned()),
            ..evidence(GOOD)
        };
        assert_eq!(verdict("crash", &lost), Verdict::NotRun);
        let broken = Evidence {
            findings: vec!["one leader".to_owned()],
            ..lost
        };
        let report = judge(find("crash").unwrap(), SEED, &broken);
        assert_eq!(report.verdict, Verdict::Fail);
        assert_eq!(words(&report).0, "invariants: one leader");
    }

    #[test]
    fn cluster_that_had_a_right_to_be_stuck_is_no_bug_and_no_pass() {
        let stuck = Evidence {
            stuck: Some("after the heal: n1 knows no leader".to_owned()),
            had_a_right: true,
            ..evidence(GOOD)
        };
        assert_eq!(verdict("crash", &stuck), Verdict::Unknown);
        let forgotten = Evidence {
            fired: [("disk-stale-image".to_owned(), 2)].into(),
            ..stuck
        };
        assert_eq!(verdict("amnesia", &forgotten), Verdict::Pass);
        let served = Evidence {
            stuck: None,
            ..forgotten.clone()
        };
        assert_eq!(verdict("amnesia", &served), Verdict::Fail);
        // The other one still refuses, so that the cluster does not come together; and yet two of three answered.
        let answered = Evidence {
            answered_from_yesterday: true,
            ..forgotten.clone()
        };
        assert_eq!(verdict("amnesia", &answered), Verdict::Fail);
        let without_a_right = Evidence {
            had_a_right: false,
            ..forgotten
        };
        assert_eq!(verdict("amnesia", &without_a_right), Verdict::Fail);
    }

    #[test]
    fn run_in_which_nobody_was_answered_is_unknown() {
        let nothing = Evidence {
            history: Ok(History::default()),
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
            let report = judge(find("crash").unwrap(), SEED, &evidence(&wrong));
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
