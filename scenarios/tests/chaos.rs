//! The command as a program: what it prints and how it ends.

#![expect(
    clippy::expect_used,
    reason = "a program that cannot be run or read is a failed test"
)]

use std::process::{Command, Output};

use quorate_reports::{RunReport, Verdict, json};
use quorate_scenarios::{WorldName, catalog, run};
use quorate_sim::seed::Seed;
use quorate_sim::trace::Keep;

fn chaos(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(arguments)
        .output()
        .expect("it was built with this test")
}

fn lines(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::to_owned).collect()
}

fn report(output: &Output) -> RunReport {
    let lines = lines(output);
    let last = lines.last().expect("it prints something");
    json::read(last).expect("the last line is the report")
}

/// Everything that follows from the seed stands in the first line.
fn assert_announced(first: &str, scenario: &str, world: &str) {
    assert!(first.starts_with("seed=1 "), "{first}");
    for part in [
        format!("scenario={scenario} "),
        format!("world={world} "),
        "nodes=3 ".to_owned(),
        " faults=".to_owned(),
        " buggify=".to_owned(),
    ] {
        assert!(first.contains(&part), "{part:?} is not in {first}");
    }
}

#[test]
fn pass_ends_with_0_and_its_report_has_every_field() {
    for world in ["madsim", "turmoil"] {
        let output = chaos(&[
            "run", "smoke", "--seed", "1", "--world", world, "-o", "json",
        ]);
        assert_eq!(output.status.code(), Some(0));
        assert_announced(&lines(&output)[0], "smoke", world);
        let told = report(&output);
        assert_eq!(told.verdict, Verdict::Pass);
        assert_eq!((told.scenario.as_str(), told.seed), ("smoke", 1));
        assert_eq!(told.world, world);
        assert_eq!(told.trace_digest.len(), 16);
        assert!(told.simulated_seconds > 6.0 && told.cpu_seconds > 0.0);
        assert!(told.operations.ok > 20);
        let last = lines(&output).pop().expect("it prints something");
        for field in [
            "\"scenario\":",
            "\"seed\":1,",
            "\"world\":",
            "\"verdict\":\"pass\"",
            "\"trace_digest\":",
            "\"simulated_seconds\":",
            "\"cpu_seconds\":",
            "\"operations\":{\"ok\":",
            "\"faults\":{",
        ] {
            assert!(last.contains(field), "{field} is not in {last}");
        }
    }
}

