//! What the shipped binary must not hold: the points at which simulations make trouble.
//!
//! They are compiled in only where the simulators are built in the same go, which turn the feature on for all. So there are
//! two halves. That the points are nothing without the feature is shown by the compiler, wherever core is built alone
//! (`src/runtime/buggify.rs`); here it is shown, in every build, that nothing gets around that: each name stands inside of
//! the macros, and nobody but the simulators turns the feature on. Built alone, the binary itself is looked at as well.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "reads what was built; what cannot be read cannot be judged"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Put together from two halves, or this test would be found as well.
fn mark() -> String {
    ["buggify", "/"].concat()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of every source file of core but the one that makes the macros.
fn sources(directory: &Path, found: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("runtime/buggify.rs")
        {
            found.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Names of points in code, and those of them that stand where the macros take them away.
fn names(text: &str) -> (usize, usize) {
    let quoted = format!("\"{}", mark());
    let pieces: Vec<&str> = text.split(&quoted).collect();
    let before = &pieces[..pieces.len() - 1];
    let in_macro = before.iter().filter(|piece| {
        let piece = piece.trim_end();
        piece.ends_with("stumble!(R,") || piece.ends_with("fails!(R,")
    });
    (before.len(), in_macro.count())
}

#[test]
fn points_stand_in_the_macros_and_only_the_simulators_turn_them_on() {
    let mut text = String::new();
    sources(&root().join("core/src"), &mut text);
    let (all, in_macros) = names(&text);
    assert!(all >= 10, "they are in the sources: {all}");
    assert_eq!(all, in_macros, "a point that no macro takes away");
    let by_hand = [r#"R::stumble("#, "_\"", &mark(), r#"by.hand")"#].concat();
    assert_eq!(names(&by_hand.replace('_', "")), (1, 0));

    let mut asking = Vec::new();
    for package in fs::read_dir(root()).unwrap() {
        let manifest = package.unwrap().path().join("Cargo.toml");
        if let Ok(text) = fs::read_to_string(&manifest) {
            let code = text.lines().filter(|line| !line.starts_with('#'));
            let lines =
                code.filter(|line| line.contains("buggify") || line.starts_with("default ="));
            let folder = manifest.parent().unwrap().file_name().unwrap().to_owned();
            asking.extend(lines.map(|line| format!("{}: {line}", folder.to_string_lossy())));
        }
    }
    asking.sort();
    let expected = [
        "core: buggify = []",
        "core: default = []",
        "sim: quorate = { workspace = true, features = [\"contract\", \"buggify\"] }",
    ];
    assert_eq!(asking, expected);
}

#[test]
fn binary_has_no_points_of_trouble_without_the_feature() {
    let binary = fs::read(env!("CARGO_BIN_EXE_quorate")).unwrap();
    let mark = mark();
    let found = binary
        .windows(mark.len())
        .any(|bytes| bytes == mark.as_bytes());
    assert!(
        !found || cfg!(feature = "buggify"),
        "a point of trouble is in the binary"
    );
}
