//! The command `check` as its users meet it: exit codes, JSON lines, bounds.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

const GOOD: &str = r#"{"process":0,"type":"invoke","f":"write","value":1}
{"process":0,"type":"ok","f":"write","value":1}
{"process":0,"type":"invoke","f":"read"}
{"process":0,"type":"ok","f":"read","value":1}
"#;

/// A file of that name for one test.
#[expect(
    clippy::disallowed_methods,
    reason = "a test that hands files to a command"
)]
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("the folder of tests can be written");
    path
}

/// The exit code and the one JSON line of a run over one file.
fn check(model: &str, options: &[&str], file: &PathBuf) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_check"))
        .args(["-o", "json", "--model", model])
        .args(options)
        .arg(file)
        .output()
        .expect("the command starts");
    let line = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().expect("it was not killed"), line)
}

fn bad() -> String {
    GOOD.replace(r#""read","value":1"#, r#""read","value":2"#)
}

/// Every line has the fields that a program looks for.
fn assert_whole(line: &Value) {
    for field in [
        "file",
        "verdict",
        "reason",
        "operations",
        "seconds",
        "peak_memory",
        "witness",
    ] {
        assert!(line.get(field).is_some(), "no {field} in {line}");
    }
}

#[test]
fn the_exit_code_and_the_line_say_pass_or_fail() {
    let (code, line) = check("cas-register", &["--jobs", "2"], &file("good.jsonl", GOOD));
    assert_eq!(
        (code, &line["verdict"], &line["operations"]),
        (0, &"pass".into(), &2.into())
    );
    assert_whole(&line);
    for options in [&["--no-partition"][..], &["--shrink"], &[]] {
        let (code, line) = check("cas-register", options, &file("bad.jsonl", &bad()));
        assert_eq!((code, &line["verdict"]), (1, &"fail".into()), "{line}");
        assert!(!line["witness"].as_array().expect("a list").is_empty());
        assert_whole(&line);
    }
}

#[test]
fn the_worst_of_all_files_decides() {
    let (good, bad) = (
        file("worst.good.jsonl", GOOD),
        file("worst.bad.jsonl", &bad()),
    );
    let broken = file("worst.broken.jsonl", "{}");
    let code = |files: &[&PathBuf]| {
        let output = Command::new(env!("CARGO_BIN_EXE_check"))
            .args(["-o", "json", "--model", "register"])
            .args(files)
            .output()
            .expect("the command starts");
        // One line each, whatever became of the others.
        assert_eq!(
            output.stdout.split(|byte| *byte == b'\n').count(),
            files.len() + 1
        );
        output.status.code().expect("it was not killed")
    };
    assert_eq!(code(&[&good, &good]), 0);
    assert_eq!(code(&[&bad, &good]), 1);
    assert_eq!(code(&[&broken, &bad, &good]), 65);
}

#[test]
fn wrong_usage_ends_with_64() {
    let good = file("usage.jsonl", GOOD);
    assert_eq!(check("hope", &[], &good).0, 64);
    assert_eq!(check("register", &["--timeout", "soon"], &good).0, 64);
    assert_eq!(check("set", &["--shrink"], &good).0, 64);
    assert_eq!(check("list-append", &["--no-partition"], &good).0, 64);
}

#[test]
fn bad_input_ends_with_65_and_is_named_by_line_and_column() {
    let cut = format!("{GOOD}{{\"process\":0,\"type\":\"invoke\",\"f\":");
    let (code, line) = check("register", &[], &file("cut.jsonl", &cut));
    assert_eq!((code, &line["verdict"]), (65, &"unknown".into()));
    assert_eq!(
        (&line["line"], &line["column"]),
        (&5.into(), &34.into()),
        "{line}"
    );
    assert_whole(&line);
}

#[test]
fn a_file_that_is_not_there_has_no_line_and_no_column() {
    let (code, line) = check("register", &[], &PathBuf::from("/nowhere/at/all"));
    assert_eq!((code, &line["verdict"]), (65, &"unknown".into()));
    assert_eq!(
        (&line["line"], &line["column"]),
        (&Value::Null, &Value::Null)
    );
    let error = line["error"].as_str().expect("a text");
    assert!(error.starts_with("cannot be opened"), "{error}");
    assert_whole(&line);
}

#[test]
fn no_time_is_unknown_for_every_checker() {
    let good = file("no_time.jsonl", GOOD);
    for model in [
        "register",
        "etcd",
        "list-append",
        "rw-register",
        "set",
        "queue",
        "stats",
    ] {
        let (code, line) = check(model, &["--timeout", "0ms"], &good);
        assert_eq!(
            (code, &line["verdict"]),
            (2, &"unknown".into()),
            "{model}: {line}"
        );
        assert!(
            line["reason"]
                .as_str()
                .expect("a text")
                .contains("within its time")
        );
        assert_whole(&line);
    }
}

#[test]
fn a_line_longer_than_the_bound_is_bad_input_and_a_history_too_big_is_unknown() {
    let long = format!(
        "{GOOD}{{\"process\":0,\"type\":\"invoke\",\"f\":\"write\",\"value\":\"{}\"}}\n",
        "x".repeat(2 << 20)
    );
    let history = file("long.jsonl", &long);
    assert_eq!(check("register", &[], &history).0, 0);
    let (code, line) = check("register", &["--longest-event", "1"], &history);
    assert_eq!((code, &line["verdict"]), (65, &"unknown".into()), "{line}");
    assert_eq!((&line["line"], &line["column"]), (&5.into(), &1.into()));
    assert_whole(&line);
    // All of it, and no search: the bound is on reading.
    let (code, line) = check("stats", &["--memory", "1"], &history);
    assert_eq!((code, &line["verdict"]), (2, &"unknown".into()), "{line}");
    let reason = line["reason"].as_str().expect("a text");
    assert!(
        reason.contains("line 5") && reason.contains("takes more than 1 MiB"),
        "{reason}"
    );
    assert_whole(&line);
}

/// A big file before a small one: the peak of the second is not that of the first.
#[test]
fn the_peak_of_memory_is_that_of_one_file() {
    let big = format!(
        "{GOOD}{{\"process\":0,\"type\":\"invoke\",\"f\":\"write\",\"value\":\"{}\"}}\n",
        "x".repeat(48 << 20)
    );
    let (big, small) = (file("big.jsonl", &big), file("small.jsonl", GOOD));
    let output = Command::new(env!("CARGO_BIN_EXE_check"))
        .args(["-o", "json", "--model", "register"])
        .args([&big, &small])
        .output()
        .expect("the command starts");
    let peaks: Vec<u64> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|line| line["peak_memory"].as_u64().expect("Linux tells"))
        .collect();
    assert!(peaks[0] > 48 << 20, "{peaks:?}");
    assert!(peaks[1] < 24 << 20, "{peaks:?}");
}