#[test]
fn bug_ends_with_1_and_its_last_line_repeats_it() {
    let output = chaos(&["run", "lying-disks", "--seed", "1"]);
    assert_eq!(output.status.code(), Some(1), "{:?}", lines(&output));
    assert_announced(&lines(&output)[0], "lying-disks", "madsim");
    let last = lines(&output).pop().expect("it prints something");
    let again = last.strip_prefix("again: chaos ").expect("a command");
    let mut arguments: Vec<&str> = again.split(' ').collect();
    arguments.extend(["-o", "json"]);
    let output = chaos(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let told = report(&output);
    assert_eq!(told.verdict, Verdict::Fail);
    assert!(told.faults["disk-ignored-sync"] > 0, "{:?}", told.faults);
    // The node sees it when it opens what it has, and otherwise the oracle does.
    let seen = [
        "was synced and is not there",
        "is missing or damaged",
        "kept",
    ];
    assert!(
        seen.iter().any(|words| told.reason.contains(words)),
        "{}",
        told.reason
    );
    assert_eq!(format!("chaos {again}"), told.repeat);
}

#[test]
fn what_could_not_be_told_ends_with_2() {
    let output = chaos(&["run", "nothing-fires", "-o", "json"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(report(&output).verdict, Verdict::Unknown);
    let last = chaos(&["run", "nothing-fires"]);
    let last = lines(&last).pop().expect("it prints something");
    assert_eq!(
        last,
        "again: chaos run nothing-fires --seed 1 --world madsim"
    );
}

#[test]
fn failure_of_the_harness_ends_with_3() {
    let output = chaos(&["run", "smoke", "--history", "/nonexistent/history.jsonl"]);
    assert_eq!(output.status.code(), Some(3));
    let last = lines(&output).pop().expect("it prints something");
    assert_eq!(last, "again: chaos run smoke --seed 1 --world madsim");
    let nowhere = ["--history", "/nonexistent/history.jsonl", "-o", "json"];
    let output = chaos(&[&["run", "smoke"][..], &nowhere].concat());
    assert_eq!(output.status.code(), Some(3));
    let told = report(&output);
    assert_eq!(told.verdict, Verdict::NotRun);
    assert!(told.reason.contains("/nonexistent"), "{}", told.reason);
    assert_eq!(told.repeat, "chaos run smoke --seed 1 --world madsim");
}

/// Clients, faults, members that come and go and all, in two processes of which neither knows the other.
#[test]
fn another_process_runs_the_same() {
    for (scenario, seed) in [("swarm", 11), ("swarm", 12), ("roles", 5)] {
        for (name, world) in [
            ("madsim", WorldName::Madsim),
            ("turmoil", WorldName::Turmoil),
        ] {
            let found = catalog::find(scenario).expect("it is in the catalog");
            let here = run(found, Seed::new(seed), world, Keep::Last(1)).report;
            let seed = seed.to_string();
            let there = chaos(&[
                "run", scenario, "--seed", &seed, "--world", name, "-o", "json",
            ]);
            let there = report(&there);
            assert_eq!(
                (here.trace_digest, here.trace_events),
                (there.trace_digest, there.trace_events),
                "{scenario} {seed} on {name}"
            );
        }
    }
}

#[test]
fn run_that_is_the_same_twice_says_so() {
    let output = chaos(&["twice", "smoke", "--seed", "2", "--world", "turmoil"]);
    assert_eq!(output.status.code(), Some(0));
    let last = lines(&output).pop().expect("it prints something");
    assert!(last.starts_with("the same twice: "), "{last}");
}

#[test]
fn soak_prints_what_did_not_pass_and_counts_the_rest() {
    let output = chaos(&["soak", "smoke", "--seeds", "1..3", "--world", "both"]);
    assert_eq!(output.status.code(), Some(0));
    let passed = lines(&output);
    let [counted] = &passed[..] else {
        panic!("nothing but the count: {passed:?}")
    };
    assert!(counted.starts_with(r#"{"runs":4,"pass":4,"fail":0,"#));
    assert!(counted.contains(r#""recoveries":{"#), "{counted}");

    let lying = [
        "soak",
        "lying-disks",
        "--seeds",
        "1..9",
        "--world",
        "madsim",
    ];
    let output = chaos(&[&lying[..], &["--until-found"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let found = lines(&output);
    assert_eq!(found.len(), 2, "the first, and the count: {found:?}");
    let told: RunReport = json::read(&found[0]).expect("a report");
    assert_eq!((told.verdict, told.seed), (Verdict::Fail, 1));
    assert!(found[1].starts_with(r#"{"runs":1,"pass":0,"fail":1,"#));
}

#[test]
fn wrong_usage_ends_with_64() {
    for wrong in [
        &["run", "peace"][..],
        &["run", "smoke", "--seed", "tuesday"],
        &["run", "smoke", "--world", "flat"],
        &["run", "smoke", "-o", "xml"],
        &["dance"],
        &[],
    ] {
        assert_eq!(chaos(wrong).status.code(), Some(64), "{wrong:?}");
    }
}

#[test]
fn list_names_what_passes_and_nothing_else() {
    let output = chaos(&["list"]);
    assert_eq!(output.status.code(), Some(0));
    let lines = lines(&output);
    assert!(lines.iter().any(|line| line.starts_with("smoke ")));
    assert!(!lines.iter().any(|line| line.starts_with("lying-disks")));
}
