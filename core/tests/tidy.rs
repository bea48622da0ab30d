//! What no compiler checks: that the folders keep the promises which ARCHITECTURE.md makes for them, and that nothing was
//! left lying about.
//!
//! The words that are looked for are put together from two halves, or this file would find itself.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be read cannot be judged, and that is a failure"
)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders whose content nobody wrote, or that a run leaves behind.
const SKIPPED: [&str; 4] = ["target", ".git", "quorate-data", "corpus"];
const PACKAGES: [&str; 5] = ["core", "sim", "jepsen-style", "scenarios", "reports"];

/// A file of the repository.
struct Source {
    /// From the root, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    fn is(&self, extension: &str) -> bool {
        self.path.ends_with(&format!(".{extension}"))
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(&format!("{folder}/"))
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Each line with its number, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines()
            .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
    }

    /// As [`Source::code`], without what is only for unit tests, which may do what the product may not: the item below each
    /// `#[cfg(test)]` that begins a line.
    fn product_code(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut in_tests = false;
        self.code().filter(move |(_, line)| {
            let was_in_tests = in_tests;
            in_tests = if in_tests {
                // An item ends where a line at the margin closes it.
                let at_margin = !line.starts_with([' ', '#']);
                !(at_margin && line.ends_with([';', '}']))
            } else {
                line.starts_with("#[cfg(test)]")
            };
            !was_in_tests && !in_tests
        })
    }

    /// What the product's code imports: whole paths, each with the line where its `use` begins.
    fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut statement: Option<(usize, String)> = None;
        for (number, line) in self.product_code() {
            let line = line.trim();
            match (&mut statement, imported(line)) {
                (Some((_, begun)), _) => begun.push_str(line),
                (none, Some(path)) => *none = Some((number, path.to_owned())),
                (None, None) => {}
            }
            if let Some((number, whole)) = statement.take_if(|_| line.ends_with(';')) {
                let mut paths = Vec::new();
                expand("", whole.trim_end_matches(';'), &mut paths);
                found.extend(paths.into_iter().map(|path| (number, path)));
            }
        }
        found
    }

    /// The comment that opens a module.
    fn module_doc(&self) -> String {
        let doc = self
            .text
            .lines()
            .take_while(|line| line.starts_with("//!") || line.is_empty());
        doc.collect::<Vec<_>>().join("\n")
    }
}

/// What a line that begins an import says behind `use`.
fn imported(line: &str) -> Option<&str> {
    let (visibility, path) = line.split_once("use ")?;
    let visibility = visibility.trim();
    (visibility.is_empty() || visibility.starts_with("pub")).then_some(path)
}

/// Writes out the groups of an import: `a::{b, c::{d}}` names `a::b` and `a::c::d`.
fn expand(before: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((stem, group)) = tree.split_once('{') else {
        if !tree.is_empty() {
            found.push(format!("{before}{tree}"));
        }
        return;
    };
    let before = format!("{before}{}", stem.trim());
    let group = group.strip_suffix('}').unwrap_or(group);
    let mut depth = 0_usize;
    let branches = group.split(|letter| {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    });
    for branch in branches {
        expand(&before, branch, found);
    }
}

/// Whether an import brings in what a word names: itself, something in it, or it with all that is beside it.
fn brings_in(path: &str, word: &str) -> bool {
    let path = path.split(" as ").next().unwrap_or_default().trim();
    match path.strip_suffix('*') {
        Some(beside) => path.contains(word) || word.starts_with(beside),
        None => format!("{path}::").contains(word),
    }
}

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package is in the workspace")
        .to_owned()
}

/// All text files of the repository.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 50, "only {} files were found", found.len());
    found
}

#[expect(clippy::disallowed_methods, reason = "a test that reads real files")]
fn collect(directory: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            collect(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root()).unwrap();
            let path = path.to_str().unwrap().replace('\\', "/");
            found.push(Source { path, text });
        }
    }
}

/// Fails with every finding, not only the first.
fn assert_none(rule: &str, findings: &[String]) {
    let mut message = String::new();
    for finding in findings {
        writeln!(message, "  {finding}").unwrap();
    }
    assert!(findings.is_empty(), "{rule}\n{message}");
}

/// Every place in the lines where one of the words stands.
fn places<'a>(
    source: &Source,
    lines: impl Iterator<Item = (usize, &'a str)>,
    words: &[&str],
) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in lines {
        for word in words.iter().filter(|word| line.contains(**word)) {
            found.push(format!("{}:{number}: {word}", source.path));
        }
    }
    found
}

