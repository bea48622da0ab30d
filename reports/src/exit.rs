//! The status that a program ends with.

use std::process::ExitCode;

use quorate_jepsen_style::check::Verdict;

/// How a program that ran something ends, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Nothing was found, and there was something to find it in.
    Pass,
    /// It could not be told. Never green.
    Unknown,
    /// The harness failed: that says nothing about the system.
    Harness,
    /// A bug was found.
    Bug,
    /// Wrong usage.
    Usage,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Bug => 1,
            Self::Unknown => 2,
            Self::Harness => 3,
            Self::Usage => 64,
        }
    }
}

/// What was not run was not run because of the harness.
impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Fail => Self::Bug,
            Verdict::Unknown => Self::Unknown,
            Verdict::NotRun => Self::Harness,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verdict_has_its_own_number_and_only_a_pass_is_zero() {
        let codes = [
            Verdict::Pass,
            Verdict::Fail,
            Verdict::Unknown,
            Verdict::NotRun,
        ]
        .map(|verdict| Exit::from(verdict).code());
        assert_eq!(codes, [0, 1, 2, 3]);
        assert_eq!(Exit::Usage.code(), 64);
    }
}
