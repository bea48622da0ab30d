//! The `check` command on histories of our own making. Each tells its story in its first line, and its name says the model
//! and the verdict.

#![allow(
    clippy::unwrap_used,
    reason = "a test may end where it finds what cannot be"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories/linear")
}

fn check(arguments: &[&str], file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_check"))
        .args(arguments)
        .arg(file)
        .output()
        .unwrap()
}

fn scratch(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    #[expect(
        clippy::disallowed_methods,
        reason = "a test of a command that reads real files"
    )]
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test that reads its data")]
fn every_history_gets_the_verdict_in_its_name() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 32);
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let (model, rest) = name.split_once('.').unwrap();
        let expected = if rest.starts_with("pass") { 0 } else { 1 };
        for extra in [&[][..], &["--no-partition"], &["--shrink"]] {
            let arguments = [&["--model", model], extra].concat();
            let output = check(&arguments, &file);
            let said = String::from_utf8(output.stdout).unwrap();
            if output.status.code() != Some(expected) {
                wrong.push(format!("STORY {name} {extra:?}: {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_failure_says_which_answer_cannot_be_and_in_which_state() {
    let output = check(
        &["--model", "cas-register"],
        &folder().join("cas-register.fail.both-won.jsonl"),
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("fail: no order explains the answer of process 2: cas [1 3] -> true"),
        "{said}"
    );
    assert!(said.contains("process 1: cas [1 2] -> true"), "{said}");
    assert!(said.contains("states in which it was tried: 2"), "{said}");
}

#[test]
fn a_json_line_says_it_for_programs() {
    let output = check(
        &["--model", "kv", "-o", "json"],
        &folder().join("kv.fail.lost-append.jsonl"),
    );
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["verdict"], "fail");
    assert_eq!(line["operations"], 3);
    assert_eq!(line["details"]["explanation"]["prefix"], 3);
    assert!(line["seconds"].is_number() && line["peak_memory"].is_number());
}

#[test]
fn exit_codes_tell_usage_from_bad_input() {
    let good = folder().join("register.pass.overlap.jsonl");
    assert_eq!(
        check(&["--model", "register"], &good).status.code(),
        Some(0)
    );
    assert_eq!(check(&["--model", "oracle"], &good).status.code(), Some(64));
    assert_eq!(
        check(&["--modle", "register"], &good).status.code(),
        Some(64)
    );
    assert_eq!(
        check(&["--model", "register"], Path::new("nowhere.jsonl"))
            .status
            .code(),
        Some(65)
    );
    let cut = scratch("cut.jsonl", "{\"process\":1,\"type\":\"invoke\",\"f\":\"re");
    let output = check(&["--model", "register"], &cut);
    assert_eq!(output.status.code(), Some(65));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("line 1, column 37")
    );
}

#[test]
fn what_cannot_be_told_in_time_is_unknown() {
    // Sixty writes of few values open at a time, and a read that none of them explains with what is read after it.
    let mut text = String::new();
    let mut event = |process: usize, kind: &str, function: &str, value: &str| {
        text += &format!(
            "{{\"process\":{process},\"type\":\"{kind}\",\"f\":\"{function}\",\"value\":{value}}}\n"
        );
    };
    for process in 0..60 {
        event(
            process,
            "invoke",
            "cas",
            &format!("[{},{}]", process % 7, (process * 5 + 3) % 7),
        );
    }
    event(99, "invoke", "write", "0");
    event(99, "ok", "write", "0");
    for process in 0..60 {
        event(process, "ok", "cas", "true");
    }
    event(99, "invoke", "read", "null");
    event(99, "ok", "read", "77");
    let file = scratch("hard.jsonl", &text);
    let output = check(&["--model", "cas-register", "--memory", "1"], &file);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("unknown: the search did not end within its memory"),
        "{said}"
    );
}

/// The histories of a section of the documentation of operations, first the one that passes.
fn examples(section: &str) -> Vec<&str> {
    let blocks = section.split("```json\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

/// The names are those that `--help` tells, so that one without an example is noticed.
#[test]
fn every_name_has_examples_and_they_end_as_they_say() {
    let help = check(&["--help"], Path::new("--help"));
    let help = String::from_utf8(help.stdout).unwrap();
    let help: Vec<&str> = help.split_whitespace().collect();
    let help = help.join(" ");
    let names = help.split_once("what the system promises: ").unwrap().1;
    let names = names.split_once(" (list-append and").unwrap().0;
    let names: Vec<&str> = names.split(", ").collect();
    assert!(names.len() >= 27, "{names:?}");
    for name in names {
        let output = check(&["--example"], Path::new(name));
        assert_eq!(output.status.code(), Some(0), "{name} has no example");
        let section = String::from_utf8(output.stdout).unwrap();
        let histories = examples(&section);
        let second = if section.contains("\nUnknown:\n") {
            2
        } else {
            1
        };
        // Of this one no bad history can be read.
        let wanted = if name == "single-threaded" { 1 } else { 2 };
        assert_eq!(histories.len(), wanted, "{name}");
        for (history, code) in histories.iter().zip([0, second]) {
            let file = scratch(&format!("example.{name}.{code}.jsonl"), history);
            let output = check(&["--model", name], &file);
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        }
    }
    assert_eq!(
        check(&["--example"], Path::new("hope")).status.code(),
        Some(64)
    );
}
