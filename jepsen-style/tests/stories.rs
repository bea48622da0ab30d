//! Hand-made histories, good and bad, each with its story in the first line.
//!
//! They lie in `tests/stories/CHECKER/VERDICT.WORD.NAME.jsonl`: the checker of that name must come to that verdict, and the
//! reason that it gives must hold that word (a hyphen for none).

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use quorate_jepsen_style::check::{guarded, named, names};
use quorate_jepsen_style::history::read::{Format, read};

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = folder
        .read_dir()
        .expect("it is there")
        .map(|entry| entry.expect("it is readable").path())
        .collect();
    entries.sort();
    entries
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .expect("names here are UTF-8")
}

/// Whether a text holds a word as a whole: `G-single` is not in `G-single-realtime`.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(place, _)| {
        let next = text[place + word.len()..].chars().next();
        next.is_none_or(|next| !next.is_alphanumeric() && next != '-')
    })
}

#[expect(clippy::disallowed_methods, reason = "a test that reads its data")]
fn open(path: &Path) -> BufReader<File> {
    BufReader::new(File::open(path).expect("it is readable"))
}

#[test]
fn every_story_ends_as_its_name_says() {
    let histories = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    // All that end otherwise are told: which they are says more than one.
    let mut wrong = Vec::new();
    for folder in entries(&histories).into_iter().filter(|path| path.is_dir()) {
        let checker =
            named(name(&folder)).unwrap_or_else(|| panic!("no checker {}", folder.display()));
        for path in entries(&folder) {
            let mut parts = name(&path).splitn(3, '.');
            let (verdict, word) = (
                parts.next().expect("a verdict"),
                parts.next().expect("a word"),
            );
            let history = read(open(&path), Some(Format::JsonLines)).expect("it is well formed");
            assert!(
                !history.story().is_empty(),
                "{} has no story",
                path.display()
            );
            let report = guarded(checker.as_ref(), &history);
            let says = word == "-" || has_word(&report.reason, word);
            if report.verdict.to_string() != verdict || !says {
                let path = path.strip_prefix(&histories).unwrap_or(&path);
                wrong.push(format!(
                    "STORY {}: {}: {report}",
                    path.display(),
                    history.story()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_named_checker_has_a_good_and_a_bad_story() {
    let histories = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    for checker in names() {
        let folder = histories.join(checker);
        assert!(folder.is_dir(), "{checker} has no stories");
        for verdict in ["pass.", "fail."] {
            let has = entries(&folder)
                .iter()
                .any(|path| name(path).starts_with(verdict));
            // What these find is no fault of the system: they never say fail.
            let never_fails = ["single-threaded", "stats", "unhandled-errors"].contains(&checker);
            assert!(
                has || never_fails && verdict == "fail.",
                "{checker} has no story that ends with {verdict}"
            );
        }
    }
}
