//! Judging histories.
//!
//! | file | noun |
//! |---|---|
//! | [`report`] | [`Verdict`], [`Report`]: what a checker says, with its evidence |
//! | [`compose`] | [`Composition`]: several checkers under names, assumptions first |
//! | [`cycles`] | transactions, judged by the cycles of their dependencies |
//! | [`linear`] | linearizability with respect to a [`Model`](crate::model::Model) |
//!
//! A checker says one of four words. *Pass* and *fail* are claims about the system. *Unknown* says that the checker could
//! not tell: a bound was met, an assumption does not hold, or the checker itself broke. *Not-run* says that it did not
//! look. Neither of the last two is ever green.

pub mod compose;
pub mod cycles;
pub mod linear;
pub mod report;

pub use compose::{Composition, guarded};
pub use report::{Report, Verdict};

use crate::history::History;

/// Something that can judge a history.
pub trait Checker: Send + Sync {
    /// Judges `history`. A panic in here is reported as *unknown* by [`guarded`] and by [`Composition`].
    fn check(&self, history: &History) -> Report;
}

impl<F: Fn(&History) -> Report + Send + Sync> Checker for F {
    fn check(&self, history: &History) -> Report {
        self(history)
    }
}
