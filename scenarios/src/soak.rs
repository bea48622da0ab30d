//! Many runs, one after the other, and what came of them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_reports::{Counts, Exit, RunReport, Verdict};
use quorate_sim::options::Options;
use quorate_sim::seed::Seed;
use quorate_sim::trace::Keep;

use crate::run::run;
use crate::scenario::Scenario;
use crate::world::WorldName;

/// Which runs.
#[derive(Debug, Clone)]
pub struct Soak {
    /// What is run.
    pub scenario: &'static Scenario,
    /// From which seeds.
    pub seeds: Range<u64>,
    /// Each in these worlds.
    pub worlds: Vec<WorldName>,
    /// Whether the first that does not pass is the last.
    pub until_found: bool,
}

impl Soak {
    /// Runs them all, telling of each; a run in which the harness panicked has no report.
    pub fn perform(&self, mut tell: impl FnMut(Seed, WorldName, Option<&RunReport>)) {
        for seed in self.seeds.clone().map(Seed::new) {
            for world in &self.worlds {
                let run = || run(self.scenario, seed, *world, Keep::Last(1)).report;
                let report = catch_unwind(AssertUnwindSafe(run)).ok();
                tell(seed, *world, report.as_ref());
                let passed = report.is_some_and(|report| report.verdict == Verdict::Pass);
                if self.until_found && !passed {
                    return;
                }
            }
        }
    }
}

/// What came of many runs.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    verdicts: BTreeMap<Verdict, u64>,
    operations: Counts,
    faults: BTreeMap<String, u64>,
    recoveries: BTreeMap<String, u64>,
    simulated_seconds: f64,
    cpu_seconds: f64,
}

impl Tally {
    /// Takes note of what may strike in a run with these options, so that what never does is told as such.
    pub fn expect(&mut self, options: &Options) {
        for name in options.strikes() {
            self.faults.entry(name.to_owned()).or_default();
        }
    }

    /// What might have struck and never did.
    pub fn silent(&self) -> impl Iterator<Item = &str> {
        let never = self.faults.iter().filter(|(_, times)| **times == 0);
        never.map(|(name, _)| name.as_str())
    }

    /// Counts a run; one without a report was not run.
    pub fn add(&mut self, report: Option<&RunReport>) {
        let verdict = report.map_or(Verdict::NotRun, |report| report.verdict);
        *self.verdicts.entry(verdict).or_default() += 1;
        let Some(report) = report else { return };
        self.operations.ok += report.operations.ok;
        self.operations.failed += report.operations.failed;
        self.operations.unknown += report.operations.unknown;
        self.simulated_seconds += report.simulated_seconds;
        self.cpu_seconds += report.cpu_seconds;
        let sums = [
            (&mut self.faults, &report.faults),
            (&mut self.recoveries, &report.recoveries),
        ];
        for (sum, counts) in sums {
            for (name, times) in counts {
                *sum.entry(name.clone()).or_default() += times;
            }
        }
    }

    /// How many runs there were.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.verdicts.values().sum()
    }

    fn count(&self, verdict: Verdict) -> u64 {
        self.verdicts.get(&verdict).copied().unwrap_or(0)
    }

    /// How a program that counted so ends: a bug is worse than a harness that failed, and that than doubt. Nothing run at
    /// all is no pass.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let worst = [Verdict::Fail, Verdict::NotRun, Verdict::Unknown];
        let found = worst.into_iter().find(|verdict| self.count(*verdict) > 0);
        let all_well = self.count(Verdict::Pass) > 0;
        found.map_or(
            if all_well { Exit::Pass } else { Exit::Unknown },
            Exit::from,
        )
    }

    /// All of it as one line of JSON.
    #[must_use]
    pub fn line(&self) -> String {
        let list = |counts: &BTreeMap<String, u64>| {
            let items = counts
                .iter()
                .map(|(name, times)| format!("\"{name}\":{times}"));
            items.collect::<Vec<_>>().join(",")
        };
        let Counts {
            ok,
            failed,
            unknown,
        } = self.operations;
        format!(
            "{{\"runs\":{},\"pass\":{},\"fail\":{},\"unknown\":{},\"not_run\":{},\"simulated_seconds\":{:.0},\"cpu_seconds\":{:.1},\
             \"operations\":{{\"ok\":{ok},\"failed\":{failed},\"unknown\":{unknown}}},\"faults\":{{{}}},\"recoveries\":{{{}}}}}",
            self.runs(),
            self.count(Verdict::Pass),
            self.count(Verdict::Fail),
            self.count(Verdict::Unknown),
            self.count(Verdict::NotRun),
            self.simulated_seconds,
            self.cpu_seconds,
            list(&self.faults),
            list(&self.recoveries)
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs: {} passed, {} failed, {} unknown, {} not run; {:.0} CPU seconds",
            self.runs(),
            self.count(Verdict::Pass),
            self.count(Verdict::Fail),
            self.count(Verdict::Unknown),
            self.count(Verdict::NotRun),
            self.cpu_seconds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::find;

    fn soak(seeds: Range<u64>) -> Vec<(WorldName, Verdict)> {
        let soak = Soak {
            scenario: find("smoke").unwrap(),
            seeds,
            worlds: WorldName::ALL.to_vec(),
            until_found: false,
        };
        let mut found = Vec::new();
        soak.perform(|_, world, report| found.push((world, report.unwrap().verdict)));
        found
    }

    #[test]
    fn every_seed_runs_in_every_world() {
        let [madsim, turmoil] = WorldName::ALL.map(|world| (world, Verdict::Pass));
        assert_eq!(soak(1..3), [madsim, turmoil, madsim, turmoil]);
    }

    #[test]
    fn what_might_strike_and_does_not_is_told() {
        let options = find("crash").unwrap().options(Seed::new(1));
        let mut tally = Tally::default();
        tally.expect(&options);
        assert!(options.buggify && tally.silent().any(|name| name == "buggify/log.written"));
        assert!(tally.line().contains(r#""disk-fuse-blown":0"#));
        tally.faults.insert("disk-fuse-blown".to_owned(), 1);
        assert!(!tally.silent().any(|name| name == "disk-fuse-blown"));
        assert!(tally.silent().any(|name| name == "crash"));
    }

    #[test]
    fn worst_verdict_is_the_exit_and_nothing_is_no_pass() {
        let mut tally = Tally::default();
        assert_eq!(tally.exit(), Exit::Unknown);
        let mut report = run(
            find("smoke").unwrap(),
            Seed::new(1),
            WorldName::Madsim,
            Keep::Last(1),
        )
        .report;
        for (verdict, exit) in [
            (Verdict::Pass, Exit::Pass),
            (Verdict::Unknown, Exit::Unknown),
            (Verdict::NotRun, Exit::Harness),
            (Verdict::Fail, Exit::Bug),
            (Verdict::Unknown, Exit::Bug),
        ] {
            report.verdict = verdict;
            tally.add(Some(&report));
            assert_eq!(tally.exit(), exit);
        }
        assert_eq!(tally.runs(), 5);
        assert!(
            tally
                .line()
                .starts_with(r#"{"runs":5,"pass":1,"fail":1,"unknown":2,"not_run":1,"#)
        );
    }
}