/// One event after the other as lines.
#[derive(Default)]
struct Log(String);

impl Log {
    fn event(&mut self, process: usize, kind: &str, function: &str, value: &str) {
        writeln!(
            self.0,
            r#"{{"process":{process},"type":"{kind}","f":"{function}","value":{value}}}"#
        )
        .expect("memory");
    }
}

/// A walk that must pass every value of a cycle to be told impossible: sixty compare-and-sets are open at once, and then
/// something is read that nobody wrote.
fn exponential() -> String {
    let mut log = Log::default();
    let asked = |process| format!("[{},{}]", process % 7, (process * 5 + 3) % 7);
    for process in 0..60 {
        log.event(process, "invoke", "cas", &asked(process));
    }
    log.event(99, "invoke", "write", "0");
    log.event(99, "ok", "write", "0");
    for process in 0..60 {
        log.event(process, "ok", "cas", "true");
    }
    log.event(99, "invoke", "read", "null");
    log.event(99, "ok", "read", "77");
    log.0
}

/// Queues whose elements repeat: every state is a list, and most of what a search takes is in those.
fn exponential_with_large_states() -> String {
    let mut log = Log::default();
    for process in 0..40 {
        log.event(process, "invoke", "enqueue", &(process % 5).to_string());
    }
    for process in 0..40 {
        log.event(process, "ok", "enqueue", &(process % 5).to_string());
    }
    for value in [0, 1, 2, 3, 4, 9] {
        log.event(50, "invoke", "dequeue", "null");
        log.event(50, "ok", "dequeue", &value.to_string());
    }
    log.0
}

