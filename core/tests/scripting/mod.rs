//! Golden scripts: a sentence, commands, and the recorded output that a person can check by reading.
//!
//! ```text
//! # What this script shows, in one sentence.
//!
//! > command with arguments
//! its output
//! ```
//!
//! A script passes when running its commands gives the file back, byte for byte. `UPDATE_SCRIPTS=1` writes the files instead;
//! the difference is then reviewed like code.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read and write the scripts themselves"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Runs each script of `tests/scripts/<folder>` in a world of its own.
pub(crate) fn run_all<World>(
    folder: &str,
    new_world: impl Fn() -> World,
    execute: impl Fn(&mut World, &[&str]) -> String,
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scripts")
        .join(folder);
    let mut scripts: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of scripts exists")
        .map(|entry| entry.expect("the folder can be listed").path())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no scripts in {}", folder.display());
    let update = std::env::var_os("UPDATE_SCRIPTS").is_some();
    let mut failures = String::new();
    for script in scripts {
        let recorded = fs::read_to_string(&script).expect("a script is text");
        let replayed = replay(&recorded, &mut new_world(), &execute);
        if update {
            fs::write(&script, replayed).expect("scripts can be written when updating");
        } else if recorded != replayed {
            let name = script
                .file_name()
                .expect("a file has a name")
                .display()
                .to_string();
            let _ = writeln!(
                failures,
                "{name}:\n{}",
                first_difference(&recorded, &replayed)
            );
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

fn replay<World>(
    script: &str,
    world: &mut World,
    execute: impl Fn(&mut World, &[&str]) -> String,
) -> String {
    let mut replayed = String::new();
    let mut in_output = false;
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            let _ = writeln!(replayed, "{line}");
            let words: Vec<&str> = command.split_whitespace().collect();
            let output = execute(world, &words);
            for line in output.lines() {
                let _ = writeln!(replayed, "{line}");
            }
            in_output = true;
        } else if line.is_empty() || line.starts_with('#') {
            let _ = writeln!(replayed, "{line}");
            in_output = false;
        } else {
            assert!(in_output, "output without a command: {line}");
        }
    }
    replayed
}

fn first_difference(recorded: &str, replayed: &str) -> String {
    let mut recorded = recorded.lines();
    let mut replayed = replayed.lines();
    for line in 1.. {
        match (recorded.next(), replayed.next()) {
            (None, None) => break,
            (one, other) if one == other => {}
            (one, other) => {
                return format!("  line {line}\n  recorded: {one:?}\n  now:      {other:?}");
            }
        }
    }
    "  only the line endings differ".to_owned()
}
