//! What the shipped binary must not hold: the points at which simulations make trouble.
//!
//! They are compiled in only where the simulators are built in the same go, which turn the feature on for all.

#![cfg(not(feature = "buggify"))]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "reads what was built; what cannot be read cannot be judged"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Put together from two halves, or this test would be found as well.
fn mark() -> String {
    ["buggify", "/"].concat()
}

fn collect(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let named = text.split('"').filter(|piece| piece.starts_with(&mark()));
            found.extend(named.map(str::to_owned));
        }
    }
}

#[test]
fn shipped_binary_has_no_points_of_trouble() {
    let mut points = BTreeSet::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut points,
    );
    assert!(points.len() >= 10, "they are in the sources: {points:?}");
    let binary = fs::read(env!("CARGO_BIN_EXE_quorate")).unwrap();
    let mark = mark();
    let found = binary
        .windows(mark.len())
        .any(|bytes| bytes == mark.as_bytes());
    assert!(!found, "a point of trouble is in the binary");
}