#[test]
fn what_grows_exponentially_ends_unknown_within_its_time() {
    let history = file("exponential.jsonl", &exponential());
    for options in [
        &["--timeout", "300ms"][..],
        &["--timeout", "300ms", "--no-partition"],
    ] {
        let (code, line) = check("cas-register", options, &history);
        assert_eq!((code, &line["verdict"]), (2, &"unknown".into()), "{line}");
        let reason = line["reason"].as_str().expect("a text");
        assert!(reason.contains("within its time"), "{reason}");
    }
}

#[test]
fn what_grows_exponentially_ends_unknown_within_its_memory() {
    for (model, history) in [
        ("cas-register", exponential()),
        ("linear-queue", exponential_with_large_states()),
    ] {
        let history = file(&format!("exponential.{model}.jsonl"), &history);
        let options = ["--memory", "32", "--jobs", "1"];
        let (code, line) = check(model, &options, &history);
        assert_eq!(
            (code, &line["verdict"]),
            (2, &"unknown".into()),
            "{model}: {line}"
        );
        let reason = line["reason"].as_str().expect("a text");
        assert!(reason.contains("within its memory"), "{model}: {reason}");
        // A table that doubles is there twice for a moment, and the program itself takes a few megabytes.
        let peak = line["peak_memory"].as_u64().expect("Linux tells");
        assert!(peak < 96 << 20, "{model}: {peak}");
    }
}

/// Of two objects judged side by side one cannot be told. The other decides only if it is illegal.
#[test]
fn an_object_that_cannot_be_told_is_not_made_good_by_another() {
    let hard = exponential().replace(r#","f":"#, r#","key":"hard","f":"#);
    let of_another = |text: &str| {
        text.replace(r#""process":0"#, r#""process":777"#)
            .replace(r#","f":"#, r#","key":"easy","f":"#)
    };
    for jobs in ["1", "2"] {
        let options = ["--memory", "16", "--jobs", jobs];
        for (name, other, expected) in [("good", GOOD, 2), ("bad", &bad(), 1)] {
            let log = format!("{hard}{}", of_another(other));
            let (code, line) = check(
                "cas-register",
                &options,
                &file(&format!("two.{name}.{jobs}.jsonl"), &log),
            );
            assert_eq!(code, expected, "{name}, {jobs} jobs: {line}");
        }
    }
}

/// Five thousand writes of unknown outcome among as many that were answered, and each is read: what the search remembers must
/// not be a set of five thousand for every step.
#[test]
fn thousands_of_unknown_outcomes_take_memory_in_proportion() {
    let mut log = Log::default();
    for number in 0..5000 {
        let value = (number % 2500).to_string();
        log.event(number, "invoke", "write", &value);
        log.event(number, "info", "write", &value);
        log.event(9999, "invoke", "read", "null");
        log.event(9999, "ok", "read", &value);
        log.event(9999, "invoke", "write", "7");
        log.event(9999, "ok", "write", "7");
    }
    let history = file("doubtful.jsonl", &log.0);
    let (code, line) = check("register", &["--jobs", "1"], &history);
    assert_eq!((code, &line["verdict"]), (0, &"pass".into()), "{line}");
    let peak = line["peak_memory"].as_u64().expect("Linux tells");
    assert!(peak < 64 << 20, "{peak}");
}

/// Elements times reads: the set checker would take 3·10⁹ steps.
#[test]
fn a_checker_that_does_not_search_ends_within_its_time_too() {
    let mut log = String::new();
    for value in 0..55_000 {
        writeln!(
            log,
            r#"{{"process":0,"type":"invoke","f":"add","value":{value}}}"#
        )
        .expect("memory");
        writeln!(
            log,
            r#"{{"process":0,"type":"ok","f":"add","value":{value}}}"#
        )
        .expect("memory");
    }
    for _ in 0..55_000 {
        log += "{\"process\":0,\"type\":\"invoke\",\"f\":\"read\"}\n";
        log += "{\"process\":0,\"type\":\"ok\",\"f\":\"read\",\"value\":[]}\n";
    }
    let history = file("quadratic.jsonl", &log);
    let (code, line) = check("set", &["--timeout", "500ms"], &history);
    assert_eq!((code, &line["verdict"]), (2, &"unknown".into()), "{line}");
}