#[test]
fn core_knows_no_simulator() {
    let words = ["madsim", "turmoil"];
    let mut found = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.is_in("core/src") && source.is("rs"))
    {
        found.extend(places(source, source.code(), &words));
    }
    assert_none("The simulators run core; core must not know them.", &found);
}

/// Without `biased` tokio's macro begins at a branch drawn from random numbers of its own.
#[test]
fn every_select_chooses_in_order() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.is("rs")) {
        let mut opened = false;
        for (number, line) in source.code() {
            if opened && line.trim() != "biased;" {
                found.push(format!("{}:{number}", source.path));
            }
            opened = line.trim_end().ends_with("select! {");
        }
    }
    assert_none("The first line of a select is `biased;`.", &found);
}

#[test]
fn core_meets_the_real_world_only_in_its_tokio_runtime_and_its_binary() {
    let words = [
        "tokio::net",
        "tokio::time",
        "tokio::spawn",
        "tokio::task::",
        "tokio::fs",
        "tokio::signal",
        "std::fs",
        "std::thread",
        "std::time::Instant",
        "net::TcpStream",
        "net::TcpListener",
        "SystemTime",
    ];
    let real = ["core/src/runtime/tokio.rs"];
    // hyper's timer speaks in this type; its values are made from the runtime's clock.
    let spoken = [("core/src/transport/glue.rs", "std::time::Instant")];
    let mut found = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.is_in("core/src") && source.is("rs"))
    {
        if !source.is_in("core/src/bin") && !real.contains(&source.path.as_str()) {
            found.extend(places(source, source.product_code(), &words));
            for (number, path) in source.imports() {
                let is_named = |word: &&&str| {
                    brings_in(&path, word) && !spoken.contains(&(source.path.as_str(), **word))
                };
                for word in words.iter().filter(is_named) {
                    found.push(format!("{}:{number}: {word} as {path}", source.path));
                }
            }
        }
    }
    found.sort();
    assert_none("Everything real comes to core through the Runtime.", &found);
}

#[test]
fn what_an_import_brings_in_is_seen_through_groups() {
    let table = [
        ("use std::time::{Duration, Instant};", "std::time::Instant"),
        ("use std::{fs, io};", "std::fs"),
        (
            "pub(crate) use std::{\n    io,\n    time::{\n        Duration, Instant,\n    },\n};",
            "std::time::Instant",
        ),
        ("use tokio::{task, sync};", "tokio::task::"),
        ("use std::{thread as threads};", "std::thread"),
        ("use std::time::*;", "std::time::Instant"),
    ];
    for (text, word) in table {
        let source = Source {
            path: "file.rs".to_owned(),
            text: text.to_owned(),
        };
        let imports = source.imports();
        let seen = imports.iter().filter(|(_, path)| brings_in(path, word));
        assert_eq!(seen.count(), 1, "{word} in {text}: {imports:?}");
    }
    let harmless = Source {
        path: "file.rs".to_owned(),
        text:
            "use std::time::{Duration, SystemTimeError};\nuse super::*;\nlet use_of = fs::read;\n"
                .to_owned(),
    };
    let imports = harmless.imports();
    assert_eq!(imports.len(), 3, "{imports:?}");
    assert!(
        !imports
            .iter()
            .any(|(_, path)| brings_in(path, "std::time::Instant"))
    );
}

#[test]
fn the_state_machine_does_not_wait() {
    let words = ["async ", ".await"];
    let mut found = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.is_in("core/src/state") && source.is("rs"))
    {
        found.extend(places(source, source.product_code(), &words));
    }
    assert_none("The state machine is pure and synchronous.", &found);
}

#[test]
fn the_harness_does_not_import_what_it_judges() {
    let rules: [(&str, &[&str]); 3] = [
        (
            "jepsen-style",
            &["quorate::", "quorate_sim", "quorate_scenarios"],
        ),
        (
            "reports",
            &["quorate::", "quorate_sim", "quorate_scenarios"],
        ),
        (
            "sim",
            &[
                "quorate_jepsen_style",
                "quorate_reports",
                "quorate_scenarios",
            ],
        ),
    ];
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.is("rs")) {
        for (_, words) in rules.iter().filter(|(folder, _)| source.is_in(folder)) {
            for (number, path) in source.imports() {
                for word in words.iter().filter(|word| brings_in(&path, word)) {
                    found.push(format!("{}:{number}: {word}", source.path));
                }
            }
        }
    }
    assert_none("One bug must not hide on both sides.", &found);
}

