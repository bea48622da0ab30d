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
