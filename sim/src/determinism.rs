//! Same seed, same run: checked, not hoped for.
//!
//! A run leaves a [`Recording`]. Two recordings of one seed, of one process or of two, must be the same; if they are not,
//! the first line that differs says where to look.

use std::fmt;

use crate::trace::{Digest, Trace};

/// What a run leaves behind for comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The digest of all events.
    pub digest: Digest,
    /// How many there were.
    pub events: u64,
    /// Those that were kept.
    pub lines: Vec<String>,
}

impl Recording {
    /// Of a trace, as it is now.
    #[must_use]
    pub fn of(trace: &Trace) -> Self {
        Self {
            digest: trace.digest(),
            events: trace.events(),
            lines: trace.lines(),
        }
    }
}

/// Where two runs of one seed part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The number of the first line that differs, of those that were kept.
    pub line: usize,
    /// That line in the first run; none where the run was over.
    pub first: Option<String>,
    /// And in the second.
    pub second: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |line: &Option<String>| line.clone().unwrap_or_else(|| "(the end)".to_owned());
        writeln!(f, "the runs differ from line {} on", self.line)?;
        writeln!(f, "  first:  {}", show(&self.first))?;
        write!(f, "  second: {}", show(&self.second))
    }
}

/// Compares two recordings of one seed.
///
/// # Errors
/// With the first difference that was kept. Digests can differ where the lines that were kept do not: then it is before
/// the first of them, and line 0 is named.
pub fn same(first: &Recording, second: &Recording) -> Result<(), Difference> {
    if first.digest == second.digest && first.events == second.events {
        return Ok(());
    }
    let length = first.lines.len().max(second.lines.len());
    let differs = (0..length).find(|line| first.lines.get(*line) != second.lines.get(*line));
    let at = |recording: &Recording| differs.and_then(|line| recording.lines.get(line).cloned());
    Err(Difference {
        line: differs.map_or(0, |line| line + 1),
        first: at(first),
        second: at(second),
    })
}

/// Runs twice and compares.
///
/// # Errors
/// With where the two part.
pub fn twice(mut run: impl FnMut() -> Recording) -> Result<Recording, Difference> {
    let (first, second) = (run(), run());
    same(&first, &second).map(|()| first)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trace::{Detail, Keep, Place};

    fn recording(kinds: &[&'static str], keep: Keep) -> Recording {
        let trace = Trace::new(keep);
        for kind in kinds {
            trace.record(Duration::ZERO, Place::World, kind, Detail::Number(1));
        }
        Recording::of(&trace)
    }

    #[test]
    fn first_differing_line_is_named() {
        let of = |kinds: &[&'static str]| recording(kinds, Keep::All);
        assert_eq!(same(&of(&["a", "b"]), &of(&["a", "b"])), Ok(()));
        let difference = same(&of(&["a", "b", "c"]), &of(&["a", "x", "c"])).unwrap_err();
        assert_eq!(difference.line, 2);
        assert!(difference.to_string().contains(" b "), "{difference}");
        let shorter = same(&of(&["a"]), &of(&["a", "b"])).unwrap_err();
        assert_eq!((shorter.line, shorter.first), (2, None));
    }

    #[test]
    fn difference_before_what_was_kept_is_still_one() {
        let of = |kinds: &[&'static str]| recording(kinds, Keep::Last(1));
        assert_eq!(
            same(&of(&["a", "b"]), &of(&["x", "b"])).unwrap_err().line,
            0
        );
    }

    #[test]
    fn twice_sees_a_run_that_remembers() {
        let mut runs = 0;
        let forgetful = || recording(&["a"], Keep::All);
        assert!(twice(forgetful).is_ok());
        let remembers = || {
            runs += 1;
            recording(if runs == 1 { &["a"] } else { &["b"] }, Keep::All)
        };
        assert!(twice(remembers).is_err());
    }
}