#[test]
fn reads_never_rest_on_a_lease() {
    // A restarted follower forgets the lease that it gave (T7), so such a read can be stale.
    let words = [concat!("Lease", "Read")];
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.is("rs")) {
        found.extend(places(source, source.code(), &words));
    }
    assert_none("Linearizable reads are ReadIndex only.", &found);
}

#[test]
fn nothing_is_left_for_later() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("db", "g!("),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
    ];
    let written = ["rs", "md", "toml", "proto"];
    let mut found = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| written.iter().any(|end| source.is(end)))
    {
        found.extend(places(source, source.lines(), &words));
    }
    assert_none("Nothing is left for later in the text.", &found);
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/sha", "red/"),
    ];
    let mut found = Vec::new();
    for source in &sources() {
        found.extend(places(source, source.lines(), &words));
    }
    assert_none("Paths of one machine mean nothing on another.", &found);
}

#[test]
fn a_markdown_file_has_one_title() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.is("md")) {
        let mut fenced = false;
        let mut titles = 0;
        for line in source.text.lines() {
            fenced ^= line.trim_start().starts_with("```");
            titles += usize::from(!fenced && line.starts_with("# "));
        }
        if titles != 1 {
            found.push(format!("{}: {titles} titles", source.path));
        }
    }
    assert_none("A markdown file has exactly one H1.", &found);
}

#[test]
fn a_folder_opens_with_a_map_of_its_files() {
    let sources = sources();
    let mut found = Vec::new();
    for source in &sources {
        let Some((folder, file)) = source.path.rsplit_once('/') else {
            continue;
        };
        let in_a_package = !folder.ends_with("/tests")
            && PACKAGES
                .iter()
                .any(|package| source.is_in(&format!("{package}/src")));
        if !in_a_package || !["mod.rs", "lib.rs"].contains(&file) {
            continue;
        }
        let doc = source.module_doc();
        let names = names_beside(folder, &sources);
        // A map of two or three things is noise: their `mod` lines say as much.
        for name in names.iter().filter(|_| names.len() > 3) {
            let forms = [
                format!("`{name}`"),
                format!("`{name}/`"),
                format!("{name}.rs"),
            ];
            if !forms.iter().any(|form| doc.contains(form)) {
                found.push(format!("{}: `{name}` is not in the map", source.path));
            }
        }
    }
    assert_none("A folder opens with a map of what stands in it.", &found);
}

/// Files and folders of Rust beside a `mod.rs`, as module names.
fn names_beside(folder: &str, sources: &[Source]) -> BTreeSet<String> {
    let beside = sources.iter().filter(|source| source.is("rs"));
    let rests = beside.filter_map(|source| source.path.strip_prefix(folder)?.strip_prefix('/'));
    let firsts = rests.map(|rest| rest.split('/').next().unwrap_or_default());
    // `bin` holds programs of their own, and tests name themselves.
    let own = ["mod", "lib", "main", "bin", "tests"];
    let names = firsts.map(|first| first.trim_end_matches(".rs"));
    names
        .filter(|name| !own.contains(name))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_rule_that_the_code_cites_is_explained() {
    let sources = sources();
    let architecture = sources
        .iter()
        .find(|source| source.path == "ARCHITECTURE.md");
    let architecture = architecture.expect("ARCHITECTURE.md is there");
    let mut found = Vec::new();
    // Elsewhere T1 may well be a transaction.
    let citing = |source: &&Source| source.is_in("core") || source.is_in("sim");
    for source in sources
        .iter()
        .filter(citing)
        .filter(|source| source.is("rs") || source.is("proto"))
    {
        for rule in citations(&source.text) {
            if !architecture.text.contains(&format!("| {rule} |")) {
                found.push(format!("{}: {rule}", source.path));
            }
        }
    }
    assert_none(
        "A number such as T7 is a row in ARCHITECTURE.md's table of rules.",
        &found,
    );
}

/// Words of comments such as T7 or R14.
fn citations(text: &str) -> BTreeSet<String> {
    let comments = text.lines().filter_map(|line| line.split_once("//"));
    let words = comments.flat_map(|(_, comment)| comment.split(|c: char| !c.is_alphanumeric()));
    let is_rule = |word: &&str| {
        let digits = word.strip_prefix('T').or_else(|| word.strip_prefix('R'));
        digits.is_some_and(|digits| {
            (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    words.filter(is_rule).map(str::to_owned).collect()
}
